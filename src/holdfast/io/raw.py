"""Tables of embeddings as they are, faults and all: for whoever has to explain them."""

from __future__ import annotations

import csv
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from holdfast._validation import row_text
from holdfast.exceptions import TableError
from holdfast.io._columns import find_column, vector_column
from holdfast.io._csv import _any_field_size
from holdfast.io.embeddings import _labels, _vectors, row_ids
from holdfast.io.tables import check_table_source
from holdfast.io.texts import as_texts

__all__ = ["RawTable", "read_raw"]

_BESIDE = ("ids", "labels", "paths", "encoder")
_READ_ROWS = 2048
_TROUBLE = (
    OSError, ValueError, KeyError, EOFError, TypeError, OverflowError, MemoryError, NotImplementedError,
    RecursionError, zipfile.BadZipFile, zlib.error, pa.ArrowException, csv.Error,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class RawTable:
    """A table before anything is asked of its values.

    Attributes
    ----------
    X : ndarray of shape (n, d)
        Numbers in the type of the file; NaN and infinity may be among them. A memory map for ``.npy``.
    ids : ndarray of shape (n,), str
        Not necessarily unique; row numbers where the file has none.
    labels : ndarray of shape (n,), int or str, or None
    paths : ndarray of shape (n,), str, or None
    encoder : str or None
    """

    X: npt.NDArray[Any]
    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[Any] | None = None
    paths: npt.NDArray[np.str_] | None = None
    encoder: str | None = None

    def __len__(self) -> int:
        return len(self.X)


def read_raw(path: Path) -> RawTable:
    """Read a table without refusing values that are not finite and ids that repeat.

    Vectors are held once, in the precision of the file.

    Parameters
    ----------
    path : Path
        A .parquet, .npz, .npy or .csv file, as for :func:`holdfast.read_embeddings`.

    Raises
    ------
    TableError
        If it is damaged or its shape is not that of a table. `read_embeddings` says it with more words.
    """
    check_table_source(path)
    try:
        X, beside = _READERS[path.suffix.lower()](path)
        return _checked(X, beside)
    except _TROUBLE as error:
        raise TableError(f"{path}: {error}") from error


def _checked(X: npt.NDArray[Any], beside: dict[str, Any]) -> RawTable:
    """Bring what stands beside the vectors into the form that `Embeddings` has."""
    _vectors(X[:1] if len(X) else X)
    n = len(X)
    ids, labels, paths, encoder = (beside.get(role) for role in _BESIDE)
    return RawTable(
        X,
        row_ids(n) if ids is None else as_texts("ids", ids, n),
        None if labels is None else _labels(labels, n),
        None if paths is None else as_texts("paths", paths, n),
        None if encoder is None else str(encoder),
    )


def _read_npy(path: Path) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Map the file: nothing is read before it is looked at."""
    return _flat(np.load(path, mmap_mode="r", allow_pickle=False)), {}


def _read_npz(path: Path) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    with np.load(path, allow_pickle=False) as archive:
        names = {role: find_column(role, archive.files) for role in _BESIDE}
        beside = {role: archive[name] for role, name in names.items() if name is not None}
        return _flat(archive[vector_column(archive.files, "name them 'X'")]), beside


def _read_parquet(path: Path) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Copy the vectors once, block by block, into an array of their own type."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        names = file.schema_arrow.names
        vectors_in = vector_column(names, "write each as a list in one column 'embedding'")
        columns = {role: find_column(role, names) for role in ("ids", "labels", "paths")}
        beside = {role: _column(file, name) for role, name in columns.items() if name is not None}
        recipe = (file.schema_arrow.metadata or {}).get(b"holdfast.encoder")
        if recipe is not None:
            beside["encoder"] = recipe.decode()
        batches = file.iter_batches(batch_size=_READ_ROWS, columns=[vectors_in])
        return _filled((batch.column(vectors_in) for batch in batches), file.metadata.num_rows), beside


def _column(file: pq.ParquetFile, name: str) -> npt.NDArray[Any]:
    column = file.read(columns=[name]).column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise TableError(f"row {row} has no {name}: fill it or drop the column.")
    return np.asarray(column.to_numpy())


def _filled(blocks: Iterable[pa.Array], n_rows: int) -> npt.NDArray[Any]:
    """Fill one array from blocks of lists; a row of another width does not fit, whatever its number."""
    X = np.empty((0, 0))
    start = 0
    for block in blocks:
        column = block.storage if isinstance(block, pa.ExtensionArray) else block
        _check_widths(column, start, X.shape[1])
        values = np.asarray(column.flatten().to_numpy(zero_copy_only=False)).reshape(len(column), -1)
        if start == 0:
            X = np.empty((n_rows, values.shape[1]), dtype=values.dtype)
        X[start : start + len(values)] = values
        start += len(values)
    return X


def _check_widths(column: pa.Array, start: int, expected: int) -> None:
    """Refuse rows of different widths: two of them may add up to something that can be reshaped."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_one(column.type) for is_one in lists):
        raise TableError(f"the vectors are {column.type}: give one list of numbers per row.")
    if column.null_count:
        raise TableError(f"a row from {start} on has no vector: fill it or drop the row.")
    if not pa.types.is_fixed_size_list(column.type):
        lengths = np.asarray(column.value_lengths())
        if (lengths != (expected or lengths[0])).any():
            raise TableError(f"rows from {start} on have different widths: give all rows the same width.")


def _read_csv(path: Path) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as stream, _any_field_size():
        reader = csv.DictReader(stream, strict=True)
        names = list(reader.fieldnames or ())
        vectors_in = vector_column(names, "write each as a list like [0.1, 0.2] in one column 'embeddings'")
        columns = {role: name for role in _BESIDE if (name := find_column(role, names)) is not None}
        vectors: list[npt.NDArray[np.float32]] = []
        texts: dict[str, list[str]] = {role: [] for role in columns}
        for number, row in enumerate(reader):
            if None in row or None in row.values():
                raise TableError(f"{row_text(number)} has another number of fields than the header.")
            vectors.append(_vector(row[vectors_in], number))
            for role, name in columns.items():
                texts[role].append(row[name])
    beside: dict[str, Any] = {role: np.asarray(values, dtype=object) for role, values in texts.items()}
    if "encoder" in texts:
        beside["encoder"] = _only(texts["encoder"])
    return np.stack(vectors), beside


def _vector(text: str, row: int) -> npt.NDArray[np.float32]:
    """Parse a list of numbers; ``null`` is a gap like any other."""
    values = json.loads(text)
    if not isinstance(values, list) or not all(type(v) in (int, float) or v is None for v in values):
        raise TableError(f"{row_text(row)} is no list of numbers: write a list like [0.1, 0.2].")
    with np.errstate(over="ignore"):
        return np.array([math.nan if v is None else v for v in values], dtype=np.float64).astype(np.float32)


def _only(recipes: list[str]) -> str | None:
    """Return the encoder that all rows share."""
    if len(set(recipes)) > 1:
        raise TableError("rows have different encoders: do not mix vectors of two encoders.")
    return recipes[0] or None


def _flat(X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Flatten pictures to rows."""
    X = np.atleast_1d(X)
    return X.reshape(len(X), math.prod(X.shape[1:])) if X.ndim > 2 else X


_READERS: dict[str, Callable[[Path], tuple[npt.NDArray[Any], dict[str, Any]]]] = {
    ".parquet": _read_parquet,
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".csv": _read_csv,
}
