"""Reading and writing embeddings: the suffix decides the format, every format gives the same `Embeddings`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from holdfast._validation import check_choice
from holdfast.exceptions import InputError, OutputError, TableError
from holdfast.io import _csv, _numpy, _parquet
from holdfast.io._stored import Stored
from holdfast.io.atomic import atomic_file, check_file_target, output_error
from holdfast.io.damage import damage_as_table_errors
from holdfast.io.embeddings import Embeddings, row_ids
from holdfast.io.paths import what_is
from holdfast.io.raw import Columns, RawTable, Reading

__all__ = [
    "TABLE_SUFFIXES",
    "check_table_source",
    "check_table_target",
    "read_embeddings",
    "read_raw",
    "table_shape",
    "write_embeddings",
]

PathLike: TypeAlias = str | os.PathLike[str]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Format:
    """How to read and write one kind of file; readers and writers speak of rows, never of the file."""

    name: str
    read: Callable[[Path, Reading], Columns]
    write: Callable[[Embeddings, Stored, Path], None]
    shape: Callable[[Path], tuple[int, int]] | None = None


_FORMATS = {
    ".parquet": _Format("Parquet", _parquet.read, _parquet.write, _parquet.shape),
    ".npz": _Format("NumPy", _numpy.read_npz, _numpy.write_npz),
    ".npy": _Format("NumPy", _numpy.read_npy, _numpy.write_npy, _numpy.npy_shape),
    ".csv": _Format("CSV", _csv.read, _csv.write),
}

TABLE_SUFFIXES = tuple(_FORMATS)
"""How the names of tables end, in lower case."""


def read_embeddings(path: PathLike, *, mmap_dir: PathLike | None = None) -> Embeddings:
    """Read a table of embeddings, into memory or, if it may be larger than that, into a memory map.

    Parameters
    ----------
    path : path-like
        A file with one of these suffixes:

        - ``.parquet``: a list column ``embedding`` of n rows of width d (fixed-size lists are copied once, in
          blocks), optional columns ``id``, ``label``, ``path``; the encoder in the schema's metadata under
          ``holdfast.encoder``;
        - ``.npz``: an array ``X`` of shape (n, d), optional ``ids``, ``labels`` (or ``y``), ``paths``,
          ``encoder``;
        - ``.npy``: ``X`` alone;
        - ``.csv``: one JSON list per row in a column ``embeddings``, optional ``labels``, ``id``, ``path``.

        Usual variants of the names are known (``embedding``, ``embeddings``, ``vector``; ``id``, ``ids``;
        ``label``, ``labels``, ``class``, ``y``; ``path``, ``paths``). Rows without ids are named by their
        numbers. Pictures stored as an array of more than two dimensions are flattened to rows.
    mmap_dir : path-like, optional
        A folder on a disk with room for the vectors. Those of a Parquet file are then copied once, block by
        block, into a file there that nobody sees and that is gone when the array is, whatever ends the
        process. A ``.npy`` file of half or single precision rows is mapped where it is (leave it unchanged
        while the array is in use), any other is copied like Parquet. ``.npz`` and ``.csv`` are read into
        memory all the same.

    Returns
    -------
    Embeddings
        With `X` in float32; with `mmap_dir`, a read-only memory map, in float16 where the table is.

    Raises
    ------
    TableError
        If the file is missing or cannot be read as a table of embeddings; names the file, the row and the
        remedy. Rows are counted from 0. No file can make this function execute code.
    OutputError
        If `mmap_dir` cannot be written to, or has too little room.
    """
    with _opened(path) as (source, kind):
        return kind.read(source, Reading(mmap_dir)).checked()


def read_raw(path: PathLike, *, mmap_dir: PathLike | None = None) -> RawTable:
    """Read a table as `read_embeddings` does, without refusing what is wrong with its values.

    Values may be missing or not finite, and ids may repeat; anything else is refused in the same words.

    Parameters
    ----------
    path : path-like
    mmap_dir : path-like, optional

    Raises
    ------
    TableError
        If the file is missing or cannot be read as a table of embeddings.
    OutputError
        If `mmap_dir` cannot be written to, or has too little room.
    """
    with _opened(path) as (source, kind):
        return kind.read(source, Reading(mmap_dir, gaps=True)).raw()


def table_shape(path: PathLike) -> tuple[int, int] | None:
    """Return the rows and columns of a table's vectors by a look at its first or last bytes.

    Parameters
    ----------
    path : path-like
        A table.

    Returns
    -------
    tuple of int or None
        None where only reading it would tell (.npz and .csv), or where it cannot be read.
    """
    try:
        with _opened(path) as (source, kind):
            return None if kind.shape is None else kind.shape(source)
    except TableError:
        return None


def write_embeddings(
    emb: Embeddings, path: PathLike, dtype: Literal["float32", "float16"] = "float32"
) -> None:
    """Write a table of embeddings, atomically; `read_embeddings` gives back an equal one.

    ``.npy`` holds `X` only. ``.csv`` has no types: labels that are written like whole numbers come back as
    integers.

    Parameters
    ----------
    emb : Embeddings
        What to write.
    path : path-like
        Where; the suffix (.parquet, .npz, .npy or .csv) decides the format.
    dtype : {"float32", "float16"}, default="float32"
        The precision of the stored vectors. Half precision halves the file and keeps three digits.

    Raises
    ------
    OutputError
        If the suffix is unknown or the file cannot be written.
    InputError
        If a value does not fit float16; names the row.
    """
    check_choice("dtype", dtype, ("float32", "float16"))
    target = Path(path)
    check_table_target(target)
    _warn_of_losses(emb, target)
    try:
        with atomic_file(target) as temporary:
            _FORMATS[target.suffix.lower()].write(emb, Stored(emb, np.dtype(dtype)), temporary)
    except OutputError:
        raise
    except OSError as error:  # numpy's writers raise some without a number; here all are about the output
        raise output_error(path, error) from error


def check_table_source(path: PathLike) -> None:
    """Refuse what `read_embeddings` could not even open; for the time before other work.

    Raises
    ------
    TableError
        If there is no file, or it may not be looked at, or its suffix is unknown.
    """
    source = Path(path)
    if source.suffix.lower() not in _FORMATS:
        raise TableError(f"{path} has an unknown suffix: give a file ending in {_suffixes()}.")
    try:
        kind = what_is(source)
    except OSError as error:
        raise TableError(f"{path} cannot be read ({error.strerror or error}): check the file.") from error
    if kind == "nothing":
        raise TableError(f"{path} does not exist: check the path.")
    if kind != "file":
        raise TableError(f"{path} is a {kind}: give a file ending in {_suffixes()}.")


def check_table_target(path: PathLike) -> None:
    """Refuse a name that `write_embeddings` could not write to; for the time before the long work.

    Raises
    ------
    OutputError
        If the suffix is unknown, or a folder, a pipe or a device is there.
    """
    target = Path(path)
    if target.suffix.lower() not in _FORMATS:
        raise OutputError(f"Cannot write {path}: its name must end in {_suffixes()}.")
    check_file_target(path)


@contextmanager
def _opened(path: PathLike) -> Iterator[tuple[Path, _Format]]:
    """Give a table's path and format, and name the file in whatever is said of it."""
    source = Path(path)
    check_table_source(source)
    kind = _FORMATS[source.suffix.lower()]
    try:
        with damage_as_table_errors(kind.name):
            yield source, kind
    except InputError as error:
        raise TableError(f"{path}: {error}") from error
    except OutputError:
        raise
    except OSError as error:
        raise TableError(f"{path} cannot be read ({error.strerror or error}): check the file.") from error


def _warn_of_losses(emb: Embeddings, target: Path) -> None:
    """Say so when the format has no room for ids or labels."""
    extras = emb.labels is not None or emb.paths is not None or emb.encoder is not None
    if target.suffix.lower() == ".npy" and (extras or not np.array_equal(emb.ids, row_ids(len(emb)))):
        logger.warning("%s keeps the vectors only; write .parquet or .npz to keep ids and labels.", target)


def _suffixes() -> str:
    """List the known suffixes for a message."""
    *others, last = _FORMATS
    return f"{', '.join(others)} or {last}"
