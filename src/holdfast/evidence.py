"""The label-free score of a partition, written once.

Two partitions of the same rows are compared by how often neighbours share a cluster, corrected for
chance, plus how evenly the rows are spread over the clusters. The first alone would reward merging two
clusters and splitting a third, which lowers the second. The silhouette is not used: it rewards round
clusters, which is what k-means makes, whatever the truth.

Every choice between partitions of one number of clusters asks this module: the start, the state that a fit
returns, and the votes of an ensemble. :func:`evidence` compares states and starts of one trained model;
:func:`structure`, which looks at fewer and nearer neighbours, also tells partitions of different kinds apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from holdfast.graph import Neighbours, weight_shares

__all__ = [
    "ENTROPY_WEIGHT",
    "STRUCTURE_SHARES",
    "Evidence",
    "evidence",
    "neighbourhood_size",
    "structure",
]

ENTROPY_WEIGHT = 1.25  # between 1.0 and 1.5 the pick hardly changes over 22 data sets
_MOST_NEIGHBOURS = 15

STRUCTURE_SHARES = {5: 0.75, 15: 0.25}
"""Share of the weight in the graph for :func:`structure`, by the neighbours of a Jaccard graph."""
_BALANCE_WEIGHT = 0.5  # of the entropy; with more, large clusters are cut in two for balance alone


@dataclass(frozen=True, order=True)
class Evidence:
    """How well a partition is supported by the rows alone; instances compare by ``value``.

    Attributes
    ----------
    value : float
        A weighted sum of the two others; higher is better.
    agreement : float
        Share of neighbour pairs in one cluster, 0 at chance and 1 at most.
    entropy : float
        Entropy of the cluster sizes over its maximum ``ln k``, times the share of rows in clusters; 0 to 1.
    """

    value: float
    agreement: float
    entropy: float


def neighbourhood_size(n_rows: int, n_clusters: int, most: int = _MOST_NEIGHBOURS) -> int:
    """Neighbours to ask for: `most`, or half the mean cluster size where that is less, but at least 2.

    More neighbours than a cluster has members would count every right answer as a mistake.
    """
    return int(np.clip(n_rows // (2 * max(n_clusters, 1)), 2, most))


def evidence(labels: np.ndarray, neighbours: Neighbours, n_clusters: int) -> Evidence:
    r"""Score a partition without labels.

    .. math::

        E = G + 1.25\,H, \qquad G = \frac{a - \sum_j s_j^2}{1 - \sum_j s_j^2}, \qquad
        H = -\frac{\sum_j s_j \ln (s_j / s)}{\ln k}

    where *a* is the share of (row, neighbour) pairs in one cluster, :math:`s_j` the share of rows in
    cluster *j* and :math:`s` their sum, which only noise keeps below one.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Cluster of each row; -1 (noise) agrees with nothing.
    neighbours : Neighbours
        Nearest rows of each row, in the space of the input, which no training changes.
    n_clusters : int
        ``k``, the number of clusters asked for.

    Returns
    -------
    Evidence
    """
    known = labels >= 0
    share = np.bincount(labels[known], minlength=n_clusters) / max(len(labels), 1)
    together = (labels[neighbours.indices] == labels[:, None]) & known[:, None]
    chance = float(np.square(share).sum())
    agreement = (float(together.mean()) - chance) / (1 - chance) if chance < 1 else 0.0
    entropy = _entropy(share, n_clusters)
    return Evidence(agreement + ENTROPY_WEIGHT * entropy, agreement, entropy)


def structure(labels: np.ndarray, graph: sparse.csr_matrix, n_clusters: int) -> Evidence:
    r"""Score a partition on a weighted graph of near neighbours.

    .. math::

        S = Q + 0.5\,H, \qquad Q = \frac{w - \sum_j d_j^2}{1 - \sum_j d_j^2}

    where *w* is the share of the weight inside clusters, :math:`d_j` the share at the nodes of cluster *j*
    (so *Q* is Newman's modularity [1]_ over its maximum for these sizes: it does not ask for equal ones),
    and *H* the entropy of the cluster sizes, as in :func:`evidence`. On Jaccard graphs of few neighbours
    (:data:`STRUCTURE_SHARES`) it ranks partitions by k-means, communities, linkage and trained heads better
    than agreement among fifteen neighbours does.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Cluster of each row, from 0; -1 (noise) agrees with nothing.
    graph : csr_matrix of shape (n, n)
        Symmetric weights.
    n_clusters : int
        ``k``, the number of clusters asked for.

    Returns
    -------
    Evidence
        Its ``agreement`` is *Q*.

    References
    ----------
    .. [1] Newman and Girvan, "Finding and evaluating community structure in networks", 2004.
    """
    known = labels >= 0
    share = np.bincount(labels[known], minlength=n_clusters) / max(len(labels), 1)
    within, chance = weight_shares(labels, graph)
    entropy = _entropy(share, n_clusters)
    modularity = (within - chance) / (1 - chance) if chance < 1 else 0.0
    return Evidence(modularity + _BALANCE_WEIGHT * entropy, modularity, entropy)


def _entropy(share: np.ndarray, n_clusters: int) -> float:
    """Entropy of cluster shares (k,) over its maximum; noise, by which they miss 1, takes from it."""
    if n_clusters <= 1:
        return 1.0
    used = share[share > 0]
    return float(-(used * np.log(used / share.sum())).sum() / np.log(n_clusters))
