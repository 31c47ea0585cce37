"""Bad input through the command line: exit code 2, one sentence with file, row and remedy, nothing written.

The sentences are written out here word for word; ``T`` stands for the folder of the test.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from commands import (
    files_below,
    invoke,
    make_blobs,
    make_encoder,
    make_photos,
    make_table,
    succeed,
    succeed_json,
)

X, Y = make_blobs()


def spoiled(X, **cells):
    """Return a copy of X with values put into rows: ``r7=nan`` spoils row 7."""
    copy = X.copy()
    for name, value in cells.items():
        copy[int(name[1:]), 2] = value
    return copy


def repeated(row, of):
    ids = [f"id-{number}" for number in range(len(X))]
    ids[row] = ids[of]
    return ids


def npy(X):
    return lambda path: np.save(path, X)


def npz(**arrays):
    return lambda path: np.savez(path, **arrays)


def text(content):
    return lambda path: path.write_text(content)


@dataclass(frozen=True)
class Table:
    """A table that cannot be clustered: its name, how it is made, and what is said of it."""

    name: str
    make: object
    sentence: str
    options: tuple = ()


TABLES = {
    "missing file": Table(
        "none.parquet", lambda path: None, "T/none.parquet does not exist: check the path."
    ),
    "unknown suffix": Table(
        "emb.txt",
        text("1 2 3"),
        "T/emb.txt has an unknown suffix: give a file ending in .parquet, .npz, .npy or .csv.",
    ),
    "a folder": Table(
        "images",
        lambda path: path.mkdir(),
        "T/images is a folder: give a table of embeddings, or use holdfast run for images.",
    ),
    "ragged rows": Table(
        "ragged.csv",
        text('embeddings\n"[1, 2]"\n"[1]"\n'),
        "T/ragged.csv: row 1 on line 3 has 1 values and row 0 has 2: give all rows the same width.",
    ),
    "NaN": Table(
        "nan.npy",
        npy(spoiled(X, r7=np.nan)),
        "T/nan.npy: X has a NaN or an infinity in row 7: remove them or fill the gaps.",
    ),
    "infinity, with ids": Table(
        "inf.npz",
        npz(X=spoiled(X, r9=np.inf, r11=-np.inf), ids=repeated(0, 0)),
        "T/inf.npz: X has a NaN or an infinity in row 9 (id 'id-9') and one more row: "
        "remove them or fill the gaps.",
    ),
    "zero rows": Table(
        "zero.npy", npy(X[:0]), "T/zero.npy: X has 0 rows and 6 columns: give at least one of each."
    ),
    "one row": Table(
        "one.npy", npy(X[:1]), "T/one.npy has only 1 item: give at least 2.", ("--n-clusters", "auto")
    ),
    "fewer rows than clusters": Table(
        "few.npy",
        npy(X[:4]),
        "T/few.npy has 4 items, fewer than the 5 clusters asked for: give at least 5.",
        ("--n-clusters", "5"),
    ),
    "constant data": Table(
        "constant.npy",
        npy(np.ones((20, 3), dtype=np.float32)),
        "T/constant.npy: all 20 rows are equal, so there is nothing to tell apart; "
        "check how the embeddings were made.",
    ),
    "duplicate ids": Table(
        "twice.npz",
        npz(X=X, ids=repeated(5, of=3)),
        "T/twice.npz: The id 'id-3' is in row 3 and in row 5: rename or drop one of them.",
    ),
    "wrong label length": Table(
        "labels.npz",
        npz(X=X, labels=Y[:-1]),
        "T/labels.npz: labels has 59 entries for 60 rows of X: give one per row.",
    ),
}

OPTIONS = {
    ("--n-clusters", "many"): "--n-clusters must be auto or a whole number of at least 2, not 'many'.",
    ("--n-clusters", "1"): "--n-clusters must be auto or a whole number of at least 2, not '1'.",
    ("--n-clusters", "-3"): "--n-clusters must be auto or a whole number of at least 2, not '-3'.",
    (
        "--method",
        "magic",
    ): "method must be one of 'consensus', 'dec', 'idec', 'dirichlet', 'density', not 'magic'.",
    ("--init", "magic"): "init must be one of 'auto', 'kmeans', 'graph', not 'magic'.",
    ("--init", "kmeans"): (
        "--init is for the methods dec and idec, not for consensus: leave it out, or choose --method dec."
    ),
    ("--method", "dec", "--fast"): (
        "--fast is for the method consensus, not for dec: leave it out, or choose --method consensus."
    ),
    ("--method", "idec", "--min-confidence", "0.8"): (
        "--min-confidence is for the methods consensus and density, not for idec: leave it out, or choose "
        "--method consensus."
    ),
    ("--min-confidence", "1.5"): "min_confidence must be a number in [0, 1], not 1.5.",
    ("--min-confidence", "nan"): "min_confidence must be a number in [0, 1], not nan.",
    ("--seed", "-1"): "seed must be an integer from 0 to 4294967295, not -1.",
    ("--seed", "4294967296"): "seed must be an integer from 0 to 4294967295, not 4294967296.",
    ("--device", "toaster"): (
        "device='toaster' cannot be used on this machine; choose 'auto' or 'cpu', which always work."
    ),
}


@pytest.fixture(scope="module")
def taxonomy(tmp_path_factory):
    """A taxonomy of 60 vectors of width 6, made by the encoder "cafe"."""
    folder = tmp_path_factory.mktemp("taxonomy")
    table = make_table(folder / "emb.parquet", encoder="cafe")
    succeed("fit", table, "-o", folder / "out", "--n-clusters", 3)
    return folder / "out"


@pytest.fixture(scope="module")
def photo_taxonomy(tmp_path_factory):
    """A taxonomy of photographs, the photographs, and the encoder, in one folder."""
    folder = tmp_path_factory.mktemp("photo_taxonomy")
    photos, encoder = make_photos(folder / "photos"), make_encoder(folder / "encoder")
    succeed("run", photos, "-o", folder / "out", "--n-clusters", 2, "--encoder", encoder)
    return folder


def refused(tmp_path, *words):
    """Run a command that must be refused; return its sentence with the test's folder written as T."""
    before = files_below(tmp_path)
    result = invoke(*words)
    assert result.exit_code == 2, result.exception
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert files_below(tmp_path) == before, "a refused command wrote something"
    (line,) = result.stderr.splitlines()
    name, _, sentence = line.partition(": ")
    assert name == f"holdfast {words[0]}"
    return sentence.replace(str(tmp_path), "T")


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_cannot_be_clustered(tmp_path, case):
    table = TABLES[case]
    table.make(tmp_path / table.name)
    options = table.options or ("--n-clusters", "3")
    assert refused(tmp_path, "fit", tmp_path / table.name, "-o", tmp_path / "out", *options) == table.sentence


