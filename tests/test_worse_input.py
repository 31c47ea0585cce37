"""The rest of the bad input: damage of every byte, lies in headers, and paths that lead to no file.

Whatever is given, a reader returns or raises one line of our own; it never crashes, waits or allocates what a
header merely claims.
"""

from __future__ import annotations

import io
import random
import shutil
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.lib import format as npy

from commands import (
    AGAIN,
    SUFFIXES,
    invoke,
    make_blobs,
    make_embeddings,
    make_table,
    sentence_of,
    succeed,
    succeed_json,
)
from holdfast import Embeddings, read_embeddings, write_embeddings
from holdfast.cli.answers import evaluate
from holdfast.exceptions import HoldfastError, InputError, ModelFileError
from holdfast.io import _numpy, table_shape
from holdfast.io.embeddings import _check_unique, _hashes
from holdfast.taxonomy import open_taxonomy
from holdfast.taxonomy.assignments import read_assignments


def outcome(read, *args, **options):
    """Return what a call gives and None, or None and what it says; any other error is a bug."""
    try:
        return read(*args, **options), None
    except HoldfastError as error:
        return None, str(error)


def assert_none_or_equal(found, emb):
    if found is not None:
        for name in ("ids", "X", "labels"):
            np.testing.assert_array_equal(getattr(found, name), getattr(emb, name))


def damaged(whole, n, seed=0):
    """Yield copies of a file: half of them cut short, half with one to four bytes changed."""
    rng = random.Random(seed)
    for number in range(n):
        copy = bytearray(whole)
        if number % 2:
            copy = copy[: rng.randrange(len(copy))]
        else:
            for _ in range(rng.choice([1, 1, 4])):
                copy[rng.randrange(len(copy))] ^= rng.randrange(1, 256)
        yield bytes(copy)


# --- damage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mapping", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_table_is_read_or_refused_in_one_line(tmp_path, suffix, mapping):
    path = make_table(tmp_path / f"e{suffix}", encoder="cafe")
    for copy in damaged(path.read_bytes(), 400, seed=mapping):
        path.write_bytes(copy)
        table_shape(path)
        _, said = outcome(read_embeddings, path, mmap_dir=tmp_path if mapping else None)
        assert said is None or (said.startswith(f"{path}") and "\n" not in said)


def test_no_changed_byte_of_a_parquet_page_goes_unnoticed(tmp_path):
    """Its footer names the columns and has no checksum; all before it are pages and their headers."""
    path, emb = make_table(tmp_path / "e.parquet"), make_embeddings()
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    same = 0
    for place in range(4, footer, 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        found, _ = outcome(read_embeddings, path)
        same += found is not None
        assert_none_or_equal(found, emb)
    assert same < footer / 30


def test_no_changed_byte_of_an_archive_goes_unnoticed(tmp_path):
    path, emb = make_table(tmp_path / "e.npz"), make_embeddings()
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        assert_none_or_equal(outcome(read_embeddings, path)[0], emb)


@pytest.fixture(scope="module")
def taxonomy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("taxonomy")
    succeed("fit", make_table(folder / "emb.npz"), "-o", folder / "out", "--n-clusters", 3)
    return folder / "out"


@pytest.fixture
def out(tmp_path, taxonomy):
    """A copy of the taxonomy, to be spoiled."""
    return shutil.copytree(taxonomy, tmp_path / "out")


FILES = (
    "run.json",
    "assignments/1.parquet",
    "vectors/part-00001.parquet",
    "versions/1/manifest.json",
    "versions/1/tensors.safetensors",
)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_taxonomy_is_what_it_was_or_refused_in_one_line(out, name):
    path, before = out / name, evaluate(out)
    for copy in damaged(path.read_bytes(), 60):
        path.write_bytes(copy)
        found, said = outcome(lambda: open_taxonomy(out).load_model() and evaluate(out))
        assert found == before or (said.startswith(str(path.parent)) and "\n" not in said)


def test_a_record_that_was_changed_is_refused_and_one_without_a_checksum_read(out):
    path = out / "run.json"
    text = path.read_text()
    path.write_text(text.replace('"seed": 0', '"seed": 1'))
    with pytest.raises(ModelFileError) as caught:
        open_taxonomy(out)
    assert str(caught.value) == (
        f"{path} cannot be used (it was changed after it was written): restore it or run the fit again."
    )
    path.write_text(text.replace('"sha256"', '"sha_256"'))
    open_taxonomy(out)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('"fit":', '"fit": "long", "old":', "its 'seconds' of 'fit' is 'long'"),
        ('"result":', '"result": [], "old":', "its 'evidence' of 'result' is []"),
        ('"n_clusters": 3', '"n_clusters": 99999999999', "its 'n_clusters' is 99999999999"),
        ('"d": 6', '"d": 0', "its 'd' is 0"),
    ],
)
def test_a_record_with_impossible_numbers_is_refused(out, before, after, reason):
    path = out / "run.json"
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(ModelFileError) as caught:
        open_taxonomy(out)
    assert str(caught.value) == f"{path} cannot be used ({reason}): restore it or run the fit again."


