"""What is predicted of a result without labels: asked for after the fit, kept in `run.json`, reported."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.exceptions import HoldfastError

if TYPE_CHECKING:
    from holdfast.quality import Quality
    from holdfast.report.tree import Expected, Trust

__all__ = ["as_document", "from_document", "predicted"]

logger = logging.getLogger(__name__)

_NAMES = ("purity", "low", "high")


def predicted(model: Any, X: np.ndarray) -> Quality | None:
    """Predict how many rows are in the right cluster.

    Parameters
    ----------
    model : fitted estimator
        Its `labels_` belong to the rows.
    X : ndarray of shape (n, d)

    Returns
    -------
    Quality or None
        None where nothing can be predicted, which is no reason to lose a fit: the log says why.
    """
    import holdfast

    try:
        found: Quality = holdfast.predict_quality(X, model.labels_, random_state=0)
    except HoldfastError as error:
        logger.warning("how far to trust the result could not be predicted: %s", error)
        return None
    return found


def as_document(trust: Trust | None) -> dict[str, Any] | None:
    """Write a prediction as plain values: the whole, and a list of the clusters that have members."""
    if trust is None or trust.whole is None:
        return None
    by_number = sorted(trust.clusters, key=lambda cluster: cluster.number or 0)
    clusters = [{"cluster": c.number, "size": c.size, **_values(c)} for c in by_number]
    return {**_values(trust.whole), "clusters": clusters}


def from_document(document: Mapping[str, Any] | None) -> Quality | None:
    """Read what `as_document` wrote; None of folders that an earlier holdfast wrote."""
    from holdfast.quality import Quality

    if document is None:
        return None
    clusters = document["clusters"]
    k = 1 + max((cluster["cluster"] for cluster in clusters), default=-1)
    sizes, values = np.zeros(k, dtype=np.int64), np.full((3, k), np.nan)
    for cluster in clusters:
        number = cluster["cluster"]
        sizes[number] = cluster["size"]
        values[:, number] = [cluster[name] for name in _NAMES]
    purity, low, high = (float(document[name]) for name in _NAMES)
    return Quality(purity, low, high, values[0], values[1], values[2], sizes)


def _values(expected: Expected) -> dict[str, float]:
    return {name: getattr(expected, name) for name in _NAMES}