@pytest.mark.parametrize("option", OPTIONS, ids=" ".join)
def test_an_option_that_makes_no_sense(tmp_path, option):
    table = make_table(tmp_path / "emb.npz")
    assert refused(tmp_path, "fit", table, "-o", tmp_path / "out", *option) == OPTIONS[option]


def test_options_are_looked_at_before_images_are_embedded(tmp_path):
    photos = make_photos(tmp_path / "photos", n=4)
    few = refused(tmp_path, "run", photos, "-o", tmp_path / "out", "--n-clusters", 9, "--encoder", "no/such")
    assert few == "T/photos has 4 items, fewer than the 9 clusters asked for: give at least 9."
    words = ("run", photos, "-o", tmp_path / "out", "--init", "x", "--encoder", "no/such")
    assert refused(tmp_path, *words) == "init must be one of 'auto', 'kmeans', 'graph', not 'x'."


# --- the output -----------------------------------------------------------------------------------------


def test_an_output_below_a_file_is_refused_before_the_table_is_read(tmp_path):
    (tmp_path / "file").write_text("")
    sentence = refused(tmp_path, "fit", tmp_path / "no.npy", "-o", tmp_path / "file" / "out")
    assert sentence == ("Cannot write T/file/out (T/file is a file): give another folder.")


def test_what_is_wrong_from_the_start_is_said_before_the_table_is_read(tmp_path):
    """A broken table is as good as a huge one: nobody should have looked at it."""
    (tmp_path / "huge.csv").write_text("broken")
    words = ("fit", tmp_path / "huge.csv", "-o", tmp_path / "out")
    for option, sentence in OPTIONS.items():
        assert refused(tmp_path, *words, *option) == sentence


