"""Arrays that live in files: scratch copies that nobody sees, and pages that are given back after use."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["release"]

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
    for array in _bases(X):
        if isinstance(array, np.memmap):
            mapping = array._mmap  # type: ignore[attr-defined]  # numpy's own name for it, the same since 1.0
            if array.mode in _SHARED and isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                mapping.madvise(mmap.MADV_DONTNEED)
            return


def _bases(X: object) -> Iterator[object]:
    """Yield an array and what it is a view of, the memory's owner last."""
    while isinstance(X, np.ndarray):
        yield X
        X = X.base
