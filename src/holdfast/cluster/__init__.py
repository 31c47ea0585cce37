"""Estimators: scikit-learn clusterers, one file a family."""

from holdfast.cluster._consensus import ConsensusClustering
from holdfast.cluster._count import ClusterCount, estimate_n_clusters
from holdfast.cluster._dec import DEC
from holdfast.cluster._density import DensityMLP
from holdfast.cluster._idec import IDEC
from holdfast.cluster._quality import predict_quality
from holdfast.quality import Quality

__all__ = [
    "DEC",
    "IDEC",
    "ClusterCount",
    "ConsensusClustering",
    "DensityMLP",
    "Quality",
    "estimate_n_clusters",
    "predict_quality",
]
