"""How many rows a fit trains on, and which."""

from __future__ import annotations

from typing import Literal

import numpy as np

from holdfast.io.mapped import take_rows

__all__ = ["sample_size", "training_rows"]

_ROWS, _ROWS_A_CLUSTER = 50_000, 100
_SAMPLE_BYTES, _LEAST_ROWS_A_CLUSTER = 1 << 31, 20  # of very wide rows fewer, but enough for every cluster
_MOST_BYTES = 1 << 30  # of rows that are copied for their type alone


def sample_size(subsample: int | Literal["auto"] | None, n_clusters: int, shape: tuple[int, ...]) -> int:
    """Resolve the parameter `subsample` for rows of shape (n, d); no fewer rows than clusters."""
    n, d = shape
    if subsample is None:
        return n
    if subsample == "auto":
        wanted = max(_ROWS, _ROWS_A_CLUSTER * n_clusters)
        return min(n, wanted, max(_SAMPLE_BYTES // (4 * d), _LEAST_ROWS_A_CLUSTER * n_clusters))
    return min(n, max(subsample, n_clusters))


def training_rows(X: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Return `size` rows of X (n, d): all of them or a random sample, in their order, as float32.

    All rows of another type are left as they are where their copy would take more than a gigabyte.
    """
    n, d = X.shape
    if size == n:
        return X if X.dtype == np.float32 or 4 * n * d > _MOST_BYTES else take_rows(X, np.arange(n))
    return take_rows(X, np.sort(np.random.default_rng(seed).choice(n, size, replace=False)))
