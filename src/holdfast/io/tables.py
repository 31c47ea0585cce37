"""Reading and writing embeddings: the suffix decides the format, every format gives the same `Embeddings`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from holdfast._validation import check_choice, row_text
from holdfast.exceptions import InputError, OutputError, TableError
from holdfast.io import _csv, _numpy, _parquet
from holdfast.io.atomic import atomic_file, output_error
from holdfast.io.embeddings import Embeddings, row_ids

__all__ = ["check_table_source", "check_table_target", "read_embeddings", "write_embeddings"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Format:
    """How to read and write one kind of file; readers and writers speak of rows, never of the file."""

    read: Callable[[Path], Embeddings]
    write: Callable[[Embeddings, npt.NDArray, Path], None]


_FORMATS = {
    ".parquet": _Format(_parquet.read, _parquet.write),
    ".npz": _Format(_numpy.read_npz, _numpy.write_npz),
    ".npy": _Format(_numpy.read_npy, _numpy.write_npy),
    ".csv": _Format(_csv.read, _csv.write),
}


def read_embeddings(path: str | os.PathLike[str]) -> Embeddings:
    """Read a table of embeddings.

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

    Returns
    -------
    Embeddings
        With `X` in float32.

    Raises
    ------
    TableError
        If the file is missing or cannot be read as a table of embeddings; names the file, the row and the
        remedy. Rows are counted from 0. No file can make this function execute code.
    """
    source = Path(path)
    check_table_source(source)
    try:
        return _FORMATS[source.suffix.lower()].read(source)
    except InputError as error:
        raise TableError(f"{path}: {error}") from error
    except OSError as error:
        raise TableError(f"{path} cannot be read ({error.strerror or error}): check the file.") from error


def write_embeddings(
    emb: Embeddings, path: str | os.PathLike[str], dtype: Literal["float32", "float16"] = "float32"
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
    X = _stored(emb, dtype)
    _warn_of_losses(emb, target)
    try:
        with atomic_file(target) as temporary:
            _FORMATS[target.suffix.lower()].write(emb, X, temporary)
    except OutputError:
        raise
    except OSError as error:  # numpy's writers raise some without a number; here all are about the output
        raise output_error(path, error) from error


def check_table_source(path: str | os.PathLike[str]) -> None:
    """Refuse what `read_embeddings` could not even open; for the time before other work.

    Raises
    ------
    TableError
        If there is no file, or its suffix is unknown.
    """
    source = Path(path)
    if source.suffix.lower() not in _FORMATS:
        raise TableError(f"{path} has an unknown suffix: give a file ending in {_suffixes()}.")
    if not source.exists():
        raise TableError(f"{path} does not exist: check the path.")
    if source.is_dir():
        raise TableError(f"{path} is a folder: give a file ending in {_suffixes()}.")


def check_table_target(path: str | os.PathLike[str]) -> None:
    """Refuse a name that `write_embeddings` could not write to; for the time before the long work.

    Raises
    ------
    OutputError
        If the suffix is unknown, or a folder is there.
    """
    target = Path(path)
    if target.suffix.lower() not in _FORMATS:
        raise OutputError(f"Cannot write {path}: its name must end in {_suffixes()}.")
    if target.is_dir():
        raise OutputError(f"{path} is a folder; give the name of a file to write.")


def _stored(emb: Embeddings, dtype: str) -> npt.NDArray:
    """Return X in the precision of the file, refusing values that would overflow."""
    with np.errstate(over="ignore"):
        X = emb.X.astype(dtype, copy=False)
    if dtype == "float16" and np.isinf(X.max(initial=0)) | np.isinf(X.min(initial=0)):
        row = int(np.flatnonzero(np.isinf(X).any(axis=1))[0])
        raise InputError(f"X does not fit float16 in {row_text(row, emb.ids[row])}: write it as float32.")
    return X


def _warn_of_losses(emb: Embeddings, target: Path) -> None:
    """Say so when the format has no room for ids or labels."""
    extras = emb.labels is not None or emb.paths is not None or emb.encoder is not None
    if target.suffix.lower() == ".npy" and (extras or not np.array_equal(emb.ids, row_ids(len(emb)))):
        logger.warning("%s keeps the vectors only; write .parquet or .npz to keep ids and labels.", target)


def _suffixes() -> str:
    """List the known suffixes for a message."""
    *others, last = _FORMATS
    return f"{', '.join(others)} or {last}"