def test_a_refused_command_leaves_no_folders_behind(tmp_path):
    words = ("fit", tmp_path / "missing.parquet", "-o", tmp_path / "a" / "b" / "c")
    assert refused(tmp_path, *words) == "T/missing.parquet does not exist: check the path."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_a_folder_of_the_users_is_never_replaced(tmp_path, overwrite):
    table = make_table(tmp_path / "emb.npz")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    assert refused(tmp_path, "fit", table, "-o", tmp_path / "mine", *overwrite) == (
        "T/mine holds 'thesis.tex', which would be lost: give another folder, or empty this one."
    )


def test_a_taxonomy_is_not_replaced_by_accident(tmp_path):
    table = make_table(tmp_path / "emb.npz")
    words = ("fit", table, "-o", tmp_path / "out", "--n-clusters", 3)
    succeed(*words)
    assert refused(tmp_path, *words) == (
        "T/out holds a taxonomy already: give another folder, or replace it with --overwrite."
    )
    succeed(*words, "--overwrite")


@pytest.mark.parametrize("name", ["table.xlsx", "folder.csv"])
def test_assignments_go_to_a_file_of_a_known_kind(tmp_path, taxonomy, name):
    (tmp_path / "folder.csv").mkdir()
    sentence = refused(tmp_path, "assign", taxonomy, tmp_path / "no.npy", "-o", tmp_path / name)
    assert (
        sentence
        == {
            "table.xlsx": "Cannot write T/table.xlsx: its name must end in .parquet or .csv.",
            "folder.csv": "T/folder.csv is a folder; give the name of a file to write.",
        }[name]
    )


def test_embeddings_go_to_a_file_of_a_known_kind_and_the_encoder_is_not_loaded_before(tmp_path):
    photos = make_photos(tmp_path / "photos", n=2)
    assert refused(tmp_path, "embed", photos, "-o", tmp_path / "emb.txt", "--encoder", "no/such") == (
        "Cannot write T/emb.txt: its name must end in .parquet, .npz, .npy or .csv."
    )


# --- against a taxonomy ---------------------------------------------------------------------------------


def test_vectors_of_another_width(tmp_path, taxonomy):
    table = make_table(tmp_path / "wide.npz", d=7)
    sentence = refused(tmp_path, "assign", taxonomy, table)
    assert sentence == (
        f"T/wide.npz has vectors of width 7 and {taxonomy} was fitted on width 6: "
        "embed the items with the encoder of the taxonomy."
    )
    assert refused(tmp_path, "evaluate", taxonomy, table) == sentence


def test_vectors_of_another_encoder(tmp_path, taxonomy):
    table = make_table(tmp_path / "other.npz", encoder="beef")
    assert refused(tmp_path, "assign", taxonomy, table) == (
        f"T/other.npz was embedded with another encoder (recipe beef) than {taxonomy} (recipe cafe): "
        "embed the items with the same one."
    )


def test_images_for_another_encoder(tmp_path, photo_taxonomy):
    other = make_encoder(tmp_path / "other", seed=1)
    sentence = refused(
        tmp_path, "assign", photo_taxonomy / "out", photo_taxonomy / "photos", "--encoder", other
    )
    assert sentence.startswith("T/other (recipe ")
    assert f"is not the encoder that {photo_taxonomy}/out was made with (recipe " in sentence
    assert sentence.endswith("): name that one with --encoder.")


def test_images_for_vectors_of_an_unknown_encoder(tmp_path):
    succeed("fit", make_table(tmp_path / "emb.npz"), "-o", tmp_path / "out", "--n-clusters", 3)
    photos = make_photos(tmp_path / "photos", n=2)
    assert refused(tmp_path, "assign", tmp_path / "out", photos) == (
        "T/out was fitted on vectors of an unknown encoder: give a table of embeddings, not images."
    )


def test_something_to_assign_that_is_not_there(tmp_path, taxonomy):
    assert refused(tmp_path, "assign", taxonomy, tmp_path / "new") == "T/new does not exist: check the path."


