"""Agglomerative clustering on a directed neighbour graph, from small communities upwards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from holdfast.graph.communities import communities
from holdfast.graph.jaccard import adjacency
from holdfast.graph.neighbours import Neighbours

__all__ = ["can_link", "closeness_graph", "fine_communities", "linkage_at", "linkage_path"]

_START_RESOLUTION, _FINER, _COARSER, _TRIES = 64.0, 4.0, 2.0, 6
_MOST_DEGREES = 1 << 27  # numbers held by a linkage: half a gigabyte, some four times at its peak
_MOST_GROUPS = 4_096  # merges of more take longer than they are worth
_TOO_MANY = 3  # times the communities asked for


def closeness_graph(neighbours: Neighbours) -> sparse.csr_matrix:
    r"""Weight each row's neighbours by how near they are (equation 1 of [1]_).

    .. math:: w_{ij} = \exp(-d_{ij}^2 / \sigma^2), \qquad \sigma^2 = \frac{1}{nk} \sum_{i,j} d_{ij}^2

    with :math:`d_{ij}^2 = 2 - 2 \cos_{ij}` the squared distance of rows of length one.

    Parameters
    ----------
    neighbours : Neighbours
        Lists of shape (n, k).

    Returns
    -------
    csr_matrix of shape (n, n), float32
        Directed: row i holds the weights of the neighbours of i.

    References
    ----------
    .. [1] Zhang, Wang, Zhao and Tang, "Graph degree linkage: agglomerative clustering on a directed graph",
       ECCV 2012.
    """
    squared = np.maximum(2.0 - 2.0 * neighbours.similarities.astype(np.float64), 0.0)
    weights = np.exp(-squared / max(squared.mean(), np.finfo(np.float64).tiny))
    return adjacency(neighbours, weights.astype(np.float32))


def fine_communities(graph: sparse.csr_matrix, at_least: int, seed: int | None) -> np.ndarray:
    """Cut a graph into many small communities, each of which should lie inside one cluster.

    Parameters
    ----------
    graph : csr_matrix of shape (n, n)
        Symmetric weights.
    at_least : int
        Communities wanted; up to three times as many are as good.
    seed : int or None
        Order of the nodes, as for :func:`communities`.

    Returns
    -------
    ndarray of shape (n,), int64
        Numbers from 0; every row is a community of its own where no resolution gives enough.
    """
    resolution = _START_RESOLUTION
    best, most = np.arange(graph.shape[0]), np.inf
    for _ in range(_TRIES):
        labels = communities(graph, resolution, seed)
        count = int(labels.max()) + 1
        if at_least <= count < most:
            best, most = labels, count
        if at_least <= count <= _TOO_MANY * at_least:
            break
        resolution *= _FINER if count < at_least else 1 / _COARSER
    return best


def can_link(groups: np.ndarray, n_clusters: int) -> bool:
    """Tell whether groups (n,) are enough for the clusters, and few enough for a linkage."""
    count = int(groups.max()) + 1
    return n_clusters <= count <= _MOST_GROUPS and len(groups) * count <= _MOST_DEGREES


def linkage_at(weights: sparse.csr_matrix, groups: np.ndarray, n_clusters: int) -> np.ndarray:
    r"""Merge groups, the pair of greatest affinity first, until a number of clusters is left.

    Graph degree linkage [1]_: two groups are close where the same rows of one have many neighbours in the
    other and are neighbours of many there,

    .. math::

        A_{ab} = \frac{1}{|a|^2} \sum_{i \in b} \deg^-_i(a) \deg^+_i(a)
               + \frac{1}{|b|^2} \sum_{i \in a} \deg^-_i(b) \deg^+_i(b),

    with :math:`\deg^+_i(a) = \sum_{j \in a} w_{ij}` and :math:`\deg^-_i(a) = \sum_{j \in a} w_{ji}`. Neither
    sizes nor shapes of clusters are assumed: chains of groups are followed, thin bridges are not.

    Parameters
    ----------
    weights : csr_matrix of shape (n, n)
        Directed or symmetric weights.
    groups : ndarray of shape (n,)
        Where merging begins; m numbers from 0. Needs memory for n x m numbers, some four times: ask
        :func:`can_link`.
    n_clusters : int
        Clusters wanted, at most m.

    Returns
    -------
    ndarray of shape (n,), int64
        Cluster numbers from 0.

    References
    ----------
    .. [1] Zhang, Wang, Zhao and Tang, "Graph degree linkage: agglomerative clustering on a directed graph",
       ECCV 2012.
    """
    merger = _Merger(weights, groups)
    for _ in range(merger.count - n_clusters):
        merger.merge(*merger.closest())
    return np.unique(merger.labels, return_inverse=True)[1].astype(np.int64)


def linkage_path(weights: sparse.csr_matrix, groups: np.ndarray) -> Iterator[np.ndarray]:
    """Merge groups as :func:`linkage_at` does, down to two, and tell after each merge which are together.

    Parameters
    ----------
    weights : csr_matrix of shape (n, n)
        Directed or symmetric weights.
    groups : ndarray of shape (n,)
        Where merging begins; m numbers from 0, each used.

    Yields
    ------
    ndarray of shape (m,), int64
        Cluster number, from 0, of each group.
    """
    merger = _Merger(weights, groups)
    first = np.unique(groups, return_index=True)[1]
    for _ in range(merger.count - 2):
        merger.merge(*merger.closest())
        yield np.unique(merger.labels[first], return_inverse=True)[1].astype(np.int64)


class _Merger:
    """The groups of a linkage: who is in which, and how close every two of them are.

    Letters: n rows, m groups to begin with. ``out`` and ``into`` (n, m) hold the degrees of each row towards
    each group, ``shared`` (m, m) the sums over rows of b, in row b, of their product towards a.
    """

    def __init__(self, weights: sparse.csr_matrix, groups: np.ndarray) -> None:
        n, self.count = len(groups), int(groups.max()) + 1
        member = sparse.csr_matrix((np.ones(n, np.float32), (np.arange(n), groups)), (n, self.count))
        self.labels = groups.copy()
        self._out = (weights @ member).toarray(order="F")
        self._into = (weights.T @ member).toarray(order="F")
        self._sizes = np.bincount(groups, minlength=self.count).astype(np.float64)
        self._gone = np.zeros(self.count, dtype=bool)
        self._shared = np.asarray(member.T @ (self._out * self._into), dtype=np.float64)
        affinity = self._shared / np.square(self._sizes)
        self._affinity = affinity + affinity.T
        np.fill_diagonal(self._affinity, -1.0)
        self._nearest = self._affinity.argmax(axis=1)
        self._best = self._affinity[np.arange(self.count), self._nearest]

    def closest(self) -> tuple[int, int]:
        """Find the two groups of greatest affinity; where none have any, the two smallest."""
        first = int(self._best.argmax())
        if self._best[first] > 0:
            return first, int(self._nearest[first])
        left = np.flatnonzero(~self._gone)
        one, other = left[np.argsort(self._sizes[left], kind="stable")[:2]]
        return int(one), int(other)

    def merge(self, kept: int, gone: int) -> None:
        """Put the second group into the first."""
        self._out[:, kept] += self._out[:, gone]
        self._into[:, kept] += self._into[:, gone]
        self.labels[self.labels == gone] = kept
        self._sizes[kept] += self._sizes[gone]
        self._gone[gone] = True
        self._shared[kept] += self._shared[gone]
        products = self._out[:, kept] * self._into[:, kept]
        self._shared[:, kept] = np.bincount(self.labels, weights=products, minlength=self.count)
        row = self._shared[kept] / np.square(self._sizes) + self._shared[:, kept] / self._sizes[kept] ** 2
        row[self._gone] = -1.0
        row[kept] = -1.0
        self._replace(kept, gone, row)

    def _replace(self, kept: int, gone: int, row: np.ndarray) -> None:
        """Enter the new affinities (m,) of a merged group, and look again for what was nearest to either."""
        self._affinity[kept] = self._affinity[:, kept] = row
        self._affinity[gone] = self._affinity[:, gone] = -1.0
        nearer = row > self._best
        self._best[nearer], self._nearest[nearer] = row[nearer], kept
        self._best[self._gone], self._nearest[self._gone] = -1.0, -1
        stale = np.flatnonzero((self._nearest == kept) | (self._nearest == gone))
        stale = np.union1d(stale, [kept])
        self._nearest[stale] = self._affinity[stale].argmax(axis=1)
        self._best[stale] = self._affinity[stale, self._nearest[stale]]
