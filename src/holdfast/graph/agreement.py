"""The sparse graph of how often partitions put neighbours together: a consensus without an n x n matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import sparse

from holdfast.graph.jaccard import adjacency
from holdfast.graph.neighbours import Neighbours

__all__ = ["agreement_graph", "neighbour_pairs"]

_FAINT = 0.05  # share of the votes below which a pair is not joined


def neighbour_pairs(neighbourhoods: Iterable[Neighbours]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows of which one is a neighbour of the other in any of several neighbourhoods.

    Parameters
    ----------
    neighbourhoods : iterable of Neighbours
        Of the same n rows.

    Returns
    -------
    first, second : ndarray of shape (m,), int32
        Each pair once, first below second.
    """
    total: sparse.csr_matrix | None = None
    for neighbours in neighbourhoods:
        lists = adjacency(neighbours)
        total = lists if total is None else total.maximum(lists)
    if total is None:
        raise ValueError("there are no neighbourhoods")
    pairs = sparse.triu(total.maximum(total.T), 1).tocoo()
    return pairs.row, pairs.col


def agreement_graph(
    partitions: Sequence[np.ndarray], weights: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]
) -> sparse.csr_matrix:
    r"""Weight pairs by the share of votes that put them together (evidence accumulation, [1]_).

    .. math:: a_{ij} = \sum_m w_m [c^m_i = c^m_j] \,/\, \sum_m w_m

    on the given pairs alone; below .05 a pair is dropped.

    Parameters
    ----------
    partitions : sequence of ndarray of shape (n,)
        Cluster numbers; what is -1 is together with nothing.
    weights : ndarray of shape (m,)
        Weight of each partition's vote, not negative.
    pairs : tuple of ndarray
        Two arrays of row numbers, each pair once.

    Returns
    -------
    csr_matrix of shape (n, n), float32
        Symmetric.

    References
    ----------
    .. [1] Fred and Jain, "Combining multiple clusterings using evidence accumulation", 2005.
    """
    first, second = pairs
    votes = np.zeros(len(first), dtype=np.float32)
    for labels, weight in zip(partitions, weights / weights.sum(), strict=True):
        votes += np.float32(weight) * ((labels[first] == labels[second]) & (labels[first] >= 0))
    joined = votes >= _FAINT
    n = len(partitions[0])
    graph = sparse.coo_matrix((votes[joined], (first[joined], second[joined])), shape=(n, n))
    return (graph + graph.T).tocsr()
