"""The doctor: every finding fires where it should and nowhere else."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import files_below, invoke, make_blobs, make_embeddings, make_table, succeed
from holdfast import Embeddings, load, save, write_embeddings
from holdfast.doctor import Finding, examine
from holdfast.doctor.drift import _distances
from holdfast.doctor.findings import from_sentence, listed
from holdfast.doctor.measures import intrinsic_dimension, mean_cosine, principal_share, structure
from holdfast.doctor.specimen import Specimen, survey
from holdfast.exceptions import InputError
from holdfast.graph import nearest_neighbours
from holdfast.io.tables import read_raw
from test_bad_tables import CSV_FAULTS, NPZ_FAULTS, PARQUET_FAULTS

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A taxonomy of sixty vectors in three groups; tests may read it only."""
    folder = tmp_path_factory.mktemp("fitted")
    table = make_table(folder / "emb.parquet", d=24, n=360)
    succeed("fit", table, "-o", folder / "out", "--n-clusters", 3)
    return folder / "out"


@pytest.fixture
def taxonomy(fitted, tmp_path):
    """A copy that may be spoilt."""
    shutil.copytree(fitted, tmp_path / "out")
    return tmp_path / "out"


def blobs(n=360, d=24, k=6):
    """Unit rows in k groups: nothing to find fault with."""
    X, y = make_blobs(n, d=d, k=k)
    return X / np.linalg.norm(X, axis=1, keepdims=True), y


def seen(path, **arrays):
    """Write a table and return its findings by code."""
    np.savez(path / "t.npz", **arrays)
    return by_code(examine(path / "t.npz"))


def by_code(diagnosis):
    found = {finding.code: finding for finding in diagnosis.findings}
    assert len(found) == len(diagnosis.findings)
    for finding in diagnosis.findings:
        assert finding.what.endswith("."), finding
        assert finding.remedy.endswith("."), finding
        assert finding.remedy[0].isupper() or finding.remedy.startswith("-"), finding
    return found


# --- tables: values -------------------------------------------------------------------------------------


def test_a_healthy_table_has_no_findings(tmp_path):
    X, y = blobs()
    assert seen(tmp_path, X=X.astype(np.float32), y=y) == {}


def test_rows_that_are_not_finite_are_all_counted(tmp_path):
    X, _ = blobs()
    X[[3, 50], 1], X[7, 0] = np.nan, np.inf
    found = seen(tmp_path, X=X)["not-finite"]
    assert (found.level, found.examples) == ("error", ("3", "7", "50"))
    assert found.what == "3 of 360 rows have a NaN or an infinity: 3, 7, 50."
    X = X.astype(np.float64)  # and what float32 cannot hold
    X[:, 0] = 1e300
    assert "360 of 360 rows" in seen(tmp_path, X=X)["not-finite"].what