@pytest.mark.parametrize("what", ["table", "photos"])
def test_a_device_that_is_not_there_is_refused_for_tables_and_images(tmp_path, photo_taxonomy, what):
    photos = photo_taxonomy / "photos"
    source = photos if what == "photos" else make_table(tmp_path / "new.npz", d=16)
    out = photo_taxonomy / "out"
    sentence = OPTIONS["--device", "toaster"]
    assert refused(tmp_path, "assign", out, source, "--device", "toaster") == sentence


def test_a_table_without_labels_to_score_against(tmp_path, taxonomy):
    table = make_table(tmp_path / "bare.npz", labels=False)
    assert refused(tmp_path, "evaluate", taxonomy, table) == (
        "T/bare.npz has no labels to score against: add a column label, or leave it out."
    )


@pytest.mark.parametrize("command", ["assign", "evaluate", "report"])
def test_a_folder_that_is_no_taxonomy(tmp_path, command):
    words = (command, tmp_path, tmp_path / "x.npy") if command == "assign" else (command, tmp_path)
    assert refused(tmp_path, *words) == (
        "T is no taxonomy folder (run.json is missing): give one that fit or run wrote."
    )


def test_a_taxonomy_that_was_tampered_with(tmp_path, taxonomy):
    shutil.copytree(taxonomy, tmp_path / "out")
    manifest = tmp_path / "out" / "versions" / "1" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["parameters"]["n_clusters"] = 4
    manifest.write_text(json.dumps(document))
    assert refused(tmp_path, "report", tmp_path / "out") == (
        "T/out/versions/1/manifest.json is damaged (it was changed after it was saved): "
        "restore the folder or save the model again."
    )


# --- images ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "embed"])
def test_a_folder_that_cannot_be_embedded(tmp_path, command):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.jpg").write_text("")
    out = ("-o", tmp_path / "out.parquet", "--encoder", "no/such")
    assert refused(tmp_path, command, tmp_path / "nowhere", *out) == (
        "T/nowhere does not exist; give a folder that holds images."
    )
    assert refused(tmp_path, command, tmp_path / "file.jpg", *out) == (
        "T/file.jpg is a file, not a folder; give the folder that holds the images."
    )
    assert refused(tmp_path, command, tmp_path / "empty", *out).startswith(
        "T/empty holds no image; images are files that end in .avif, .bmp, "
    )


def test_a_broken_image_is_set_aside_and_named(tmp_path):
    photos, encoder = make_photos(tmp_path / "photos"), make_encoder(tmp_path / "encoder")
    whole = (photos / "red" / "01.png").read_bytes()
    (photos / "red" / "01.png").write_bytes(whole[: len(whole) // 2])
    result = invoke("run", photos, "-o", tmp_path / "out", "--n-clusters", 2, "--encoder", encoder)
    assert result.exit_code == 0
    assert "1 of 24 images were set aside" in result.stderr
    assert f"{photos}/red/01.png is truncated or damaged" in result.stderr
    (aside,) = json.loads((tmp_path / "out" / "run.json").read_text())["quarantined"]
    assert aside["path"] == "red/01.png"
    assert f"Images set aside: 1. {tmp_path}/out/run.json says why." in result.stdout.replace("\n", "")
    assert succeed_json("evaluate", tmp_path / "out")["n"] == 23


def test_a_folder_of_broken_images_only(tmp_path):
    encoder = make_encoder(tmp_path / "encoder")
    for name in ("a.jpg", "b.jpg"):
        path = Path(tmp_path / "photos" / name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("no image")
    words = ("run", tmp_path / "photos", "-o", tmp_path / "out", "--encoder", encoder)
    assert refused(tmp_path, *words).startswith(
        "None of the 2 images in T/photos can be used: T/photos/a.jpg is not an image that can be read"
    )
    assert not (tmp_path / "out").exists()


def test_an_encoder_that_is_not_there(tmp_path):
    photos = make_photos(tmp_path / "photos", n=4)
    (tmp_path / "encoder").mkdir()
    words = ("run", photos, "-o", tmp_path / "out", "--encoder", tmp_path / "encoder")
    assert "T/encoder" in refused(tmp_path, *words)
    assert not (tmp_path / "out").exists()


# --- usage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [("fit",), ("fit", "emb.npy"), ("fit", "emb.npy", "-o", "out", "--colour", "red"), ("cluster",)],
    ids=" ".join,
)
def test_a_command_that_is_not_understood(words):
    result = invoke(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage: " in result.stderr
