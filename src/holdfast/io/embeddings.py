"""`Embeddings`: vectors, the names of their rows, and what travels beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast._validation import check_finite
from holdfast.exceptions import InputError

__all__ = ["Embeddings", "row_ids"]

# An array of texts is as wide as its longest entry in every row, at four bytes a character. So a text may be
# longer than any sensible name only while the whole column stays below 256 MB.
_LONG_TEXT = 1024
_CHARACTERS = 1 << 26


@dataclass(frozen=True, eq=False)
class Embeddings:
    """A collection of embeddings: one row of `X` an item.

    Whatever is given is checked and brought into the form below; `X` is not copied if it is float32 already.

    Parameters
    ----------
    ids : ndarray of shape (n,), str
        The items' names, unique. Up to 1,024 characters are always welcome, here and in labels and paths.
    X : ndarray of shape (n, d), float32
        The vectors, all finite.
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
    X: npt.NDArray[np.float32]
    labels: npt.NDArray[Any] | None = None
    paths: npt.NDArray[np.str_] | None = None
    encoder: str | None = None

    def __post_init__(self) -> None:
        X = _vectors(self.X)
        ids = _texts("ids", self.ids, len(X))
        _check_unique(ids)
        check_finite(X, "X", ids)
        checked = {
            "ids": ids,
            "X": X,
            "labels": None if self.labels is None else _labels(self.labels, len(X)),
            "paths": None if self.paths is None else _texts("paths", self.paths, len(X)),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # frozen for users, not for its own constructor

    def __len__(self) -> int:
        return len(self.X)


def row_ids(n: int) -> npt.NDArray[np.str_]:
    """Return the ids of rows that have no names: their numbers, counted from 0."""
    return np.arange(n).astype(str)


def _vectors(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the vectors as float32 of shape (n, d), without a copy where they are that already."""
    X = _array("X", values)
    if X.ndim != 2:
        raise InputError(f"X has {X.ndim} dimensions: give one row per item, shape (n, d).")
    if 0 in X.shape:
        raise InputError(f"X has {X.shape[0]} rows and {X.shape[1]} columns: give at least one of each.")
    if X.dtype.kind not in "fiub":
        raise InputError(f"X holds {X.dtype} values: give numbers.")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and check_finite names it
        return X.astype(np.float32, copy=False)


def _texts(name: str, values: npt.ArrayLike, n: int) -> npt.NDArray[np.str_]:
    """Return a column of n texts; numbers are written out, gaps are refused."""
    column = _column(name, values, n)
    if column.dtype.kind in "SO":
        limit = _longest(n)
        return np.array([_text(name, value, row, limit) for row, value in enumerate(column.tolist())])
    texts = column.astype(str)
    gaps = np.flatnonzero(texts == "")
    if gaps.size:
        raise _gap(name, int(gaps[0]))
    long = np.flatnonzero(np.char.str_len(texts) > _longest(n))
    if long.size:
        raise _too_long(name, int(long[0]), len(texts[long[0]]), _longest(n))
    return texts


def _longest(n: int) -> int:
    """Return how many characters a text may have in a column of n."""
    return max(_LONG_TEXT, _CHARACTERS // n)


def _text(name: str, value: object, row: int, limit: int) -> str:
    r"""Write one value of a column out; bytes are UTF-8, and what is not appears as ``\xNN``."""
    if isinstance(value, (list, tuple, dict, set, np.ndarray)):
        raise InputError(f"{name} holds a {type(value).__name__} in row {row}: give one text per row.")
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if value is None or value != value or text == "":  # None and NaN are how pandas marks a gap
        raise _gap(name, row)
    if len(text) > limit:
        raise _too_long(name, row, len(text), limit)
    return text


def _too_long(name: str, row: int, length: int, limit: int) -> InputError:
    return InputError(
        f"{name} has {length:,} characters in row {row}: give at most {limit:,}, for every row takes the "
        "room of the longest."
    )


def _gap(name: str, row: int) -> InputError:
    return InputError(f"{name} is empty in row {row}: give every row one.")


def _labels(values: npt.ArrayLike, n: int) -> npt.NDArray[Any]:
    """Return n labels as integers or texts; whole numbers stored as floats become integers."""
    labels = _column("labels", values, n)
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
    return labels if labels.dtype.kind in "iu" else _texts("labels", labels, n)


def _column(name: str, values: npt.ArrayLike, n: int) -> npt.NDArray[Any]:
    """Return an array of shape (n,), or say how long it is and how long it should be."""
    column = _array(name, values)
    if column.ndim != 1:
        raise InputError(f"{name} has {column.ndim} dimensions: give one value per row.")
    if len(column) != n:
        raise InputError(f"{name} has {len(column)} entries for {n} rows of X: give one per row.")
    return column


def _array(name: str, values: npt.ArrayLike | Sequence[Any]) -> npt.NDArray[Any]:
    """Make an array of what was given, refusing rows of different lengths."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} has rows of different lengths: give all of them the same.") from error


def _check_unique(ids: npt.NDArray[np.str_]) -> None:
    """Refuse an id that occurs twice; names it and the first two rows that have it."""
    order = np.argsort(ids, kind="stable")
    again = np.flatnonzero(ids[order[1:]] == ids[order[:-1]])
    if again.size:
        first, second = order[again[0]], order[again[0] + 1]
        raise InputError(
            f"The id {str(ids[first])!r} is in row {first} and in row {second}: rename or drop one of them."
        )
