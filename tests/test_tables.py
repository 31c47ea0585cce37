"""Tables of embeddings: equal after a round trip in every format, every dialect read, every fault named."""

import logging
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from holdfast.exceptions import InputError, OutputError, ParameterError
from holdfast.io import Embeddings, _parquet, read_embeddings, write_embeddings

SUFFIXES = (".parquet", ".npz", ".csv")


def assert_equal(found, expected):
    for name in ("ids", "X", "labels", "paths"):
        values, wanted = getattr(found, name), getattr(expected, name)
        assert (values is None) == (wanted is None), name
        if wanted is not None:
            np.testing.assert_array_equal(values, wanted, strict=name == "X")
    assert found.encoder == expected.encoder


@pytest.fixture
def emb():
    return Embeddings(
        ids=["a/1.jpg", "b,2", 'c"3', "ü\n4"],
        X=np.array([[0.1, -2, 3e-8], [1e20, 5, 6], [7, 8, 9], [0, 0, 1 / 3]]),
        labels=["dress", "007", "hat", "dress"],
        paths=["a/1.jpg", "b/2.jpg", "c/3.jpg", "ü/4.jpg"],
        encoder="4f2a",
    )


# Round trips


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".PARQUET", ".NPZ"])
def test_round_trip(tmp_path, emb, suffix):
    write_embeddings(emb, tmp_path / f"emb{suffix}")
    assert_equal(read_embeddings(tmp_path / f"emb{suffix}"), emb)
    assert [entry.name for entry in tmp_path.iterdir()] == [f"emb{suffix}"]


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".npy", ".NPY"])
def test_round_trip_of_vectors_alone(tmp_path, suffix):
    plain = Embeddings(ids=["0", "1", "2"], X=np.eye(3))
    write_embeddings(plain, tmp_path / f"emb{suffix}")
    assert_equal(read_embeddings(tmp_path / f"emb{suffix}"), plain)


@given(
    X=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    suffix=st.sampled_from(SUFFIXES),
    integers=st.booleans(),
)
def test_every_finite_value_comes_back_bit_by_bit(tmp_path_factory, X, suffix, integers):
    path = tmp_path_factory.mktemp("table") / f"emb{suffix}"
    labels = np.arange(len(X)) - 1 if integers else [f"c{i % 2}" for i in range(len(X))]
    emb = Embeddings(ids=[f"row {i}" for i in range(len(X))], X=X, labels=labels)
    write_embeddings(emb, path)
    found = read_embeddings(path)
    assert found.X.tobytes() == emb.X.tobytes()
    assert found.labels.tolist() == emb.labels.tolist()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_half_precision_is_half_precision(tmp_path, suffix):
    rng = np.random.default_rng(0)
    emb = Embeddings(ids=np.arange(500).astype(str), X=rng.standard_normal((500, 64)))
    write_embeddings(emb, tmp_path / f"half{suffix}", dtype="float16")
    write_embeddings(emb, tmp_path / f"full{suffix}")
    found = read_embeddings(tmp_path / f"half{suffix}")
    np.testing.assert_array_equal(found.X, emb.X.astype(np.float16).astype(np.float32), strict=True)
    if suffix != ".csv":
        half, full = ((tmp_path / f"{name}{suffix}").stat().st_size for name in ("half", "full"))
        assert half < 0.7 * full  # the ids take the same room in both


def test_half_precision_that_overflows_is_refused(tmp_path, emb):
    with pytest.raises(InputError) as caught:
        write_embeddings(emb, tmp_path / "emb.parquet", dtype="float16")
    assert str(caught.value) == "X does not fit float16 in row 1 (id 'b,2'): write it as float32."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_many_blocks(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(_parquet, "_ROWS_PER_GROUP", 7)
    monkeypatch.setattr(_parquet, "_READ_ROWS", 3)
    emb = Embeddings(ids=np.arange(50).astype(str), X=np.arange(150).reshape(50, 3), labels=np.arange(50) % 3)
    write_embeddings(emb, tmp_path / "emb.parquet", dtype=dtype)
    assert_equal(read_embeddings(tmp_path / "emb.parquet"), emb)


def test_a_view_with_strides_is_written_as_it_reads(tmp_path):
    X = np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2]
    for suffix in SUFFIXES:
        write_embeddings(Embeddings(ids=list("abcd"), X=X), tmp_path / f"v{suffix}")
        np.testing.assert_array_equal(read_embeddings(tmp_path / f"v{suffix}").X, X)