def test_ids_that_repeat_are_all_named(tmp_path):
    X, _ = blobs()
    ids = np.arange(360).astype(str)
    ids[10:13], ids[20] = "9", "21"
    found = seen(tmp_path, X=X, ids=ids)["duplicate-ids"]
    assert (found.level, found.examples) == ("error", ("9", "21"))
    assert found.what == "2 ids occur more than once: '9' (4 times), '21' (2 times)."


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_gaps_and_doubles_are_explained_in_every_format(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    if suffix == ".csv":
        path.write_text('id,embeddings\na,"[1, 2]"\nb,"[1, NaN]"\nb,"[null, 2]"\nc,"[3, 4]"\n')
    elif suffix == ".npz":
        np.savez(path, ids=["a", "b", "b", "c"], X=[[1, 2], [1, np.nan], [np.nan, 2], [3, 4]])
    else:
        rows = [[1.0, 2.0], [1.0, np.nan], [None, 2.0], [3.0, 4.0]]
        pq.write_table(pa.table({"id": ["a", "b", "b", "c"], "embedding": rows}), path)
    found = by_code(examine(path))
    assert found["not-finite"].what == "2 of 4 rows have a NaN or an infinity: b, b."
    assert found["duplicate-ids"].what == "1 id occurs more than once: 'b' (2 times)."


FAULTS = [("csv", fault, sentence) for fault, sentence in CSV_FAULTS]
FAULTS += [("npz", fault, sentence) for fault, sentence in NPZ_FAULTS]
FAULTS += [("parquet", fault, sentence) for fault, sentence in PARQUET_FAULTS]


@pytest.mark.parametrize(("kind", "fault", "sentence"), FAULTS)
def test_whatever_the_reader_refuses_is_an_error_here(tmp_path, kind, fault, sentence):
    """The doctor reads leniently; it must never call healthy what cannot be read."""
    path = tmp_path / f"bad.{kind}"
    if kind == "csv":
        path.write_text(fault, encoding="utf-8")
    elif kind == "npz":
        np.savez(path, **fault)
    else:
        pq.write_table(pa.table(fault), path)
    diagnosis = examine(path)
    assert not diagnosis.usable
    found = next(f for f in diagnosis.findings if f.level == "error" and f.code != "too-few-rows")
    if found.code == "unreadable":
        what, _, remedy = sentence.rpartition(": ")
        assert (found.what, found.remedy.lower()) == (f"{path}: {what}.", remedy.lower())
    else:
        assert found.code in {"not-finite", "duplicate-ids"}


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".npy", ".csv"])
def test_the_lenient_reader_reads_what_the_strict_one_reads(tmp_path, suffix):
    emb = make_embeddings(encoder="cafe")
    path = tmp_path / f"t{suffix}"
    write_embeddings(emb, path)
    raw = read_raw(path)
    np.testing.assert_array_equal(raw.X, emb.X)
    if suffix != ".npy":
        np.testing.assert_array_equal(raw.ids, emb.ids)
        np.testing.assert_array_equal(raw.labels, emb.labels)
        assert raw.encoder == "cafe"
    assert type(raw.X) is type(emb.X)


def test_widths_that_add_up_are_still_different(tmp_path):
    pq.write_table(pa.table({"embedding": [[1.0], [1.0, 2.0, 3.0]]}), tmp_path / "t.parquet")
    (found,) = examine(tmp_path / "t.parquet").findings
    assert found.what.endswith("row 1 has 3 values and row 0 has 1.")


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".npy", ".csv"])
def test_a_file_cut_short_is_a_finding(tmp_path, suffix):
    path = make_table(tmp_path / f"t{suffix}")
    path.write_bytes(path.read_bytes()[:700])
    (found,) = examine(path).findings
    assert (found.code, found.level) == ("unreadable", "error")


def test_columns(tmp_path):
    X, _ = blobs()
    X[:, [2, 5]] = 0.25
    found = seen(tmp_path, X=X)["constant-columns"]
    assert (found.level, found.examples) == ("note", ("2", "5"))
    assert found.what == "2 of 24 columns have the same value in every row: 2, 5."
    X[:, 3:16] = 0
    assert seen(tmp_path, X=X)["constant-columns"].level == "warning"
    X, _ = blobs()
    X[:, 4] = 1e3 * np.random.default_rng(0).normal(size=360)
    found = seen(tmp_path, X=X)["columns-of-different-scale"]
    assert found.examples == ("4",)
    assert "hold more than 99.9 % of the variance: 4." in found.what


def test_nothing_to_tell_apart(tmp_path):
    found = seen(tmp_path, X=np.ones((100, 8)))
    assert list(found) == ["all-rows-equal"]
    assert found["all-rows-equal"].level == "error"
    assert list(seen(tmp_path, X=np.ones((1, 8)))) == ["too-few-rows"]
    assert "few-rows" in seen(tmp_path, X=np.eye(8))


def test_lengths_of_rows(tmp_path):
    X, _ = blobs()
    X[5] *= 3
    X[6] = 0
    found = seen(tmp_path, X=X)
    assert (found["mixed-lengths"].examples, found["zero-rows"].examples) == (("5",), ("6",))
    X, _ = blobs()
    assert seen(tmp_path, X=58 * X) == {}  # of one length, whichever
    spread = np.geomspace(1, 4, 360)[:, None]
    assert seen(tmp_path, X=spread * X)["unnormalised-rows"].level == "note"
    assert seen(tmp_path, X=spread**3 * X)["unnormalised-rows"].level == "warning"


