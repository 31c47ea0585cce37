"""Cut a weighted graph into a wanted number of communities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from scipy import sparse
from sknetwork.clustering import Louvain

__all__ = ["communities", "communities_at", "community_links"]

_LOWEST, _HIGHEST, _STEPS = 1e-3, 64.0, 18
_STRIDE = 0.3  # in the logarithm of the resolution
_SURPLUS = 0.05  # communities too many, as a share of those wanted, that are merged rather than searched on


@dataclass(frozen=True, eq=False)
class _Cut:
    """One partition of the graph and which of its communities are large enough to be clusters."""

    resolution: float
    labels: np.ndarray
    useful: np.ndarray

    @property
    def count(self) -> int:
        return int(self.useful.sum())


def communities(graph: sparse.csr_matrix, resolution: float, seed: int | None) -> np.ndarray:
    """Louvain communities at one resolution, visiting the nodes in a seeded random order or in their own.

    Parameters
    ----------
    graph : csr_matrix of shape (n, n)
        Symmetric weights.
    resolution : float
        Higher means more and smaller communities.
    seed : int or None
        Fixes the order in which nodes are visited; None visits them as they stand.

    Returns
    -------
    ndarray of shape (n,), int64
        Community numbers from 0.
    """
    if graph.nnz == 0:  # which scikit-network refuses
        return np.arange(graph.shape[0])
    louvain = Louvain(resolution=resolution, shuffle_nodes=seed is not None, random_state=seed)
    return np.asarray(louvain.fit_predict(graph), dtype=np.int64)


def communities_at(
    graph: sparse.csr_matrix,
    n_clusters: int,
    *,
    useful_shares: Sequence[float] = (0.25,),
    orders: Sequence[int | None] = (0,),
) -> list[np.ndarray]:
    """Partitions of a graph into a wanted number of communities, for several orders of its nodes.

    The resolution is searched for on a log scale, beginning where the last order ended, until the
    wanted number of communities, or a few more, is of useful size. The rest, fragments, join the community
    they are best connected to; what is too many is merged down, best connected pair first.

    Parameters
    ----------
    graph : csr_matrix of shape (n, n)
        Symmetric weights.
    n_clusters : int
        How many communities are wanted.
    useful_shares : sequence of float, default=(0.25,)
        Shares of the mean size ``n / n_clusters`` below which a community is a fragment; each gives a
        partition of its own.
    orders : sequence of int or None, default=(0,)
        Seeds of the random orders tried, None being the order the nodes stand in. The order in which Louvain
        visits the nodes moves its answer by some points.

    Returns
    -------
    list of ndarray of shape (n,), int64
        One for each order and share. Numbers from 0; fewer than ``n_clusters`` of them only where no
        resolution reaches that many.

    References
    ----------
    .. [1] Blondel et al., "Fast unfolding of communities in large networks", 2008.
    """
    partitions, guess = [], 1.0
    for order in orders:
        cut_at = cache(partial(communities, graph, seed=order))  # the shares ask for the same cuts
        for share in useful_shares:
            cut = _search(cut_at, n_clusters, max(2.0, share * graph.shape[0] / n_clusters), guess)
            guess = cut.resolution
            partitions.append(_merge_down(graph, _absorb_fragments(graph, cut, n_clusters), n_clusters))
    return partitions


def _search(cut_at: Callable[[float], np.ndarray], n_clusters: int, useful: float, guess: float) -> _Cut:
    """Go from the guess in growing strides until the count is passed, then halve the interval."""
    low = high = None
    stride = _STRIDE
    best = cut = _cut(cut_at, guess, useful)
    for _ in range(_STEPS):
        if n_clusters <= cut.count <= n_clusters * (1 + _SURPLUS):
            return cut
        here = float(np.log(cut.resolution))
        low, high = (here, high) if cut.count < n_clusters else (low, here)
        if low is None or high is None:
            there, stride = here + (stride if high is None else -stride), 2 * stride
        else:
            there = (low + high) / 2
        there = float(np.clip(there, np.log(_LOWEST), np.log(_HIGHEST)))
        cut = _cut(cut_at, float(np.exp(there)), useful)
        if _is_closer(cut, best, n_clusters):
            best = cut
    return best


def _cut(cut_at: Callable[[float], np.ndarray], resolution: float, useful: float) -> _Cut:
    labels = cut_at(resolution)
    return _Cut(resolution, labels, np.bincount(labels) >= useful)


def _is_closer(cut: _Cut, best: _Cut, n_clusters: int) -> bool:
    """Prefer enough communities over too few (they can be merged), then the count nearest."""
    enough, best_enough = cut.count >= n_clusters, best.count >= n_clusters
    if enough != best_enough:
        return enough
    return abs(cut.count - n_clusters) < abs(best.count - n_clusters)


def _absorb_fragments(graph: sparse.csr_matrix, cut: _Cut, n_clusters: int) -> np.ndarray:
    """Give every fragment to the cluster that it shares most weight with.

    The ``n_clusters`` largest communities are clusters in any case, and of the others those of useful size,
    up to as many again. A fragment that is connected to none of them joins the one that is smallest then.
    """
    sizes = np.bincount(cut.labels)
    rank = np.empty(len(sizes), dtype=np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    kept = np.flatnonzero((rank < n_clusters) | (cut.useful & (rank < 2 * n_clusters)))
    target = np.full(len(sizes), -1)
    target[kept] = np.arange(len(kept))
    links = community_links(graph, cut.labels)[:, kept].tocsr()
    filled = sizes[kept]
    for fragment in np.flatnonzero(target < 0):
        row = links[fragment]
        target[fragment] = row.indices[row.data.argmax()] if row.nnz else filled.argmin()
        filled[target[fragment]] += sizes[fragment]
    return np.asarray(target[cut.labels])


def _merge_down(graph: sparse.csr_matrix, labels: np.ndarray, n_clusters: int) -> np.ndarray:
    """Merge the closest pair until the count is right."""
    links = np.asarray(community_links(graph, labels).todense())
    sizes = np.bincount(labels).astype(np.float64)
    owner = np.arange(len(sizes))
    for _ in range(len(sizes) - n_clusters):
        keep, gone = _closest(links, sizes)
        links[keep] += links[gone]
        links[:, keep] += links[:, gone]
        sizes[keep] += sizes[gone]
        links, sizes = np.delete(np.delete(links, gone, 0), gone, 1), np.delete(sizes, gone)
        owner[owner == gone] = keep
        owner[owner > gone] -= 1
    return np.asarray(owner[labels])


def _closest(links: np.ndarray, sizes: np.ndarray) -> tuple[int, int]:
    """Find the two with the most weight per possible pair of members; unconnected, the two smallest."""
    density = links / np.outer(sizes, sizes)
    np.fill_diagonal(density, 0.0)
    if density.max() > 0:
        first, second = divmod(int(density.argmax()), len(sizes))
    else:
        first, second = np.argsort(sizes, kind="stable")[:2]
    return min(int(first), int(second)), max(int(first), int(second))


def community_links(graph: sparse.csr_matrix, labels: np.ndarray) -> sparse.csr_matrix:
    """Sum the weights between every two communities.

    Parameters
    ----------
    graph : csr_matrix of shape (n, n)
    labels : ndarray of shape (n,)
        Numbers from 0.

    Returns
    -------
    csr_matrix of shape (m, m)
    """
    n, count = len(labels), int(labels.max()) + 1
    member = sparse.csr_matrix((np.ones(n), (np.arange(n), labels)), (n, count))
    return (member.T @ graph @ member).tocsr()
