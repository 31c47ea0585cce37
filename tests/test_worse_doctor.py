"""The doctor before damaged files: where the reader ends in a sentence, it ends in a finding."""

from __future__ import annotations

import os
import shutil
import sys

import numpy as np
import pytest

from commands import make_embeddings, make_table, succeed
from holdfast import read_embeddings, write_embeddings
from holdfast.cli.answers import evaluate
from holdfast.doctor import examine
from holdfast.exceptions import HoldfastError, TableError
from holdfast.io import scratch
from holdfast.io.tables import read_raw
from test_worse_input import FILES, SUFFIXES, damaged

REFUSED_FOR_ITS_VALUES = {"not-finite", "duplicate-ids"}


def refusal(read, *args):
    """Return what is said of a file that cannot be read, or None."""
    try:
        read(*args)
    except HoldfastError as error:
        return str(error)
    return None


def errors(diagnosis):
    return {finding.code: finding for finding in diagnosis.findings if finding.level == "error"}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_the_reader_says_of_a_damaged_table_is_a_finding(tmp_path, suffix):
    path = make_table(tmp_path / f"e{suffix}", encoder="cafe")
    refused = 0
    for copy in damaged(path.read_bytes(), 120, seed=3):
        path.write_bytes(copy)
        said, found = refusal(read_embeddings, path), errors(examine(path))
        refused += said is not None
        if said is None:
            assert "unreadable" not in found
        elif "unreadable" in found:
            assert said.startswith(found["unreadable"].what.rstrip("."))
        else:
            assert REFUSED_FOR_ITS_VALUES & set(found), said
    assert refused >= 60  # a number that has changed in an array is another number


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_no_byte_that_the_reader_minds_escapes_the_lenient_one(tmp_path, suffix):
    path = make_table(tmp_path / f"e{suffix}")
    whole = path.read_bytes()
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        strict, lenient = refusal(read_embeddings, path), refusal(read_raw, path)
        assert strict == lenient or (lenient is None and strict.endswith(VALUES)), strict


VALUES = ("remove them or fill the gaps.", "fill it or drop the row.", "rename or drop one of them.")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    succeed("fit", make_table(folder / "emb.npz"), "-o", folder / "out", "--n-clusters", 3)
    return folder / "out"


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_taxonomy_is_a_finding(tmp_path, fitted, name):
    out = shutil.copytree(fitted, tmp_path / "out")
    path = out / name
    for copy in damaged(path.read_bytes(), 40, seed=5):
        path.write_bytes(copy)
        diagnosis = examine(out)
        refused = refusal(evaluate, out) or ("versions" in name and copy != (fitted / name).read_bytes())
        assert not refused or not diagnosis.usable


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_both_readers_map_the_same_tables(tmp_path, suffix):
    emb, path = make_embeddings(encoder="cafe"), tmp_path / f"t{suffix}"
    write_embeddings(emb, path, "float16")
    (tmp_path / "scratch").mkdir()
    raw, strict = (read(path, mmap_dir=tmp_path / "scratch") for read in (read_raw, read_embeddings))
    assert type(raw.X) is type(strict.X)
    assert isinstance(raw.X, np.memmap) == (suffix in {".parquet", ".npy"})
    assert raw.dtype == (np.float32 if suffix == ".csv" else np.float16)
    np.testing.assert_array_equal(np.asarray(raw.X), np.asarray(strict.X))
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_file_s_own_precision_is_known_without_a_map(tmp_path):
    write_embeddings(make_embeddings(), tmp_path / "t.parquet", "float16")
    raw = read_raw(tmp_path / "t.parquet")
    assert (raw.X.dtype, raw.dtype) == (np.float32, np.float16)
    assert examine(tmp_path / "t.parquet").facts["dtype"] == "float16"


@pytest.mark.parametrize("suffix", [".parquet", ".npy"])
def test_a_large_table_is_examined_on_a_map(tmp_path, monkeypatch, suffix):
    path = make_table(tmp_path / f"t{suffix}", n=300)
    before = examine(path)
    monkeypatch.setattr(scratch, "LARGE", 0)
    folders = []
    monkeypatch.setattr(
        sys.modules["holdfast.doctor.examine"],  # the package has a function of that name
        "read_raw",
        lambda path, mmap_dir: folders.append(mmap_dir) or read_raw(path, mmap_dir=mmap_dir),
    )
    after = examine(path)
    assert folders == [tmp_path]
    assert (after.findings, after.facts) == (before.findings, before.facts)


def test_a_large_taxonomy_is_examined_on_a_map(tmp_path, fitted, monkeypatch):
    out = shutil.copytree(fitted, tmp_path / "out")
    before = examine(out)
    monkeypatch.setattr(scratch, "LARGE", 0)
    after = examine(out)
    assert after.facts["vectors"].pop("dtype") == "float16"  # as it is stored
    assert before.facts["vectors"].pop("dtype") == "float32"
    assert (after.findings, after.facts) == (before.findings, before.facts)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    ("value", "level"), [(3e38, "error"), (1e30, "error"), (1e10, "warning"), (1e3, None)]
)
def test_a_number_that_hides_all_others_is_found(tmp_path, value, level):
    X = make_embeddings(n=360, d=24).X.copy()
    X[7, 3] = value
    np.save(tmp_path / "t.npy", X)
    found = {finding.code: finding for finding in examine(tmp_path / "t.npy").findings}.get("huge-rows")
    assert (found and found.level) == level
    if found is not None:
        assert found.examples == ("7",)
        assert found.what.startswith(
            f"1 of 360 rows has a length of up to {value:.3g}, where the median is 4"
        )


def test_a_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "t.npy")
    assert "is a pipe or a device" in examine(tmp_path / "t.npy").findings[0].what
    with pytest.raises(TableError, match="is a pipe or a device: give a file"):
        read_raw(tmp_path / "t.npy")
