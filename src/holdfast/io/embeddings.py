"""`Embeddings`: vectors, the names of their rows, and what travels beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast._validation import check_finite
from holdfast.exceptions import InputError
from holdfast.io.mapped import release
from holdfast.io.texts import as_array, as_column, as_texts

__all__ = ["Embeddings", "as_labels", "check_vectors", "row_ids"]

_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True, eq=False)
class Embeddings:
    """A collection of embeddings: one row of `X` an item.

    Whatever is given is checked and brought into the form below; `X` is not copied if it is float32 already,
    nor if it is a memory map of half or single precision, which stays the map it is.

    Parameters
    ----------
    ids : ndarray of shape (n,), str
        The items' names, unique. Up to 1,024 characters are always welcome, here and in labels and paths.
    X : ndarray of shape (n, d), float32
        The vectors, all finite. A memory map may be float16 as well: it keeps its precision, and is read
        block by block, so that a collection may be larger than the memory.
    labels : ndarray of shape (n,), int or str, optional
        True classes where they are known. They serve for scoring only and never enter a fit.
    paths : ndarray of shape (n,), str, optional
        Where each item's picture is.
    encoder : str, optional
        The hash of the recipe that made the vectors; vectors of different recipes must not be mixed.

    Raises
    ------
    InputError
        If the parts do not fit together; names the part, the row and the remedy.

    Examples
    --------
    >>> emb = Embeddings(ids=["a", "b"], X=[[0.0, 1.0], [1.0, 0.0]])
    >>> len(emb), emb.X.shape
    (2, (2, 2))
    """

    ids: npt.NDArray[np.str_]
    X: npt.NDArray[np.floating]
    labels: npt.NDArray[Any] | None = None
    paths: npt.NDArray[np.str_] | None = None
    encoder: str | None = None

    def __post_init__(self) -> None:
        X = _vectors(self.X)
        ids = as_texts("ids", self.ids, len(X))
        _check_unique(ids)
        check_finite(X, "X", ids, after_block=lambda: release(X))
        checked = {
            "ids": ids,
            "X": X,
            "labels": None if self.labels is None else as_labels(self.labels, len(X)),
            "paths": None if self.paths is None else as_texts("paths", self.paths, len(X)),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # frozen for users, not for its own constructor

    def __len__(self) -> int:
        return len(self.X)


def row_ids(n: int) -> npt.NDArray[np.str_]:
    """Return the ids of rows that have no names: their numbers, counted from 0."""
    return np.arange(n).astype(f"U{len(str(max(n - 1, 0)))}")  # no wider than needed: 21 by default


def check_vectors(X: npt.NDArray[Any]) -> None:
    """Refuse an array that is no table of numbers, by its shape and type alone."""
    if X.ndim != 2:
        raise InputError(f"X has {X.ndim} dimensions: give one row per item, shape (n, d).")
    if 0 in X.shape:
        raise InputError(f"X has {X.shape[0]} rows and {X.shape[1]} columns: give at least one of each.")
    if X.dtype.kind not in "fiub":
        raise InputError(f"X holds {X.dtype} values: give numbers.")


def as_labels(values: npt.ArrayLike, n: int) -> npt.NDArray[Any]:
    """Return n labels as integers or texts; whole numbers stored as floats become integers."""
    labels = as_column("labels", values, n)
    if labels.dtype.kind == "f":
        broken = np.flatnonzero(~(np.isfinite(labels) & (labels == np.rint(labels))))
        if broken.size:
            row = int(broken[0])
            raise InputError(
                f"labels has {labels[row]} in row {row}: give a whole number or a name in every row."
            )
        return labels.astype(np.int64)
    if labels.dtype.kind == "b":
        return labels.astype(np.int64)
    return labels if labels.dtype.kind in "iu" else as_texts("labels", labels, n)


def _vectors(values: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """Return the vectors as float32 of shape (n, d), or as the memory map they are; copied only if needed."""
    X = as_array("X", values)
    check_vectors(X)
    if isinstance(values, np.memmap) and values.dtype in (np.float16, np.float32):
        return values
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and check_finite names it
        return X.astype(np.float32, copy=False)


def _check_unique(ids: npt.NDArray[np.str_]) -> None:
    """Refuse an id that occurs twice; names it and the first two rows that have it."""
    hashes = _hashes(ids)
    order = np.argsort(hashes)
    equal = hashes[order[1:]] == hashes[order[:-1]]
    if not equal.any():
        return
    # Few rows are left: those with the hash of another one, in their own order again.
    suspects = np.sort(order[np.r_[equal, False] | np.r_[False, equal]])
    names = ids[suspects]
    by_name = np.argsort(names, kind="stable")
    again = np.flatnonzero(names[by_name[1:]] == names[by_name[:-1]])
    if again.size:
        first, second = suspects[by_name[again[0]]], suspects[by_name[again[0] + 1]]
        raise InputError(
            f"The id {str(ids[first])!r} is in row {first} and in row {second}: rename or drop one of them."
        )


def _hashes(texts: npt.NDArray[np.str_]) -> npt.NDArray[np.uint64]:
    """Return a number for every text, different ones for different texts but for an accident.

    Sorting a million of these takes a tenth of the time that sorting the texts themselves does.
    """
    codes = np.ascontiguousarray(texts).view(np.uint32).reshape(len(texts), -1)
    factors = np.random.default_rng(0).integers(1, 2**64, codes.shape[1], dtype=np.uint64, endpoint=False)
    found = np.empty(len(texts), dtype=np.uint64)
    for start in range(0, len(texts), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        found[rows] = codes[rows].astype(np.uint64) @ factors
    return found