def test_duplicates(tmp_path):
    X, _ = blobs()
    X[100:103] = X[99]
    X[7] = X[8]
    found = seen(tmp_path, X=X)["exact-duplicates"]
    assert (found.level, found.examples) == ("warning", ("99", "100", "101", "102"))
    assert found.what == (
        "4 rows (1.1 %) repeat an earlier one, in 2 groups of equal rows; the largest has 4: 99, 100, 101 "
        "and 1 more."
    )
    X, _ = blobs()
    X[20:24] = X[40:44] + 1e-5
    found = seen(tmp_path, X=X)
    assert list(found) == ["near-duplicates"]
    assert found["near-duplicates"].what.startswith("2.2 % of all 360 rows have a neighbour")
    assert abs(int(found["near-duplicates"].examples[0]) - int(found["near-duplicates"].examples[1])) == 20


def test_a_million_equal_rows_are_no_trouble(tmp_path):
    np.save(tmp_path / "t.npy", np.broadcast_to(np.eye(2, dtype=np.float32)[0], (1_000_000, 2)))
    assert list(by_code(examine(tmp_path / "t.npy"))) == ["all-rows-equal"]


def test_half_precision(tmp_path):
    X, _ = blobs()
    assert "half-precision-overflow" in seen(tmp_path, X=X * 1e6)
    far = X + 30
    assert seen(tmp_path, X=far)["half-precision-rounding"].level == "note"
    assert seen(tmp_path, X=far.astype(np.float16))["half-precision-rounding"].level == "warning"


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 5))
def test_the_survey_agrees_with_numpy(seed, n, d):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(np.float32) + 1000 * (seed % 2)
    X[rng.random((n, d)) < 0.1] = np.nan
    X[: n // 3] = X[n - n // 3 :]
    found = survey(X)
    finite = np.isfinite(X).all(axis=1)
    np.testing.assert_array_equal(found.finite, finite)
    good = X[finite].astype(np.float64)
    np.testing.assert_allclose(found.norms[finite], np.linalg.norm(good, axis=1), rtol=1e-6)
    same = (good[:, None] == good).all(axis=2)
    np.testing.assert_array_equal(found.hashes[finite][:, None] == found.hashes[finite], same)
    if len(good):
        for name in ("mean", "std"):
            np.testing.assert_allclose(
                getattr(found, name), getattr(good, name)(axis=0), rtol=1e-6, atol=1e-6
            )
        np.testing.assert_array_equal(found.low, good.min(axis=0))


def test_zero_has_no_sign():
    assert len(set(survey(np.array([[0.0, 1.0], [-0.0, 1.0]])).hashes.tolist())) == 1


def test_the_survey_is_the_same_in_blocks(monkeypatch):
    X = RNG.normal(size=(1000, 7))
    whole = survey(X)
    monkeypatch.setattr("holdfast.doctor.specimen._BLOCK_VALUES", 70)
    for name in ("finite", "norms", "hashes", "low", "high", "mean", "std"):
        np.testing.assert_allclose(getattr(survey(X), name), getattr(whole, name), rtol=1e-12)


# --- tables: geometry -----------------------------------------------------------------------------------

REAL = ("emb_clothing_vittiny16", "emb_imagenet50_moco_test", "feat_scene15", "feat_mfeat")


def noise(kind, n, d):
    rng = np.random.default_rng(n + d)
    if kind == "cube":
        return rng.random((n, d))
    X = rng.normal(size=(n, d))
    if kind == "sphere":
        return X / np.linalg.norm(X, axis=1, keepdims=True)
    if kind == "ellipsoid":
        turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
        return X / np.arange(1, d + 1) @ turn + 5
    return X


@pytest.mark.parametrize("kind", ["gauss", "sphere", "cube", "ellipsoid"])
@pytest.mark.parametrize(("n", "d"), [(300, 32), (1000, 8), (1000, 128), (500, 768), (2000, 3)])
def test_noise_has_no_structure(tmp_path, kind, n, d):
    X = noise(kind, n, d)
    assert structure(X.astype(np.float32)) < 0.06
    found = seen(tmp_path, X=X)["uniform-geometry"]
    assert found.level == "warning"
    assert f"judged on {n:,} rows" in found.what


@pytest.mark.parametrize("name", REAL)
def test_real_collections_have_structure(data_dir, name):
    X = np.load(data_dir / f"{name}.npz")["X"].astype(np.float32)
    assert structure(np.unique(X, axis=0)) > 0.2
    diagnosis = examine(data_dir / f"{name}.npz")
    assert diagnosis.healthy, diagnosis.findings


def test_the_digits_have_structure_and_lose_it_when_their_columns_are_shuffled(digits):
    assert structure(digits.X) > 0.4
    shuffled = np.random.default_rng(0).permuted(digits.X, axis=0)
    assert structure(shuffled) < 0.06


def test_many_small_clusters_are_structure(tmp_path):
    X, _ = blobs(n=4000, d=64, k=64)
    assert structure(X) > 0.5


def test_few_rows_are_not_called_noise(tmp_path):
    assert "uniform-geometry" not in seen(tmp_path, X=noise("gauss", 299, 32))


def test_a_common_direction_and_a_collapse(tmp_path):
    X, _ = blobs()
    assert abs(mean_cosine(np.vstack([X, -X]))) < 0.01
    found = seen(tmp_path, X=X + 2)
    assert list(found) == ["common-direction"]
    rng = np.random.default_rng(0)
    line = rng.normal(size=(360, 1)) * np.ones(24) + 0.1 * rng.normal(size=(360, 24))
    assert principal_share(line) == pytest.approx(24 * 1 / (24 * 1.01), abs=0.005)
    assert seen(tmp_path, X=line)["collapsed"].level == "warning"


def test_rows_on_a_curve(tmp_path):
    angle = np.linspace(0, 6, 360)[:, None] + np.random.default_rng(0).random((360, 1)) / 100
    curve = np.cos(angle * np.arange(1, 25) + np.arange(24))
    found = seen(tmp_path, X=curve)["few-dimensions"]
    assert found.what.startswith("The rows have 24 columns and look locally 1.")


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_the_dimension_of_a_cube_in_many_columns(dimension):
    rng = np.random.default_rng(0)
    flat = rng.random((3000, dimension)) - 0.5
    lifted = np.hstack([flat, np.full((3000, 1), 3), np.zeros((3000, 20))])
    neighbours = nearest_neighbours(lifted, 10)
    assert intrinsic_dimension(lifted, neighbours) == pytest.approx(dimension, rel=0.25)


def test_mean_cosine_is_that_of_all_pairs():
    X = RNG.normal(size=(40, 6)).astype(np.float32) + 1
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    pairs = (unit @ unit.T)[~np.eye(40, dtype=bool)]
    assert mean_cosine(X) == pytest.approx(pairs.mean(), abs=1e-6)


def test_large_tables_are_sampled_and_say_so(tmp_path):
    X, _ = blobs(n=6000)
    np.save(tmp_path / "t.npy", np.vstack([X, X[:600] + 1e-5]))
    diagnosis = examine(tmp_path / "t.npy")
    assert (diagnosis.facts["sampled_rows"], diagnosis.facts["rows"]) == (5000, 6600)
    assert "of a random sample of 5,000 rows have a neighbour" in by_code(diagnosis)["near-duplicates"].what


# --- tables: labels -------------------------------------------------------------------------------------


def test_labels_in_the_vectors(tmp_path):
    X, y = blobs()
    found = seen(tmp_path, X=np.hstack([X, np.eye(6)[y]]), y=y)
    assert found["one-hot-labels"].examples == ("24", "25", "26", "27", "28", "29")
    assert "label-leak" not in found
    noisy = y[:, None] + 0.01 * np.random.default_rng(0).normal(size=(360, 1))
    found = seen(tmp_path, X=np.hstack([X, noisy]), y=y)
    assert found["label-leak"].examples == ("24",)
    order = np.random.default_rng(0).permutation(6)  # a code need not be in the order of the labels
    assert "label-leak" in seen(tmp_path, X=np.hstack([X, order[y][:, None]]), y=y)


def test_a_column_that_knows_nothing_is_no_leak_in_a_sorted_table(tmp_path):
    X, y = blobs()
    order = np.argsort(y, kind="stable")
    X[:, 3] = X[:, 3] > 0
    assert "label-leak" not in seen(tmp_path, X=np.hstack([X[order], np.ones((360, 1))]), y=y[order])


def test_labels_that_say_little(tmp_path):
    X, y = blobs()
    assert list(seen(tmp_path, X=X, y=np.zeros(360, dtype=int))) == ["labels-constant"]
    assert list(seen(tmp_path, X=X, y=np.arange(360))) == ["labels-unique"]
    found = seen(tmp_path, X=X, y=(np.arange(360) < 10).astype(int))
    assert found["labels-imbalanced"].examples == ("0", "1")
    ids = [f"train/class-{label}/{row}.jpg" for row, label in enumerate(y)]
    found = seen(tmp_path, X=X, y=y, ids=ids)
    assert found["labels-in-names"].what == (
        "The folder in the ids tells the label: 'train/class-0/0.jpg' is '0'."
    )
    assert seen(tmp_path, X=X, y=y, ids=[f"train/{row}.jpg" for row in range(360)]) == {}


# --- results --------------------------------------------------------------------------------------------


def spoil_run(folder, **changes):
    path = folder / "run.json"
    run = json.loads(path.read_text()) | changes
    run.pop("sha256", None)  # as an early holdfast wrote it; else the change is all there is to say
    path.write_text(json.dumps(run))


def spoil_clusters(folder, change):
    path = folder / "assignments" / "1.parquet"
    table = pq.read_table(path)
    columns = {name: table[name].to_numpy().copy() for name in table.column_names}
    pq.write_table(pa.table(change(columns)), path)


def test_a_fresh_fit_is_healthy(fitted):
    diagnosis = examine(fitted)
    assert (diagnosis.kind, diagnosis.healthy) == ("taxonomy", True)
    assert set(by_code(diagnosis)) <= {"unnormalised-rows"}
    assert (diagnosis.facts["items"], diagnosis.facts["n_clusters"]) == (360, 3)
    model = examine(fitted / "versions" / "1")
    assert (model.kind, model.findings) == ("model", ())
    assert model.facts["estimator"] == "ConsensusClustering"


def test_nothing_is_changed(fitted):
    before = files_below(fitted)
    examine(fitted)
    assert files_below(fitted) == before


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "damaged-run": lambda out: (out / "run.json").write_text("{"),
    "damaged-model": lambda out: flip(out / "versions" / "1" / "tensors.safetensors"),
    "damaged-assignments": lambda out: (out / "assignments" / "1.parquet").write_bytes(b"PAR1"),
    "damaged-vectors": lambda out: (out / "vectors" / "part-00001.parquet").unlink(),
}


