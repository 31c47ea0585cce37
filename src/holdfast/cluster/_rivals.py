"""The methods that our estimators are compared with, each as one function from rows to a partition.

They are given what a careful user would give them: restarts for k-means, leading directions where columns
are many, a rule for DBSCAN's radius. None of them is tuned, and none sees a label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.cluster import DBSCAN, HDBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from holdfast._choices import METHODS
from holdfast.cluster._start import find_neighbours
from holdfast.functional.geometry import LIFT_UP_TO, mean_row, root_mean_square
from holdfast.graph import (
    Neighbours,
    communities_at,
    jaccard_graph,
    kmeans,
    nearest_neighbours,
    unit_rows,
)

__all__ = ["Asked", "Partition", "Rival", "knee", "measuring_neighbours", "rival", "sample_rows"]

_MOST_ROWS = 10_000  # for methods that look at every pair of rows
_RESTART_ROWS = 10_000  # k-means restarts tell nothing more on more rows
_N_INIT = 20
_DIRECTIONS = 64  # density estimates want few columns
_MIN_SAMPLES = 5  # scikit-learn's own, for both density methods
_LEAST_EPS = 1e-6  # float32 cosines of equal rows differ by about this much


@dataclass(frozen=True)
class Asked:
    """What a method is told besides the rows.

    Attributes
    ----------
    n_clusters : int
        How many clusters; methods that find their own number ignore it.
    seed : int
        Fixes every draw.
    eps : float or None
        DBSCAN's radius as a cosine distance; None asks the k-distance rule.
    device : str
        For our estimators.
    """

    n_clusters: int
    seed: int = 0
    eps: float | None = None
    device: str = "auto"


@dataclass(frozen=True, eq=False)
class Partition:
    """What a method found: the cluster of each row (-1 is noise), and what it decided on the way."""

    labels: np.ndarray
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rival:
    """A method and what a comparison has to know of it.

    Attributes
    ----------
    partition : callable
        From rows (n, d) and what is asked to a `Partition`.
    is_deterministic : bool
        Whether another seed would change nothing.
    finds_count : bool
        Whether it finds its own number of clusters.
    most_rows : int or None
        How many rows it can be given: time or memory grows faster than they do.
    """

    partition: Callable[[np.ndarray, Asked], Partition]
    is_deterministic: bool = False
    finds_count: bool = False
    most_rows: int | None = None


def rival(name: str) -> Rival:
    """Return a method by its name on the command line: a rival's, or one of our estimators'."""
    return _RIVALS[name] if name in _RIVALS else Rival(_estimator(METHODS[name]))


def measuring_neighbours(X: np.ndarray, n_clusters: int) -> Neighbours:
    """Find the neighbours with which the evidence of partitions of `X` (n, d) is measured, as a fit does."""
    mean = mean_row(X)
    return find_neighbours(X, mean, root_mean_square(X, mean), n_clusters)


def sample_rows(n_rows: int, size: int, seed: int = 0) -> np.ndarray:
    """Draw `size` of the numbers of n rows without replacement, in ascending order (all of them if fewer)."""
    chosen = np.random.default_rng(seed).choice(n_rows, min(size, n_rows), replace=False)
    chosen.sort()  # a memory map is read in order
    return chosen


def knee(curve: np.ndarray) -> float:
    """Return the value at which a rising curve bends most: the point farthest below its chord.

    Parameters
    ----------
    curve : ndarray of shape (n,)
        Ascending values.

    References
    ----------
    .. [1] Satopaa et al., "Finding a kneedle in a haystack", 2011.

    Examples
    --------
    >>> knee(np.array([0.0, 0.1, 0.2, 0.3, 1.0, 2.0]))
    0.3
    """
    span = float(curve[-1] - curve[0])
    if span == 0:
        return float(curve[0])
    below = np.linspace(0, 1, len(curve)) - (curve - curve[0]) / span
    return float(curve[below.argmax()])


def _kmeans(X: np.ndarray, asked: Asked) -> Partition:
    """k-means++ with 20 restarts; on many rows they are made on a sample, and the best goes on with all."""
    if len(X) <= _RESTART_ROWS:
        return Partition(kmeans(X, asked.n_clusters, n_init=_N_INIT, seed=asked.seed), {"n_init": _N_INIT})
    some = np.asarray(X[sample_rows(len(X), _RESTART_ROWS, asked.seed)])
    labels = kmeans(some, asked.n_clusters, n_init=_N_INIT, seed=asked.seed)
    centres = np.stack([some[labels == j].mean(axis=0) for j in np.unique(labels)])
    model = KMeans(len(centres), init=centres, n_init=1)
    return Partition(model.fit_predict(X), {"n_init": _N_INIT, "restarts_on_rows": len(some)})


def _kmeans_l2(X: np.ndarray, asked: Asked) -> Partition:
    return _kmeans(unit_rows(X), asked)


def _louvain(X: np.ndarray, asked: Asked) -> Partition:
    neighbours = measuring_neighbours(X, asked.n_clusters)
    # Seeds of the orders count up from the seed given, so neighbouring seeds must not meet.
    labels = communities_at(jaccard_graph(neighbours), asked.n_clusters, orders=(1000 * asked.seed,))[0]
    return Partition(labels, {"neighbours": neighbours.k})


def _dbscan(X: np.ndarray, asked: Asked) -> Partition:
    eps = _eps_by_rule(X) if asked.eps is None else asked.eps
    model = DBSCAN(eps=eps, min_samples=_MIN_SAMPLES, metric="cosine")
    rule = "k-distance" if asked.eps is None else "given"
    return Partition(model.fit_predict(X), {"eps": eps, "eps_rule": rule, "min_samples": _MIN_SAMPLES})


def _eps_by_rule(X: np.ndarray) -> float:
    """Return the knee of the sorted cosine distances to the k-th neighbour, k being `min_samples`."""
    farthest = nearest_neighbours(X, _MIN_SAMPLES).similarities[:, -1]
    return max(knee(np.sort(1.0 - farthest.astype(np.float64))), _LEAST_EPS)


def _hdbscan(X: np.ndarray, _asked: Asked) -> Partition:
    rows = _leading(X, seed=0)
    size = min(_MIN_SAMPLES, len(rows))
    labels = HDBSCAN(min_cluster_size=size, copy=True).fit_predict(rows)
    # Rows that it takes for infinite or missing have numbers of their own below -1.
    return Partition(np.maximum(labels, -1), {"min_cluster_size": size, "columns": rows.shape[1]})


def _gaussian_mixture(X: np.ndarray, asked: Asked) -> Partition:
    rows = _leading(X, asked.seed)
    rows = rows - mean_row(rows)
    rows /= root_mean_square(rows, np.zeros(rows.shape[1], np.float32)) or 1.0  # reg_covar is absolute
    model = GaussianMixture(asked.n_clusters, covariance_type="diag", random_state=asked.seed)
    labels = model.fit_predict(rows.astype(np.float64))  # in single precision it fails on constant columns
    return Partition(labels, {"covariance_type": "diag", "columns": rows.shape[1]})


def _estimator(class_name: str) -> Callable[[np.ndarray, Asked], Partition]:
    """Return one of our own estimators in the form of a rival."""

    def partition(X: np.ndarray, asked: Asked) -> Partition:
        from holdfast import cluster

        model = getattr(cluster, class_name)(n_clusters=asked.n_clusters, random_state=asked.seed)
        if "device" in model.get_params(deep=False):
            model.set_params(device=asked.device)
        model.fit(X)
        learnt = {name: getattr(model, f"{name}_", None) for name in ("start", "n_iter", "converged")}
        return Partition(model.labels_, {name: value for name, value in learnt.items() if value is not None})

    return partition


def _leading(X: np.ndarray, seed: int) -> np.ndarray:
    """Return unit rows on at most 64 leading directions; rows of few columns as they are."""
    rows = X if X.shape[1] <= LIFT_UP_TO else unit_rows(X)
    if rows.shape[1] <= _DIRECTIONS:
        return rows
    model = PCA(min(_DIRECTIONS, len(rows)), random_state=seed, copy=False)  # unit_rows made a copy
    return np.asarray(model.fit_transform(rows))


_RIVALS = {
    "kmeans": Rival(_kmeans),
    "kmeans-l2": Rival(_kmeans_l2),
    "louvain": Rival(_louvain),
    "dbscan": Rival(_dbscan, is_deterministic=True, finds_count=True, most_rows=_MOST_ROWS),
    "hdbscan": Rival(_hdbscan, is_deterministic=True, finds_count=True, most_rows=_MOST_ROWS),
    "gmm": Rival(_gaussian_mixture),
}
