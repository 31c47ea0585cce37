"""Models in folders: equal to the last bit elsewhere, refused when damaged, never half written."""

import json
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

import holdfast as hf
from holdfast.exceptions import InputError, ModelFileError, OutputError
from holdfast.io.tensors import load_tensors, save_tensors

SOURCE = Path(hf.__file__).resolve().parent.parent
RESERVED = ("format", "schema_version", "libraries", "tensors", "sha256")

VARIANTS = {
    "projection": hf.DEC(5, max_epochs=3, random_state=0),
    "autoencoder": hf.DEC(
        5,
        encoder="autoencoder",
        hidden_dims=(16, 4),
        pretrain_epochs=3,
        max_epochs=3,
        random_state=np.int64(7),
    ),
    "published": hf.DEC.as_published(
        5, hidden_dims=(16, 4), pretrain_epochs=3, max_epochs=2, alpha=0.5, random_state=None
    ),
    "reconstruction": hf.IDEC(5, gamma=0.3, max_epochs=3, random_state=0),
    "published reconstruction": hf.IDEC.as_published(
        5, hidden_dims=(16, 4), pretrain_epochs=3, max_epochs=2, random_state=1
    ),
    "few columns": hf.DEC(5, max_epochs=3, random_state=np.random.RandomState(3)),
}


@pytest.fixture(scope="module")
def X():  # noqa: N802 - the field's name
    rng = np.random.default_rng(0)
    return (rng.normal(size=(5, 24))[rng.integers(0, 5, 150)] * 2 + rng.normal(size=(150, 24))).astype(
        np.float32
    )