@pytest.mark.parametrize("code", DAMAGE)
def test_damage_in_one_part_is_one_error(taxonomy, code):
    DAMAGE[code](taxonomy)
    diagnosis = examine(taxonomy)
    assert diagnosis.kind == "taxonomy"
    assert [f.code for f in diagnosis.findings if f.level != "note"] == [code]
    assert not diagnosis.usable


def test_a_run_that_is_gone_is_damage_too(taxonomy):
    (taxonomy / "run.json").unlink()
    (taxonomy / "report.html").unlink()
    assert {"damaged-run", "missing-report"} <= set(by_code(examine(taxonomy)))


def test_clusters_of_another_fit(taxonomy):
    spoil_clusters(taxonomy, lambda c: c | {"cluster": np.roll(c["cluster"], 1)})
    found = by_code(examine(taxonomy))["other-predictions"]
    assert found.level == "error"
    assert found.what.startswith("The model puts 100 % of 360 stored vectors into other clusters")


def test_a_few_rows_that_moved_are_a_warning(taxonomy):
    spoil_clusters(taxonomy, lambda c: c | {"cluster": np.r_[(c["cluster"][:9] + 1) % 3, c["cluster"][9:]]})
    found = by_code(examine(taxonomy))["other-predictions"]
    assert (found.level, found.examples[:2]) == ("warning", ("item-0", "item-1"))
    assert "puts 2.5 % of 360" in found.what


