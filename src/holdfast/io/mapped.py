"""Arrays that live in files: scratch copies that nobody sees, and pages that are given back after use."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from holdfast.exceptions import TableError
from holdfast.io.atomic import output_error

__all__ = ["block_rows", "gather", "release", "row_blocks", "spill", "take_ordered", "take_rows"]

_BLOCK_VALUES = 1 << 23  # of a block: 32 MB of float32
_BLOCK_ROWS = 8192
_TAKEN_ROWS = 64  # each may bring two megabytes with it

_SHARED = ("r", "r+", "w+")  # in mode "c" the changes live in the pages alone, and would be lost with them


def release(X: npt.NDArray) -> None:
    """Let the system take back the pages of a memory map that were read or written so far.

    They count as this process's memory until then. Nothing is lost: the file (or its cache) has them still,
    and the next access brings them back. To be called after every block of a long pass.

    Parameters
    ----------
    X : ndarray
        A memory map or a view of one; for any other array, and for a copy-on-write map, nothing happens.
    """
    array = _map_below(X)
    if array is not None:
        mapping = array._mmap  # type: ignore[attr-defined]  # numpy's own name for it, the same since 1.0
        if array.mode in _SHARED and isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapping.madvise(mmap.MADV_DONTNEED)


def take_rows(X: npt.NDArray, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """Return a copy of some rows in float32, giving pages back on the way.

    The system maps far more than what is asked for: 2,000 rows of a million can make a whole file of 1.5 GB
    count as this process's memory.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    rows : ndarray of shape (m,)
        Row numbers; a memory map is read fastest if they ascend.

    Returns
    -------
    ndarray of shape (m, d), float32
    """
    taken = np.empty((len(rows), X.shape[1]), dtype=np.float32)
    step = max(len(rows), 1) if _map_below(X) is None else _TAKEN_ROWS
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        taken[some] = X[rows[some]]
        release(X)
    return taken


def take_ordered(X: npt.NDArray, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """Return what :func:`take_rows` does, reading a memory map in its own order, which is fastest."""
    ascending = np.argsort(rows, kind="stable")
    taken = np.empty((len(rows), X.shape[1]), dtype=np.float32)
    taken[ascending] = take_rows(X, rows[ascending])
    return taken


def gather(
    blocks: Iterable[npt.NDArray], n_rows: int, mmap_dir: str | os.PathLike[str] | None = None
) -> npt.NDArray[np.floating]:
    """Put blocks of rows below each other: in memory as float32, or with `mmap_dir` in a file, see `spill`.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (any, d)
        One at a time; each is copied once.
    n_rows : int
        How many rows they are said to have in all.
    mmap_dir : path-like, optional
        The folder of the file.

    Raises
    ------
    TableError
        If there are more or fewer rows, or none.
    OutputError
        If the file cannot be written.
    """
    counted = _counted(blocks, n_rows)
    return _in_memory(counted, n_rows) if mmap_dir is None else spill(counted, mmap_dir)


def spill(
    blocks: Iterable[npt.NDArray], folder: str | os.PathLike[str], dtype: np.dtype | None = None
) -> np.memmap:
    """Write blocks of rows to a file without a name, and return it as a read-only memory map.

    The file has no name from the start, or at once, so whatever ends the process, nothing is left of it. It
    is written rather than mapped while it grows: a full disk is then an error and no crash.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (any, d)
        At least one.
    folder : path-like
        Where the file is; it should be on a disk, not in memory.
    dtype : dtype, optional
        The precision; by default float16 if the first block has that, else float32.

    Returns
    -------
    memmap of shape (n, d)

    Raises
    ------
    OutputError
        If the file cannot be written there.
    """
    shape = (0, 0)
    with _scratch(folder) as stream:
        for block in blocks:
            if dtype is None:
                dtype = np.dtype(np.float16 if block.dtype == np.float16 else np.float32)
            shape = (shape[0] + len(block), block.shape[1])
            with np.errstate(over="ignore"):
                rows = np.ascontiguousarray(block, dtype=dtype)
            try:
                stream.write(rows.data)
            except OSError as error:
                raise output_error(folder, error) from error
            release(block)
        if 0 in shape:
            raise TableError(f"X has {shape[0]} rows and {shape[1]} columns: give at least one of each.")
        try:
            stream.flush()
            return np.memmap(stream, dtype or np.float32, "r", shape=shape)
        except OSError as error:
            raise output_error(folder, error) from error


def row_blocks(X: npt.NDArray, most_rows: int = _BLOCK_ROWS) -> Iterator[npt.NDArray]:
    """Yield the rows of X in order, as views of some at a time: fewer of them where they are wide."""
    step = block_rows(X.shape[1], most_rows)
    return (X[start : start + step] for start in range(0, len(X), step))


def block_rows(width: int, most_rows: int = _BLOCK_ROWS) -> int:
    """Return how many rows of a width to handle at once."""
    return max(1, min(most_rows, _BLOCK_VALUES // max(width, 1)))


def _scratch(folder: str | os.PathLike[str]) -> BinaryIO:
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError as error:
        raise output_error(folder, error) from error


def _in_memory(blocks: Iterable[npt.NDArray], n_rows: int) -> npt.NDArray[np.float32]:
    X: npt.NDArray[np.float32] | None = None
    start = 0
    for block in blocks:
        X = np.empty((n_rows, block.shape[1]), dtype=np.float32) if X is None else X
        with np.errstate(over="ignore"):
            X[start : start + len(block)] = block
        start += len(block)
    if X is None:
        raise TableError("has no rows: give at least one.")
    return X


def _counted(blocks: Iterable[npt.NDArray], n_rows: int) -> Iterator[npt.NDArray]:
    """Pass blocks on, and refuse a number of rows that is not the announced one."""
    found = 0
    for block in blocks:
        found += len(block)
        if found > n_rows:
            break
        yield block
    if found != n_rows:
        there = f"at least {found:,}" if found > n_rows else f"{found:,}"
        raise TableError(f"is damaged (it announces {n_rows:,} rows and has {there}): write it again.")


def _map_below(X: object) -> np.memmap | None:
    """Return the memory map that an array is or is a view of, however many views there are between."""
    while isinstance(X, np.ndarray):
        if isinstance(X, np.memmap):
            return X
        X = X.base
    return None
