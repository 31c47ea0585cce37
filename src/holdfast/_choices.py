"""What can be chosen by name: estimators check against it, commands offer it before torch is loaded."""

from __future__ import annotations

__all__ = [
    "DEC_CHOICES",
    "DEFAULT_METHOD",
    "MEMBER_KINDS",
    "METHODS",
    "MIXTURE_CHOICES",
    "ONLY_FOR",
    "PRESETS",
    "RIVALS",
]

METHODS = {"consensus": "ConsensusClustering", "dec": "DEC", "idec": "IDEC", "dirichlet": "DirichletGMM"}
"""Estimators: the name on the command line, and the class of that name in ``holdfast``."""

DEFAULT_METHOD = "consensus"
"""What the commands use where nothing is said."""

ONLY_FOR = {"init": ("dec", "idec"), "fast": ("consensus",), "min_confidence": ("consensus",)}
"""Options of the commands that fit which some methods do not have: the methods that do."""

RIVALS = {
    "kmeans": "k-means",
    "kmeans-l2": "k-means on unit rows",
    "louvain": "Louvain at K",
    "dbscan": "Cosine DBSCAN",
    "hdbscan": "HDBSCAN",
    "gmm": "Gaussian mixture",
}
"""What our estimators are compared with: the name on the command line, and what people call it."""

DEC_CHOICES = {
    "init": ("auto", "kmeans", "graph"),
    "encoder": ("projection", "autoencoder"),
    "noise": ("mask", "gaussian"),
    "assignment": ("cosine", "student"),
    "select": ("evidence", "last"),
    "precision": ("float32", "relaxed"),
}
"""What DEC's parameters may be."""

MIXTURE_CHOICES = {
    "covariance_type": ("auto", "diag", "spherical", "tied"),
    "criterion": ("auto", "bic", "mdl"),
}
"""What the parameters of the Dirichlet-process mixture may be."""

PRESETS = ("full", "fast")
"""How much work a consensus may be."""

MEMBER_KINDS = ("kmeans", "graph", "linkage", "temi", "dec")
"""Kinds of members that vote in a consensus, in the order they are made."""
