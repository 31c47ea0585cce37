"""The training history as curves: one signal each, so that no two share a scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.report.tree import Curve

__all__ = ["curves_of", "finite_number", "remarks_of"]

_TITLES = {
    "loss": "Loss, all terms",
    "kl": "Divergence from the target (KL)",
    "neighbour": "Neighbour term",
    "reconstruction": "Reconstruction",
    "evidence": "Evidence (higher is better)",
    "agreement": "Evidence, part 1: neighbours together",
    "entropy": "Evidence, part 2: evenness of sizes",
    "changed": "Share of labels changed",
    "confidence": "Mean confidence",
    "used": "Share of clusters in use",
}
_NOT_SIGNALS = {"epoch", "seconds", "time", "step"}
_SHARES = {"changed", "used"}
_MOST = 12


def curves_of(
    history: Iterable[Mapping[str, Any]] | None, returned: float | None = None
) -> tuple[Curve, ...]:
    """Turn a list of dicts, one an epoch, into curves; known signals first, then in order of appearance.

    Values that are no finite numbers become gaps. Left out are signals that never change and
    those that repeat another one. `returned` is the evidence of the
    state that the fit returned: the epoch that had exactly this is marked.
    """
    epochs = _entries(history)
    seen = dict.fromkeys(key for entry in epochs for key in entry if key not in _NOT_SIGNALS)
    keys = [key for key in _TITLES if key in seen] + [key for key in seen if key not in _TITLES]
    curves: dict[tuple[float | None, ...], Curve] = {}
    for curve in (_curve(key, epochs, returned) for key in keys):
        if _is_worth_drawing(curve):
            curves.setdefault(curve.values, curve)
    return tuple(curves.values())[:_MOST]


def remarks_of(
    history: Iterable[Mapping[str, Any]] | None, evidence: Mapping[str, float] | None = None
) -> tuple[str, ...]:
    """Collect what training said about itself: a sentence for every epoch with a reason, and what it kept."""
    entries = _entries(history)
    told = [
        f"Epoch {_epoch_of(entry, i):g}, {entry.get('verdict', 'note')}: {entry['reason']}."
        for i, entry in enumerate(entries)
        if entry.get("reason")
    ]
    start, result = (evidence or {}).get("start"), (evidence or {}).get("result")
    if entries and result is not None and start == result:
        told.append("No epoch surpassed the evidence that training began with, so that state was returned.")
    return tuple(told)


def _entries(history: Iterable[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
    return [entry for entry in history or () if isinstance(entry, Mapping)]


def _epoch_of(entry: Mapping[str, Any], position: int) -> float:
    epoch = finite_number(entry.get("epoch"))
    return float(position) if epoch is None else epoch


def _is_worth_drawing(curve: Curve) -> bool:
    present = [value for value in curve.values if value is not None]
    return len(set(present)) > 1


def _curve(key: str, epochs: list[Mapping[str, Any]], returned: float | None) -> Curve:
    at = tuple(_epoch_of(entry, i) for i, entry in enumerate(epochs))
    values = tuple(finite_number(entry.get(key)) for entry in epochs)
    title = _TITLES.get(key, str(key).replace("_", " ").capitalize())
    mark = (
        values.index(returned) if key == "evidence" and returned in values and returned is not None else None
    )
    return Curve(str(key), title, at, values, key in _SHARES, mark)


def finite_number(value: Any) -> float | None:
    """Return a value as a number; None for what is none, or not finite."""
    if isinstance(value, bool | str | bytes) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
