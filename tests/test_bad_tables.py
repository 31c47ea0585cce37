"""Bad tables: each fault ends in one sentence that names the file, the row and the remedy."""

import csv
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from holdfast.exceptions import InputError, TableError
from holdfast.io import Embeddings, _parquet, read_embeddings, write_embeddings
from holdfast.io import texts as io_texts

SUFFIXES = (".parquet", ".npz", ".npy", ".csv")


def write_parquet(target, **columns):
    pq.write_table(pa.table(columns), target)
    return target


NAN, INF = float("nan"), float("inf")

# Remedies that several faults share.
ONE_LIST = "give one list of numbers per row."
ONE_VALUE = "give one text or number per row."
SAME_WIDTH = "give all rows the same width."
FILL_GAPS = "remove them or fill the gaps."
PLAIN_ARRAYS = "holds Python objects or no array at all: save plain arrays of numbers or texts instead."
JSON_LIST = "write a list like [0.1, 0.2]"
JSON_COLUMN = "write each as a list like [0.1, 0.2] in one column 'embeddings'."
NO_LIST = f"row 0 on line 2 is no list of numbers: {JSON_LIST}, with no gaps."
TWO_IDS = "The id 'a' is in row 0 and in row 1: rename or drop one of them."

CSV_FAULTS = [
    ("", f"no vectors among no names at all: {JSON_COLUMN}"),
    ("a,b\n1,2\n", f"no vectors among a, b: {JSON_COLUMN}"),
    (",".join("abcdefghijk") + "\n", f"no vectors among a, b, c, d, e, f, g, h, 3 more: {JSON_COLUMN}"),
    ("embeddings,id,id\n[1],a,b\n", "two columns are named 'id': rename or drop one."),
    ("embeddings\n", "has no rows below its header: give at least one."),
    (
        'id,embeddings\na,"[1, 2]"\nb,one\n',
        f"row 1 (id 'b') on line 3 is broken JSON (Expecting value: line 1 column 1 (char 0)): {JSON_LIST}.",
    ),
    (
        'embeddings\n"[1, 2]"\n""\n',
        f"row 1 on line 3 is broken JSON (Expecting value: line 1 column 1 (char 0)): {JSON_LIST}.",
    ),
    (
        'embeddings\n"[1, 2]"\n"[1, NaN]"\n',
        "row 1 on line 3 has a NaN or an infinity: remove the row or fill the gap.",
    ),
    (
        'embeddings\n"[1, 1e99]"\n',
        "row 0 on line 2 has a NaN or an infinity: remove the row or fill the gap.",
    ),
    (
        f'embeddings\n"[1, 2]"\n"[1, {10**400}]"\n',
        "row 1 on line 3 has a number that is too large: scale the vectors down.",
    ),
    ('embeddings\n"[1, 2]"\n"[1]"\n', f"row 1 on line 3 has 1 values and row 0 has 2: {SAME_WIDTH}"),
    ('embeddings\n"[1, null]"\n', NO_LIST),
    ('embeddings\n"{}"\n', NO_LIST),
    ('embeddings\n"[true]"\n', NO_LIST),
    ('embeddings\n"[[1], [2]]"\n', NO_LIST),
    (
        "embeddings,labels\n[1, 2],3\n",
        "row 0 on line 2 has another number of fields than the header: quote the list.",
    ),
    (
        'embeddings\n"[1, 2]\n',
        "is no well-formed CSV (unexpected end of data): quote every list and close every quote.",
    ),
    ('embeddings,id\n"[1]",a\n"[2]",a\n', TWO_IDS),
    ('embeddings,labels\n"[1]",a\n"[2]",\n', "labels is empty in row 1: give every row one."),
    (
        'embeddings,encoder\n"[1]",a\n"[2]",b\n',
        "row 1 has another encoder than row 0: do not mix vectors of two encoders.",
    ),
]

NPZ_FAULTS = [
    ({"a": np.eye(2)}, "no vectors among a: name them 'X'."),
    ({"X": np.array([{}, []], dtype=object)}, PLAIN_ARRAYS),
    ({"X": [[1, NAN], [1, 2]]}, f"X has a NaN or an infinity in row 0: {FILL_GAPS}"),
    (
        {"X": [[1, 2], [1, INF]], "ids": ["a", "b"]},
        f"X has a NaN or an infinity in row 1 (id 'b'): {FILL_GAPS}",
    ),
    ({"X": np.zeros((0, 28, 28))}, "X has 0 rows and 784 columns: give at least one of each."),
    ({"X": np.eye(2), "y": [1]}, "labels has 1 entries for 2 rows of X: give one per row."),
    ({"X": np.eye(2), "ids": ["a", "a"]}, TWO_IDS),
    ({"X": np.float32(3)}, "X has 1 dimensions: give one row per item, shape (n, d)."),
    ({"X": [[1j]]}, "X holds complex128 values: give numbers."),
]

