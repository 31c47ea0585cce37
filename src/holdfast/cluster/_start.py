"""Where training starts: the partitions worth starting from, and the evidence between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from holdfast.evidence import Evidence, neighbourhood_size
from holdfast.functional.geometry import LIFT_UP_TO, lift, mean_row, principal_directions
from holdfast.graph import (
    Neighbours,
    communities_at,
    kmeans_from,
    kmeans_on_sample,
    nearest_neighbours,
    unit_rows,
)
from holdfast.io.mapped import release, take_rows

__all__ = [
    "Judge",
    "Start",
    "View",
    "as_float32",
    "find_neighbours",
    "graph_start",
    "kmeans_start",
    "leading",
    "published_kmeans_start",
]

_ORDERS = 5  # the order of the nodes alone moves a graph partition by a few points
_USEFUL_SHARES = (0.25, 0.1)  # even sizes are likelier, small clusters possible: the evidence decides
_DIRECTIONS = 128  # k-means on wide rows loses nothing on their leading directions
_SAMPLE = 5_000  # rows that tell those directions
_BLOCK_ROWS = 8_192
_RESTART_ROWS, _RESTART_ROWS_A_CLUSTER = 5_000, 30  # enough to tell one restart from another
_RESTARTED_WHOLE = 50_000  # rows of a latent, up to which k-means restarts on all of them
_TRIALS = 2  # restarts after which a view that is far behind is given up
_POLISHED = 2

Judge = Callable[[np.ndarray], Evidence]
"""Scores labels (n,) of the rows that are trained on."""

View = Callable[[np.ndarray], np.ndarray]
"""What k-means sees of some rows (m, d): as many rows, float32."""


@dataclass(frozen=True, eq=False)
class Start:
    """A partition to start from.

    Attributes
    ----------
    name : {"kmeans", "graph"}
        What made it.
    labels : ndarray of shape (n,), int64
        Numbers from 0 below k.
    evidence : Evidence
        Its label-free score.
    """

    name: str
    labels: np.ndarray
    evidence: Evidence


def find_neighbours(X: np.ndarray, mean: np.ndarray, scale: float, n_clusters: int) -> Neighbours:
    """Nearest neighbours by cosine, of the lifted rows where rows have few columns.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    mean : ndarray of shape (d,)
        Mean row.
    scale : float
        Root mean square of the centred entries.
    n_clusters : int
        Fixes how many neighbours are meaningful.

    Returns
    -------
    Neighbours
    """
    d = X.shape[1]
    rows = X if d > LIFT_UP_TO else lift(torch.from_numpy(as_float32(X) - mean), scale * d**0.5).numpy()
    return nearest_neighbours(rows, neighbourhood_size(len(X), n_clusters))


def kmeans_start(
    X: np.ndarray, judge: Judge, n_clusters: int, *, n_init: int, seed: int, worthwhile: float = -np.inf
) -> Start:
    """Restart k-means on unit rows and on unit centred rows; keep the partition of most evidence.

    Rows of few columns are taken as they are. Of many rows a sample is restarted on, and the two restarts of
    most evidence go on with all of them.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    judge : Judge
        Scores partitions.
    n_clusters : int
    n_init : int
        Restarts on each view. The one of least inertia is often not the one of most evidence.
    seed : int
    worthwhile : float, default=-inf
        Evidence below which, after a few restarts, the rest are spared: another start is far ahead.

    Returns
    -------
    Start
    """
    found = [
        start
        for view in _views(X)
        for start in _restarts(leading(X, view, seed), judge, n_clusters, n_init, seed, worthwhile)
    ]
    return max(found, key=lambda start: start.evidence)


def _restarts(
    rows: np.ndarray, judge: Judge, n_clusters: int, n_init: int, seed: int, worthwhile: float
) -> list[Start]:
    """Return the best restarts of k-means on one view of the rows (n, r)."""
    size = max(_RESTART_ROWS, _RESTART_ROWS_A_CLUSTER * n_clusters)
    tried: list[tuple[Start, np.ndarray]] = []
    for restart in range(n_init):
        labels, centres = kmeans_on_sample(rows, n_clusters, sample_size=size, seed=seed + restart)
        tried.append((Start("kmeans", labels, judge(labels)), centres))
        tried = sorted(tried, key=lambda pair: pair[0].evidence, reverse=True)[:_POLISHED]
        if restart + 1 >= _TRIALS and tried[0][0].evidence.value < worthwhile:
            return [tried[0][0]]
    if len(rows) <= size:
        return [tried[0][0]]
    polished = [kmeans_from(rows, centres) for _, centres in tried]
    return [tried[0][0], *(Start("kmeans", labels, judge(labels)) for labels in polished)]


def published_kmeans_start(Z: np.ndarray, judge: Judge, n_clusters: int, *, n_init: int, seed: int) -> Start:
    """k-means on latent rows (n, d_z) as they are, the restart of least inertia: as DEC was published."""
    rows = leading(Z, as_float32, seed)
    labels, _ = kmeans_on_sample(rows, n_clusters, sample_size=_RESTARTED_WHOLE, n_init=n_init, seed=seed)
    return Start("kmeans", labels, judge(labels))


def graph_start(graph: sparse.csr_matrix, judge: Judge, n_clusters: int, *, seed: int) -> Start:
    """Cut the Jaccard graph (n, n) under several node orders; keep the partition of most evidence."""
    partitions = communities_at(
        graph, n_clusters, useful_shares=_USEFUL_SHARES, orders=range(seed, seed + _ORDERS)
    )
    return max((Start("graph", labels, judge(labels)) for labels in partitions), key=lambda s: s.evidence)


def _views(X: np.ndarray) -> list[View]:
    """List what k-means looks at: rows of few columns as they are, others by their direction alone."""
    if X.shape[1] <= LIFT_UP_TO:
        return [as_float32]
    mean = mean_row(X)
    return [unit_rows, lambda rows: unit_rows(as_float32(rows) - mean)]


def as_float32(rows: np.ndarray) -> np.ndarray:
    """Return rows in single precision, copied if they are of another type."""
    return np.asarray(rows, dtype=np.float32)


def leading(X: np.ndarray, view: View, seed: int) -> np.ndarray:
    """Rows of a view on their leading directions, where k-means loses nothing and is several times faster.

    Made block by block, so that no copy of wide rows is.
    """
    n, d = X.shape
    if d <= _DIRECTIONS:
        return view(X)
    sample = np.sort(np.random.default_rng(seed).permutation(n)[:_SAMPLE])
    some = torch.from_numpy(view(take_rows(X, sample)))
    middle = some.mean(0)
    directions = principal_directions(some - middle, _DIRECTIONS)
    rows = np.empty((n, len(directions)), dtype=np.float32)
    for start in range(0, n, _BLOCK_ROWS):
        block = torch.from_numpy(view(X[start : start + _BLOCK_ROWS])) - middle
        rows[start : start + _BLOCK_ROWS] = (block @ directions.T).numpy()
        release(X)
    return rows
