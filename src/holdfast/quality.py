"""The predicted quality of a partition: how many rows are expected in the right cluster, without labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Quality"]


@dataclass(frozen=True, eq=False)
class Quality:
    """Predicted share of rows whose cluster's majority class is their own, with a 90 % interval.

    Attributes
    ----------
    purity, low, high : float
        Of all rows.
    cluster_purity, cluster_low, cluster_high : ndarray of shape (k,)
        Of each cluster.
    sizes : ndarray of shape (k,)
        Rows in each cluster.
    """

    purity: float
    low: float
    high: float
    cluster_purity: npt.NDArray[np.float64]
    cluster_low: npt.NDArray[np.float64]
    cluster_high: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.intp]
