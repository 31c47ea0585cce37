"""Tables larger than memory: one block at a time, the same values, and nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commands import ENVIRONMENT, make_embeddings, make_table, succeed, succeed_json
from holdfast import Embeddings, read_embeddings, write_embeddings
from holdfast.exceptions import InputError, OutputError, TableError
from holdfast.io import mapped, scratch, table_shape
from holdfast.io.mapped import gather, row_blocks, spill, take_rows
from holdfast.io.scratch import scratch_folder
from holdfast.taxonomy import AssignmentTable, TaxonomyFolder
from holdfast.taxonomy.vectors import precision

VECTORS = np.arange(40, dtype=np.float32).reshape(10, 4)


def run_python(program, *words):
    """Run a program of its own: memory and limits belong to a process."""
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)


# --- reading --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (pa.list_(pa.float16(), 4), np.float16),
        (pa.list_(pa.float16()), np.float16),
        (pa.list_(pa.float32(), 4), np.float32),
        (pa.large_list(pa.float64()), np.float32),
        (pa.list_(pa.uint8(), 4), np.float32),
    ],
)
def test_a_parquet_table_is_mapped_in_its_own_precision(tmp_path, kind, dtype):
    table = pa.table({"embedding": pa.array(VECTORS.astype(int).tolist(), kind), "label": ["a", "b"] * 5})
    pq.write_table(table, tmp_path / "e.parquet", row_group_size=3)
    (tmp_path / "scratch").mkdir()
    found = read_embeddings(tmp_path / "e.parquet", mmap_dir=tmp_path / "scratch")
    assert isinstance(found.X, np.memmap)
    np.testing.assert_array_equal(np.asarray(found.X), VECTORS.astype(dtype), strict=True)
    assert found.labels.tolist() == ["a", "b"] * 5
    assert list((tmp_path / "scratch").iterdir()) == []
    with pytest.raises(ValueError, match="read-only"):
        found.X[0] = 1


def test_wide_rows_come_in_smaller_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "_BLOCK_VALUES", 12)
    assert [len(block) for block in row_blocks(VECTORS)] == [3, 3, 3, 1]
    for suffix in (".parquet", ".npz", ".npy", ".csv"):
        write_embeddings(Embeddings(np.arange(10).astype(str), VECTORS), tmp_path / f"e{suffix}")
        np.testing.assert_array_equal(read_embeddings(tmp_path / f"e{suffix}", mmap_dir=tmp_path).X, VECTORS)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_an_npy_file_is_mapped_where_it_is(tmp_path, dtype):
    np.save(tmp_path / "e.npy", VECTORS.astype(dtype))
    X = read_embeddings(tmp_path / "e.npy", mmap_dir=tmp_path / "never asked for").X
    assert (X.filename, X.mode, X.dtype) == (tmp_path / "e.npy", "r", dtype)
    np.testing.assert_array_equal(X, VECTORS)


@pytest.mark.parametrize(
    "array",
    [
        VECTORS.astype(np.float64),
        np.asfortranarray(VECTORS),
        VECTORS.astype(">f4"),
        VECTORS.reshape(10, 2, 2),
    ],
    ids=["double", "columns first", "big-endian", "pictures"],
)
def test_any_other_npy_file_is_copied(tmp_path, array):
    np.save(tmp_path / "e.npy", array)
    X = read_embeddings(tmp_path / "e.npy", mmap_dir=tmp_path).X
    assert isinstance(X, np.memmap)
    np.testing.assert_array_equal(np.asarray(X), VECTORS, strict=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["e.npy"]


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_archives_and_texts_are_read_into_memory(tmp_path, suffix):
    make_table(tmp_path / f"e{suffix}")
    found = read_embeddings(tmp_path / f"e{suffix}", mmap_dir=tmp_path)
    assert type(found.X) is np.ndarray
    np.testing.assert_array_equal(found.X, make_embeddings().X)


def test_a_bad_row_of_a_mapped_table_is_named(tmp_path):
    X = VECTORS.copy()
    X[7, 1] = np.nan
    pq.write_table(pa.table({"embedding": X.tolist(), "id": list("abcdefghij")}), tmp_path / "e.parquet")
    with pytest.raises(TableError) as caught:
        read_embeddings(tmp_path / "e.parquet", mmap_dir=tmp_path)
    sentence = "X has a NaN or an infinity in row 7 (id 'h'): remove them or fill the gaps."
    assert str(caught.value) == f"{tmp_path}/e.parquet: {sentence}"


def test_a_table_takes_the_memory_of_a_block(tmp_path):
    """100 MB of vectors; beside what Python has loaded before, less than a third of it may be in memory."""
    done = run_python(
        """
        import resource, sys
        import numpy as np, pyarrow as pa, pyarrow.parquet as pq, pyarrow.compute
        from holdfast import read_embeddings
        kind = pa.list_(pa.float16(), 512)
        with pq.ParquetWriter(sys.argv[1], pa.schema([("embedding", kind)]), use_dictionary=False) as writer:
            rows = np.random.default_rng(0).standard_normal((2000, 512)).astype(np.float16)
            lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), type=kind)
            block = pa.table([lists], ["embedding"])
            for _ in range(50):
                writer.write_table(block)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        emb = read_embeddings(sys.argv[1], mmap_dir=sys.argv[2])
        assert emb.X.shape == (100_000, 512) and emb.X.dtype == np.float16
        assert (emb.X[::20_000] == rows[0]).all()
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
        """,
        tmp_path / "e.parquet",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 33


def test_nothing_is_left_of_a_process_that_is_killed(tmp_path):
    make_table(tmp_path / "e.parquet")
    (tmp_path / "scratch").mkdir()
    program = """
        import os, signal, sys
        from holdfast import read_embeddings
        emb = read_embeddings(sys.argv[1], mmap_dir=sys.argv[2])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = run_python(program, tmp_path / "e.parquet", tmp_path / "scratch")
    assert done.returncode == -signal.SIGKILL
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_folder_that_cannot_hold_the_vectors(tmp_path):
    table = make_table(tmp_path / "e.parquet", n=2000, d=64)
    remedy = "give a folder that can be written to, on a disk with room."
    with pytest.raises(OutputError) as caught:
        read_embeddings(table, mmap_dir=tmp_path / "none")
    assert str(caught.value) == f"Cannot write {tmp_path}/none (No such file or directory): {remedy}"
    program = """
        import resource, sys
        from holdfast import read_embeddings
        from holdfast.exceptions import OutputError
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            read_embeddings(sys.argv[1], mmap_dir=sys.argv[2])
        except OutputError as error:
            print(error)
    """
    done = run_python(program, table, tmp_path)
    assert done.stdout == f"Cannot write {tmp_path} (File too large): {remedy}\n", done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["e.parquet"]