def test_parts_of_different_items(taxonomy):
    spoil_clusters(taxonomy, lambda c: {name: values[:100] for name, values in c.items()})
    found = by_code(examine(taxonomy))
    assert found["different-items"].level == "error"
    assert found["other-count"].what == "run.json speaks of 360 items and the assignments hold 100."


@pytest.mark.parametrize("cluster", [10**9, 1.5])
def test_clusters_that_are_none(taxonomy, cluster):
    spoil_clusters(taxonomy, lambda c: c | {"cluster": np.full(360, cluster)})
    assert by_code(examine(taxonomy))["damaged-assignments"].level == "error"


def test_how_training_ended(taxonomy):
    spoil_run(
        taxonomy,
        converged=False,
        n_iter=7,
        evidence={"graph": 2.0, "start": 1.9, "result": 1.8},
        start="graph",
        quarantined=[{"path": "a.jpg", "reason": "broken"}] * 40,
        versions={"torch": "1.0"},
    )
    found = by_code(examine(taxonomy))
    assert found["not-converged"].what == "Training stopped after 7 epochs with labels still changing."
    assert "(1.800) than training began with (1.900)" in found["below-start"].what
    assert found["start-not-held"].what.startswith(
        "The graph start had 2.000 evidence and the result has 1.800"
    )
    assert found["quarantined-images"].what.startswith("40 images (10 %)")
    assert found["quarantined-images"].level == "warning"
    assert "torch 1.0 (now " in found["other-versions"].what


