"""The weighted graph in which communities are looked for."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from holdfast.graph.neighbours import Neighbours

__all__ = ["adjacency", "jaccard_graph", "random_walk"]


def adjacency(neighbours: Neighbours, weights: np.ndarray | None = None) -> sparse.csr_matrix:
    """Turn neighbour lists into a directed adjacency matrix.

    Parameters
    ----------
    neighbours : Neighbours
        Lists of shape (n, k).
    weights : ndarray of shape (n, k), float32, optional
        Of each neighbour; ones by default.

    Returns
    -------
    csr_matrix of shape (n, n), float32
        The weight at (i, j) where j is among the k neighbours of i.
    """
    n, k = neighbours.indices.shape
    indptr = np.arange(0, n * k + 1, k)
    values = np.ones(n * k, dtype=np.float32) if weights is None else weights.ravel()
    matrix = sparse.csr_matrix((values, neighbours.indices.ravel(), indptr), shape=(n, n))
    matrix.sort_indices()
    return matrix


def jaccard_graph(neighbours: Neighbours) -> sparse.csr_matrix:
    r"""Weight each neighbour pair by how much their neighbourhoods overlap.

    .. math:: w_{ij} = |N_i \cap N_j| \,/\, |N_i \cup N_j|

    over the pairs in which one is a neighbour of the other; a neighbourhood contains its own row. A
    shortcut between two clusters shares few neighbours and so weighs little.

    Parameters
    ----------
    neighbours : Neighbours
        Lists of shape (n, k).

    Returns
    -------
    csr_matrix of shape (n, n), float32
        Symmetric, with an empty diagonal.
    """
    closed = adjacency(neighbours) + sparse.identity(len(neighbours.indices), dtype=np.float32, format="csr")
    either = closed.maximum(closed.T)
    shared = either.multiply(closed @ closed.T).tocsr()
    size = neighbours.k + 1
    shared.data /= 2 * size - shared.data
    shared.setdiag(0)
    shared.eliminate_zeros()
    return shared.astype(np.float32)


def random_walk(graph: sparse.csr_matrix) -> sparse.csr_matrix:
    r"""Normalise rows to one: :math:`W_{ij} = w_{ij} / \sum_{j'} w_{ij'}`.

    Parameters
    ----------
    graph : csr_matrix of shape (n, n)
        Non-negative weights.

    Returns
    -------
    csr_matrix of shape (n, n), float32
        One step of a random walk; ``W @ q`` averages over neighbourhoods. A node without edges keeps an
        empty row.
    """
    weight = np.asarray(graph.sum(axis=1)).ravel()
    inverse = np.divide(1.0, weight, out=np.zeros_like(weight), where=weight > 0)
    return (sparse.diags(inverse) @ graph).tocsr().astype(np.float32)
