"""Embeddings in Parquet, read and written block by block so that little is held twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from holdfast.exceptions import TableError
from holdfast.io._columns import find_column, vector_column
from holdfast.io.embeddings import Embeddings, row_ids

__all__ = ["read", "write"]

_ENCODER_KEY = b"holdfast.encoder"
_ROWS_PER_GROUP = 8192
_READ_ROWS = 2048


def read(path: Path) -> Embeddings:
    """Read a Parquet file with a list column of vectors."""
    try:
        # Reading ahead would keep the whole column in memory beside the copy that is made of it.
        with pq.ParquetFile(path, pre_buffer=False) as file:
            return _read(file)
    except pa.ArrowException as error:
        raise TableError(f"is damaged or no Parquet file ({_first_line(error)}): write it again.") from error


def write(emb: Embeddings, X: npt.NDArray, path: Path) -> None:
    """Write ``id``, ``embedding`` (fixed-size lists of X's type) and what there is of ``label``, ``path``."""
    beside = {"id": emb.ids, "label": emb.labels, "path": emb.paths}
    present = {name: values for name, values in beside.items() if values is not None}
    schema = pa.schema(
        [pa.field(name, _arrow_type(values), nullable=False) for name, values in present.items()]
        + [pa.field("embedding", pa.list_(pa.from_numpy_dtype(X.dtype), X.shape[1]), nullable=False)],
        metadata=None if emb.encoder is None else {_ENCODER_KEY: emb.encoder.encode()},
    )
    # Only labels repeat: a dictionary of ids, paths or vectors would cost time and save nothing.
    with pq.ParquetWriter(path, schema, use_dictionary=["label"], write_statistics=False) as writer:
        for start in range(0, len(emb), _ROWS_PER_GROUP):
            rows = slice(start, start + _ROWS_PER_GROUP)
            columns = [
                pa.array(values[rows].tolist(), schema.field(name).type) for name, values in present.items()
            ]
            flat = pa.array(np.ascontiguousarray(X[rows]).reshape(-1))
            columns.append(pa.FixedSizeListArray.from_arrays(flat, type=schema.field("embedding").type))
            writer.write_batch(pa.record_batch(columns, schema=schema))


def _read(file: pq.ParquetFile) -> Embeddings:
    """Read the vectors in blocks and the small columns whole."""
    names = file.schema_arrow.names
    if file.metadata.num_rows == 0:
        raise TableError("has no rows: give at least one.")
    X = _read_vectors(file, vector_column(names, "write each as a list in one column 'embedding'"))
    beside = {role: _read_column(file, find_column(role, names)) for role in ("ids", "labels", "paths")}
    encoder = (file.schema_arrow.metadata or {}).get(_ENCODER_KEY)
    ids = beside["ids"]
    return Embeddings(
        ids=row_ids(len(X)) if ids is None else ids,
        X=X,
        labels=beside["labels"],
        paths=beside["paths"],
        encoder=None if encoder is None else _encoder(encoder),
    )


def _encoder(stored: bytes) -> str:
    """Return the recipe from the schema's metadata."""
    try:
        return stored.decode()
    except UnicodeDecodeError as error:
        raise TableError(
            f"names its encoder, {_ENCODER_KEY.decode()!r}, in bytes that are not UTF-8: write it again."
        ) from error


def _read_vectors(file: pq.ParquetFile, name: str) -> npt.NDArray[np.float32]:
    """Copy the vectors, once, into one float32 array of shape (n, d)."""
    X: npt.NDArray[np.float32] | None = None
    for start, block in _blocks(file, name):
        rows = _rows(block, start, None if X is None else X.shape[1])
        if X is None:
            X = np.empty((file.metadata.num_rows, rows.shape[1]), dtype=np.float32)
        with np.errstate(over="ignore"):
            X[start : start + len(rows)] = rows
    if X is None:
        raise TableError("has no rows: give at least one.")
    return X


def _blocks(file: pq.ParquetFile, name: str) -> Iterator[tuple[int, pa.Array]]:
    """Yield the number of a block's first row and its column of lists."""
    start = 0
    for batch in file.iter_batches(batch_size=_READ_ROWS, columns=[name]):
        # A column name with dots selects nested fields too; the one we want is found by its own name.
        column = batch.column(name)
        column = column.storage if isinstance(column, pa.ExtensionArray) else column
        if not _is_list(column.type):
            raise TableError(f"column {name!r} holds {column.type}: give one list of numbers per row.")
        yield start, column
        start += len(column)


def _is_list(kind: pa.DataType) -> bool:
    """Tell whether a column's rows are lists of numbers."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_one(kind) for is_one in lists):
        return False
    return bool(pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type))


def _rows(column: pa.Array, start: int, width: int | None) -> npt.NDArray:
    """View a block of lists as an array of shape (rows, d); the first odd row is named."""
    if column.null_count:
        raise _row_error(start + _first_null(column), "has no vector", "fill it or drop the row")
    fixed = pa.types.is_fixed_size_list(column.type)
    lengths = np.full(len(column), column.type.list_size) if fixed else np.asarray(column.value_lengths())
    expected = int(lengths[0]) if width is None else width
    odd = np.flatnonzero(lengths != expected)
    if odd.size:
        problem = f"has {lengths[odd[0]]} values and row 0 has {expected}"
        raise _row_error(start + int(odd[0]), problem, "give all rows the same width")
    values = column.flatten()
    if values.null_count:
        row = start + _first_null(values) // expected
        raise _row_error(row, "has a gap among its values", "fill it or drop the row")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(column), expected)


def _read_column(file: pq.ParquetFile, name: str | None) -> npt.NDArray[Any] | None:
    """Read a small column whole, refusing gaps."""
    if name is None:
        return None
    column = file.read(columns=[name]).column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_nested(column.type):
        raise TableError(
            f"column {name!r} holds {column.type} from row 0 on: give one text or number per row."
        )
    if column.null_count:
        raise _row_error(_first_null(column), f"has no {name}", "fill it or drop the column")
    return np.asarray(column.to_numpy())


def _first_null(values: pa.Array | pa.ChunkedArray) -> int:
    """Return the place of the first null."""
    return int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))


def _row_error(row: int, problem: str, remedy: str) -> TableError:
    """Name a row in a message."""
    return TableError(f"row {row} {problem}: {remedy}.")


def _arrow_type(values: npt.NDArray[Any]) -> pa.DataType:
    """Return a column's type in the file: text, or the integer type it has."""
    return pa.string() if values.dtype.kind == "U" else pa.from_numpy_dtype(values.dtype)


def _first_line(error: Exception) -> str:
    """Shorten Arrow's messages, which can run over many lines."""
    return str(error).partition("\n")[0].rstrip(".")