ASSIGNED = {"id": ["a", "b"], "cluster": [0, 1], "confidence": [0.5, 0.5]}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cluster": None}, "it has no column 'cluster'"),
        ({"cluster": [0, None]}, "it has rows without a cluster"),
        ({"cluster": [0, -2]}, "it has rows without a cluster"),
        ({"confidence": [None, 0.5]}, "it has rows without a cluster"),
    ],
)
def test_assignments_that_are_none(tmp_path, changes, reason):
    columns = {name: values for name, values in (ASSIGNED | changes).items() if values is not None}
    pq.write_table(pa.table(columns), tmp_path / "1.parquet")
    with pytest.raises(ModelFileError) as caught:
        read_assignments(tmp_path / "1.parquet")
    sentence = f"{tmp_path}/1.parquet cannot be used ({reason}): restore it or run the fit again."
    assert str(caught.value) == sentence


# --- lies -----------------------------------------------------------------------------------------------


def npy_bytes(array, **lies):
    """Return an array as a file whose header says something else."""
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, npy.header_data_from_array_1_0(array) | lies)
    return stream.getvalue() + array.tobytes()


HUGE = (10**12, 768)


@pytest.mark.parametrize("mapping", [False, True])
@pytest.mark.parametrize("shape", [HUGE, (2, 10**30), (3, 4), (10,), (2**62, 8), (10, 3)])
def test_a_header_that_lies_about_its_shape(tmp_path, shape, mapping):
    path = tmp_path / "e.npy"
    path.write_bytes(npy_bytes(np.zeros((10, 4), dtype=np.float32), shape=shape))
    declared = np.prod([int(side) for side in shape], dtype=object) * 4
    found = sentence_of(path, mmap_dir=tmp_path if mapping else None)
    assert found == (
        "is damaged or no NumPy file (its header declares "
        f"{declared:,} bytes of values and there are 160): {AGAIN}"
    )


def test_a_header_with_negative_sides(tmp_path):
    (tmp_path / "e.npy").write_bytes(npy_bytes(np.zeros((10, 4), dtype=np.float32), shape=(-10, -4)))
    assert sentence_of(tmp_path / "e.npy").startswith("is damaged or no NumPy file (")


@pytest.mark.parametrize("lie", [HUGE, (59, 6), (61, 6)])
def test_an_archive_whose_array_lies_about_its_shape(tmp_path, lie):
    """The checksum would be right: it is that of the lie."""
    X = make_blobs()[0]
    with zipfile.ZipFile(tmp_path / "e.npz", "w") as archive:
        archive.writestr("X.npy", npy_bytes(X, shape=lie))
    found = sentence_of(tmp_path / "e.npz")
    assert found.startswith("is damaged or no NumPy file (its header declares ")
    assert found.endswith(f" bytes of values and there are 1,440): {AGAIN}")


