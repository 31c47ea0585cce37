"""The training history as curves: one signal each, so that no two share a scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.report.tree import Curve

__all__ = ["curves_of"]

_TITLES = {
    "loss": "Loss, all terms",
    "kl": "Divergence from the target (KL)",
    "neighbour": "Neighbour term",
    "reconstruction": "Reconstruction",
    "evidence": "Evidence (label-free, higher is better)",
    "changed": "Share of labels changed",
}
_NOT_SIGNALS = {"epoch", "seconds", "time", "step"}
_SHARES = {"changed"}
_MOST = 12


def curves_of(history: Iterable[Mapping[str, Any]] | None) -> tuple[Curve, ...]:
    """Turn a list of dicts, one an epoch, into curves; known signals first, then in order of appearance.

    Values that are no finite numbers become gaps; a signal with fewer than two values is no curve.
    """
    epochs = [entry for entry in history or () if isinstance(entry, Mapping)]
    seen = dict.fromkeys(key for entry in epochs for key in entry if key not in _NOT_SIGNALS)
    keys = [key for key in _TITLES if key in seen] + [key for key in seen if key not in _TITLES]
    curves = (_curve(key, epochs) for key in keys)
    return tuple(curve for curve in curves if sum(v is not None for v in curve.values) > 1)[:_MOST]


def _curve(key: str, epochs: list[Mapping[str, Any]]) -> Curve:
    at = tuple(float(_number(entry.get("epoch")) or i) for i, entry in enumerate(epochs))
    values = tuple(_number(entry.get(key)) for entry in epochs)
    title = _TITLES.get(key, str(key).replace("_", " ").capitalize())
    return Curve(str(key), title, at, values, key in _SHARES)


def _number(value: Any) -> float | None:
    if isinstance(value, bool | str | bytes) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