PARQUET_FAULTS = [
    (
        {"id": ["a"], "image": [b"x"]},
        "no vectors among id, image: write each as a list in one column 'embedding'.",
    ),
    ({"embedding": [1.0, 2.0]}, f"column 'embedding' holds double: {ONE_LIST}"),
    ({"embedding": [["a"]]}, f"column 'embedding' holds list<element: string>: {ONE_LIST}"),
    ({"embedding": [[], []]}, f"column 'embedding' holds list<element: null>: {ONE_LIST}"),
    ({"embedding": pa.array([], pa.list_(pa.float32()))}, "has no rows: give at least one."),
    ({"embedding": [[1.0, 2.0], [3.0]]}, f"row 1 has 1 values and row 0 has 2: {SAME_WIDTH}"),
    ({"embedding": [[1.0], None]}, "row 1 has no vector: fill it or drop the row."),
    (
        {"embedding": pa.array([[1.0, 2.0], [3.0, None]], pa.list_(pa.float32(), 2))},
        "row 1 has a gap among its values: fill it or drop the row.",
    ),
    (
        {"embedding": [[1.0], [NAN]], "id": ["a", "b"]},
        f"X has a NaN or an infinity in row 1 (id 'b'): {FILL_GAPS}",
    ),
    ({"embedding": [[1.0], [2.0]], "id": ["a", None]}, "row 1 has no id: fill it or drop the column."),
    ({"embedding": [[1.0], [2.0]], "label": [0, None]}, "row 1 has no label: fill it or drop the column."),
    (
        {"embedding": [[1.0], [2.0]], "id": [["a"], ["b", "c"]]},
        f"column 'id' holds list<element: string> from row 0 on: {ONE_VALUE}",
    ),
    (
        {"embedding": [[1.0], [2.0]], "label": [[1], [2]]},
        f"column 'label' holds list<element: int64> from row 0 on: {ONE_VALUE}",
    ),
    (
        {"embedding": [[1.0]], "id": [{"a": 138}]},
        f"column 'id' holds struct<a: int64> from row 0 on: {ONE_VALUE}",
    ),
]

FOREIGN_BYTES = [
    ("csv", "embeddings,labels\n[1],Hüte\n".encode("latin-1"), "is not written in UTF-8: save it as UTF-8."),
    ("npz", b"PK\x03\x04", "is damaged or no NumPy file (File is not a zip file): write it again."),
    ("npz", b"hello", PLAIN_ARRAYS),
    ("npy", b"", "is damaged or no NumPy file (No data left in file): write it again."),
]


def assert_refused(path, sentence):
    with pytest.raises(TableError) as caught:
        read_embeddings(path)
    assert str(caught.value) == f"{path}: {sentence}"


@pytest.mark.parametrize(("text", "sentence"), CSV_FAULTS)
def test_bad_csv(tmp_path, text, sentence):
    (tmp_path / "bad.csv").write_text(text, encoding="utf-8")
    assert_refused(tmp_path / "bad.csv", sentence)


@pytest.mark.parametrize(("arrays", "sentence"), NPZ_FAULTS)
def test_bad_npz(tmp_path, arrays, sentence):
    np.savez(tmp_path / "bad.npz", **arrays)
    assert_refused(tmp_path / "bad.npz", sentence)


@pytest.mark.parametrize(("columns", "sentence"), PARQUET_FAULTS)
def test_bad_parquet(tmp_path, columns, sentence):
    assert_refused(write_parquet(tmp_path / "bad.parquet", **columns), sentence)


@pytest.mark.parametrize(("suffix", "content", "sentence"), FOREIGN_BYTES)
def test_foreign_bytes(tmp_path, suffix, content, sentence):
    (tmp_path / f"bad.{suffix}").write_bytes(content)
    assert_refused(tmp_path / f"bad.{suffix}", sentence)


def test_an_encoder_that_is_no_text_is_refused(tmp_path):
    table = pa.table({"embedding": [[1.0]]}).replace_schema_metadata({b"holdfast.encoder": b"\xff"})
    pq.write_table(table, tmp_path / "bad.parquet")
    sentence = "names its encoder, 'holdfast.encoder', in bytes that are not UTF-8: write it again."
    assert_refused(tmp_path / "bad.parquet", sentence)


def test_bytes_are_read_as_utf8(tmp_path):
    ids = pa.array(["Hüte".encode(), b"a\xff"], pa.binary())
    table = write_parquet(tmp_path / "bytes.parquet", embedding=[[1.0], [2.0]], id=ids)
    assert read_embeddings(table).ids.tolist() == ["Hüte", "a\\xff"]


