"""What can be chosen by name: estimators check against it, commands offer it before torch is loaded."""

from __future__ import annotations

__all__ = ["DEC_CHOICES", "METHODS"]

METHODS = {"dec": "DEC", "idec": "IDEC"}
"""Estimators: the name on the command line, and the class of that name in ``holdfast``."""

DEC_CHOICES = {
    "init": ("auto", "kmeans", "graph"),
    "encoder": ("projection", "autoencoder"),
    "noise": ("mask", "gaussian"),
    "assignment": ("cosine", "student"),
    "select": ("evidence", "last"),
    "precision": ("float32", "relaxed", "bfloat16"),
}
"""What DEC's parameters may be."""
