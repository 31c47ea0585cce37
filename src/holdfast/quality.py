"""How pure a partition and its clusters are, predicted without labels.

Two sources of evidence are joined. *Stability*: what other partitions of the rows reproduce is likelier to
be there. *Neighbours*: a partition that cuts through the natural communities of the graph of nearest
neighbours, or whose clusters share many of its edges, is likelier to be wrong. How well partitions of the
rows reproduce each other at all tells easy collections from hard ones; the neighbours tell the better of two
partitions of one collection.

The model is two logistic lines whose constants stand below. They were fitted once, offline, to the true
classes of 32 sets from 10 sources (digits, objects, photographs and their features; 400 to 10,000 rows, 10
to 50 classes) and about 80 partitions of each into as many clusters as there are classes, by k-means,
Louvain, graph linkage and spectral clustering, some damaged at random. Nothing is fitted, and no label seen,
where they are used. Judged with all sets of the source left out, the rank correlation of `purity` with the
clustering accuracy is .86 over all partitions and .74 among those of one set; that of `cluster_purity` with
the true purities is .70 over all clusters and .54 among those of one partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import expit

from holdfast.exceptions import InputError
from holdfast.functional.mutual import entropy
from holdfast.graph import Neighbours, communities, jaccard_graph

__all__ = ["SMALL_GRAPH", "Quality", "predicted_quality"]

SMALL_GRAPH = 5
"""Neighbours of a row in the graph that quality is told from."""

_RESOLUTIONS = (1.0, 2.0)  # of the natural communities; between 0.5 and 4 little changes
_LEAST_OTHERS = 2

# Ridge regression of the log-odds of purity, first of the differences within a set, then of its level. Every
# source counts by the root of how many sets came of it.
_NATURAL = 3.99
_REPRODUCED, _LOG_CLUSTERS, _INTERCEPT = 6.96, -0.424, -2.83
_CONTAINED, _BEST_CONTAINED, _COHESION = 3.81, 1.58, 1.55
# Quantiles of what is left, with the source left out: the 4th and 96th percentile of partitions, since there
# were few sources, and the 5th and 95th of clusters.
_LOW, _HIGH = -1.17, 1.76
_CLUSTER_LOW, _CLUSTER_HIGH = -1.52, 2.62

_FARTHEST = 30.0  # log-odds searched for the level of the clusters; beyond them all are 0 or 1
_HALVINGS = 60


@dataclass(frozen=True, eq=False)
class Quality:
    """The predicted purity of a partition and of its clusters, with 90 % intervals.

    The purity of a cluster is the share of its rows that belong to its commonest true class, that of a
    partition the share of rows in clusters that belong to the commonest true class of theirs. It is predicted
    for classes about as many as the clusters: nothing in the rows tells how finely people divide them. With
    half as many clusters as classes it is far too high (72 % for a true 44 %, and 4 intervals in 10 hold
    that), with twice as many too low (53 % for 71 %).

    An interval is to hold the true purity in nine of ten cases. With each source left out in turn, that of a
    partition held it in 90 % (all sources weighted alike: 87 %), that of a cluster in 91 %. Where it misses,
    it misses most partitions of a collection: collections differ in ways that rows do not show. That makes it
    wide, and of two partitions of one collection the order is more certain than either interval.

    Attributes
    ----------
    purity, low, high : float
        Prediction for the whole partition, and its interval, in [0, 1].
    cluster_purity, cluster_low, cluster_high : ndarray of shape (k,)
        The same for cluster 0, 1, ...; weighted by their sizes, the purities have the mean `purity`. A
        cluster without rows has the whole partition's purity and an interval from 0 to 1.
    sizes : ndarray of shape (k,), int64
        Rows of each cluster that were looked at; noise is in none.
    """

    purity: float
    low: float
    high: float
    cluster_purity: np.ndarray
    cluster_low: np.ndarray
    cluster_high: np.ndarray
    sizes: np.ndarray


@dataclass(frozen=True, eq=False)
class _Ground:
    """What partitions of the rows are held against: their small graph (n, n), and its communities (n,)."""

    graph: sparse.csr_matrix
    natural: list[np.ndarray]


def predicted_quality(
    labels: np.ndarray, neighbours: Neighbours, partitions: Sequence[np.ndarray], n_clusters: int
) -> Quality:
    r"""Predict the purity of a partition and of each of its clusters.

    .. math::

        \operatorname{logit} p = 3.99\,(A - \bar A) + 6.96\,\bar R - 0.424 \ln k - 2.83

    *A* is the normalised mutual information with the natural communities of the graph of 5 neighbours (the
    mean of two resolutions) and :math:`\bar A` its mean over the other partitions. :math:`\bar R` is how well
    these reproduce each other: the Jaccard overlap of a cluster with its best counterpart, averaged over the
    third of partitions in which it is largest, over clusters by size, and over partitions. A cluster is above
    the others of its partition by

    .. math:: 3.81\,C_j + 1.58\,C^+_j + 1.55\,H_j

    in log-odds: the share of its rows that stay in one cluster of another partition, averaged over all of
    them and over the best third, and the share of its weight in the graph that stays inside. The level of the
    clusters is such that their purities have the mean *p*.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Cluster of each row from 0; -1 (noise) is left out.
    neighbours : Neighbours
        Nearest rows of each row, of centred unit rows. Five are looked at, or as many as there are.
    partitions : sequence of ndarray of shape (n,)
        At least two other partitions of the same rows into about as many clusters; -1 is one more cluster of
        theirs. They have to differ in *method*: the level was fitted with k-means, k-means on averaged
        neighbourhoods and Louvain side by side. Louvain partitions alone agree with each other more, and put
        the purity some 0.2 too high; the order of partitions of one collection hardly depends on them.
    n_clusters : int
        ``k``, how many clusters were asked for.

    Returns
    -------
    Quality

    Raises
    ------
    InputError
        If there are fewer than two other partitions.
    """
    if len(partitions) < _LEAST_OTHERS:
        raise InputError(
            f"partitions has {len(partitions)} entries: give at least two, for what they agree on to count."
        )
    ground = _ground(neighbours)
    natural = np.mean([_agreement(other, ground.natural) for other in partitions])
    logit = (
        _NATURAL * (_agreement(labels, ground.natural) - natural)
        + _REPRODUCED * _mutual_overlap(partitions)
        + _LOG_CLUSTERS * np.log(max(n_clusters, 1))
        + _INTERCEPT
    )
    return _bounded(float(logit), _differences(labels, ground.graph, partitions), _sizes(labels))


def _bounded(logit: float, differences: np.ndarray, sizes: np.ndarray) -> Quality:
    """Turn log-odds of the whole, and differences (k,) between clusters, into purities with intervals."""
    clusters = differences + _level(float(expit(logit)), differences, sizes)
    empty = sizes == 0
    return Quality(
        purity=float(expit(logit)),
        low=float(expit(logit + _LOW)),
        high=float(expit(logit + _HIGH)),
        cluster_purity=np.where(empty, expit(logit), expit(clusters)),
        cluster_low=np.where(empty, 0.0, expit(clusters + _CLUSTER_LOW)),
        cluster_high=np.where(empty, 1.0, expit(clusters + _CLUSTER_HIGH)),
        sizes=sizes,
    )


def _level(purity: float, differences: np.ndarray, sizes: np.ndarray) -> float:
    """Find the log-odds that, added to the differences (k,), give the clusters the mean purity wanted."""
    low, high = -_FARTHEST, _FARTHEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_low = sizes @ (expit(middle + differences) - purity) < 0
        low, high = (middle, high) if too_low else (low, middle)
    return (low + high) / 2


@dataclass(frozen=True, eq=False)
class _Table:
    """How many rows of each cluster are in each cluster of another partition; only pairs that have any."""

    own: np.ndarray  # (p,) cluster from 0 below k
    other: np.ndarray  # (p,) cluster of the other partition
    count: np.ndarray  # (p,)
    k: int

    @property
    def sizes(self) -> np.ndarray:
        """Rows (k,) of each cluster."""
        return np.bincount(self.own, self.count, minlength=self.k)

    @property
    def other_sizes(self) -> np.ndarray:
        """Rows (m,) of each cluster of the other partition."""
        return np.bincount(self.other, self.count)

    def largest(self, values: np.ndarray) -> np.ndarray:
        """Return the largest (k,) of the values (p,) of each cluster; 0 for a cluster without rows."""
        found = np.zeros(self.k)
        np.maximum.at(found, self.own, values)
        return found


def _table(labels: np.ndarray, other: np.ndarray) -> _Table:
    """Hold a partition (n,) against another; noise (-1) of the other is one more of its clusters."""
    known = labels >= 0
    columns = np.unique(other[known], return_inverse=True)[1]
    width = int(columns.max(initial=0)) + 1
    pairs, count = np.unique(labels[known] * width + columns, return_counts=True)
    return _Table(pairs // width, pairs % width, count, len(_sizes(labels)))


def _differences(
    labels: np.ndarray, graph: sparse.csr_matrix, partitions: Sequence[np.ndarray]
) -> np.ndarray:
    """Evidence (k,) for each cluster, in log-odds up to a constant."""
    contained = np.stack([_containment(_table(labels, other)) for other in partitions])
    found: np.ndarray = (
        _CONTAINED * contained.mean(axis=0)
        + _BEST_CONTAINED * _best_third(contained)
        + _COHESION * _cohesion(labels, graph)
    )
    return found


def _ground(neighbours: Neighbours) -> _Ground:
    graph = jaccard_graph(neighbours.first(SMALL_GRAPH))
    return _Ground(graph, [communities(graph, resolution, seed=0) for resolution in _RESOLUTIONS])


def _agreement(labels: np.ndarray, natural: Sequence[np.ndarray]) -> float:
    """Mean normalised mutual information with the natural communities."""
    return float(np.mean([_shared_information(_table(labels, other)) for other in natural]))


def _mutual_overlap(partitions: Sequence[np.ndarray]) -> float:
    """How well partitions reproduce each other: 1 where all are equal."""
    found = []
    for i, labels in enumerate(partitions):
        others = [other for j, other in enumerate(partitions) if j != i]
        best = _best_third(np.stack([_overlap(_table(labels, other)) for other in others]))
        found.append(best @ _sizes(labels) / max(_sizes(labels).sum(), 1))
    return float(np.mean(found))


def _best_third(values: np.ndarray) -> np.ndarray:
    """Mean (k,) over the largest third of the values (p, k) of each cluster, at least one of them."""
    found: np.ndarray = np.sort(values, axis=0)[-max(1, len(values) // 3) :].mean(axis=0)
    return found


def _containment(table: _Table) -> np.ndarray:
    """Share (k,) of each cluster that is in one cluster of the other partition."""
    found: np.ndarray = table.largest(table.count) / np.maximum(table.sizes, 1)
    return found


def _overlap(table: _Table) -> np.ndarray:
    """Jaccard overlap (k,) of each cluster with the cluster of the other partition most like it."""
    either = table.sizes[table.own] + table.other_sizes[table.other] - table.count
    return table.largest(table.count / either)


def _shared_information(table: _Table) -> float:
    """Normalised mutual information of the two partitions; 0 where both have one cluster."""
    own, other, both = (
        entropy(rows / max(rows.sum(), 1)) for rows in (table.sizes, table.other_sizes, table.count)
    )
    return 2 * (own + other - both) / (own + other) if own + other > 0 else 0.0


def _cohesion(labels: np.ndarray, graph: sparse.csr_matrix) -> np.ndarray:
    """Share (k,) of the weight of each cluster's edges that lies inside it; edges to noise do not count."""
    edges = graph.tocoo()
    one, two = labels[edges.row], labels[edges.col]
    weight = np.where((one >= 0) & (two >= 0), edges.data, 0.0)
    k = len(_sizes(labels))
    known = one >= 0
    total = np.bincount(one[known], weight[known], minlength=k)
    inside = np.bincount(one[known], (weight * (one == two))[known], minlength=k)
    return np.divide(inside, total, out=np.zeros(k), where=total > 0)


def _sizes(labels: np.ndarray) -> np.ndarray:
    """Rows (k,) of each cluster, noise in none."""
    return np.bincount(labels[labels >= 0], minlength=int(labels.max(initial=-1)) + 1)