def test_a_run_with_strange_values_is_still_explained(taxonomy):
    spoil_run(taxonomy, n="many", n_iter="7", converged=False, versions=["torch"], evidence={"result": None})
    assert by_code(examine(taxonomy))["other-count"].what.startswith("run.json speaks of many items")


def test_clusters_too_small_and_too_large(taxonomy):
    spoil_run(taxonomy, n_clusters=5)
    spoil_clusters(
        taxonomy,
        lambda c: c | {"cluster": np.r_[[1], [2], np.zeros(358, int)], "confidence": np.full(360, 0.3, "f4")},
    )
    found = by_code(examine(taxonomy))
    assert found["empty-clusters"].what == "2 of 5 clusters have no member: 3, 4."
    assert found["swallowing-cluster"].what.startswith("Cluster 0 holds 99.4 % of the rows")
    assert found["tiny-clusters"].what == "2 of 5 clusters are tiny: 1 (1 row), 2 (1 row)."
    assert found["low-confidence"].level == "warning"
    spoil_run(taxonomy, n_clusters=60)
    assert "360 rows in 60 clusters are 6.0 each." in by_code(examine(taxonomy))["few-rows-per-cluster"].what
    spoil_clusters(taxonomy, lambda c: c | {"cluster": np.where(np.arange(360) < 300, -1, c["cluster"])})
    assert by_code(examine(taxonomy))["much-noise"].what == "83 % of the rows belong to no cluster."


# --- a table beside a model -----------------------------------------------------------------------------


def test_rows_like_those_of_the_fit_are_no_finding(taxonomy, tmp_path):
    new = make_table(tmp_path / "new.parquet", d=24, n=240, seed=9)
    assert set(by_code(examine(taxonomy, new))) == set(by_code(examine(taxonomy)))
    assert examine(taxonomy, new).facts["table"]["rows"] == 240


def test_rows_that_are_not_like_those_of_the_fit(taxonomy, tmp_path):
    emb = make_embeddings(d=24, n=240, seed=9)

    def compared(X, encoder=None):
        write_embeddings(Embeddings(emb.ids, X, encoder=encoder), tmp_path / "new.npz")
        return by_code(examine(taxonomy, tmp_path / "new.npz"))

    other = np.roll(emb.X, 12, axis=1)  # groups along other directions
    assert {"unlike-the-collection", "shifted-mean"} <= set(compared(other))
    assert "other-lengths" in compared(10 * emb.X)
    assert compared(emb.X[:, :20])["other-width"].level == "error"
    spoil_run(taxonomy, encoder_recipe="cafe")
    assert compared(emb.X, encoder="f00d")["other-encoder"].level == "error"
    assert "other-encoder" not in compared(emb.X, encoder="cafe")


