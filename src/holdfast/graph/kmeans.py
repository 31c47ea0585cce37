"""k-means++ with restarts."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

__all__ = ["kmeans"]


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
    model = KMeans(n_clusters, n_init=n_init, random_state=seed)
    with warnings.catch_warnings():
        # Fewer distinct rows than clusters: the caller sees it in the labels and says it once.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(model.fit_predict(X), dtype=np.int64)