@pytest.mark.parametrize("n", [9, 11])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_number_of_rows_that_is_not_the_announced_one(tmp_path, n, in_memory):
    has = "10" if n == 11 else "at least 10"
    with pytest.raises(TableError) as caught:
        gather(row_blocks(VECTORS, 5), n, None if in_memory else tmp_path)
    assert str(caught.value) == f"is damaged (it announces {n} rows and has {has}): write it again."


def test_scattered_rows_are_those_asked_for(tmp_path):
    X = spill(row_blocks(np.arange(400, dtype=np.float16).reshape(200, 2)), tmp_path)
    rows = np.arange(0, 200, 2)
    np.testing.assert_array_equal(take_rows(X, rows), np.asarray(X)[rows].astype(np.float32), strict=True)


# --- what is done with a map ----------------------------------------------------------------------------


@pytest.fixture
def half(tmp_path):
    """Embeddings whose X is a map of half precision."""
    plain = make_embeddings(encoder="cafe")
    write_embeddings(plain, tmp_path / "half.parquet", dtype="float16")
    return read_embeddings(tmp_path / "half.parquet", mmap_dir=tmp_path)


def test_a_map_is_taken_as_it_is(half):
    assert Embeddings(half.ids, half.X).X is half.X
    view = Embeddings(half.ids[:5], half.X[:5]).X
    assert isinstance(view, np.memmap)
    assert np.shares_memory(view, half.X)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".npy", ".csv"])
def test_a_map_is_written_like_an_array(tmp_path, half, suffix, dtype):
    plain = Embeddings(half.ids, np.array(half.X, dtype=np.float32), half.labels, encoder=half.encoder)
    for name, emb in (("map", half), ("array", plain)):
        write_embeddings(emb, tmp_path / f"{name}{suffix}", dtype)
    written = [(tmp_path / f"{name}{suffix}").read_bytes() for name in ("map", "array")]
    if suffix == ".npz":  # the time of writing stands in the archive
        np.testing.assert_array_equal(*(read_embeddings(tmp_path / f"{n}.npz").X for n in ("map", "array")))
    else:
        assert written[0] == written[1]


def test_a_value_that_overflows_in_a_later_block_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "_BLOCK_VALUES", 8)
    X = VECTORS.copy()
    X[7, 2] = 1e6
    with pytest.raises(InputError) as caught:
        write_embeddings(Embeddings(np.arange(10).astype(str), X), tmp_path / "e.npz", "float16")
    assert str(caught.value) == "X does not fit float16 in row 7: write it as float32."
    assert list(tmp_path.iterdir()) == []


