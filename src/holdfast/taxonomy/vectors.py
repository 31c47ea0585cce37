"""The collection's vectors: in which precision they are stored, and how their parts become one again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from holdfast.exceptions import TableError
from holdfast.io import Embeddings, read_embeddings, table_shape
from holdfast.io.mapped import release, row_blocks, spill

__all__ = ["precision", "read_parts", "shape_of_parts"]

_ROUNDING_LIMIT = 0.01  # of the rows' spread: half precision may blur no more than that


def precision(X: npt.NDArray[np.floating]) -> Literal["float16", "float32"]:
    """Choose half precision where rounding is small beside the spread of the rows.

    Unit vectors qualify by far. Raw features far from zero or beyond 65,504 do not. What is in half precision
    already has nothing to lose.
    """
    if X.dtype == np.float16:
        return "float16"
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in _passed(X)) / len(X)
    error = spread = 0.0
    for block in _passed(X):
        with np.errstate(over="ignore"):
            error += float(np.square(block - block.astype(np.float16), dtype=np.float64).sum())
        spread += float(np.square(block - mean, dtype=np.float64).sum())
    return "float16" if error <= _ROUNDING_LIMIT**2 * spread else "float32"


def shape_of_parts(paths: Sequence[Path]) -> tuple[int, int] | None:
    """Return rows and columns of all parts together; None if one cannot be read."""
    shapes = [table_shape(path) for path in paths]
    known = [shape for shape in shapes if shape is not None]
    if not known or len(known) < len(shapes):
        return None
    return sum(n for n, _ in known), known[0][1]


def read_parts(paths: Sequence[Path], mmap_dir: str | os.PathLike[str] | None) -> Embeddings:
    """Put the parts of a collection together; labels and paths survive if every part has them.

    Raises
    ------
    InputError
        If a part is damaged, or they do not belong together.
    OutputError
        If `mmap_dir` cannot be written to.
    """
    if len(paths) == 1:
        return read_embeddings(paths[0], mmap_dir=mmap_dir)
    parts: list[Embeddings] = []
    if mmap_dir is None:
        parts = [read_embeddings(path) for path in paths]
        _check_alike(paths, parts)
        X: npt.NDArray[np.floating] = np.concatenate([part.X for part in parts])
    else:
        X = spill(_one_by_one(paths, parts, mmap_dir), mmap_dir, np.dtype(np.float32))
    ids = np.concatenate([part.ids for part in parts])
    return Embeddings(ids, X, _column(parts, "labels"), _column(parts, "paths"), parts[0].encoder)


def _one_by_one(
    paths: Sequence[Path], parts: list[Embeddings], mmap_dir: str | os.PathLike[str]
) -> Iterator[npt.NDArray]:
    """Yield the rows of every part, and keep in `parts` what stands beside them, with one row of vectors."""
    for path in paths:
        part = read_embeddings(path, mmap_dir=mmap_dir)
        parts.append(_without_vectors(part))
        _check_alike(paths, parts)
        yield from row_blocks(part.X)


def _without_vectors(part: Embeddings) -> Embeddings:
    """Let go of a part's file: a row repeated without end takes the place of its own."""
    narrow = np.broadcast_to(np.array(part.X[:1], dtype=np.float32), part.X.shape)
    return Embeddings(part.ids, narrow, part.labels, part.paths, part.encoder)


def _check_alike(paths: Sequence[Path], parts: Sequence[Embeddings]) -> None:
    """Refuse parts of different widths or encoders."""
    for path, part in zip(paths, parts, strict=False):
        for what, found, first in (
            ("vectors of width", part.X.shape[1], parts[0].X.shape[1]),
            ("an encoder", part.encoder, parts[0].encoder),
        ):
            if found != first:
                raise TableError(f"{path.name} has {what} {found} and {paths[0].name} {first}")


def _column(parts: Sequence[Embeddings], name: str) -> npt.NDArray[Any] | None:
    values = [getattr(part, name) for part in parts]
    return None if any(value is None for value in values) else np.concatenate(values)


def _passed(X: npt.NDArray) -> Iterator[npt.NDArray]:
    """Yield all rows, some at a time, and give their pages back."""
    for block in row_blocks(X):
        yield block
        release(X)
