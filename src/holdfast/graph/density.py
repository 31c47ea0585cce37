"""DBSCAN at every radius at once: the single-linkage tree of mutual reachability on a neighbour graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from holdfast.graph.neighbours import Neighbours, unit_rows
from holdfast.io.mapped import take_rows

__all__ = ["DensityTree", "density_tree", "join_beyond_lists", "spread_labels", "weight_shares"]

_OFFSET = 1e-9  # a distance of zero is an edge too, which sparse matrices would forget
_BLOCK_ENTRIES = 1 << 24  # similarities held at once: 64 MB
_MOST_ROUNDS = 50  # of spreading: rows farther than this from a cluster stay noise


@dataclass(frozen=True, eq=False)
class DensityTree:
    """What DBSCAN answers at any radius, for one ``min_samples``.

    Attributes
    ----------
    neighbours : Neighbours
        Lists of shape (n, k) that the tree was made of.
    min_samples : int
        Rows, itself included, that a core row has within the radius.
    core : ndarray of shape (n,), float64
        Cosine distance from which on a row is a core row; infinite where the lists are too short to say.
    first, second : ndarray of shape (m,), int32
        Edges of the tree: m is below n, and by one for every component of the neighbour graph.
    heights : ndarray of shape (m,), float64
        Radius from which on both ends are core rows of one cluster, ascending.
    """

    neighbours: Neighbours
    min_samples: int
    core: np.ndarray
    first: np.ndarray
    second: np.ndarray
    heights: np.ndarray

    @cached_property
    def distances(self) -> np.ndarray:
        """Cosine distances (n, k) to the neighbours, not negative."""
        return np.maximum(1.0 - self.neighbours.similarities.astype(np.float64), 0.0)

    def radii(self, shares: np.ndarray) -> np.ndarray:
        """Radii at which given shares (s,) of the tree are joined; ascending, each once."""
        if len(self.heights) == 0:
            return np.empty(0)
        places = np.minimum((shares * len(self.heights)).astype(np.int64), len(self.heights) - 1)
        return np.unique(self.heights[places])

    def components(self, eps: float) -> np.ndarray:
        """Clusters (n,) of the core rows at a radius, as any numbers from 0; -1 for all other rows."""
        n = len(self.core)
        joined = int(np.searchsorted(self.heights, eps, side="right"))
        ends = (self.first[:joined], self.second[:joined])
        graph = sparse.coo_matrix((np.ones(joined, dtype=np.int8), ends), shape=(n, n))
        found = connected_components(graph, directed=False)[1]
        return np.where(self.core <= eps, found, -1)

    def cut(self, eps: float, components: np.ndarray | None = None) -> np.ndarray:
        """Give DBSCAN's answer at a radius.

        Parameters
        ----------
        eps : float
            Cosine distance.
        components : ndarray of shape (n,), optional
            Clusters of the core rows, where they are known better than by :meth:`components`.

        Returns
        -------
        ndarray of shape (n,), int64
            Clusters in the order of their first core rows; -1 is noise. A row at the border of several
            clusters is in the first of them, as in scikit-learn.
        """
        labels = _in_order(self.components(eps) if components is None else components)
        count = int(labels.max(initial=-1)) + 1
        border = np.flatnonzero(labels < 0)
        near = labels[self.neighbours.indices[border]]
        near[(near < 0) | (self.distances[border] > eps)] = count
        reached = near.min(axis=1, initial=count)
        labels[border] = np.where(reached < count, reached, -1)
        return labels


def density_tree(neighbours: Neighbours, min_samples: int) -> DensityTree:
    r"""Link rows by mutual reachability: single linkage, which DBSCAN cuts at its radius.

    .. math:: d_m(i, j) = \max(c_i, c_j, d_{ij})

    with :math:`c_i` the cosine distance to the nearest row but ``min_samples - 2``: at radius *eps* the core
    rows are those with :math:`c_i \le eps`, and DBSCAN's clusters of core rows the components of the graph
    of pairs with :math:`d_m \le eps` [1]_, [2]_. A minimum spanning tree holds them for every radius.

    Only pairs in the neighbour lists are seen. A pair that both lists miss has *k* rows nearer to either of
    its ends, so that what is missed can only lie in dense places, and can only cut a cluster in two: see
    :func:`join_beyond_lists`.

    Parameters
    ----------
    neighbours : Neighbours
        Lists of shape (n, k).
    min_samples : int
        At least 1; rows have neighbours enough up to ``k + 1``.

    Returns
    -------
    DensityTree

    References
    ----------
    .. [1] Ester, Kriegel, Sander and Xu, "A density-based algorithm for discovering clusters", KDD 1996.
    .. [2] Campello, Moulavi and Sander, "Density-based clustering based on hierarchical density estimates",
       2013.
    """
    n, k = neighbours.indices.shape
    distances = np.maximum(1.0 - neighbours.similarities.astype(np.float64), 0.0)
    if min_samples <= 1:
        core = np.zeros(n)
    else:
        core = distances[:, min_samples - 2] if min_samples <= k + 1 else np.full(n, np.inf)
    reach = np.maximum(distances, np.maximum(core[:, None], core[neighbours.indices]))
    usable = np.isfinite(reach)
    rows = np.broadcast_to(np.arange(n)[:, None], (n, k))[usable]
    graph = sparse.csr_matrix((reach[usable] + _OFFSET, (rows, neighbours.indices[usable])), shape=(n, n))
    tree = minimum_spanning_tree(graph.maximum(graph.T)).tocoo()
    order = np.argsort(tree.data, kind="stable")
    heights = tree.data[order] - _OFFSET
    return DensityTree(neighbours, min_samples, core, tree.row[order], tree.col[order], heights)


def join_beyond_lists(X: np.ndarray, tree: DensityTree, eps: float) -> np.ndarray:
    """Find the clusters of core rows at a radius, pairs that no neighbour list holds included.

    Only core rows whose whole list lies within the radius can be in such a pair. Those outside the largest
    cluster are compared with all of them, block by block.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        The rows that the neighbours are of.
    tree : DensityTree
    eps : float

    Returns
    -------
    ndarray of shape (n,)
        Any number for each cluster, -1 for rows that are no core rows.
    """
    found = tree.components(eps)
    full = np.flatnonzero((found >= 0) & (tree.distances[:, -1] <= eps))
    owner = np.unique(found[full], return_inverse=True)[1]
    if len(full) == 0 or owner.max() == 0:
        return found
    rows = unit_rows(take_rows(X, full))
    apart = np.flatnonzero(owner != np.bincount(owner).argmax())
    step = max(1, _BLOCK_ENTRIES // len(full))
    for start in range(0, len(apart), step):
        some = apart[start : start + step]
        one, other = np.nonzero((rows[some] @ rows.T >= 1.0 - eps) & (owner[some][:, None] != owner))
        owner = _merged(owner, owner[some[one]], owner[other])
        if owner.max() == 0:
            break
    pairs = np.unique(np.stack([found[full], owner]), axis=1)  # owner is a function of found
    return _renamed(found, *pairs)


def weight_shares(labels: np.ndarray, graph: sparse.csr_matrix) -> tuple[float, float]:
    r"""Share of a graph's weight inside clusters, and what chance would put there.

    .. math:: w = \sum_j w_j, \qquad c = \sum_j d_j^2

    with :math:`w_j` the share of the weight inside cluster *j*, :math:`d_j` the share at its nodes; their
    difference is Newman's modularity [1]_. Unlike :func:`holdfast.evidence.structure` they are not divided by
    anything that depends on the number of clusters, so partitions of different numbers can be compared.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        From 0; what is negative is together with nothing.
    graph : csr_matrix of shape (n, n)
        Symmetric weights.

    Returns
    -------
    within, chance : float
        0 for a graph without edges.

    References
    ----------
    .. [1] Newman and Girvan, "Finding and evaluating community structure in networks", 2004.
    """
    total = float(graph.data.sum(dtype=np.float64))
    if total == 0:
        return 0.0, 0.0
    own, other = np.repeat(labels, np.diff(graph.indptr)), labels[graph.indices]
    known = own >= 0
    within = float(graph.data[known & (own == other)].sum(dtype=np.float64)) / total
    at = np.bincount(own[known], weights=graph.data[known]) / total
    return within, float(np.square(at).sum())


def spread_labels(labels: np.ndarray, graph: sparse.csr_matrix) -> np.ndarray:
    """Give noise the cluster that it shares most weight with, from the clusters' borders outwards.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        From 0; -1 is noise. What has a cluster keeps it.
    graph : csr_matrix of shape (n, n)
        Symmetric weights.

    Returns
    -------
    ndarray of shape (n,), int64
        -1 is left only where no path leads to a cluster.
    """
    spread = np.array(labels, dtype=np.int64)
    count = int(spread.max(initial=-1)) + 1
    for _ in range(_MOST_ROUNDS if count else 0):
        noise, known = np.flatnonzero(spread < 0), np.flatnonzero(spread >= 0)
        ones = np.ones(len(known), dtype=np.float32)
        member = sparse.csr_matrix((ones, (known, spread[known])), shape=(len(spread), count))
        votes = (graph[noise] @ member).tocsr()
        heard = np.diff(votes.indptr) > 0
        if not heard.any():
            break
        spread[noise[heard]] = np.asarray(votes[heard].argmax(axis=1)).ravel()
    return spread


def _in_order(components: np.ndarray) -> np.ndarray:
    """Count clusters (n,) by their first rows; -1 stays."""
    labels = np.full(len(components), -1, dtype=np.int64)
    rows = np.flatnonzero(components >= 0)
    if len(rows):
        _, first, inverse = np.unique(components[rows], return_index=True, return_inverse=True)
        labels[rows] = np.argsort(np.argsort(first))[inverse]
    return labels


def _merged(owner: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Unite clusters (m,) that pairs connect; numbers from 0 again."""
    count = int(owner.max()) + 1
    pairs = np.unique(one * np.int64(count) + other)
    ends = (pairs // count, pairs % count)
    graph = sparse.coo_matrix((np.ones(len(pairs), dtype=np.int8), ends), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1][owner])


def _renamed(found: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Give all rows of the clusters `old` the number that clusters united with them have."""
    representative = old[np.unique(new, return_index=True)[1]][new]
    name = np.arange(int(found.max()) + 1)
    name[old] = representative
    return np.where(found >= 0, name[found], -1)