def test_precision_is_the_same_for_any_size_of_block(half, monkeypatch):
    assert precision(half.X) == "float16"
    X = make_embeddings().X
    found = [precision(X + shift) for shift in (0, 30, 2000)]
    monkeypatch.setattr(mapped, "_BLOCK_VALUES", 30)
    assert [precision(X + shift) for shift in (0, 30, 2000)] == found == ["float16", "float16", "float32"]


class AtOnce:
    """An estimator that answers in one pass, and refuses two."""

    def assign_rows(self, X):
        return np.arange(len(X)) - 1, np.full(len(X), 0.25)


def test_an_estimator_that_answers_at_once_is_asked_once():
    emb = Embeddings(["a", "b", "c"], np.eye(3))
    table = AssignmentTable.predicted(AtOnce(), emb)
    assert (table.cluster.tolist(), table.confidence.tolist()) == ([-1, 0, 1], [0, 0.25, 0.25])
    assert table.confidence.dtype == np.float32


# --- commands -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".npy"])
def test_the_shape_of_a_table_is_known_without_reading_it(tmp_path, suffix):
    assert table_shape(make_table(tmp_path / f"e{suffix}", n=30, d=7)) == (30, 7)
    (tmp_path / f"bad{suffix}").write_bytes(b"hello")
    assert table_shape(tmp_path / f"bad{suffix}") is None
    assert table_shape(tmp_path / f"none{suffix}") is None
    assert table_shape(make_table(tmp_path / "e.csv")) is None


def test_lists_of_any_length_have_a_shape_too(tmp_path):
    pq.write_table(pa.table({"embedding": VECTORS.tolist()}), tmp_path / "e.parquet")
    assert table_shape(tmp_path / "e.parquet") == (10, 4)


def test_where_large_tables_go(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    large = (1 << 20, 257)
    assert scratch_folder((1 << 20, 256), [tmp_path]) is None  # one GiB exactly
    assert scratch_folder(None, [tmp_path]) is None
    assert scratch_folder(large, [tmp_path / "not" / "yet", tmp_path]) == tmp_path
    monkeypatch.setattr(scratch.tempfile, "gettempdir", lambda: str(tmp_path))
    assert scratch_folder(large, ["/proc"]) == tmp_path
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1 << 30})())
    assert scratch_folder(large, [tmp_path]) is None


def test_every_command_works_on_maps(tmp_path, monkeypatch):
    table = make_table(tmp_path / "e.parquet")
    monkeypatch.setattr(scratch, "LARGE", 0)
    maps = []
    monkeypatch.setattr(
        mapped, "spill", lambda *args, spill=mapped.spill: maps.append(args[1]) or spill(*args)
    )
    succeed("fit", table, "-o", tmp_path / "deep" / "out", "--n-clusters", 3)
    assert maps == [tmp_path]
    succeed("assign", tmp_path / "deep" / "out", table, "-o", tmp_path / "deep" / "a.csv")
    succeed("report", tmp_path / "deep" / "out")
    found = succeed_json("evaluate", tmp_path / "deep" / "out")
    assert maps == [tmp_path, *[tmp_path / "deep"] * 3]
    assert found["scores"]["acc"] == 1
    assert succeed_json("evaluate", tmp_path / "deep" / "out", table)["scores"]["acc"] == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["deep", "e.parquet"]
    assert sorted(entry.name for entry in (tmp_path / "deep").iterdir()) == ["a.csv", "out"]


def test_parts_of_a_large_collection_become_one_map(tmp_path):
    folder = TaxonomyFolder(tmp_path)
    (tmp_path / "vectors").mkdir()
    parts = [make_embeddings(n=n, seed=n, encoder="cafe") for n in (60, 9)]
    for number, (part, dtype) in enumerate(zip(parts, ("float16", "float32"), strict=True)):
        ids = [f"{number}-{name}" for name in part.ids]
        named = Embeddings(ids, part.X, part.labels, encoder=part.encoder)
        write_embeddings(named, tmp_path / "vectors" / f"part-0000{number}.parquet", dtype)
    plain, mapping = folder.load_embeddings(), folder.load_embeddings(mmap_dir=tmp_path)
    assert isinstance(mapping.X, np.memmap)
    np.testing.assert_array_equal(np.asarray(mapping.X), plain.X, strict=True)
    for name in ("ids", "labels"):
        np.testing.assert_array_equal(getattr(mapping, name), getattr(plain, name))
    assert folder.vectors_shape() == (69, 6)


def test_a_run_is_one_json_object(tmp_path):
    """The record that commands read is the one that was written, checksum and all."""
    succeed("fit", make_table(tmp_path / "e.npz"), "-o", tmp_path / "out", "--n-clusters", 3)
    path = tmp_path / "out" / "run.json"
    run = json.loads(path.read_text())
    path.write_text(json.dumps(run))  # other spacing is no change
    assert succeed_json("evaluate", tmp_path / "out")["start"] == run["start"]
