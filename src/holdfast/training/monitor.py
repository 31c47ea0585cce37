"""The label-free guard of every training loop: signals in, verdict out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["Action", "ConvergenceMonitor", "Verdict"]


class Action(Enum):
    """What a loop does next."""

    CONTINUE = "continue"
    STOP = "stop"  # keep what the selection rule prefers and end
    ROLL_BACK = "roll back"  # return to the best snapshot and go on with smaller steps


@dataclass(frozen=True)
class Verdict:
    """The monitor's answer to one epoch.

    Attributes
    ----------
    action : Action
        What the loop does next.
    is_best : bool
        Whether this state is the best so far and deserves a snapshot.
    converged : bool
        Whether the stopping rule was met.
    reason : str
        One sentence for the history; empty where there is nothing to say.
    """

    action: Action = Action.CONTINUE
    is_best: bool = False
    converged: bool = False
    reason: str = ""


class ConvergenceMonitor:
    """Watches a training run without labels and says when to stop or to go back.

    It is shown the state before the first step too, so there is always a snapshot to return to. A signal
    that is absent is not judged. Rules, in order: a value that is not finite, or three skipped steps,
    rolls back; so does a collapse (the size entropy below three quarters of its start, or more than a
    fifth of the clusters used at the start lost); fewer than ``tol`` changed labels stop as converged;
    ``patience`` epochs whose best ``score`` is no better than that of the ``patience`` epochs before them
    stop as finished.

    Parameters
    ----------
    tol : float, default=1e-3
        Share of labels that change in an epoch, below which training has converged.
    patience : int, default=10
        Epochs in each of the two windows that are compared.
    min_gain : float, default=1e-3
        What the later window must gain.
    max_recoveries : int, default=6
        Rollbacks granted; the next one stops instead.
    enough : float, optional
        A ``score`` that is good enough: reaching it stops as finished.

    Examples
    --------
    >>> monitor = ConvergenceMonitor(tol=0.01)
    >>> monitor.observe({"score": 1.9, "changed": 1.0, "entropy": 0.9}).is_best
    True
    >>> monitor.observe({"score": 1.8, "changed": 0.2, "entropy": 0.4}).action.value
    'roll back'
    """

    def __init__(
        self,
        tol: float = 1e-3,
        patience: int = 10,
        min_gain: float = 1e-3,
        max_recoveries: int = 6,
        enough: float | None = None,
    ) -> None:
        self.tol = tol
        self.patience = patience
        self.min_gain = min_gain
        self.max_recoveries = max_recoveries
        self.enough = enough
        self.reset()

    def reset(self) -> None:
        """Forget everything observed."""
        self._best = -math.inf
        self._scores: list[float] = []  # of the epochs trained, so without the start's
        self._recoveries = 0
        self._start: Mapping[str, float] | None = None

    def state(self) -> dict[str, Any]:
        """Offer what was observed so far, as plain values; for a checkpoint."""
        return {
            "best": self._best,
            "scores": list(self._scores),
            "recoveries": self._recoveries,
            "start": None if self._start is None else dict(self._start),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`state` offered."""
        self._best = state["best"]
        self._scores = list(state["scores"])
        self._recoveries = state["recoveries"]
        self._start = state["start"]

    def observe(self, signals: Mapping[str, float]) -> Verdict:
        """Judge one epoch.

        Parameters
        ----------
        signals : mapping of str to float
            Any of ``loss``, ``score`` (higher is better), ``changed`` (share of labels), ``entropy`` (of
            the cluster sizes, 0 to 1), ``used`` (share of clusters with members), ``skipped`` (steps left
            out because a loss was not finite).

        Returns
        -------
        Verdict
        """
        trouble = self._trouble(signals)
        if self._start is None:
            self._start = dict(signals)
        if trouble:
            return self._recover(trouble)
        is_best = self._note_score(signals)
        if signals.get("changed", math.inf) < self.tol:
            reason = f"fewer than {self.tol:g} of the labels changed"
            return Verdict(Action.STOP, is_best, converged=True, reason=reason)
        if self.enough is not None and self._scores and self._best >= self.enough:
            reason = f"the score reached {self.enough:.3f}, which is enough"
            return Verdict(Action.STOP, is_best, converged=True, reason=reason)
        if self._has_stalled():
            reason = f"the last {self.patience} epochs were no better than the {self.patience} before them"
            return Verdict(Action.STOP, is_best, converged=True, reason=reason)
        return Verdict(is_best=is_best)

    def _has_stalled(self) -> bool:
        """Compare the last epochs with those before: training that climbs out of a dip is progress."""
        if len(self._scores) < 2 * self.patience:
            return False
        recent, before = self._scores[-self.patience :], self._scores[-2 * self.patience : -self.patience]
        return max(recent) <= max(before) + self.min_gain

    def _trouble(self, signals: Mapping[str, float]) -> str:
        broken = sorted(name for name, value in signals.items() if not math.isfinite(value))
        if broken:
            return f"{broken[0]} is not finite"
        if signals.get("skipped", 0) >= 3:
            return f"{signals['skipped']:.0f} steps were skipped because their loss was not finite"
        start = self._start or {}
        if signals.get("entropy", 1.0) < 0.75 * start.get("entropy", 0.0):
            sizes = f"entropy {signals['entropy']:.2f}, {start['entropy']:.2f} at the start"
            return f"cluster sizes collapsed ({sizes})"
        if signals.get("used", 1.0) < 0.8 * start.get("used", 0.0):
            return f"clusters emptied ({signals['used']:.0%} used, {start['used']:.0%} at the start)"
        return ""

    def _recover(self, trouble: str) -> Verdict:
        self._recoveries += 1
        if self._recoveries > self.max_recoveries:
            return Verdict(Action.STOP, reason=f"{trouble}, after {self.max_recoveries} rollbacks")
        return Verdict(Action.ROLL_BACK, reason=trouble)

    def _note_score(self, signals: Mapping[str, float]) -> bool:
        """Remember the score; tell whether it is the best so far."""
        score = signals.get("score")
        if score is None:
            return True  # nothing to choose by: the latest healthy state is the one to return to
        if math.isfinite(self._best):
            self._scores.append(score)
        is_best = score > self._best
        self._best = max(self._best, score)
        return is_best
