"""The taxonomy folder: whole or not at all, and what comes back is what went in."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from commands import files_below, make_embeddings
from holdfast import DEC, Embeddings, read_embeddings, write_embeddings
from holdfast.exceptions import ModelFileError, OutputError
from holdfast.taxonomy import (
    WORK_FOLDER,
    AssignmentTable,
    TaxonomyFolder,
    check_target,
    create_taxonomy,
    is_taxonomy,
    open_taxonomy,
    write_assignments,
)
from holdfast.taxonomy.vectors import precision


@pytest.fixture(scope="module")
def fitted():
    emb = make_embeddings(encoder="cafe")
    return DEC(n_clusters=3, random_state=0).fit(emb.X), emb


@pytest.fixture
def folder(tmp_path, fitted):
    """A complete taxonomy of 60 items in 3 clusters."""
    write(tmp_path / "out", fitted)
    return tmp_path / "out"


RUN = {
    "cluster_count": None, "command": "holdfast fit", "d": 6, "device": "cpu", "encoder": None,
    "encoder_recipe": "cafe", "evidence": {"result": 0.5}, "n_clusters": 3, "quarantined": [], "seconds": {},
    "source": "blobs.parquet", "start": "kmeans", "started": "2026-01-01T00:00:00+00:00",
}  # fmt: skip


def write(target, fitted, *, overwrite=False, note="first"):
    model, emb = fitted
    with create_taxonomy(target, overwrite=overwrite) as taxonomy:
        taxonomy.write_fit(model, emb)
        taxonomy.write_run({**RUN, "note": note})


def interrupt_write(target, fitted):
    with create_taxonomy(target, overwrite=True) as taxonomy:
        taxonomy.write_fit(*fitted)
        raise KeyboardInterrupt


class Fixed:
    """An estimator whose answers are known."""

    def predict(self, X):
        return np.array([0, 1, 1])

    def predict_proba(self, X):
        return np.array([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]], dtype=np.float32)


# --- what is in it --------------------------------------------------------------------------------------


def test_the_layout_is_the_documented_one(folder):
    assert set(files_below(folder)) == {
        "run.json",
        "versions/1/manifest.json",
        "versions/1/tensors.safetensors",
        "assignments/1.parquet",
        "vectors/part-00001.parquet",
    }


def test_who_may_read_is_the_umasks_business(tmp_path, fitted):
    before = os.umask(0o027)
    try:
        write(tmp_path / "out", fitted)
        for suffix in (".parquet", ".npz", ".npy", ".csv"):
            write_embeddings(Embeddings(["a"], np.ones((1, 2), dtype=np.float32)), tmp_path / f"emb{suffix}")
    finally:
        os.umask(before)
    modes = {(path.is_dir(), path.stat().st_mode & 0o777) for path in tmp_path.rglob("*")}
    assert modes == {(True, 0o750), (False, 0o640)}


def test_what_comes_back_is_what_went_in(folder, fitted):
    model, emb = fitted
    taxonomy = open_taxonomy(folder)
    stored, assigned = taxonomy.load_embeddings(), taxonomy.load_assignments()
    assert taxonomy.read_run()["note"] == "first"
    assert stored.encoder == "cafe"
    for name in ("ids", "labels"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(emb, name))
    np.testing.assert_array_equal(stored.X, emb.X.astype(np.float16))
    np.testing.assert_array_equal(assigned.ids, emb.ids)
    np.testing.assert_array_equal(assigned.cluster, model.labels_)
    np.testing.assert_array_equal(assigned.confidence, model.predict_proba(emb.X).max(axis=1))
    np.testing.assert_array_equal(taxonomy.load_model().predict(emb.X), model.labels_)


def test_the_vectors_are_a_table_like_any_other(folder, fitted):
    emb = read_embeddings(folder / "vectors" / "part-00001.parquet")
    assert len(emb) == len(fitted[1])


def test_parts_are_read_as_one_collection(folder, fitted):
    more = make_embeddings(n=9, seed=1, encoder="cafe")
    more = Embeddings([f"new-{row}" for row in range(9)], more.X, labels=more.labels, encoder="cafe")
    write_embeddings(more, folder / "vectors" / "part-00002.parquet")
    stored = open_taxonomy(folder).load_embeddings()
    assert stored.ids.tolist() == [*fitted[1].ids.tolist(), *more.ids.tolist()]
    assert stored.labels.tolist() == [*fitted[1].labels.tolist(), *more.labels.tolist()]
    np.testing.assert_array_equal(stored.X[60:], more.X)


def test_confidence_is_the_probability_of_the_own_cluster_and_none_for_noise():
    emb = Embeddings(["a", "b", "c"], np.eye(3, 2))
    assert AssignmentTable.predicted(Fixed(), emb).confidence.tolist() == [0.75, 0.5, 0.875]
    model = Fixed()
    model.labels_ = np.array([1, -1, 0])
    known = AssignmentTable.fitted(model, emb)
    assert known.cluster.tolist() == [1, -1, 0]
    assert known.confidence.tolist() == [0.25, 0.0, 0.125]


def test_what_a_fit_says_of_its_rows_is_not_computed_again(folder, fitted):
    model, emb = fitted
    table = AssignmentTable.fitted(model, emb)
    np.testing.assert_array_equal(table.confidence, model.predict_proba(emb.X).max(axis=1), strict=True)
    np.testing.assert_array_equal(table.cluster, model.labels_)
    np.testing.assert_array_equal(open_taxonomy(folder).load_assignments().confidence, table.confidence)
    known = Fixed()
    known.labels_, known.probabilities_ = np.array([1, -1, 0]), np.array([0.9, 0.8, 0.7])
    rows = Embeddings(["a", "b", "c"], np.eye(3, 2))
    np.testing.assert_allclose(AssignmentTable.fitted(known, rows).confidence, [0.9, 0, 0.7])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_assignments_can_be_written_as(tmp_path, suffix):
    table = AssignmentTable(
        np.array(["a,1", 'b"2']), np.array([3, -1]), np.array([0.5, 0.0], dtype=np.float32)
    )
    path = tmp_path / f"t{suffix}"
    write_assignments(table, path)
    if suffix == ".csv":
        assert path.read_text() == '"id","cluster","confidence"\n"a,1",3,0.5\n"b""2",-1,0\n'
    else:
        assert pq.read_table(path).to_pydict() == {
            "id": ["a,1", 'b"2'],
            "cluster": [3, -1],
            "confidence": [0.5, 0.0],
        }


def test_half_precision_is_used_only_where_it_suffices():
    rows = make_embeddings().X
    assert precision(rows / np.linalg.norm(rows, axis=1, keepdims=True)) == "float16"
    assert precision(rows * 1e6) == "float32"  # beyond what half precision can hold
    assert precision(rows / 1e6) == "float32"  # below it
    assert precision(rows + 2000) == "float32"  # held, but blurred: its step at 2000 is 1


# --- whole or not at all --------------------------------------------------------------------------------


def test_an_interrupted_write_leaves_the_old_taxonomy_untouched(folder, fitted):
    before = files_below(folder.parent)
    with pytest.raises(KeyboardInterrupt):
        interrupt_write(folder, fitted)
    assert files_below(folder.parent) == before


def test_an_interrupted_write_leaves_nothing_where_nothing_was(tmp_path, fitted):
    with pytest.raises(KeyboardInterrupt):
        interrupt_write(tmp_path / "out", fitted)
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_taxonomy_is_replaced_only_when_told_so(folder, fitted):
    sentence = f"{folder} holds a taxonomy already: give another folder, or replace it with --overwrite."
    for refuse in (lambda: check_target(folder), lambda: write(folder, fitted, note="second")):
        with pytest.raises(OutputError) as caught:
            refuse()
        assert str(caught.value) == sentence
    write(folder, fitted, overwrite=True, note="second")
    assert open_taxonomy(folder).read_run()["note"] == "second"
    assert [entry.name for entry in folder.parent.iterdir()] == ["out"]


def test_a_replaced_taxonomy_leaves_nothing_of_itself_behind(folder, fitted):
    write_embeddings(make_embeddings(n=9), folder / "vectors" / "part-00002.parquet")
    write(folder, fitted, overwrite=True)
    assert len(open_taxonomy(folder).load_embeddings()) == 60


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["holiday.jpg", "report.html", "versions"])
def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path, name, overwrite):
    """Not even one that holds names of ours: only run.json tells a taxonomy."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("precious")
    with pytest.raises(OutputError) as caught:
        check_target(tmp_path / "mine", overwrite=overwrite)
    assert str(caught.value) == (
        f"{tmp_path}/mine holds {name!r}, which would be lost: give another folder, or empty this one."
    )
    assert files_below(tmp_path) == {f"mine/{name}": b"precious"}


