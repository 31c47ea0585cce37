"""The rows as the members of an ensemble see them: raw, of length one, centred; one space or all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from holdfast.cluster._start import View as Look
from holdfast.cluster._start import leading
from holdfast.functional.geometry import LIFT_UP_TO, lift, mean_row, root_mean_square
from holdfast.graph import Neighbours, nearest_neighbours, unit_rows

__all__ = ["MOST_NEIGHBOURS", "GraphView", "View", "make_views"]

MOST_NEIGHBOURS = 25


@dataclass(frozen=True, eq=False)
class View:
    """One way to look at n rows.

    Attributes
    ----------
    name : str
        ``"raw"``, ``"unit"`` or ``"centred"``, and of several embedding spaces the number.
    rows : ndarray of shape (n, r), float32
        Along at most 128 leading directions.
    """

    name: str
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class GraphView(View):
    """A view of directions alone, in which neighbours mean something.

    Attributes
    ----------
    neighbours : Neighbours
        Nearest rows by cosine in all columns.
    """

    neighbours: Neighbours


def make_views(X: np.ndarray, widths: Sequence[int], n_neighbours: int, seed: int) -> list[View]:
    """Look at rows in every way: each space by itself and, of several, all of them together.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Of several spaces, blocks of columns of equal length.
    widths : sequence of int
        Columns of each space.
    n_neighbours : int
        Neighbours wanted.
    seed : int
        Draws the rows that tell leading directions.

    Returns
    -------
    list of View
        The last one is a :class:`GraphView` of all columns: the one that partitions are judged in.
    """
    views: list[View] = []
    if len(widths) > 1:
        for number, block in enumerate(np.split(X, np.cumsum(widths)[:-1], axis=1)):
            found = _views_of(np.ascontiguousarray(block), n_neighbours, seed)
            views += [replace(view, name=f"{view.name} {number + 1}") for view in found]
    return views + _views_of(X, n_neighbours, seed)


def _views_of(X: np.ndarray, n_neighbours: int, seed: int) -> list[View]:
    mean = mean_row(X)
    raw = View("raw", leading(X, _as_single, seed))
    if X.shape[1] <= LIFT_UP_TO:
        height = root_mean_square(X, mean) * X.shape[1] ** 0.5
        lifted = lift(torch.from_numpy(X - mean), height).numpy()
        return [raw, GraphView("centred", unit_rows(lifted), nearest_neighbours(lifted, n_neighbours))]
    looks: dict[str, tuple[Look, np.ndarray]] = {
        "unit": (unit_rows, X),
        "centred": (lambda rows: unit_rows(_as_single(rows) - mean), X - mean),
    }
    directed = [
        GraphView(name, leading(X, look, seed), nearest_neighbours(seen, n_neighbours))
        for name, (look, seen) in looks.items()
    ]
    return [raw, *directed]


def _as_single(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows, dtype=np.float32)
