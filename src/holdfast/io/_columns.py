"""The names that tables out there give to ids, vectors, labels and paths: one list for every format."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.exceptions import TableError

__all__ = ["find_column", "vector_column"]

_NAMES = {
    "X": ("embedding", "embeddings", "vector", "vectors", "x"),
    "ids": ("id", "ids"),
    "labels": ("label", "labels", "class", "y"),
    "paths": ("path", "paths"),
    "encoder": ("encoder",),
}
_MOST_NAMES = 8


def find_column(role: str, available: Iterable[str]) -> str | None:
    """Return the available name that plays `role` ("X", "ids", "labels", "paths", "encoder"), if any."""
    by_lower_case = {name.lower(): name for name in reversed(list(available))}
    return next((by_lower_case[name] for name in _NAMES[role] if name in by_lower_case), None)


def vector_column(available: Iterable[str], remedy: str) -> str:
    """Return the available name that holds the vectors.

    Parameters
    ----------
    available : iterable of str
        The names there are.
    remedy : str
        What to do if none of them is for vectors, as the end of a sentence.

    Raises
    ------
    TableError
        If there is none (names what there is, and gives the remedy), or if two columns share a name.
    """
    names = list(available)
    seen: set[str] = set()
    for name in names:  # there may be hundreds of thousands
        if name in seen:
            raise TableError(f"two columns are named {_short(name)!r}: rename or drop one.")
        seen.add(name)
    found = find_column("X", names)
    if found is None:
        raise TableError(f"no vectors among {_listed(names)}: {remedy}.")
    return found


def _listed(names: list[str]) -> str:
    """Name what there is; a column for every number would be hundreds of names."""
    more = [f"{len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    return ", ".join([_short(name) for name in names[:_MOST_NAMES]] + more) or "no names at all"


def _short(name: str) -> str:
    """Write a name in at most 60 characters, on one line."""
    text = name if name.isprintable() else repr(name)
    return text if len(text) <= 60 else f"{text[:57]}..."
