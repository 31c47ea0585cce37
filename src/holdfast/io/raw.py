"""A table as it came out of its file: what both readers start from, the strict one and the doctor's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.io.embeddings import Embeddings, as_labels, check_vectors, row_ids
from holdfast.io.texts import as_texts

__all__ = ["Columns", "RawTable", "Reading"]


@dataclass(frozen=True)
class Reading:
    """How a table is to be read.

    Attributes
    ----------
    mmap_dir : path-like or None
        A folder for the vectors of a large one; see `holdfast.read_embeddings`.
    gaps : bool
        Whether a vector may have values that are missing or not finite; the former become NaN.
    """

    mmap_dir: str | os.PathLike[str] | None = None
    gaps: bool = False


@dataclass(frozen=True, eq=False)
class RawTable:
    """A table of which nothing is asked but that it is one.

    Attributes
    ----------
    X : ndarray of shape (n, d)
        Numbers; NaN and infinity may be among them. A memory map where `Embeddings` has one.
    ids : ndarray of shape (n,), str
        Not necessarily unique; row numbers where the file has none.
    dtype : dtype
        The type of number in the file, which that of `X` need not be.
    labels : ndarray of shape (n,), int or str, or None
    paths : ndarray of shape (n,), str, or None
    encoder : str or None
    """

    X: npt.NDArray[Any]
    ids: npt.NDArray[np.str_]
    dtype: np.dtype
    labels: npt.NDArray[Any] | None = None
    paths: npt.NDArray[np.str_] | None = None
    encoder: str | None = None

    def __len__(self) -> int:
        return len(self.X)


@dataclass(frozen=True, eq=False)
class Columns:
    """What a reader found, unchecked; `dtype` is given where `X` is not in the type of the file any more."""

    X: npt.NDArray[Any]
    ids: npt.NDArray[Any] | None = None
    labels: npt.NDArray[Any] | None = None
    paths: npt.NDArray[Any] | None = None
    encoder: str | None = None
    dtype: np.dtype | None = None

    def checked(self) -> Embeddings:
        """Return the table, or refuse it; see `Embeddings`."""
        ids = row_ids(len(self.X)) if self.ids is None else self.ids
        return Embeddings(ids, self.X, self.labels, self.paths, self.encoder)

    def raw(self) -> RawTable:
        """Return the table with values that are not finite and ids that repeat, if there are any."""
        check_vectors(self.X)
        n = len(self.X)
        return RawTable(
            self.X,
            row_ids(n) if self.ids is None else as_texts("ids", self.ids, n),
            self.X.dtype if self.dtype is None else self.dtype,
            None if self.labels is None else as_labels(self.labels, n),
            None if self.paths is None else as_texts("paths", self.paths, n),
            self.encoder,
        )