def test_npy_says_what_it_leaves_out(tmp_path, emb, caplog):
    with caplog.at_level(logging.WARNING, "holdfast"):
        write_embeddings(emb, tmp_path / "emb.npy")
    assert caplog.messages == [
        f"{tmp_path}/emb.npy keeps the vectors only; write .parquet or .npz to keep ids and labels."
    ]
    np.testing.assert_array_equal(read_embeddings(tmp_path / "emb.npy").X, emb.X)


def test_the_parquet_layout_is_what_other_tools_expect(tmp_path, emb):
    write_embeddings(emb, tmp_path / "emb.parquet")
    schema = pq.read_schema(tmp_path / "emb.parquet")
    assert schema.field("id").type == pa.string()
    assert schema.field("embedding").type == pa.list_(pa.float32(), 3)
    assert schema.field("label").type == pa.string()
    assert schema.metadata[b"holdfast.encoder"] == b"4f2a"


def test_what_cannot_be_written(tmp_path, emb):
    with pytest.raises(OutputError) as caught:
        write_embeddings(emb, tmp_path / "emb.txt")
    assert (
        str(caught.value)
        == f"Cannot write {tmp_path}/emb.txt: its name must end in .parquet, .npz, .npy or .csv."
    )
    with pytest.raises(ParameterError, match="dtype must be one of 'float32', 'float16', not 'int8'"):
        write_embeddings(emb, tmp_path / "emb.npz", dtype="int8")
    (tmp_path / "file").write_text("x")
    for suffix in (*SUFFIXES, ".npy"):
        with pytest.raises(OutputError, match="give a folder that can be written to"):
            write_embeddings(emb, tmp_path / "file" / f"emb{suffix}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_fills_up_in_the_middle(tmp_path):
    """A limit on the size of files stands in for a full disk: the write itself fails, in every format."""
    program = textwrap.dedent("""
        import resource, sys
        import numpy as np
        from holdfast.exceptions import OutputError
        from holdfast.io import Embeddings, write_embeddings
        ids = np.arange(2000).astype(str)
        emb = Embeddings(ids=ids, X=np.random.default_rng(0).standard_normal((2000, 64)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        for path in sys.argv[1:]:
            try:
                write_embeddings(emb, path)
            except OutputError as error:
                print(error)
    """)
    paths = [str(tmp_path / f"emb{suffix}") for suffix in (*SUFFIXES, ".npy")]
    done = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for path, sentence in zip(paths, done.stdout.splitlines(), strict=True):
        assert sentence.startswith(f"Cannot write {path} (")
    assert list(tmp_path.iterdir()) == []


# Dialects of others


def write_parquet(target, **columns):
    pq.write_table(pa.table(columns), target)
    return target


VECTORS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float64()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float16(), 2),
        pa.list_(pa.float64(), 2),
        pa.list_(pa.int16()),
        pa.list_(pa.uint8(), 2),
    ],
)
@pytest.mark.parametrize("name", ["embedding", "embeddings", "vector", "Embedding"])
def test_parquet_of_other_tools(tmp_path, kind, name):
    path = write_parquet(tmp_path / "e.parquet", **{name: pa.array(VECTORS, kind)})
    found = read_embeddings(path)
    np.testing.assert_array_equal(found.X, np.array(VECTORS, dtype=np.float32), strict=True)
    assert found.ids.tolist() == ["0", "1", "2"]
    assert found.X.flags.writeable


