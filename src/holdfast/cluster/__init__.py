"""Estimators: scikit-learn clusterers, one file a family."""

from holdfast.cluster._dec import DEC

__all__ = ["DEC"]
