"""Where training starts: the partitions worth starting from, and the evidence between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from holdfast.evidence import Evidence, evidence, neighbourhood_size
from holdfast.functional.geometry import LIFT_UP_TO, lift, mean_row, principal_directions
from holdfast.graph import Neighbours, communities_at, kmeans, nearest_neighbours, unit_rows

__all__ = ["Start", "find_neighbours", "graph_start", "kmeans_start", "published_kmeans_start"]

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


def kmeans_start(X: np.ndarray, neighbours: Neighbours, n_clusters: int, *, n_init: int, seed: int) -> Start:
    """Restart k-means on unit rows and on unit centred rows; keep the partition of most evidence.

    Rows of few columns are taken as they are.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    neighbours : Neighbours
        What the evidence is measured with.
    n_clusters : int
    n_init : int
        Restarts on each view. The one of least inertia is often not the one of most evidence.
    seed : int

    Returns
    -------
    Start
    """
    partitions = []
    for view in _views(X):
        rows = _leading(view, seed)
        partitions += [kmeans(rows, n_clusters, n_init=1, seed=seed + restart) for restart in range(n_init)]
    return _best("kmeans", partitions, neighbours, n_clusters)


def published_kmeans_start(
    Z: np.ndarray, neighbours: Neighbours, n_clusters: int, *, n_init: int, seed: int
) -> Start:
    """k-means on latent rows (n, d_z) as they are, the restart of least inertia: as DEC was published."""
    partition = kmeans(_leading(Z, seed), n_clusters, n_init=n_init, seed=seed)
    return _best("kmeans", [partition], neighbours, n_clusters)


def graph_start(graph: sparse.csr_matrix, neighbours: Neighbours, n_clusters: int, *, seed: int) -> Start:
    """Cut the Jaccard graph (n, n) under several node orders; keep the partition of most evidence."""
    partitions = [
        labels
        for share in _USEFUL_SHARES
        for labels in communities_at(graph, n_clusters, useful_share=share, n_orders=_ORDERS, seed=seed)
    ]
    return _best("graph", partitions, neighbours, n_clusters)


def _views(X: np.ndarray) -> Iterator[np.ndarray]:
    """Yield what k-means looks at, one view at a time: each is as large as X."""
    if X.shape[1] <= LIFT_UP_TO:
        yield X
    else:
        yield unit_rows(X)
        yield unit_rows(X - mean_row(X))


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