def test_what_is_usual_does_not_depend_on_what_is_new():
    known, few, many = (
        Specimen(make_blobs(n, d=24, seed=s)[0], np.arange(n)) for n, s in ((300, 0), (9, 1), (900, 2))
    )
    assert _distances(few, known)[0] == _distances(many, known)[0]


def test_a_table_beside_a_model_alone(taxonomy, tmp_path):
    save(load(taxonomy / "versions" / "1"), tmp_path / "model")
    assert examine(tmp_path / "model", make_table(tmp_path / "a.npz", d=24)).usable
    assert "other-width" in by_code(examine(tmp_path / "model", make_table(tmp_path / "b.npz", d=7)))
    (tmp_path / "c.npz").write_bytes(b"")
    assert "unreadable-table" in by_code(examine(tmp_path / "model", tmp_path / "c.npz"))


# --- folders that are none ------------------------------------------------------------------------------


def test_other_folders(tmp_path):
    assert list(by_code(examine(tmp_path))) == ["not-ours"]
    (tmp_path / ".embedding" / "x").mkdir(parents=True)
    (tmp_path / ".embedding" / "x" / "part-1.parquet").write_bytes(b"")
    found = by_code(examine(tmp_path))["unfinished-run"]
    assert found.what.startswith("This run has not finished embedding; it holds 1 part of vectors")


def test_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(InputError, match="none does not exist: check the path"):
        examine(tmp_path / "none")
    table = make_table(tmp_path / "t.npz")
    with pytest.raises(InputError, match="is a file: a second table is compared with a model or a taxonomy"):
        examine(table, table)


# --- the command ----------------------------------------------------------------------------------------


def test_doctor_prints_what_was_found_and_what_to_do(tmp_path):
    X, _ = blobs()
    X[3] = np.nan
    X[5] *= 3
    np.savez(tmp_path / "t.npz", X=X)
    result = invoke("doctor", tmp_path / "t.npz")
    assert result.exit_code == 2
    assert result.stderr == f"holdfast doctor: {tmp_path}/t.npz cannot be used as it is: see the findings.\n"
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[0] == f"{tmp_path}/t.npz: 360 rows of width 24 (float32)"
    at = lines.index("error    not-finite")
    assert lines[at + 1].strip() == "1 of 360 rows has a NaN or an infinity: 3."
    assert lines[at + 2].strip().startswith("Remedy: Remove these rows or fill the gaps")
    assert at < lines.index("warning  mixed-lengths")
    assert lines[-1] == "Cannot be used as it is (1 error, 1 warning)."


def test_doctor_says_that_a_table_is_healthy(tmp_path):
    X, y = blobs()
    np.savez(tmp_path / "t.npz", X=X, y=y)
    text = succeed("doctor", tmp_path / "t.npz")
    assert text == (
        f"{tmp_path}/t.npz: 360 rows of width 24 (float32, 6 classes)\n"
        "Healthy: nothing was found that stands in the way.\n"
    )


def test_doctor_as_json(tmp_path):
    np.save(tmp_path / "t.npy", np.ones((100, 4)))
    result = invoke("doctor", tmp_path / "t.npy", "--json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert (found["kind"], found["healthy"], found["usable"]) == ("table", False, False)
    (finding,) = found["findings"]
    assert finding == {
        "code": "all-rows-equal",
        "level": "error",
        "what": "All 100 rows are equal, so there is nothing to tell apart.",
        "remedy": "Check how the embeddings were made.",
        "examples": [],
    }
    assert found["facts"]["width"] == 4


def test_doctor_with_a_warning_succeeds(tmp_path):
    np.save(tmp_path / "t.npy", noise("gauss", 400, 16))
    assert "Can be used (1 warning" in succeed("doctor", tmp_path / "t.npy")


def test_names_in_a_listing():
    assert listed(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    assert listed(["a"], 5) == "a and 4 more"
    assert listed(["x" * 60]) == "..." + "x" * 45


def test_a_sentence_becomes_a_finding():
    assert from_sentence("bad", InputError("a.npy: is empty: fill it.")) == Finding(
        "bad", "error", "a.npy: is empty.", "Fill it."
    )
