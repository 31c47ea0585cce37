"""Estimators: scikit-learn clusterers, one file a family."""

from holdfast.cluster._consensus import ConsensusClustering
from holdfast.cluster._count import ClusterCount, estimate_n_clusters
from holdfast.cluster._dec import DEC
from holdfast.cluster._dirichlet import DirichletGMM
from holdfast.cluster._idec import IDEC
from holdfast.cluster._mixture_path import MixturePath
from holdfast.cluster._quality import predict_quality
from holdfast.quality import Quality

__all__ = [
    "DEC",
    "IDEC",
    "ClusterCount",
    "ConsensusClustering",
    "DirichletGMM",
    "MixturePath",
    "Quality",
    "estimate_n_clusters",
    "predict_quality",
]
