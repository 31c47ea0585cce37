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
from holdfast.io._stored import Stored
from holdfast.io.embeddings import Embeddings
from holdfast.io.mapped import block_rows, gather
from holdfast.io.paths import arrow_file
from holdfast.io.raw import Columns, Reading
from holdfast.io.texts import is_text, texts_from_arrow

__all__ = ["read", "shape", "write"]

_ENCODER_KEY = b"holdfast.encoder"
_ROWS_PER_GROUP = 8192
_READ_ROWS = 2048
_BUFFER = 1 << 20


def read(path: Path, how: Reading) -> Columns:
    """Read a Parquet file with a list column of vectors."""
    with arrow_file(path, "rb") as stream, _opened(stream) as file:
        return _read(file, how)


def shape(path: Path) -> tuple[int, int]:
    """Return how many rows and columns the vectors have, by the file's footer."""
    with arrow_file(path, "rb") as stream, _opened(stream) as file:
        name = vector_column(file.schema_arrow.names, "write each as a list in one column 'embedding'")
        return file.metadata.num_rows, _width(file, name)


def _opened(stream: pa.NativeFile) -> pq.ParquetFile:
    """Open a file so that a column is streamed: neither read ahead nor a row group at once.

    Our own files, and those of many other writers, have a checksum in every page.
    """
    return pq.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER, page_checksum_verification=True)


def write(emb: Embeddings, X: Stored, path: Path) -> None:
    """Write ``id``, ``embedding`` (fixed-size lists of X's type) and what there is of ``label``, ``path``."""
    beside = {"id": emb.ids, "label": emb.labels, "path": emb.paths}
    present = {name: values for name, values in beside.items() if values is not None}
    schema = pa.schema(
        [pa.field(name, _arrow_type(values), nullable=False) for name, values in present.items()]
        + [pa.field("embedding", pa.list_(pa.from_numpy_dtype(X.dtype), X.shape[1]), nullable=False)],
        metadata=None if emb.encoder is None else {_ENCODER_KEY: emb.encoder.encode()},
    )
    # Only labels repeat: a dictionary of ids, paths or vectors would cost time and save nothing.
    options = {"use_dictionary": ["label"], "write_statistics": False, "write_page_checksum": True}
    with arrow_file(path, "wb") as stream, pq.ParquetWriter(stream, schema, **options) as writer:
        for rows, block in X.blocks(_ROWS_PER_GROUP):
            columns = [pa.array(values[rows], schema.field(name).type) for name, values in present.items()]
            flat = pa.array(block.reshape(-1))
            columns.append(pa.FixedSizeListArray.from_arrays(flat, type=schema.field("embedding").type))
            writer.write_batch(pa.record_batch(columns, schema=schema))


def _read(file: pq.ParquetFile, how: Reading) -> Columns:
    """Read the vectors in blocks and the small columns whole."""
    names = file.schema_arrow.names
    n_rows = file.metadata.num_rows
    if n_rows == 0:
        raise TableError("has no rows: give at least one.")
    vectors_in = vector_column(names, "write each as a list in one column 'embedding'")
    X = gather(_blocks(file, vectors_in, gaps=how.gaps), n_rows, how.mmap_dir)
    beside = {role: _read_column(file, role, find_column(role, names)) for role in ("ids", "labels", "paths")}
    encoder = (file.schema_arrow.metadata or {}).get(_ENCODER_KEY)
    return Columns(
        X,
        **beside,
        encoder=None if encoder is None else _encoder(encoder),
        dtype=np.dtype(_lists(file, vectors_in).value_type.to_pandas_dtype()),
    )


def _encoder(stored: bytes) -> str:
    """Return the recipe from the schema's metadata."""
    try:
        return stored.decode()
    except UnicodeDecodeError as error:
        raise TableError(
            f"names its encoder, {_ENCODER_KEY.decode()!r}, in bytes that are not UTF-8: write it again."
        ) from error


def _blocks(file: pq.ParquetFile, name: str, *, gaps: bool) -> Iterator[npt.NDArray]:
    """Yield the vectors, some rows at a time; the first odd row is named."""
    start, width = 0, None
    batch_rows = block_rows(_width(file, name), _READ_ROWS)
    for batch in file.iter_batches(batch_size=batch_rows, columns=[name], use_threads=False):
        # A column name with dots selects nested fields too; the one we want is found by its own name.
        column = batch.column(name)
        column = column.storage if isinstance(column, pa.ExtensionArray) else column
        if not _is_list(column.type):
            raise TableError(f"column {name!r} holds {column.type}: give one list of numbers per row.")
        if len(column):
            rows = _rows(column, start, width, gaps=gaps)
            width = rows.shape[1]
            yield rows
            start += len(rows)


def _width(file: pq.ParquetFile, name: str) -> int:
    """Return how many values the first row has.

    The footer has such numbers too, but pyarrow 26 ends the process where they are damaged.
    """
    kind = _lists(file, name)
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    for batch in file.iter_batches(batch_size=1, columns=[name], use_threads=False):
        first = batch.column(name)
        first = first.storage if isinstance(first, pa.ExtensionArray) else first
        if len(first) and _is_list(first.type):
            return len(first.flatten())
    return 0


def _lists(file: pq.ParquetFile, name: str) -> pa.DataType:
    """Return the type of the column of vectors, without what an extension makes of it."""
    kind = file.schema_arrow.field(name).type
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _is_list(kind: pa.DataType) -> bool:
    """Tell whether a column's rows are lists of numbers."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_one(kind) for is_one in lists):
        return False
    return bool(pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type))


def _rows(column: pa.Array, start: int, width: int | None, *, gaps: bool) -> npt.NDArray:
    """View a block of lists as an array of shape (rows, d); the first odd row is named, gaps may be NaN."""
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
    if values.null_count and not gaps:
        row = start + _first_null(values) // expected
        raise _row_error(row, "has a gap among its values", "fill it or drop the row")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(column), expected)


def _read_column(file: pq.ParquetFile, role: str, name: str | None) -> npt.NDArray[Any] | None:
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
    return texts_from_arrow(role, column) if is_text(column.type) else np.asarray(column.to_numpy())


def _first_null(values: pa.Array | pa.ChunkedArray) -> int:
    """Return the place of the first null."""
    return int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))


def _row_error(row: int, problem: str, remedy: str) -> TableError:
    """Name a row in a message."""
    return TableError(f"row {row} {problem}: {remedy}.")


def _arrow_type(values: npt.NDArray[Any]) -> pa.DataType:
    """Return a column's type in the file: text, or the integer type it has."""
    return pa.string() if values.dtype.kind == "U" else pa.from_numpy_dtype(values.dtype)
