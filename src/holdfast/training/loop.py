"""The epoch loop. Every stage of every method is trained by it and by nothing else."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.training.batches import shuffled
from holdfast.training.callbacks import tell
from holdfast.training.checkpoint import Record
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

    def state(self) -> Mapping[str, np.ndarray]:
        """Offer what the coming epochs depend on, beside the module; asked for with a checkpoint only."""
        ...

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take what ``state`` offered."""
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


@dataclass
class _Progress:
    """Everything a run of the loop has learned so far, beside what its stage and monitor know."""

    verdict: Verdict
    best: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    slow_down: float = 1.0
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
    record: Record | None = None,
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
    record : Record, optional
        Where the run is kept from time to time. What an earlier process wrote there is taken up, to the same
        result as if it had never stopped.

    Returns
    -------
    LoopResult
    """
    progress = _resume(record, stage, make_optimiser, monitor, generator)
    if progress is None:
        verdict = monitor.observe(stage.assess())
        progress = _Progress(verdict, _snapshot(stage), make_optimiser(1.0))
    while progress.verdict.action is not Action.STOP and len(progress.history) < max_epochs:
        if progress.verdict.action is Action.ROLL_BACK:
            _roll_back(stage, progress, make_optimiser)
        losses = _epoch(stage, progress.optimiser, shuffled(stage.n_rows, batch_size, generator))
        signals = {**losses, **stage.assess()}
        progress.verdict = monitor.observe(signals)
        if progress.verdict.is_best:
            progress.best = _snapshot(stage)
        progress.history.append(_entry(signals, progress))
        tell(stage.name, len(progress.history), max_epochs, signals)
        if record is not None and record.is_due():
            record.write(*_packed(stage, progress, monitor, generator))
    return _finish(stage, progress, keep)


def _roll_back(
    stage: Stage, progress: _Progress, make_optimiser: Callable[[float], torch.optim.Optimizer]
) -> None:
    progress.slow_down *= _SLOW_DOWN
    stage.module.load_state_dict(progress.best)
    stage.assess(restored=True)
    progress.optimiser = make_optimiser(progress.slow_down)


def _finish(stage: Stage, progress: _Progress, keep: str) -> LoopResult:
    verdict = progress.verdict
    if keep == "best" or (verdict.action is not Action.CONTINUE and not verdict.converged):
        stage.module.load_state_dict(progress.best)
    return LoopResult(len(progress.history), verdict.converged, verdict.reason, progress.history)


@torch.enable_grad()
def _epoch(stage: Stage, optimiser: torch.optim.Optimizer, batches: Any) -> dict[str, float]:
    """Take one step a batch; return the mean of each loss term and the number of skipped steps.

    The loss is NaN after an epoch without a step, or one that ends in weights that are not finite.
    """
    sums: dict[str, float] = {}
    steps = skipped = 0
    stage.module.train()
    for batch in batches:
        terms = stage.losses(batch)
        values = {name: value.item() for name, value in terms.items()}
        if not math.isfinite(values["loss"]):
            skipped += 1
            continue
        optimiser.zero_grad(set_to_none=True)
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        steps += 1
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value
    stage.module.eval()
    means = {name: total / max(steps, 1) for name, total in sums.items()}
    if steps == 0 or not _is_finite(stage.module):
        means["loss"] = math.nan
    return {**means, "skipped": float(skipped)}


def _is_finite(module: nn.Module) -> bool:
    return all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters())


def _entry(signals: Mapping[str, float], progress: _Progress) -> dict[str, Any]:
    return {
        "epoch": len(progress.history) + 1,
        **signals,
        "learning_rate": progress.optimiser.param_groups[0]["lr"],
        "verdict": progress.verdict.action.value,
        "reason": progress.verdict.reason,
    }


def _snapshot(stage: Stage) -> dict[str, Tensor]:
    return copy.deepcopy(stage.module.state_dict())


def _packed(
    stage: Stage, progress: _Progress, monitor: ConvergenceMonitor, generator: torch.Generator
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return a running loop as arrays and plain values."""
    moments = progress.optimiser.state_dict()["state"]
    tensors = {
        **{f"module.{name}": value for name, value in stage.module.state_dict().items()},
        **{f"best.{name}": value for name, value in progress.best.items()},
        **{f"moments.{i}.{name}": value for i, some in moments.items() for name, value in some.items()},
        "generator": generator.get_state(),
    }
    arrays = {name: value.detach().cpu().numpy() for name, value in tensors.items()}
    arrays |= {f"stage.{name}": value for name, value in stage.state().items()}
    verdict = {**asdict(progress.verdict), "action": progress.verdict.action.value}
    return arrays, {
        "verdict": verdict,
        "slow_down": progress.slow_down,
        "history": progress.history,
        "monitor": monitor.state(),
    }


def _resume(
    record: Record | None,
    stage: Stage,
    make_optimiser: Callable[[float], torch.optim.Optimizer],
    monitor: ConvergenceMonitor,
    generator: torch.Generator,
) -> _Progress | None:
    """Bring everything into the state that was packed, if any was."""
    found = None if record is None else record.read()
    if found is None:
        return None
    arrays, values = found
    stage.module.load_state_dict(_tensors(arrays, "module."))
    stage.set_state(
        {name.removeprefix("stage."): a for name, a in arrays.items() if name.startswith("stage.")}
    )
    monitor.set_state(values["monitor"])
    generator.set_state(torch.from_numpy(arrays["generator"]))
    optimiser = make_optimiser(values["slow_down"])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _tensors(arrays, "moments.").items():
        parameter, _, kind = name.partition(".")
        moments.setdefault(int(parameter), {})[kind] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    verdict = Verdict(**{**values["verdict"], "action": Action(values["verdict"]["action"])})
    best = {
        name: value.to(stage.module.state_dict()[name].device)
        for name, value in _tensors(arrays, "best.").items()
    }
    return _Progress(verdict, best, optimiser, values["slow_down"], values["history"])


def _tensors(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): torch.from_numpy(value)
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
