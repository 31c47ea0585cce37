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


def find_column(role: str, available: Iterable[str]) -> str | None:
    """Return the available name that plays `role` ("X", "ids", "labels", "paths", "encoder"), if any."""
    by_lower_case = {name.lower(): name for name in reversed(list(available))}
    return next((by_lower_case[name] for name in _NAMES[role] if name in by_lower_case), None)


def vector_column(available: Iterable[str], wanted: str) -> str:
    """Return the available name that holds the vectors.

    Raises
    ------
    TableError
        If there is none (lists what there is and says what is wanted), or if two columns share a name.
    """
    names = list(available)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise TableError(f"two columns are named {twice[0]!r}: rename or drop one.")
    found = find_column("X", names)
    if found is None:
        raise TableError(f"no vectors among {', '.join(names) or 'no names at all'}: name them {wanted!r}.")
    return found
