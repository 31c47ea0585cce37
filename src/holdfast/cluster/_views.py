"""The rows as the members of an ensemble see them: raw, of length one, centred; one space or all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy import sparse

from holdfast.cluster._start import as_float32, leading
from holdfast.functional.geometry import LIFT_UP_TO, lift, mean_row, root_mean_square
from holdfast.graph import Neighbours, jaccard_graph, nearest_neighbours, unit_rows

__all__ = ["MOST_NEIGHBOURS", "GraphView", "View", "centred_view", "make_views"]

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
    _graphs: dict[int, sparse.csr_matrix] = field(default_factory=dict, init=False, repr=False)

    def graph(self, k: int) -> sparse.csr_matrix:
        """Jaccard graph of the ``k`` nearest, made once: several kinds of members look at it."""
        if k not in self._graphs:
            self._graphs[k] = jaccard_graph(self.neighbours.first(k))
        return self._graphs[k]


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


def centred_view(X: np.ndarray, n_neighbours: int) -> GraphView:
    """Look at rows (n, d) from their mean, in all columns: the view that :func:`make_views` ends with."""
    mean = mean_row(X)
    seen = X - mean
    if X.shape[1] <= LIFT_UP_TO:
        height = root_mean_square(X, mean) * X.shape[1] ** 0.5
        seen = lift(torch.from_numpy(seen), height).numpy()
    return GraphView("centred", seen, nearest_neighbours(seen, n_neighbours))


def _views_of(X: np.ndarray, n_neighbours: int, seed: int) -> list[View]:
    raw, centred = View("raw", leading(X, as_float32, seed)), centred_view(X, n_neighbours)
    if X.shape[1] <= LIFT_UP_TO:
        return [raw, replace(centred, rows=unit_rows(centred.rows))]
    mean = mean_row(X)
    unit = GraphView("unit", leading(X, unit_rows, seed), nearest_neighbours(X, n_neighbours))
    rows = leading(X, lambda rows: unit_rows(as_float32(rows) - mean), seed)
    return [raw, unit, replace(centred, rows=rows)]
