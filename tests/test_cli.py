"""The commands: what they print, what they leave behind, and what they never do."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

import holdfast
from commands import (
    COMMAND,
    ENVIRONMENT,
    files_below,
    invoke,
    make_embeddings,
    make_encoder,
    make_photos,
    make_table,
    succeed,
    succeed_json,
)
from conftest import REPOSITORY
from holdfast import DEC, Embeddings, metrics, read_embeddings, write_embeddings
from holdfast._choices import DEC_CHOICES, METHODS
from holdfast.cli import answers, flow, present
from holdfast.cli.application import COMMANDS
from holdfast.cli.fit import Fit
from holdfast.cli.screen import Screen, printable
from holdfast.cli.task import command_line
from holdfast.embedding import Embedder
from holdfast.exceptions import NotConvergedWarning, TrainingError
from holdfast.images import open_image
from holdfast.taxonomy import open_taxonomy

NAMES = [task.name for task in COMMANDS]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Sixty labelled vectors in three far groups."""
    return make_table(tmp_path_factory.mktemp("table") / "emb.parquet")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, table):
    """Their taxonomy; tests may read it only."""
    out = tmp_path_factory.mktemp("fitted") / "out"
    succeed("fit", table, "-o", out, "--n-clusters", 3)
    return out


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """A folder with photos/ and encoder/."""
    folder = tmp_path_factory.mktemp("album")
    make_photos(folder / "photos")
    make_encoder(folder / "encoder")
    return folder


def run_words(album, out, *more):
    return ("run", album / "photos", "-o", out, "--n-clusters", 2, "--encoder", album / "encoder", *more)


def clusters_of(out):
    return open_taxonomy(out).load_assignments().cluster.tolist()


# --- help and usage -------------------------------------------------------------------------------------


def test_the_commands_are_those_of_the_readme():
    expected = ["demo", "run", "embed", "fit", "assign", "match", "evaluate", "compare", "report", "doctor"]
    assert expected == NAMES
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"| `holdfast {name}" in readme


def examples_of_the_readme():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", readme, re.DOTALL)


def test_the_first_example_of_the_readme_runs(tmp_path):
    example = examples_of_the_readme()[0]
    subprocess.run([sys.executable, "-c", example], check=True, env=ENVIRONMENT, cwd=tmp_path)
    assert sorted(entry.name for entry in (tmp_path / "digits").iterdir()) == [
        "manifest.json",
        "tensors.safetensors",
    ]


def test_the_example_of_an_unknown_number_runs(tmp_path):
    first, second = examples_of_the_readme()[:2]
    checks = (
        "\nassert count.low <= 10 <= count.high\nassert model.levels_ == {-2: 2, -1: 5, 0: 10, 1: 20, 2: 40}"
    )
    subprocess.run([sys.executable, "-c", first + second + checks], check=True, env=ENVIRONMENT, cwd=tmp_path)


