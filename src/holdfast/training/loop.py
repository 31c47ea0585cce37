"""The epoch loop. Every stage of every method is trained by it and by nothing else."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from holdfast.training.batches import shuffled
from holdfast.training.callbacks import tell
from holdfast.training.monitor import Action, ConvergenceMonitor, Verdict

__all__ = ["LoopResult", "Stage", "run_epochs"]

_SLOW_DOWN = 0.3  # factor on the learning rate after a rollback


class Stage(Protocol):
    """One thing that can be trained: what it minimises and how its state is judged."""

    name: str
    n_rows: int

    @property
    def module(self) -> nn.Module:
        """The module whose state is trained, saved and restored."""
        ...

    def assess(self, *, restored: bool = False) -> Mapping[str, float]:
        """Look at the state as it is, refresh what the coming epoch aims at, and return signals.

        ``restored`` says that the state was put back: aims taken from the abandoned one are void.
        """
        ...

    def losses(self, batch: Tensor) -> Mapping[str, Tensor]:
        """Loss terms of a batch of row numbers; the one called ``loss`` is minimised."""
        ...


@dataclass(frozen=True)
class LoopResult:
    """How a run ended.

    Attributes
    ----------
    n_iter : int
        Epochs trained.
    converged : bool
        Whether a stopping rule was met before the epochs ran out.
    reason : str
        Why it ended, as a sentence.
    history : list of dict
        One entry an epoch: signals, mean loss terms, learning rate, verdict.
    """

    n_iter: int
    converged: bool
    reason: str
    history: list[dict[str, Any]] = field(default_factory=list)


def run_epochs(
    stage: Stage,
    make_optimiser: Callable[[float], torch.optim.Optimizer],
    monitor: ConvergenceMonitor,
    *,
    max_epochs: int,
    batch_size: int,
    generator: torch.Generator,
    keep: Literal["best", "last"] = "best",
) -> LoopResult:
    """Train a stage until its monitor is satisfied or the epochs run out.

    The state is judged before the first epoch and after each one. On a rollback the best snapshot
    returns, the learning rate falls to three tenths and the optimiser forgets its moments.

    Parameters
    ----------
    stage : Stage
        What is trained, in place.
    make_optimiser : callable
        Builds an optimiser; its argument is the factor on the learning rate.
    monitor : ConvergenceMonitor
        Judges the signals of ``stage.assess()``.
    max_epochs : int
        Epochs at most, those rolled back included.
    batch_size : int
        Rows a step.
    generator : torch.Generator
        Shuffles the rows.
    keep : {"best", "last"}, default="best"
        Which state the stage is left in; a last state that the monitor rejects is never kept.

    Returns
    -------
    LoopResult
    """
    slow_down, optimiser = 1.0, make_optimiser(1.0)
    history: list[dict[str, Any]] = []
    verdict = monitor.observe(stage.assess())
    best = _snapshot(stage)
    while verdict.action is not Action.STOP and len(history) < max_epochs:
        if verdict.action is Action.ROLL_BACK:
            slow_down *= _SLOW_DOWN
            stage.module.load_state_dict(best)
            stage.assess(restored=True)
            optimiser = make_optimiser(slow_down)
        losses = _epoch(stage, optimiser, shuffled(stage.n_rows, batch_size, generator))
        signals = {**losses, **stage.assess()}
        verdict = monitor.observe(signals)
        if verdict.is_best:
            best = _snapshot(stage)
        history.append(_entry(len(history) + 1, signals, optimiser, verdict))
        tell(stage.name, len(history), max_epochs, signals)
    if keep == "best" or (verdict.action is not Action.CONTINUE and not verdict.converged):
        stage.module.load_state_dict(best)
    return LoopResult(len(history), verdict.converged, verdict.reason, history)


@torch.enable_grad()
def _epoch(stage: Stage, optimiser: torch.optim.Optimizer, batches: Any) -> dict[str, float]:
    """Take one step a batch; return the mean of each loss term and the number of skipped steps.

    The loss is NaN after an epoch without a step, or one that ends in weights that are not finite.
    """
    sums: dict[str, Tensor] = {}
    steps = skipped = 0
    stage.module.train()
    for batch in batches:
        terms = stage.losses(batch)
        if not torch.isfinite(terms["loss"]):
            skipped += 1
            continue
        optimiser.zero_grad(set_to_none=True)
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        steps += 1
        for name, value in terms.items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach()
    stage.module.eval()
    means = {name: float(total) / max(steps, 1) for name, total in sums.items()}
    if steps == 0 or not _is_finite(stage.module):
        means["loss"] = math.nan
    return {**means, "skipped": float(skipped)}


def _is_finite(module: nn.Module) -> bool:
    return all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters())


def _entry(
    epoch: int, signals: Mapping[str, float], optimiser: torch.optim.Optimizer, verdict: Verdict
) -> dict[str, Any]:
    rate = optimiser.param_groups[0]["lr"]
    return {
        "epoch": epoch,
        **signals,
        "learning_rate": rate,
        "verdict": verdict.action.value,
        "reason": verdict.reason,
    }


def _snapshot(stage: Stage) -> dict[str, Tensor]:
    return copy.deepcopy(stage.module.state_dict())