def fitted(name, X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clone(VARIANTS[name]).fit(X[:, :3] if name == "few columns" else X)


@pytest.fixture(scope="module", params=VARIANTS)
def model_and_rows(request, X):
    return fitted(request.param, X), X[:, :3] if request.param == "few columns" else X


@pytest.fixture(scope="module")
def model(X):
    return fitted("projection", X)


@pytest.fixture
def folder(model, tmp_path):
    hf.save(model, tmp_path / "the-model")
    return tmp_path / "the-model"


def in_another_process(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


# --- round trip ---------------------------------------------------------------------------------------------


def test_everything_survives(model_and_rows, tmp_path):
    model, rows = model_and_rows
    hf.save(model, tmp_path / "m")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = hf.load(tmp_path / "m")
    assert type(loaded) is type(model)
    for method in ("predict", "predict_proba", "transform"):
        ours, theirs = getattr(model, method)(rows), getattr(loaded, method)(rows)
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()
    for ours, theirs in zip(model.assign_rows(rows), loaded.assign_rows(rows), strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    for name in ("labels_", "probabilities_", "start_labels_", "cluster_centers_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name), strict=True)
    names = ("history_", "evidence_", "start_", "n_iter_", "converged_", "n_clusters_", "n_features_in_")
    for name in (*names, "cluster_count_", "neighbour_recall_"):
        assert getattr(loaded, name) == getattr(model, name), name
    parameters, expected = loaded.get_params(), model.get_params()
    seed = expected.pop("random_state")
    assert parameters.pop("random_state") == (seed if isinstance(seed, int | np.integer) else None)
    assert parameters == expected


def test_the_estimated_count_survives(X, tmp_path):
    model = hf.DEC("auto", max_epochs=1, n_init=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X)
    hf.save(model, tmp_path / "m")
    loaded = hf.load(tmp_path / "m")
    assert loaded.cluster_count_ == model.cluster_count_
    assert loaded.n_clusters == "auto"
    assert loaded.n_clusters_ == model.n_clusters_
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_answers_are_bit_equal_in_another_process(X, tmp_path):
    models = {name.replace(" ", "-"): fitted(name, X) for name in VARIANTS}
    for name, model in models.items():
        hf.save(model, tmp_path / name)
    np.save(tmp_path / "rows.npy", X)
    code = """
        import sys
        import numpy as np, torch, holdfast as hf
        hf.load  # imported before anything is forbidden
        def forbid(event, arguments):
            if event in ("pickle.find_class", "subprocess.Popen", "os.system", "socket.connect"):
                raise RuntimeError(f"{event} while loading")
        sys.addaudithook(forbid)
        X = np.load(sys.argv[1] + "/rows.npy")
        for name in sys.argv[2:]:
            model = hf.load(sys.argv[1] + "/" + name)
            rows = X[:, : model.n_features_in_]
            print(model.predict_proba(rows).tobytes().hex(), model.predict(rows).tobytes().hex())
    """
    done = in_another_process(code, tmp_path, *models)
    assert done.returncode == 0, done.stderr
    answers = [line.split() for line in done.stdout.splitlines()]
    for model, (proba, labels) in zip(models.values(), answers, strict=True):
        assert bytes.fromhex(proba) == model.predict_proba(X[:, : model.n_features_in_]).tobytes()
        assert bytes.fromhex(labels) == model.labels_.tobytes()


def test_training_goes_on_after_loading_as_it_would_have(X, tmp_path):
    model = fitted("projection", X)
    hf.save(model, tmp_path / "m")
    loaded = hf.load(tmp_path / "m")
    np.testing.assert_array_equal(
        loaded.partial_fit(X[:90]).predict_proba(X), model.partial_fit(X[:90]).predict_proba(X)
    )


def test_a_loaded_model_saves_to_the_same_bytes(folder, tmp_path):
    hf.save(hf.load(folder), tmp_path / "again")
    for name in ("manifest.json", "tensors.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_there_is_nothing_but_tensors_and_json(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "tensors.safetensors"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["estimator"] == "DEC"
    assert manifest["parameters"]["n_clusters"] == 5
    assert manifest["state"]["history_"]
    header = int.from_bytes((folder / "tensors.safetensors").read_bytes()[:8], "little")
    assert json.loads((folder / "tensors.safetensors").read_bytes()[8 : 8 + header])


def test_loading_draws_no_random_number(X, tmp_path):
    model = fitted("published", X)
    assert model.random_state is None
    hf.save(model, tmp_path / "m")
    ours, torchs = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002
    hf.load(tmp_path / "m").predict(X)
    np.testing.assert_array_equal(np.random.get_state()[1], ours)  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), torchs)


def test_a_device_that_is_not_here_becomes_auto(model, tmp_path, X):
    rewrite(model, tmp_path / "m", parameters={**parameters_of(model), "device": "cuda:63"})
    loaded = hf.load(tmp_path / "m")
    assert loaded.device == "auto"
    np.testing.assert_array_equal(loaded.predict(X), model.labels_)


# --- what cannot be saved -----------------------------------------------------------------------------------


def test_only_fitted_estimators_of_ours_are_saved(tmp_path):
    class Mine(hf.DEC):
        pass

    for model, sentence in (
        (hf.DEC(), "this DEC is not fitted yet; call fit before saving it."),
        (
            Mine(),
            "cannot save a Mine; holdfast saves ConsensusClustering, DEC, DensityMLP, DirichletGMM, IDEC.",
        ),
        (
            "a string",
            "cannot save a str; holdfast saves ConsensusClustering, DEC, DensityMLP, DirichletGMM, IDEC.",
        ),
    ):
        with pytest.raises(InputError) as caught:
            hf.save(model, tmp_path / "m")
        assert str(caught.value) == sentence
    assert not list(tmp_path.iterdir())


def test_other_peoples_files_are_not_replaced(model, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thesis.txt").write_text("three years of work")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        hf.save(model, tmp_path / "m")
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["thesis.txt"]


# --- saving over an old model -------------------------------------------------------------------------------


def test_a_model_is_replaced_as_a_whole(folder, X):
    other = fitted("autoencoder", X)
    hf.save(other, folder)
    np.testing.assert_array_equal(hf.load(folder).predict_proba(X), other.predict_proba(X))
    assert [path.name for path in folder.parent.iterdir()] == ["the-model"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("moment", ["write_json", "save"])
def test_an_interruption_leaves_the_old_model(folder, model, X, monkeypatch, stop, moment):
    def interrupted(*_):
        raise stop

    monkeypatch.setattr(f"holdfast.io.tensors.{moment}", interrupted)
    with pytest.raises(stop):
        hf.save(hf.load(folder).partial_fit(X), folder)
    monkeypatch.undo()
    np.testing.assert_array_equal(hf.load(folder).predict_proba(X), model.predict_proba(X))
    assert [path.name for path in folder.parent.iterdir()] == ["the-model"]


def test_a_killed_process_leaves_the_old_model(folder, model, X):
    code = """
        import os, signal, sys
        import holdfast as hf
        from holdfast.io import tensors
        model = hf.load(sys.argv[1])
        model.labels_[:] = 0
        tensors.write_json = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        hf.save(model, sys.argv[1])
    """
    done = in_another_process(code, folder)
    assert done.returncode == -9, done.stderr
    loaded = hf.load(folder)
    np.testing.assert_array_equal(loaded.labels_, model.labels_)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    hf.save(model, folder)  # what the dead process left does not stand in the way


# --- damaged, foreign, newer --------------------------------------------------------------------------------


def refused(folder):
    """Load what must be refused, in one line that names the folder; return that line."""
    with pytest.raises(ModelFileError) as caught:
        hf.load(folder)
    message = str(caught.value)
    assert folder.name in message
    assert "\n" not in message
    return message


def parameters_of(model):
    return {**model.get_params(), "hidden_dims": list(model.hidden_dims)}


def rewrite(model, folder, *, drop=(), tensors=None, **changes):
    """Write a folder whose checksums are right and whose content is not."""
    if not folder.exists():
        hf.save(model, folder)
    arrays, manifest = load_tensors(folder)
    manifest = {key: value for key, value in manifest.items() if key not in (*RESERVED, *drop)}
    arrays = {key: value for key, value in {**arrays, **(tensors or {})}.items() if value is not None}
    save_tensors(folder, arrays, manifest | changes)


def test_a_missing_folder(tmp_path):
    assert "check the path" in refused(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["manifest.json", "tensors.safetensors"])
def test_missing_truncated_and_flipped_files(folder, name):
    path = folder / name
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (b"", whole[:10], whole[:-2], bytes(flipped), whole + b"x"):
        path.write_bytes(content)
        refused(folder)
    path.unlink()
    refused(folder)


def test_a_changed_parameter(folder):
    path = folder / "manifest.json"
    for old, new in (('"tol": 0.001', '"tol": 0.002'), ('"n_clusters": 5', '"n_clusters": 6')):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        assert "it was changed after it was saved" in refused(folder)
        path.write_text(text)
    hf.load(folder)


def test_a_newer_schema(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    assert refused(folder).endswith("has schema version 2, this holdfast reads 1: upgrade holdfast.")


def test_two_models_mixed_up(folder, X, tmp_path):
    hf.save(fitted("autoencoder", X), tmp_path / "other")
    (folder / "tensors.safetensors").write_bytes((tmp_path / "other" / "tensors.safetensors").read_bytes())
    assert "checksum" in refused(folder)


@pytest.mark.parametrize("name", ["DECK", None, 7, ["DEC"], {}])
def test_an_unknown_estimator(model, tmp_path, name):
    rewrite(model, tmp_path / "m", estimator=name)
    assert refused(tmp_path / "m").endswith("unknown to this holdfast; update holdfast.")


WRONG = {
    "no parameters": {"drop": ["parameters"]},
    "parameters are a list": {"parameters": [1, 2]},
    "an unknown parameter": {"parameters": {"k": 5, "device": "cpu"}},
    "no state": {"drop": ["state"]},
    "state is a list": {"state": []},
    "no width": {"drop": ["n_features_in"]},
    "another width": {"n_features_in": 23},
    "a senseless width": {"n_features_in": "wide"},
    "no labels": {"tensors": {"labels": None}},
    "no centres": {"tensors": {"module.centres": None}},
    "no mean": {"tensors": {"module.prepare.mean": None}},
    "flat centres": {"tensors": {"module.centres": np.zeros(5, dtype=np.float32)}},
    "a tensor too many": {"tensors": {"module.secret": np.zeros(5, dtype=np.float32)}},
    "another shape": {"tensors": {"module.encoder.hidden.bias": np.zeros(5, dtype=np.float32)}},
}


@pytest.mark.parametrize("case", WRONG)
def test_content_that_does_not_fit_together(model, tmp_path, case):
    rewrite(model, tmp_path / "m", **WRONG[case])
    assert "does not describe a complete DEC" in refused(tmp_path / "m")


@pytest.mark.parametrize(
    "change",
    [{"hidden_dims": []}, {"encoder": "autoencoder"}, {"encoder": "__import__('os')"}],
)
def test_parameters_that_do_not_fit(model, tmp_path, change):
    rewrite(model, tmp_path / "m", parameters=parameters_of(model) | change)
    refused(tmp_path / "m")