def test_parquet_with_a_tensor_type(tmp_path):
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12, dtype=np.float32).reshape(3, 2, 2))
    found = read_embeddings(write_parquet(tmp_path / "e.parquet", embedding=tensors))
    np.testing.assert_array_equal(found.X, np.arange(12).reshape(3, 4))


@pytest.mark.parametrize(
    ("id_name", "label_name", "path_name"),
    [("id", "label", "path"), ("ids", "labels", "paths"), ("ID", "class", "Path")],
)
def test_names_of_other_tools(tmp_path, id_name, label_name, path_name):
    columns = {
        id_name: [7, 8, 9],
        label_name: pa.array(["a", "b", "a"]).dictionary_encode(),
        path_name: ["p", "q", "r"],
    }
    found = read_embeddings(write_parquet(tmp_path / "e.parquet", embedding=VECTORS, **columns))
    assert (found.ids.tolist(), found.labels.tolist(), found.paths.tolist()) == (
        ["7", "8", "9"],
        ["a", "b", "a"],
        ["p", "q", "r"],
    )


def test_a_sliced_table_keeps_its_rows(tmp_path):
    whole = pa.table(
        {
            "id": [str(i) for i in range(9)],
            "embedding": pa.array([[i, i] for i in range(9)], pa.list_(pa.float32(), 2)),
        }
    )
    pq.write_table(whole.slice(4, 3), tmp_path / "e.parquet", row_group_size=2)
    found = read_embeddings(tmp_path / "e.parquet")
    assert found.ids.tolist() == ["4", "5", "6"]
    assert found.X[:, 0].tolist() == [4, 5, 6]


def test_npz_of_other_tools(tmp_path):
    np.savez_compressed(
        tmp_path / "e.npz", X=np.array(VECTORS, dtype=np.float16), y=[1, 0, 1], classes=["a", "b"]
    )
    found = read_embeddings(tmp_path / "e.npz")
    assert (found.X.tolist(), found.labels.tolist()) == (VECTORS, [1, 0, 1])


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_pictures_are_flattened(tmp_path, suffix):
    pictures = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    (np.savez if suffix == ".npz" else np.save)(
        tmp_path / f"e{suffix}", **{"X" if suffix == ".npz" else "arr": pictures}
    )
    found = read_embeddings(tmp_path / f"e{suffix}")
    np.testing.assert_array_equal(found.X, pictures.reshape(2, 12).astype(np.float32), strict=True)


@pytest.mark.parametrize("name", ["embeddings", "embedding"])
def test_csv_in_the_dialect_in_use(tmp_path, name):
    (tmp_path / "e.csv").write_text(
        f'\ufeff{name},labels\r\n"[1, 2.5]",3\r\n"[-1e-3, 0]",0\r\n', encoding="utf-8"
    )
    found = read_embeddings(tmp_path / "e.csv")
    np.testing.assert_array_equal(found.X, np.array([[1, 2.5], [-1e-3, 0]], dtype=np.float32))
    assert found.labels.tolist() == [3, 0]
    assert found.ids.tolist() == ["0", "1"]


def test_csv_labels_that_are_no_plain_integers_stay_texts(tmp_path):
    (tmp_path / "e.csv").write_text('embeddings,labels\n"[1]",007\n"[2]",7\n')
    assert read_embeddings(tmp_path / "e.csv").labels.tolist() == ["007", "7"]


def test_csv_of_very_wide_rows(tmp_path):
    wide = Embeddings(ids=["a", "b"], X=np.random.default_rng(0).standard_normal((2, 20_000)))
    write_embeddings(wide, tmp_path / "e.csv")
    assert_equal(read_embeddings(tmp_path / "e.csv"), wide)


@pytest.mark.data
def test_the_shared_sets_are_read(data_dir):
    clothing = read_embeddings(data_dir / "emb_clothing_vittiny16.npz")
    assert clothing.X.shape == (3781, 192)
    assert all((data_dir / "clothing" / name).is_file() for name in clothing.ids[:5])
    assert np.unique(clothing.labels).size == 10
    assert read_embeddings(data_dir / "img_usps.npz").X.shape == (11000, 256)
