"""Columns of texts: from whatever a table holds to one NumPy array, checked, without a loop over the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from holdfast.exceptions import InputError

__all__ = ["as_array", "as_column", "as_texts", "is_text", "texts_from_arrow"]

# An array of texts is as wide as its longest entry in every row, at four bytes a character. So a text may be
# longer than any sensible name only while the whole column stays below 256 MB.
_LONG_TEXT = 1024
_CHARACTERS = 1 << 26
_BLOCK_ROWS = 1 << 16  # of a column at once: so many Python objects live while it is copied
_SURROGATES, _LAST_CHARACTER = 0xD800, 0x10FFFF


def as_texts(name: str, values: npt.ArrayLike, n: int) -> npt.NDArray[np.str_]:
    r"""Return a column of n texts; numbers are written out, gaps are refused.

    Parameters
    ----------
    name : str
        What the column is, for a message.
    values : array-like of shape (n,)
        Texts, bytes or numbers. Bytes are read as UTF-8; what is none appears as ``\xNN``.
    n : int
        How many there should be.

    Raises
    ------
    InputError
        If the number is another one, or a value is missing, empty, nested, too long, or has a NUL character
        (which NumPy's texts cannot end with); names the row.
    """
    column = as_column(name, values, n)
    if column.dtype.kind in "SO":
        limit = _longest(n)
        return np.array([_text(name, value, row, limit) for row, value in enumerate(column.tolist())])
    texts = column.astype(str, copy=False)
    _refuse_first(name, texts == "", _gap)
    long = np.flatnonzero(np.strings.str_len(texts) > _longest(n))
    if long.size:
        raise _too_long(name, int(long[0]), len(texts[long[0]]), _longest(n))
    return _storable(name, texts)


def is_text(kind: pa.DataType) -> bool:
    """Tell whether an Arrow column holds texts or bytes."""
    return any(
        test(kind)
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
        )
    )


def texts_from_arrow(name: str, column: pa.ChunkedArray) -> npt.NDArray[np.str_]:
    """Return an Arrow column of texts or bytes, without nulls, as an array; see `as_texts`."""
    texts = _utf8(column)
    n = len(texts)
    lengths = pc.utf8_length(texts)
    _refuse_first(name, pc.equal(lengths, 0), _gap)
    longest = int(pc.max(lengths).as_py() or 1)
    if longest > _longest(n):
        row = int(np.argmax(lengths.to_numpy()))
        raise _too_long(name, row, int(lengths[row].as_py()), _longest(n))
    _refuse_first(name, pc.match_substring(texts, "\0"), _nul)
    found = np.empty(n, dtype=f"U{longest}")
    for start in range(0, n, _BLOCK_ROWS):
        block = texts.slice(start, _BLOCK_ROWS)
        found[start : start + len(block)] = block.to_numpy()
    return found


def as_column(name: str, values: npt.ArrayLike, n: int) -> npt.NDArray[Any]:
    """Return an array of shape (n,), or say how long it is and how long it should be."""
    column = as_array(name, values)
    if column.ndim != 1:
        raise InputError(f"{name} has {column.ndim} dimensions: give one value per row.")
    if len(column) != n:
        raise InputError(f"{name} has {len(column)} entries for {n} rows of X: give one per row.")
    return column


def as_array(name: str, values: npt.ArrayLike | Sequence[Any]) -> npt.NDArray[Any]:
    """Make an array of what was given, refusing rows of different lengths."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} has rows of different lengths: give all of them the same.") from error


def _utf8(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return valid texts: a column that says so itself may still hold any bytes."""
    raw = column.cast(pa.large_binary())
    try:
        return raw.cast(pa.large_string())
    except pa.ArrowInvalid:
        return pa.chunked_array([pa.array(list(_decoded(raw)), pa.large_string())])


def _decoded(column: pa.ChunkedArray) -> Iterator[str]:
    return (value.as_py().decode("utf-8", "backslashreplace") for value in column)


def _text(name: str, value: object, row: int, limit: int) -> str:
    r"""Write one value of a column out; bytes are UTF-8, and what is not appears as ``\xNN``."""
    if isinstance(value, (list, tuple, dict, set, np.ndarray)):
        raise InputError(f"{name} holds a {type(value).__name__} in row {row}: give one text per row.")
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if value is None or value != value or text == "":  # None and NaN are how pandas marks a gap
        raise _gap(name, row)
    if len(text) > limit:
        raise _too_long(name, row, len(text), limit)
    if "\0" in text:
        raise _nul(name, row)
    return _escaped(text)


def _storable(name: str, texts: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Refuse NULs and numbers that are no characters; write lone surrogates out, which no file can hold."""
    codes = np.ascontiguousarray(texts).view(np.uint32).reshape(len(texts), -1)
    plain = True
    for start in range(0, len(codes), _BLOCK_ROWS):
        block = codes[start : start + _BLOCK_ROWS]
        inside = (block[:, :-1] == 0) & (block[:, 1:] != 0)  # at the end, they are NumPy's padding
        _refuse_first(name, inside.any(axis=1), _nul, start)
        _refuse_first(name, (block > _LAST_CHARACTER).any(axis=1), _no_text, start)
        plain = plain and bool(block.max(initial=0) < _SURROGATES)
    return texts if plain else np.array([_escaped(text) for text in texts.tolist()])


def _escaped(text: str) -> str:
    r"""Write what is no UTF-8 in a file name (a lone surrogate in Python) as ``\xNN``, like other bytes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode().replace("\\udc", "\\x")
    return text


def _longest(n: int) -> int:
    """Return how many characters a text may have in a column of n."""
    return max(_LONG_TEXT, _CHARACTERS // n)


def _refuse_first(
    name: str, bad: npt.ArrayLike, sentence: Callable[[str, int], InputError], first_row: int = 0
) -> None:
    """Raise for the first row that is bad, if any is."""
    places = np.flatnonzero(np.asarray(bad))
    if places.size:
        raise sentence(name, first_row + int(places[0]))


def _too_long(name: str, row: int, length: int, limit: int) -> InputError:
    return InputError(
        f"{name} has {length:,} characters in row {row}: give at most {limit:,}, for every row takes the "
        "room of the longest."
    )


def _gap(name: str, row: int) -> InputError:
    return InputError(f"{name} is empty in row {row}: give every row one.")


def _no_text(name: str, row: int) -> InputError:
    return InputError(f"{name} holds something that is no text in row {row}: write the column again.")


def _nul(name: str, row: int) -> InputError:
    return InputError(f"{name} has a NUL character in row {row}: remove it.")
