"""Checks of parameters and arrays, each of which ends in one sentence that says what to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from numbers import Integral, Real
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from holdfast.exceptions import InputError, ParameterError

__all__ = ["check_choice", "check_finite", "check_float", "check_int", "row_text"]

T = TypeVar("T")

_HALF_EXPONENT = np.uint16(0x7C00)  # all ones in infinities and NaN, and in nothing else
_BLOCK_VALUES = 1 << 20  # values looked at in one go: 1 MB of booleans, whatever the width of X

_LARGEST = float(np.finfo(np.float32).max)


def check_int(name: str, value: object, minimum: int, maximum: int | None = None) -> int:
    """Return `value` as an int if it is an integer within ``[minimum, maximum]``.

    Parameters
    ----------
    name : str
        The parameter's name, for the message.
    value : object
        What the user gave. Booleans are no integers here.
    minimum, maximum : int
        The bounds, both included; ``maximum=None`` leaves the top open.

    Raises
    ------
    ParameterError
        If `value` is no integer or lies outside the bounds.
    """
    wanted = (
        f"an integer of at least {minimum}" if maximum is None else f"an integer from {minimum} to {maximum}"
    )
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise _parameter_error(name, value, wanted)
    number = int(value)
    if number < minimum or (maximum is not None and number > maximum):
        raise _parameter_error(name, value, wanted)
    return number


def check_float(
    name: str, value: object, low: float, high: float, *, low_open: bool = False, high_open: bool = False
) -> float:
    """Return `value` as a float if it is a real number between `low` and `high`.

    Parameters
    ----------
    name : str
        The parameter's name, for the message.
    value : object
        What the user gave. Booleans and NaN are refused.
    low, high : float
        The bounds; infinite ones leave a side open.
    low_open, high_open : bool, default=False
        Whether the bound itself is excluded.

    Raises
    ------
    ParameterError
        If `value` is no real number or lies outside the bounds.
    """
    wanted = f"a number in {'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise _parameter_error(name, value, wanted)
    number = float(value)
    above = number > low if low_open else number >= low
    below = number < high if high_open else number <= high
    if math.isnan(number) or not (above and below):
        raise _parameter_error(name, value, wanted)
    return number


def check_choice(name: str, value: T, choices: Collection[T]) -> T:
    """Return `value` if it is one of `choices`.

    Raises
    ------
    ParameterError
        If it is not; the message lists the choices.
    """
    # Arrays compare element by element, so only values that hash are looked up.
    if getattr(value, "__hash__", None) is None or value not in choices:
        raise _parameter_error(name, value, "one of " + ", ".join(repr(choice) for choice in choices))
    return value


def check_finite(
    X: npt.NDArray,
    where: str,
    row_names: Sequence[str] | npt.NDArray | None = None,
    *,
    after_block: Callable[[], None] | None = None,
) -> None:
    """Refuse NaN, infinity and what single precision cannot hold, without a mask of X's size.

    Parameters
    ----------
    X : ndarray of shape (n_samples, ...)
        The values; integers are finite by nature.
    where : str
        What X is, for the message ("X", or the name of the file it came from).
    row_names : sequence of str of length n_samples, optional
        The rows' ids, to name the first bad one.
    after_block : callable, optional
        Called after each few rows; for a memory map, to give their pages back.

    Raises
    ------
    InputError
        If any value is not finite, or would not be in float32; names the first bad row and how many there
        are.
    """
    bad = _rows_not_finite(X, after_block)
    if not bad.size:
        return
    first = int(bad[0])
    row = row_text(first, None if row_names is None else row_names[first])
    others = (
        f" and {bad.size - 1} more rows" if bad.size > 2 else " and one more row" if bad.size == 2 else ""
    )
    raise InputError(f"{where} has a NaN or an infinity in {row}{others}: remove them or fill the gaps.")


def row_text(row: int, name: object = None) -> str:
    """Name a row in a message; rows are counted from 0, as in ``X[row]``."""
    return f"row {row}" if name is None or str(name) == str(row) else f"row {row} (id {str(name)!r})"


def _rows_not_finite(X: npt.NDArray, after_block: Callable[[], None] | None = None) -> npt.NDArray[np.intp]:
    """Return the numbers of the rows with a value that is not finite, in order."""
    if len(X) == 0 or np.asarray(X[:1]).dtype.kind not in "fc":
        return np.empty(0, dtype=np.intp)
    width = max(1, math.prod(X.shape[1:]))
    step = max(1, _BLOCK_VALUES // width)
    found = []
    for start in range(0, len(X), step):
        block = np.asarray(X[start : start + step]).reshape(-1, width)
        found.append(start + np.flatnonzero(~_is_finite(block).all(axis=1)))
        if after_block is not None:
            after_block()
    return np.concatenate(found)


def _is_finite(block: npt.NDArray) -> npt.NDArray[np.bool_]:
    """Tell which values are finite in single precision, which is what they will be computed in."""
    if block.dtype == np.float16 and block.dtype.isnative:
        return np.asarray((block.view(np.uint16) & _HALF_EXPONENT) != _HALF_EXPONENT)  # 14 times as fast
    if block.dtype.kind != "f" or block.dtype.itemsize <= 4:
        return np.asarray(np.isfinite(block))
    return np.asarray((block >= -_LARGEST) & (block <= _LARGEST))  # NaN is neither


def _parameter_error(name: str, value: object, wanted: str) -> ParameterError:
    """Build the one message that every parameter check gives."""
    return ParameterError(f"{name} must be {wanted}, not {_short(value)}.")


def _short(value: object) -> str:
    """Write a value in at most 60 characters, on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