def test_an_archive_that_unfolds_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(_numpy, "_BOMB_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "e.npz", X=np.zeros((10_000, 100), dtype=np.float32))
    size = zipfile.ZipFile(tmp_path / "e.npz").getinfo("X.npy").compress_size
    assert sentence_of(tmp_path / "e.npz") == (
        f"holds 'X.npy' of 4,000,128 bytes in {size:,}, which is hardly data: save it without compression if "
        "it is."
    )
    np.savez_compressed(tmp_path / "real.npz", X=np.random.default_rng(0).normal(size=(4000, 100)))
    assert read_embeddings(tmp_path / "real.npz").X.shape == (4000, 100)


def test_an_archive_that_declares_more_than_it_has(tmp_path):
    make_table(tmp_path / "e.npz")
    whole = bytearray((tmp_path / "e.npz").read_bytes())
    directory = whole.rindex(b"PK\x01\x02", 0, whole.rindex(b"ids.npy"))
    whole[directory + 20 : directory + 28] = b"\xff\xff\xff\x7f" * 2
    (tmp_path / "e.npz").write_bytes(bytes(whole))
    assert sentence_of(tmp_path / "e.npz").startswith("is damaged or no NumPy file (")


def test_an_encoder_is_one_text(tmp_path):
    np.savez(tmp_path / "e.npz", X=np.eye(2), encoder=["a", "b"])
    assert sentence_of(tmp_path / "e.npz") == "encoder has 2 values: give one text."


def test_thousands_of_row_groups_are_read_like_one(tmp_path):
    X = np.arange(6000, dtype=np.float32).reshape(3000, 2)
    ids = [str(row) for row in range(3000)]
    pq.write_table(pa.table({"embedding": X.tolist(), "id": ids}), tmp_path / "e.parquet", row_group_size=1)
    for options in ({}, {"mmap_dir": tmp_path}):
        np.testing.assert_array_equal(read_embeddings(tmp_path / "e.parquet", **options).X, X)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_column_for_every_number(tmp_path, suffix):
    """So many names are compared in a moment, and eight are listed."""
    path = tmp_path / f"e{suffix}"
    names = [f"f{number}" for number in range(100_000 if suffix == ".csv" else 20_000)]
    if suffix == ".csv":
        path.write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
        remedy = "write each as a list like [0.1, 0.2] in one column 'embeddings'."
    else:
        pq.write_table(pa.table({name: [1.0] for name in names}), path, write_statistics=False)
        remedy = "write each as a list in one column 'embedding'."
    listed = ", ".join(names[:8])
    assert sentence_of(path) == f"no vectors among {listed}, {len(names) - 8} more: {remedy}"


def test_no_columns_at_all(tmp_path):
    pq.write_table(pa.table({}), tmp_path / "e.parquet")
    assert sentence_of(tmp_path / "e.parquet") == "has no rows: give at least one."


def test_names_of_columns_stay_on_one_line(tmp_path):
    pq.write_table(pa.table({"a\nb": [1], "c" * 99: [2]}), tmp_path / "e.parquet")
    start = f"no vectors among 'a\\nb', {'c' * 57}...: write each"
    assert sentence_of(tmp_path / "e.parquet").startswith(start)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_of_a_hundred_thousand_columns(tmp_path, suffix):
    X = np.random.default_rng(0).standard_normal((30, 100_000)).astype(np.float32)
    wide = Embeddings(np.arange(30).astype(str), X)
    write_embeddings(wide, tmp_path / f"e{suffix}", "float16" if suffix == ".csv" else "float32")
    found = read_embeddings(tmp_path / f"e{suffix}").X
    np.testing.assert_array_equal(found, X.astype(np.float16) if suffix == ".csv" else X)


def test_every_command_answers_for_very_wide_rows(tmp_path):
    table = make_table(tmp_path / "e.npz", n=30, d=20_000)  # 100,000 take a minute
    fitted = invoke("fit", table, "-o", tmp_path / "out", "--n-clusters", 3)
    assert fitted.exit_code in (0, 2), fitted.exception
    if fitted.exit_code == 0:
        assert succeed_json("evaluate", tmp_path / "out")["n"] == 30
        succeed("assign", tmp_path / "out", table)


# --- a million rows -------------------------------------------------------------------------------------

MILLION = 1_000_000


def test_a_million_equal_rows_are_read(tmp_path):
    ids = pa.array(np.char.add("item-", np.arange(MILLION).astype("U7")))
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(MILLION, dtype=np.float16)), 1)
    pq.write_table(pa.table({"id": ids, "embedding": vectors}), tmp_path / "e.parquet")
    found = read_embeddings(tmp_path / "e.parquet", mmap_dir=tmp_path)
    assert (found.X.shape, found.X.dtype, found.ids[-1]) == ((MILLION, 1), np.float16, "item-999999")
    assert found.X.min() == found.X.max() == 1


def test_two_equal_ids_among_a_million_are_found():
    ids = np.arange(MILLION).astype("U7")
    _check_unique(ids)
    ids[999_000] = "123"
    with pytest.raises(InputError) as caught:
        _check_unique(ids)
    assert str(caught.value) == "The id '123' is in row 123 and in row 999000: rename or drop one of them."
    with pytest.raises(InputError, match="The id 'a' is in row 0 and in row 1"):
        _check_unique(np.full(MILLION, "a"))


def test_different_ids_with_one_hash_are_different(monkeypatch):
    monkeypatch.setattr("holdfast.io.embeddings._hashes", lambda texts: _hashes(texts) % np.uint64(2))
    assert len(Embeddings(np.arange(100).astype(str), np.eye(100))) == 100
    with pytest.raises(InputError, match="The id '7' is in row 7 and in row 99: rename"):
        Embeddings([*map(str, range(99)), "7"], np.eye(100))


def test_a_table_that_does_not_fit_the_memory(tmp_path, monkeypatch):
    table = make_table(tmp_path / "e.parquet")

    def unable(*_, **__):
        raise MemoryError("Unable to allocate 3 TiB")

    monkeypatch.setattr("holdfast.io._parquet.gather", unable)
    assert sentence_of(table) == (
        "needs more memory than there is (Unable to allocate 3 TiB): give fewer rows, or write it again if "
        "it should be smaller."
    )
