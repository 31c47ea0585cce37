"""Estimators: scikit-learn clusterers, one file a family."""

from holdfast.cluster._count import ClusterCount, estimate_n_clusters
from holdfast.cluster._dec import DEC

__all__ = ["DEC", "ClusterCount", "estimate_n_clusters"]