def test_the_tracking_example_of_the_readme_runs(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed; it comes with the extra 'track'")
    watch, topics = next(example for example in examples_of_the_readme() if "BERTopic" in example).split(
        "\n\n"
    )
    assert "BERTopic(" in topics  # tests/test_bertopic.py runs the real library
    prelude = (
        "import holdfast as hf\nfrom sklearn.datasets import load_digits\n"
        "X = load_digits().data[:200]\nmodel = hf.DEC(10, n_init=1, max_epochs=1, random_state=0)\n"
    )
    subprocess.run([sys.executable, "-c", prelude + watch], check=True, env=ENVIRONMENT, cwd=tmp_path)
    assert list((tmp_path / "runs" / "first").glob("events*"))


@pytest.mark.parametrize("task", COMMANDS, ids=NAMES)
def test_every_command_has_help_with_an_example(task):
    text = succeed(task.name, "--help")
    assert f"Example: {task.example}" in text
    assert task.example.startswith(f"holdfast {task.name}")
    assert "--json" in text
    assert "--debug" in text
    assert not re.search(r"<bool>|range\b|\{", text)  # as Typer writes flags, bounds and arguments


def test_the_help_offers_what_can_be_chosen():
    text = succeed("fit", "--help")
    assert text.split("\n")[1].split() == ["Usage:", "holdfast", "fit", "[OPTIONS]", "TABLE"]
    assert re.search(rf"--init +{re.escape('|'.join(DEC_CHOICES['init']))} ", text)
    words = " ".join(re.sub("[│|]", " ", text).split())
    assert f"One of {', '.join(METHODS)}:" in words
    assert succeed("evaluate", "--help").split("\n")[1].split()[-2:] == ["OUT", "[TABLE]"]


@pytest.mark.parametrize("task", COMMANDS, ids=NAMES)
def test_the_example_of_every_command_can_be_parsed(task):
    """Up to the point where its files are missing; `demo` would run."""
    if task.name != "demo":
        result = invoke(*shlex.split(task.example)[1:])
        assert result.exit_code == 2
        assert "does not exist" in result.stderr or "is no taxonomy folder" in result.stderr


def test_the_version():
    assert succeed("--version") == "holdfast 0.1.0\n"


def test_the_recorded_command_repeats_the_task():
    task = Fit(table=Path("my emb.npz"), out=Path("out"), n_clusters="7", overwrite=True, as_json=True)
    words = shlex.split(command_line(task))
    assert words == ["holdfast", "fit", "my emb.npz", "--out", "out", "--n-clusters", "7", "--overwrite"]
    assert command_line(Fit(table=Path("e.npz"), out=Path("o"))) == "holdfast fit e.npz --out o"


def test_the_command_line_is_light_until_it_works():
    program = (
        "import sys, holdfast.cli.application; print({'torch', 'sklearn', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    assert done.stdout == "set()\n"


def test_the_process_exits_with_the_code_of_the_command(tmp_path):
    done = subprocess.run(
        [*COMMAND, "fit", "none.npy", "-o", "out"],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "holdfast fit: none.npy does not exist: check the path.\n"


# --- fit ------------------------------------------------------------------------------------------------


def test_fit_is_the_estimator_and_nothing_else(fitted, table):
    model = holdfast.ConsensusClustering(n_clusters=3, random_state=0).fit(read_embeddings(table).X)
    assert clusters_of(fitted) == model.labels_.tolist()


def test_fit_prints_the_clusters_and_ends_with_the_report(tmp_path, table):
    text = succeed("fit", table, "-o", tmp_path / "out", "--n-clusters", 3)
    assert "60 items in 3 clusters" in text
    assert "ACC 1.000, NMI 1.000, ARI 1.000, purity 1.000" in text
    report = Path(text.splitlines()[-1])
    assert report == tmp_path / "out" / "report.html"
    assert report.read_text(encoding="utf-8").lower().startswith("<!doctype html")


def test_fit_as_json_says_the_same_and_nothing_else(tmp_path, table):
    result = invoke("fit", table, "-o", tmp_path / "out", "--n-clusters", 3, "--json")
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert found["report"] == str(tmp_path / "out" / "report.html")
    assert (found["n"], found["d"], found["n_clusters"]) == (60, 6, 3)
    assert [cluster["size"] for cluster in found["clusters"]] == [20, 20, 20]
    assert found["scores"]["result"] == {"acc": 1.0, "nmi": 1.0, "ari": 1.0, "purity": 1.0}
    members = dict(zip(read_embeddings(table).ids.tolist(), clusters_of(tmp_path / "out"), strict=True))
    assert all(members[cluster["typical"]] == cluster["cluster"] for cluster in found["clusters"])


def test_labels_never_enter_the_fit(tmp_path, fitted, table):
    emb = read_embeddings(table)
    shuffled = np.random.default_rng(1).permutation(emb.labels)
    for name, labels in {"shuffled": shuffled, "none": None}.items():
        write_embeddings(Embeddings(emb.ids, emb.X, labels=labels), tmp_path / f"{name}.npz")
        succeed("fit", tmp_path / f"{name}.npz", "-o", tmp_path / name, "--n-clusters", 3)
        assert clusters_of(tmp_path / name) == clusters_of(fitted)
    assert open_taxonomy(tmp_path / "none").read_run()["scores"] is None


def test_the_run_is_written_down(fitted, table):
    run = open_taxonomy(fitted).read_run()
    assert run["command"] == f"holdfast fit {table} --out {fitted} --n-clusters 3"
    assert run["source"] == str(table)
    assert (run["n"], run["d"], run["n_clusters"], run["seed"], run["device"]) == (60, 6, 3, 0, "cpu")
    assert run["parameters"]["n_clusters"] == 3
    assert run["start"] in run["evidence"]
    assert run["evidence"]["result"] >= run["evidence"][run["start"]]
    assert {"read", "fit", "quality", "write", "report"} <= set(run["seconds"])
    assert {"holdfast", "torch", "scikit-learn"} <= set(run["versions"])
    assert run["quarantined"] == []
    assert run["scores"]["result"]["acc"] == 1.0


def test_a_command_can_be_repeated_to_the_last_byte_of_the_clusters(tmp_path, fitted, table):
    succeed("fit", table, "-o", tmp_path / "again", "--n-clusters", 3)
    name = "assignments/1.parquet"
    assert (tmp_path / "again" / name).read_bytes() == (fitted / name).read_bytes()


def test_the_data_decide_the_number_of_clusters(tmp_path, table):
    found = succeed_json("fit", table, "-o", tmp_path / "out")
    count = found["cluster_count"]
    assert found["n_clusters"] == count["n_clusters"]
    assert count["low"] <= count["n_clusters"] <= count["high"]
    assert count["message"] in succeed("fit", table, "-o", tmp_path / "out", "--overwrite")


def test_a_table_may_be_replaced_by_the_taxonomy_it_came_from(tmp_path, fitted):
    """The vectors of a taxonomy are a table; fitting them again over the same folder loses nothing."""
    out = tmp_path / "out"
    shutil.copytree(fitted, out)
    vectors = out / "vectors" / "part-00001.parquet"
    found = succeed_json("fit", vectors, "-o", out, "--overwrite", "--n-clusters", 3)
    assert [cluster["size"] for cluster in found["clusters"]] == [20, 20, 20]
    assert len(open_taxonomy(out).load_embeddings()) == 60


# --- assign ---------------------------------------------------------------------------------------------


def test_assign_gives_the_fitted_items_the_clusters_of_the_fit(fitted, table):
    known = open_taxonomy(fitted).load_assignments()
    found = succeed_json("assign", fitted, table)
    assert found["n"] == 60
    assert [item["id"] for item in found["items"]] == known.ids.tolist()
    assert [item["cluster"] for item in found["items"]] == known.cluster.tolist()
    np.testing.assert_allclose(
        [item["confidence"] for item in found["items"]], known.confidence, atol=0.5001e-4
    )


def test_assign_places_new_items_with_their_group(tmp_path, fitted, table):
    new = make_table(tmp_path / "new.csv", n=9, seed=5)
    before = files_below(fitted)
    text = succeed("assign", fitted, new)
    header, *rows = text.splitlines()
    assert header == "id,cluster,confidence"
    assert [int(row.split(",")[1]) for row in rows] == clusters_of(fitted)[:9]
    assert files_below(fitted) == before


def test_assign_runs_the_model_where_it_is_told(fitted, table, monkeypatch):
    """Torch's meta device is everywhere and holds no values: a model that is there cannot answer."""
    monkeypatch.setattr("holdfast.training.batches.resolve_device", torch.device)
    assigned, _ = answers.assign(fitted, table, flow.silent, device="cpu")
    assert assigned.cluster.tolist() == clusters_of(fitted)
    with pytest.raises((NotImplementedError, RuntimeError), match=r"meta|scalarType"):  # torch says either
        answers.assign(fitted, table, flow.silent, device="meta")


def test_assign_writes_a_table(tmp_path, fitted, table):
    for name in ("a.csv", "a.parquet"):
        assert succeed("assign", fitted, table, "-o", tmp_path / name).splitlines()[-1] == str(
            tmp_path / name
        )
    stored = pq.read_table(tmp_path / "a.parquet").to_pydict()
    assert list(stored) == ["id", "cluster", "confidence"]
    assert stored["cluster"] == clusters_of(fitted)
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 61


def test_assign_embeds_images_with_the_encoder_of_the_taxonomy(tmp_path, album):
    succeed(*run_words(album, tmp_path / "out"))
    found = succeed_json("assign", tmp_path / "out", album / "photos")  # its encoder is known
    assert [item["cluster"] for item in found["items"]] == clusters_of(tmp_path / "out")


def test_a_terminal_is_shown_a_table_and_no_more_than_it_can_take():
    rows = [(f"id-{row}", row % 3, 0.5) for row in range(60)]
    text = rendered(present._assignment_table(rows))
    assert "id-49" in text
    assert "id-50" not in text
    assert "10 more items" in text


# --- evaluate and report --------------------------------------------------------------------------------


def test_evaluate_scores_the_collection_with_its_own_labels(fitted, table):
    found = succeed_json("evaluate", fitted)
    assert found["scores"] == metrics.score(read_embeddings(table).labels, clusters_of(fitted))
    assert found["sizes"] == {"0": 20, "1": 20, "2": 20}
    assert found["evidence"] == open_taxonomy(fitted).read_run()["evidence"]
    assert found["silhouette"]["low"] <= found["silhouette"]["value"] <= found["silhouette"]["high"]


def test_evaluate_predicts_another_table(tmp_path, fitted):
    emb = make_embeddings(n=30, seed=9)
    wrong = emb.labels.copy()
    wrong[:3] = np.roll(wrong[:3], 1)  # the first three rows are one of each group: now all three are wrong
    write_embeddings(Embeddings(emb.ids, emb.X, labels=wrong), tmp_path / "held_out.npz")
    found = succeed_json("evaluate", fitted, tmp_path / "held_out.npz")
    assert found["n"] == 30
    assert found["scores"]["acc"] == pytest.approx(27 / 30)
    assert "ACC" in succeed("evaluate", fitted, tmp_path / "held_out.npz")


def test_evaluate_without_labels_still_says_what_can_be_said(tmp_path):
    bare = make_table(tmp_path / "bare.npz", labels=False)
    succeed("fit", bare, "-o", tmp_path / "out", "--n-clusters", 3)
    assert succeed_json("evaluate", tmp_path / "out")["scores"] is None
    text = succeed("evaluate", tmp_path / "out")
    assert "ACC" not in text.splitlines()[1]
    assert "No labels came with the vectors" in text


def test_report_makes_the_same_report_again(tmp_path, fitted):
    out = tmp_path / "out"
    shutil.copytree(fitted, out)
    (out / "report.html").unlink()
    assert succeed("report", out) == f"{out}/report.html\n"
    remade = (out / "report.html").read_text(encoding="utf-8")
    assert "60 items in 3 clusters" in remade
    assert succeed_json("report", out, "-o", tmp_path / "copy.html")["report"] == str(tmp_path / "copy.html")
    assert (tmp_path / "copy.html").read_text(encoding="utf-8") == remade


# --- images ---------------------------------------------------------------------------------------------


def test_embed_writes_the_table_that_run_clusters(tmp_path, album):
    found = succeed_json(
        "embed", album / "photos", "-o", tmp_path / "e.parquet", "--encoder", album / "encoder"
    )
    emb = read_embeddings(tmp_path / "e.parquet")
    assert (found["n"], found["d"], found["encoder"]) == (24, 16, emb.encoder)
    np.testing.assert_allclose(np.linalg.norm(emb.X, axis=1), 1, rtol=1e-5)
    succeed(*run_words(album, tmp_path / "run"))
    succeed("fit", tmp_path / "e.parquet", "-o", tmp_path / "fit", "--n-clusters", 2)
    assert clusters_of(tmp_path / "run") == clusters_of(tmp_path / "fit")


def test_run_shows_the_pictures_and_scores_by_class_folder(tmp_path, album):
    found = succeed_json(*run_words(album, tmp_path / "out"))
    assert found["scores"]["result"]["acc"] == 1.0
    assert files_below(tmp_path / "out").keys() == {
        "run.json",
        "report.html",
        "versions/1/manifest.json",
        "versions/1/tensors.safetensors",
        "assignments/1.parquet",
        "vectors/part-00001.parquet",
    }
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert report.count("data:image/") >= 24
    run = open_taxonomy(tmp_path / "out").read_run()
    assert run["encoder"] == str(album / "encoder")
    assert run["encoder_recipe"] == open_taxonomy(tmp_path / "out").load_embeddings().encoder


def test_a_run_killed_while_it_fits_does_not_embed_again(tmp_path, album, monkeypatch):
    photos, out = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(album / "photos", photos)
    words = ("run", photos, "-o", out, "--n-clusters", 2, "--encoder", album / "encoder")
    with monkeypatch.context() as patch:
        patch.setattr(holdfast.ConsensusClustering, "fit", interrupted)
        result = invoke(*words)
    assert result.exit_code == 130
    assert result.stderr.startswith("holdfast run: Interrupted: no taxonomy was written; the same command")
    assert [entry.name for entry in out.iterdir()] == [".embedding"]

    (photos / "red" / "01.png").write_bytes((photos / "red" / "03.png").read_bytes())
    embedded = []
    stream = Embedder.stream

    def remembering(self, images):
        embedded.extend(path.name for path in images)
        return stream(self, images)

    monkeypatch.setattr(Embedder, "stream", remembering)
    succeed(*words)
    assert embedded == ["01.png"], "only what has changed since"
    assert not (out / ".embedding").exists()
    vectors = open_taxonomy(out).load_embeddings()
    by_id = dict(zip(vectors.ids.tolist(), vectors.X, strict=True))
    np.testing.assert_array_equal(by_id["red/01.png"], by_id["red/03.png"])


def test_a_run_interrupted_before_it_has_anything_leaves_nothing(tmp_path, album, monkeypatch):
    monkeypatch.setattr(Embedder, "stream", interrupted)
    result = invoke(*run_words(album, tmp_path / "out"))
    assert result.exit_code == 130
    assert list(tmp_path.iterdir()) == []


def interrupted(*_args, **_more):
    raise KeyboardInterrupt


def test_pictures_that_have_gone_do_not_stop_the_report(tmp_path, album):
    photos = tmp_path / "photos"
    shutil.copytree(album / "photos", photos)
    succeed("run", photos, "-o", tmp_path / "out", "--n-clusters", 2, "--encoder", album / "encoder")
    shutil.rmtree(photos / "red")
    result = invoke("report", tmp_path / "out")
    assert result.exit_code == 0
    assert "red/01.png does not exist" in result.stderr


# --- demo -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo, its last words, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("demo")
    begin = time.perf_counter()
    text = succeed("demo", "-o", folder / "demo")
    return folder / "demo", text, time.perf_counter() - begin


def test_the_demo_groups_the_digits_without_their_labels(demo):
    out, text, seconds = demo
    assert text.splitlines()[-1] == str(out / "report.html")
    assert "1,797 items in 10 clusters" in text
    run = open_taxonomy(out).read_run()
    assert run["scores"]["result"]["acc"] > 0.8
    assert run["evidence"]["result"] >= run["evidence"][run["start"]]
    assert seconds < 60


def test_the_demo_shows_digits_again_when_its_report_is_made_anew(demo):
    out, _, _ = demo
    first = (out / "report.html").read_text(encoding="utf-8").count("data:image/")
    succeed("report", out)
    assert (out / "report.html").read_text(encoding="utf-8").count("data:image/") == first > 100


def test_digits_are_dark_ink_on_white():
    from holdfast.cli.sources import load_digits, pictures_of

    collection = load_digits()
    image = pictures_of(collection.emb, collection.pictures)(0)
    assert image.size == (64, 64)
    assert image.getpixel((0, 0)) == (255, 255, 255)
    ink = 255 - np.asarray(open_image(image).convert("L").resize((8, 8)), dtype=float)
    assert np.corrcoef(ink.ravel(), collection.emb.X[0])[0, 1] > 0.9


def test_a_demo_replaces_a_demo_and_nothing_else(tmp_path, fitted, monkeypatch):
    from holdfast.cli import sources

    small = sources.Collection(make_embeddings(), "a small stand-in")
    monkeypatch.setattr(flow, "load_digits", lambda: small)
    for _ in range(2):
        succeed("demo", "-o", tmp_path / "demo", "--n-clusters", 3)
    shutil.copytree(fitted, tmp_path / "work")
    result = invoke("demo", "-o", tmp_path / "work")
    assert result.exit_code == 2
    assert "holds a taxonomy already" in result.stderr


# --- when the work fails --------------------------------------------------------------------------------


@pytest.fixture
def fails(monkeypatch, tmp_path):
    """Run a fit whose work raises an error."""

    def run(error, *words):
        def raising(*_args):
            raise error

        monkeypatch.setattr(flow, "fit_table", raising)
        return invoke("fit", "emb.npz", "-o", tmp_path / "out", *words)

    return run


def test_an_unexpected_error_is_one_sentence_with_a_way_on(fails):
    result = fails(ZeroDivisionError("division by zero"))
    assert result.exit_code == 1
    assert result.stderr == (
        "holdfast fit: The work failed (ZeroDivisionError: division by zero): "
        "run it again with --debug to see where.\n"
    )
    assert result.stdout == ""


def test_debug_shows_where(fails):
    result = fails(ZeroDivisionError("division by zero"), "--debug")
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "in raising" in result.stderr


def test_failed_training_is_not_the_users_fault(fails):
    result = fails(TrainingError("The loss is not finite after 3 rollbacks: lower learning_rate."))
    assert result.exit_code == 1
    assert result.stderr == ("holdfast fit: The loss is not finite after 3 rollbacks: lower learning_rate.\n")


def test_an_interruption_has_its_own_code(fails):
    result = fails(KeyboardInterrupt())
    assert result.exit_code == 130
    assert result.stderr == "holdfast fit: Interrupted: nothing was written.\n"


def test_a_missing_library_is_named_with_its_extra(tmp_path, album, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    result = invoke(*run_words(album, tmp_path / "out"))
    assert result.exit_code == 2
    assert "pip install 'holdfast[embed]'" in result.stderr
    assert not (tmp_path / "out").exists()


# --- the screen -----------------------------------------------------------------------------------------


def rendered(*parts, **options):
    console = Console(file=io.StringIO(), width=100, **options)
    console.print(*parts)
    return console.file.getvalue()


def test_names_of_files_cannot_command_the_terminal(tmp_path):
    assert printable("a\x1b[2Jb\nc\udcff") == "a\\x1b[2Jb\\nc\\udcff"
    emb = make_embeddings()
    ids = [f"\x1b[2J[red]{row}" for row in range(60)]
    write_embeddings(Embeddings(ids, emb.X), tmp_path / "e.npz")
    text = succeed("fit", tmp_path / "e.npz", "-o", tmp_path / "out", "--n-clusters", 3)
    assert "\x1b[2J" not in text
    assert "\\x1b[2J[red]" in text


def test_many_clusters_are_summed_up():
    from holdfast.report import build_report

    emb = make_embeddings(n=150)
    model = DEC(n_clusters=30, random_state=0, pretrain_epochs=0, max_epochs=0).fit(emb.X)
    text = rendered(present._cluster_table(build_report(model, emb)))
    assert "10 more clusters" in text


@pytest.mark.parametrize(("as_json", "terminal", "drawn"), [(0, 1, True), (1, 1, False), (0, 0, False)])
def test_progress_is_drawn_on_a_terminal_only(as_json, terminal, drawn):
    screen = Screen(as_json=bool(as_json), debug=False)
    screen._err = Console(file=io.StringIO(), force_terminal=bool(terminal), width=100)
    with screen.progress() as watch:
        watch("start", 0, 0)
        watch("embed", 3, 10)
    shown = screen._err.file.getvalue()
    assert all(part in shown for part in ("starting", "start", "embed", "3/10")) is drawn
    assert bool(shown) is drawn


def test_warnings_of_ours_are_one_line_and_those_of_others_are_silent(capsys):
    import warnings

    screen = Screen(as_json=False, debug=False)
    with screen.hearing():
        warnings.warn("DEC stopped early; raise max_epochs.", NotConvergedWarning, stacklevel=1)
        warnings.warn("something internal", DeprecationWarning, stacklevel=1)
    assert capsys.readouterr().err == "Note: DEC stopped early; raise max_epochs.\n"
