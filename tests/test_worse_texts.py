"""Texts that are none, or hard to store: bytes without UTF-8, NULs, newlines, lone surrogates."""

from __future__ import annotations

import csv
import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commands import invoke, make_embeddings, make_table, sentence_of, succeed, succeed_json
from holdfast import Embeddings, read_embeddings, write_embeddings
from holdfast.exceptions import InputError
from holdfast.taxonomy import AssignmentTable, write_assignments
from holdfast.taxonomy.assignments import read_assignments


@pytest.fixture(scope="module")
def taxonomy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("taxonomy")
    succeed("fit", make_table(folder / "emb.npz"), "-o", folder / "out", "--n-clusters", 3)
    return folder / "out"


def test_texts_that_are_no_utf8_although_the_column_says_so(tmp_path):
    """Written by tools that never look: pyarrow itself fails on them only when a row is asked for."""
    raw = pa.array(["Hüte".encode(), b"a\xff"], pa.binary())
    offsets, data = raw.buffers()[1:]
    texts = pa.StringArray.from_buffers(2, offsets, data)
    pq.write_table(
        pa.table({"embedding": [[1.0], [2.0]], "id": texts, "label": texts}), tmp_path / "e.parquet"
    )
    found = read_embeddings(tmp_path / "e.parquet")
    assert found.ids.tolist() == found.labels.tolist() == ["Hüte", "a\\xff"]


def test_bytes_of_an_archive_that_are_no_utf8(tmp_path):
    np.savez(tmp_path / "e.npz", X=np.eye(2), ids=np.array([b"a\xff", b"b"]))
    assert read_embeddings(tmp_path / "e.npz").ids.tolist() == ["a\\xff", "b"]


def test_ids_that_are_file_names_without_utf8():
    odd = os.fsdecode(b"a\xff.jpg")
    for ids in ([odd, "b"], np.array([odd, "b"]), np.array([odd, "b"], dtype=object)):
        assert Embeddings(ids, np.eye(2)).ids.tolist() == ["a\\xff.jpg", "b"]


def test_numbers_that_are_no_characters():
    codes = np.array(["ab", "cd"]).view(np.uint32)
    codes[3] = 0x110000
    with pytest.raises(InputError) as caught:
        Embeddings(codes.view("U2"), np.eye(2))
    assert str(caught.value) == "ids holds something that is no text in row 1: write the column again."


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".csv"])
def test_a_nul_in_an_id_is_refused(tmp_path, suffix):
    """NumPy's texts cannot end with one: 'a' and 'a\\0' would be the same id."""
    path = tmp_path / f"e{suffix}"
    if suffix == ".csv":
        path.write_text('id,embeddings\na,"[1]"\na\0b,"[2]"\n')
    elif suffix == ".npz":
        np.savez(path, X=np.eye(2), ids=["a", "a\0b"])
    else:
        pq.write_table(pa.table({"embedding": [[1.0], [2.0]], "id": ["a", "a\0"]}), path)
    assert sentence_of(path) == "ids has a NUL character in row 1: remove it."


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".csv"])
def test_a_newline_in_an_id_is_no_new_line_of_a_message(tmp_path, suffix):
    X = np.eye(2, dtype=np.float32)
    write_embeddings(Embeddings(["a\nb", "c\r"], X), tmp_path / f"e{suffix}")
    assert read_embeddings(tmp_path / f"e{suffix}").ids.tolist() == ["a\nb", "c\r"]
    with pytest.raises(InputError) as caught:
        Embeddings(["a\nb", "a\nb"], X)
    assert str(caught.value) == "The id 'a\\nb' is in row 0 and in row 1: rename or drop one of them."
    table = AssignmentTable(np.array(["a\nb"]), np.array([0]), np.ones(1, dtype=np.float32))
    write_assignments(table, tmp_path / "1.parquet")
    assert read_assignments(tmp_path / "1.parquet").ids.tolist() == ["a\nb"]


def test_a_carriage_return_in_an_id_is_quoted_in_a_pipe(tmp_path, taxonomy):
    emb = make_embeddings(n=3)
    write_embeddings(Embeddings(["a\rb", "c", "d"], emb.X), tmp_path / "e.npz")
    rows = list(csv.reader(io.StringIO(succeed("assign", taxonomy, tmp_path / "e.npz"), newline="")))
    assert [row[0] for row in rows] == ["id", "a\rb", "c", "d"]


def test_names_of_files_that_are_no_utf8(tmp_path):
    table, out = tmp_path / os.fsdecode(b"e\xff.parquet"), tmp_path / os.fsdecode(b"out\xff")
    write_embeddings(make_embeddings(), table)
    succeed("fit", table, "-o", out, "--n-clusters", 3)
    path = tmp_path / os.fsdecode(b"a\xff.csv")
    words = ("assign", out, table, "-o", path)
    assert invoke(*words).stdout_bytes.splitlines()[-1] == os.fsencode(path)
    assert succeed_json(*words)["table"] == str(path)
    assert succeed_json("evaluate", out)["n"] == 60
