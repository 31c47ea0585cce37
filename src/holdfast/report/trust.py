"""How far to trust the result: what is predicted of it, what to look at first, and what caution gains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from holdfast._wording import percent
from holdfast.metrics import coverage_curve
from holdfast.report.tree import Answered, Expected, Trust

if TYPE_CHECKING:
    from holdfast.quality import Quality

__all__ = ["make_trust", "rounded", "whole_sentence"]

STEPS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_GOALS = (0.95, 0.99)  # shares right worth advising a threshold for
_LEAST_KEPT = 0.05
_MOST_WEAK = 5


def make_trust(
    quality: Quality | None,
    sizes: npt.NDArray[np.integer],
    confidence: npt.NDArray[np.floating],
    *,
    n_items: int | None = None,
    noun: str = "items",
    by_labels: float | None = None,
    count: bool = False,
) -> Trust:
    """Put together what the report says of trust.

    Parameters
    ----------
    quality : Quality or None
        The prediction, where there is one.
    sizes : ndarray of shape (k,)
        Items in each cluster; empty ones are left out.
    confidence : ndarray of shape (n,)
        Highest probability of each item that has a cluster.
    n_items : int, optional
        How many items there are, with those that have none.
    noun : str
        What the items are.
    by_labels : float, optional
        Purity of the items that have a cluster, by the labels that came with the data.
    count : bool, default=False
        Whether the number of clusters was estimated.
    """
    found = coverage_curve(confidence)
    share = len(confidence) / (n_items or len(confidence))
    kept = (share * found.coverage).tolist()
    points = zip(found.thresholds.tolist(), kept, found.purity.tolist(), strict=True)
    curve = tuple(Answered(*point) for point in points)
    steps = _steps(np.asarray(confidence, dtype=np.float64), share)
    advice = _advise(curve[0], steps)
    whole = None if quality is None else _whole(quality, sizes)
    clusters = () if quality is None else _clusters(quality, sizes)
    sentences = (
        *([] if whole is None else [whole_sentence(whole, noun)]),
        *_of_the_answered(whole, share, noun),
        *_told_by_labels(whole, by_labels),
        *_if_the_count_is_right(whole, count),
        *_difference(whole, curve[0]),
    )
    look, keep = _weak_sentence(clusters), _advice_sentence(curve[0], advice, noun)
    return Trust(whole, clusters, curve, steps, advice, sentences, look, keep)


def rounded(threshold: float) -> str:
    """Write a threshold as the report does: ``.8``."""
    return f"{threshold:g}".removeprefix("0")


def whole_sentence(whole: Expected, noun: str = "items") -> str:
    """Say how much of the whole is expected to be right."""
    low, high = round(100 * whole.low), round(100 * whole.high)
    spread = (
        f"between {low} and {high}, nine times out of ten" if low < high else "give or take less than one"
    )
    share = _of_hundred(whole.purity)
    return f"{share[0].upper()}{share[1:]} {noun} are expected to be in the right cluster; {spread}."


def _of_hundred(share: float) -> str:
    """Write a share as people count."""
    number = round(100 * share)
    if number == 100:
        return "nearly all"
    return "hardly any" if number == 0 else f"about {number} of 100"


def _whole(quality: Quality, sizes: npt.NDArray[np.integer]) -> Expected:
    return Expected(None, int(sizes.sum()), float(quality.purity), float(quality.low), float(quality.high))


def _told_by_labels(whole: Expected | None, purity: float | None) -> tuple[str, ...]:
    if whole is None or purity is None:
        return ()
    told = f"The labels that came with the data, which the prediction never saw, say {100 * purity:.0f}"
    if whole.low <= purity <= whole.high:
        return (f"{told}.",)
    return (f"{told}: outside what was predicted. Another number of clusters is the likeliest reason.",)


def _of_the_answered(whole: Expected | None, share: float, noun: str) -> tuple[str, ...]:
    if whole is None or share == 1:
        return ()
    return (f"This is said of the {percent(share)} of the {noun} that have a cluster, and of no other.",)


def _if_the_count_is_right(whole: Expected | None, estimated: bool) -> tuple[str, ...]:
    """Say what the prediction stands and falls with."""
    if whole is None:
        return ()
    if estimated:
        text = "The number of clusters is an estimate that the prediction takes as right: with too few"
        return (f"{text}, it is too high, so it does not tell which number is better.",)
    return ("It takes the number of clusters as right: with too few, the prediction is too high.",)


def _clusters(quality: Quality, sizes: npt.NDArray[np.integer]) -> tuple[Expected, ...]:
    """List what is predicted of each cluster that has members, the weakest first."""
    used = np.flatnonzero(sizes)
    purity, low, high = (
        np.asarray(values, dtype=np.float64)
        for values in (quality.cluster_purity, quality.cluster_low, quality.cluster_high)
    )
    # A prediction may number the clusters as the model does, or know those with members only.
    places = used if len(purity) > used.max(initial=-1) else np.arange(len(purity))
    known = [(c, p) for c, p in zip(used.tolist(), places.tolist(), strict=False) if np.isfinite(purity[p])]
    known.sort(key=lambda pair: (purity[pair[1]], low[pair[1]], pair[0]))
    n_weak = 0 if len(known) < 3 else min(_MOST_WEAK, max(1, round(len(known) / 10)))
    return tuple(
        Expected(c, int(sizes[c]), float(purity[p]), float(low[p]), float(high[p]), rank < n_weak)
        for rank, (c, p) in enumerate(known)
    )


def _steps(confidence: npt.NDArray[np.float64], share: float) -> tuple[Answered, ...]:
    """Answer for round thresholds, as far as enough is kept; `share` of all items have a confidence."""
    kept = [(step, confidence[confidence >= step]) for step in STEPS]
    return tuple(
        Answered(step, share * len(values) / len(confidence), float(values.mean()))
        for step, values in kept
        if len(values) and len(values) >= _LEAST_KEPT * len(confidence)
    )


def _advise(everything: Answered, steps: tuple[Answered, ...]) -> Answered | None:
    """Choose the lowest threshold that reaches a goal not reached anyway; the highest if none does."""
    useful = [step for step in steps if step.coverage < everything.coverage]
    goal = next((goal for goal in _GOALS if everything.purity < goal), None)
    if goal is None or not useful:
        return None
    return next((step for step in useful if step.purity >= goal), useful[-1])


def _weak_sentence(clusters: tuple[Expected, ...]) -> str:
    weak = [cluster for cluster in clusters if cluster.is_weak]
    if not weak or weak[0].purity >= _GOALS[0]:
        return ""
    names = ", ".join(str(cluster.number) for cluster in weak[:-1])
    named = f"clusters {names} and {weak[-1].number}" if names else f"cluster {weak[-1].number}"
    share = _of_hundred(weak[0].purity)
    return f"Look at {named} first: in cluster {weak[0].number}, {share} are expected to be right."


def _advice_sentence(everything: Answered, advice: Answered | None, noun: str) -> str:
    if advice is not None:
        return (
            f"Answer only where confidence is at least {rounded(advice.threshold)}: "
            f"{percent(advice.coverage)} of the {noun} are kept, and by the model's own confidence "
            f"{percent(advice.purity)} of these are right."
        )
    if everything.purity < max(_GOALS):
        return ""
    return f"There is little to gain by leaving {noun} out: the model is sure of nearly all."


def _difference(whole: Expected | None, everything: Answered) -> tuple[str, ...]:
    """Admit it where the model's own confidence and the prediction disagree."""
    if whole is None or whole.low <= everything.purity <= whole.high:
        return ()
    how = (
        "more than is predicted here: take the curve for a best case"
        if everything.purity > whole.high
        else "fewer than is predicted here: the curve is on the careful side"
    )
    return (f"The model's own confidence expects {percent(everything.purity)} to be right, {how}.",)
