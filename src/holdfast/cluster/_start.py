"""Where training starts: the partitions worth starting from, and the evidence between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from holdfast.evidence import Evidence, evidence, neighbourhood_size
from holdfast.functional.geometry import LIFT_UP_TO, lift, mean_row, principal_directions
from holdfast.graph import Neighbours, communities_at, jaccard_graph, kmeans, nearest_neighbours, unit_rows

__all__ = ["Start", "find_neighbours", "find_starts"]

_ORDERS = 5  # the order of the nodes alone moves a graph partition by a few points
_USEFUL_SHARES = (0.25, 0.1)  # even sizes are likelier, small clusters possible: the evidence decides
_DIRECTIONS = 128  # k-means on wide rows loses nothing on their leading directions
_SAMPLE = 5_000  # rows that tell those directions


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
    rows = X if d > LIFT_UP_TO else lift(torch.from_numpy(X - mean), scale * d**0.5).numpy()
    return nearest_neighbours(rows, neighbourhood_size(len(X), n_clusters))


def find_starts(
    X: np.ndarray,
    neighbours: Neighbours,
    n_clusters: int,
    *,
    init: str,
    n_init: int,
    seed: int,
    as_is: bool = False,
) -> list[Start]:
    """Make the starts that ``init`` names, the one of most evidence first.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows that k-means looks at.
    neighbours : Neighbours
        Nearest rows of each row: the graph, and what the evidence is measured with.
    n_clusters : int
    init : {"kmeans", "graph", "auto"}
        ``auto`` makes both.
    n_init : int
        Restarts of k-means on each view of the rows.
    seed : int
    as_is : bool, default=False
        Whether k-means takes the rows as they are rather than their directions, and the restart of least
        inertia rather than that of most evidence: as published.

    Returns
    -------
    list of Start
        One of each kind, best first.
    """
    starts = []
    if init in ("kmeans", "auto"):
        partitions = (
            [kmeans(_leading(X, seed), n_clusters, n_init=n_init, seed=seed)]
            if as_is
            else _kmeans_restarts(X, n_clusters, n_init, seed)
        )
        starts.append(_best("kmeans", partitions, neighbours, n_clusters))
    if init in ("graph", "auto"):
        graph = jaccard_graph(neighbours)
        partitions = [
            labels
            for share in _USEFUL_SHARES
            for labels in communities_at(graph, n_clusters, useful_share=share, n_orders=_ORDERS, seed=seed)
        ]
        starts.append(_best("graph", partitions, neighbours, n_clusters))
    return sorted(starts, key=lambda start: start.evidence, reverse=True)


def _kmeans_restarts(X: np.ndarray, n_clusters: int, n_init: int, seed: int) -> list[np.ndarray]:
    """Every restart on every view: the one of least inertia is often not the one of most evidence."""
    views = [X] if X.shape[1] <= LIFT_UP_TO else [unit_rows(X), unit_rows(X - mean_row(X))]
    return [
        kmeans(rows, n_clusters, n_init=1, seed=seed + restart)
        for rows in (_leading(view, seed) for view in views)
        for restart in range(n_init)
    ]


def _best(name: str, partitions: list[np.ndarray], neighbours: Neighbours, n_clusters: int) -> Start:
    scored = [Start(name, labels, evidence(labels, neighbours, n_clusters)) for labels in partitions]
    return max(scored, key=lambda start: start.evidence)


def _leading(view: np.ndarray, seed: int) -> np.ndarray:
    """Rows on their leading directions, where k-means loses nothing and is several times faster."""
    if view.shape[1] <= _DIRECTIONS:
        return view
    rows = torch.from_numpy(view)
    rows -= rows.mean(0)
    sample = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:_SAMPLE]
    return np.asarray(rows @ principal_directions(rows[sample], _DIRECTIONS).T)