@pytest.mark.parametrize("column", ["ids", "labels", "paths"])
@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".csv"])
def test_a_text_of_any_length_cannot_fill_the_memory(tmp_path, monkeypatch, suffix, column):
    monkeypatch.setattr(io_texts, "_CHARACTERS", 2048)
    target = tmp_path / f"long{suffix}"
    texts = ["a", "b" * 1025]
    if suffix == ".npz":
        np.savez(target, X=np.eye(2), **{column: texts})
    elif suffix == ".parquet":
        write_parquet(target, embedding=[[1.0], [2.0]], **{column: texts})
    else:
        target.write_text(f'embeddings,{column}\n"[1]",{texts[0]}\n"[2]",{texts[1]}\n')
    sentence = f"{column} has 1,025 characters in row 1: give at most 1,024, "
    assert_refused(target, sentence + "for every row takes the room of the longest.")


def test_long_names_are_welcome_where_there_is_room(monkeypatch):
    monkeypatch.setattr(io_texts, "_CHARACTERS", 4096)
    assert Embeddings(["a", "b" * 2048], np.eye(2)).ids[1] == "b" * 2048
    assert Embeddings(np.array(["a", "b", "c" * 1365]), np.eye(3)).ids[2] == "c" * 1365
    with pytest.raises(InputError, match="ids has 1,366 characters in row 2: give at most 1,365,"):
        Embeddings(np.array(["a", "b", "c" * 1366]), np.eye(3))


@pytest.mark.parametrize("make", [list, tuple, np.array])
def test_an_id_is_one_value(make):
    ids = np.empty(2, dtype=object)
    ids[:] = ["a", make([1, 2])]
    with pytest.raises(
        InputError, match=r"^ids holds a (list|tuple|ndarray) in row 1: give one text per row\.$"
    ):
        Embeddings(ids, np.eye(2))


def test_a_foreign_parquet_file_is_one_line(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"hello")
    with pytest.raises(
        TableError, match=r"bad\.parquet: is damaged or no Parquet file \(.*\): write it again\.$"
    ):
        read_embeddings(tmp_path / "bad.parquet")


def test_a_bad_row_in_a_later_block_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(_parquet, "_READ_ROWS", 4)
    rows = [[1.0, 2.0] for _ in range(11)]
    for fault, sentence in (
        ([1.0], "row 9 has 1 values and row 0 has 2"),
        (None, "row 9 has no vector"),
        ([1.0, None], "row 9 has a gap"),
    ):
        path = write_parquet(tmp_path / "e.parquet", embedding=[*rows[:9], fault, rows[10]])
        with pytest.raises(TableError, match=sentence):
            read_embeddings(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_truncation_is_read_as_a_table(tmp_path, suffix):
    """Cut anywhere, a file is refused; only a CSV file cut between rows looks like a shorter one."""
    path = tmp_path / f"emb{suffix}"
    write_embeddings(Embeddings(ids=["0", "1"], X=np.eye(2)), path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 13):
        path.write_bytes(whole[:length])
        try:
            read = read_embeddings(path)
        except TableError:
            continue
        assert suffix == ".csv"
        assert len(read) < 2


def test_paths_that_are_no_tables(tmp_path):
    with pytest.raises(TableError, match=r"none\.csv does not exist: check the path\.$"):
        read_embeddings(tmp_path / "none.csv")
    with pytest.raises(
        TableError,
        match=r"a\.txt has an unknown suffix: give a file ending in \.parquet, \.npz, \.npy or \.csv\.$",
    ):
        read_embeddings(tmp_path / "a.txt")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(TableError, match=r"folder\.npz is a folder: give a file ending in"):
        read_embeddings(tmp_path / "folder.npz")


def test_archives_and_arrays_under_each_others_names(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(2))
    np.savez(tmp_path / "b.npz", X=np.eye(2))
    (tmp_path / "a.npy").rename(tmp_path / "c.npz")
    (tmp_path / "b.npz").rename(tmp_path / "d.npy")
    with pytest.raises(TableError, match=r"is a single array and no \.npz archive: rename it to \.npy"):
        read_embeddings(tmp_path / "c.npz")
    with pytest.raises(TableError, match=r"is an archive of arrays and no \.npy file: rename it to \.npz"):
        read_embeddings(tmp_path / "d.npy")


def test_nothing_in_a_file_is_executed(tmp_path):
    """An object array would run its objects' constructors when unpickled."""

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.save(tmp_path / "trap.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(TableError, match="holds Python objects"):
        read_embeddings(tmp_path / "trap.npy")
    assert not (tmp_path / "sprung").exists()


def test_the_csv_modules_own_limit_is_put_back(tmp_path):
    before = csv.field_size_limit()
    for text in ("embeddings\n[1]\n", "embeddings\nx\n"):
        (tmp_path / "e.csv").write_text(text)
        with suppress(TableError):
            read_embeddings(tmp_path / "e.csv")
        assert csv.field_size_limit() == before