def test_a_stranger_among_our_files_keeps_the_folder(folder):
    (folder / "notes.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"holds 'notes\.txt', which would be lost"):
        check_target(folder, overwrite=True)


def test_an_unfinished_run_is_no_obstacle(tmp_path, fitted):
    (tmp_path / "out" / WORK_FOLDER).mkdir(parents=True)
    check_target(tmp_path / "out")
    write(tmp_path / "out", fitted)
    assert not (tmp_path / "out" / WORK_FOLDER).exists()


def test_looking_at_the_target_leaves_no_trace(tmp_path):
    check_target(tmp_path / "out")
    check_target(tmp_path / "a" / "b" / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file; give the name of a folder to write"):
        check_target(tmp_path / "file")
    with pytest.raises(OutputError, match=r"Cannot write .*file/out \(.*file is a file\): give another"):
        check_target(tmp_path / "file" / "out")


# --- damage ---------------------------------------------------------------------------------------------


def test_a_folder_is_recognised_by_its_run(folder, tmp_path):
    assert is_taxonomy(folder)
    assert not is_taxonomy(tmp_path)
    assert not is_taxonomy(tmp_path / "nowhere")


def spoil_run(folder, text):
    (folder / "run.json").write_text(text)


RUNS = {
    "no JSON": ("{", "cannot be used"),
    "no object": ("[]", "cannot be used (it is no JSON object)"),
    "foreign": ("{}", "was not written by holdfast"),
    "newer": (
        json.dumps({"format": "holdfast taxonomy", "schema_version": 2}),
        "has schema version 2, this holdfast reads 1: upgrade holdfast.",
    ),
}


@pytest.mark.parametrize("case", RUNS)
def test_a_run_that_cannot_be_understood_is_named(folder, case):
    text, sentence = RUNS[case]
    spoil_run(folder, text)
    with pytest.raises(ModelFileError) as caught:
        open_taxonomy(folder)
    assert str(caught.value).startswith(f"{folder}/run.json ")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("key", RUN)
def test_a_run_without_a_key_that_is_read_is_named(folder, key):
    run = open_taxonomy(folder).read_run()
    assert_damaged(folder, {**run, key: 1.5}, f"its {key!r} is 1.5")
    assert_damaged(
        folder, {name: value for name, value in run.items() if name != key}, f"its {key!r} is missing"
    )


def assert_damaged(folder, run, reason):
    spoil_run(folder, json.dumps(run))
    with pytest.raises(ModelFileError) as caught:
        open_taxonomy(folder)
    sentence = f"{folder}/run.json cannot be used ({reason}): restore it or run the fit again."
    assert str(caught.value) == sentence


def test_a_folder_without_a_run_is_no_taxonomy(tmp_path):
    with pytest.raises(ModelFileError) as caught:
        open_taxonomy(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is no taxonomy folder (run.json is missing): give one that fit or run wrote."
    )
    with pytest.raises(ModelFileError) as caught:
        open_taxonomy(tmp_path / "nowhere")
    assert str(caught.value) == (
        f"{tmp_path}/nowhere is no taxonomy folder (it does not exist): give one that fit or run wrote."
    )


@pytest.mark.parametrize(
    ("victim", "load"),
    [
        ("assignments/1.parquet", TaxonomyFolder.load_assignments),
        ("vectors/part-00001.parquet", TaxonomyFolder.load_embeddings),
        ("versions/1/tensors.safetensors", TaxonomyFolder.load_model),
    ],
)
def test_a_truncated_or_missing_file_is_named(folder, victim, load):
    path = folder / victim
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ModelFileError, match=path.name):
        load(open_taxonomy(folder))
    path.unlink()
    with pytest.raises(ModelFileError, match=rf"{path.name}|holds no vectors"):
        load(open_taxonomy(folder))
