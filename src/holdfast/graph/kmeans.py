"""k-means++ with restarts."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

__all__ = ["kmeans", "kmeans_from", "kmeans_on_sample"]

_MOST_PASSES = 30  # from centres that a sample has found, little moves after these


def kmeans(X: np.ndarray, n_clusters: int, *, n_init: int = 20, seed: int = 0) -> np.ndarray:
    """Partition rows by the best of ``n_init`` k-means++ starts.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows.
    n_clusters : int
        How many clusters, at most ``n``.
    n_init : int, default=20
        Restarts; the one of least inertia is returned.
    seed : int, default=0
        Fixes the starts.

    Returns
    -------
    ndarray of shape (n,), int64
        Cluster numbers from 0; fewer distinct ones than asked for where rows repeat.

    References
    ----------
    .. [1] Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", 2007.
    """
    return np.asarray(
        _fitted(KMeans(n_clusters, n_init=n_init, random_state=seed), X).labels_, dtype=np.int64
    )


def kmeans_on_sample(
    X: np.ndarray, n_clusters: int, *, sample_size: int, n_init: int = 1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Find centres by k-means on a sample of the rows, and give every row its nearest.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows.
    n_clusters : int
        How many clusters, at most the smaller of ``n`` and ``sample_size``.
    sample_size : int
        Rows that the centres are found on.
    n_init : int, default=1
        Restarts; the one of least inertia counts.
    seed : int, default=0
        Fixes the sample and the start.

    Returns
    -------
    labels : ndarray of shape (n,), int64
    centres : ndarray of shape (n_clusters, d), float32
    """
    if len(X) <= sample_size:
        model = _fitted(KMeans(n_clusters, n_init=n_init, random_state=seed), X)
        return np.asarray(model.labels_, dtype=np.int64), model.cluster_centers_
    sample = np.sort(np.random.default_rng(seed).choice(len(X), sample_size, replace=False))
    model = _fitted(KMeans(n_clusters, n_init=n_init, random_state=seed), X[sample])
    return np.asarray(model.predict(X), dtype=np.int64), model.cluster_centers_


def kmeans_from(X: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Partition rows (n, d) by k-means that begins with given centres (k, d); numbers (n,) from 0."""
    model = KMeans(len(centres), init=centres, n_init=1, max_iter=_MOST_PASSES)
    return np.asarray(_fitted(model, X).labels_, dtype=np.int64)


def _fitted(model: KMeans, X: np.ndarray) -> KMeans:
    with warnings.catch_warnings():
        # Fewer distinct rows than clusters: the caller sees it in the labels and says it once.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X)
