"""holdfast clusters image collections without labels, and its labels hold.

Names are imported when they are first used: ``import holdfast`` itself loads neither torch nor
scikit-learn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.cluster import (
        DEC,
        IDEC,
        ClusterCount,
        ConsensusClustering,
        DirichletGMM,
        Quality,
        estimate_n_clusters,
        predict_quality,
    )
    from holdfast.embedding import Embedder
    from holdfast.io import Embeddings, read_embeddings, write_embeddings
    from holdfast.persistence import load, save
    from holdfast.training import ConvergenceMonitor, report_to
    from holdfast.training.trackers import MLflowTracker, TensorBoardTracker

__version__ = "0.1.0"

__all__ = [
    "DEC",
    "IDEC",
    "ClusterCount",
    "ConsensusClustering",
    "ConvergenceMonitor",
    "DirichletGMM",
    "Embedder",
    "Embeddings",
    "MLflowTracker",
    "Quality",
    "TensorBoardTracker",
    "__version__",
    "estimate_n_clusters",
    "load",
    "predict_quality",
    "read_embeddings",
    "report_to",
    "save",
    "write_embeddings",
]

_HOME = {
    "ClusterCount": "holdfast.cluster",
    "ConsensusClustering": "holdfast.cluster",
    "ConvergenceMonitor": "holdfast.training",
    "DEC": "holdfast.cluster",
    "DirichletGMM": "holdfast.cluster",
    "Embedder": "holdfast.embedding",
    "Embeddings": "holdfast.io",
    "IDEC": "holdfast.cluster",
    "MLflowTracker": "holdfast.training.trackers",
    "Quality": "holdfast.quality",
    "TensorBoardTracker": "holdfast.training.trackers",
    "estimate_n_clusters": "holdfast.cluster",
    "load": "holdfast.persistence",
    "predict_quality": "holdfast.cluster",
    "read_embeddings": "holdfast.io",
    "report_to": "holdfast.training",
    "save": "holdfast.persistence",
    "write_embeddings": "holdfast.io",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
