"""One start of a Dirichlet-process mixture after another: climb, merge, polish, and keep the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast._wording import count
from holdfast.cluster._count import ClusterCount
from holdfast.cluster._merging import Criterion, Level, Refit, merge_down, merge_on, polish, prune
from holdfast.cluster._mixture_path import MixturePath, merge_frames, recorded
from holdfast.cluster._sticks import SticksConfig, climb, plus_plus_start
from holdfast.functional.merging import Covariance, Mixture, row_features, weighted_log_prob
from holdfast.functional.mixture import component_weights_log_prob
from holdfast.metrics import ari
from holdfast.nn.mixture import StickBreaking
from holdfast.training import LoopResult

__all__ = [
    "MixtureRun",
    "StandardRows",
    "fit_mixture",
    "followed",
    "judged_in_units",
    "mixture_count",
    "sensitivity",
    "standardise",
]

_MERGED_ROWS = 5_000  # a sample tells which components belong together; all rows settle the rest
_NEAR = 2  # levels on either side of the best that all rows decide between
_ROUGH_SWEEPS, _ROUGH_GAIN = 40, 1e-6
_NO_ARGUMENT = 10.0  # Kass and Raftery call more than this very strong
_FINAL_SWEEPS, _FINAL_GAIN = 500, 1e-11


@dataclass(frozen=True, eq=False)
class StandardRows:
    """Rows as the mixture sees them.

    Attributes
    ----------
    rows : Tensor of shape (n, d_z), float64
    offset, spread : Tensor of shape (d_z,), float64
    """

    rows: Tensor
    offset: Tensor
    spread: Tensor


@dataclass(frozen=True, eq=False)
class MixtureRun:
    """What one start led to.

    Attributes
    ----------
    start, result : Level
        The components at first and at last.
    training : LoopResult
    converged : bool
        Whether the last sweeps were.
    path : dict of int to float
        BIC by number of components.
    counts : dict of str to int
        The number of components that each criterion prefers.
    near : tuple of int
        Least and largest number of components whose criterion is within ten of the best.
    value : float
        What the result is judged by; lower is better.
    log_prior : float
        Log density of the sticks of the result, in all.
    log_concentration : float
    record : MixturePath or None
    """

    start: Level
    result: Level
    training: LoopResult
    converged: bool
    path: dict[int, float]
    counts: dict[str, int]
    near: tuple[int, int]
    value: float
    log_prior: float
    log_concentration: float
    record: MixturePath | None


def standardise(z: Tensor, kind: Covariance) -> StandardRows:
    """Subtract the mean of latent rows (n, d_z) and divide by their spread.

    That of every column, which changes nothing in the answer; for round components, that of all columns.
    """
    exact = z.double().cpu()
    offset = exact.mean(0)
    variance = (exact - offset).square().mean(0)
    if kind == "spherical":
        variance = variance.mean().expand_as(variance)
    spread = variance.sqrt()
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    return StandardRows((exact - offset) / spread, offset, spread)


@dataclass(frozen=True, eq=False)
class _Descent:
    """From the over-complete mixture to the one that is kept.

    Attributes
    ----------
    way : list of Level
        What was passed on the way down, the result last.
    by_size : dict of int to Level
        The best known mixture of every number of components.
    converged : bool
    """

    way: list[Level]
    by_size: dict[int, Level]
    converged: bool

    @property
    def result(self) -> Level:
        return self.way[-1]


def fit_mixture(
    seen: StandardRows,
    config: SticksConfig,
    criterion: str,
    wanted: int | None,
    seed: int,
    device: torch.device,
) -> MixtureRun:
    """Fit from one start.

    Parameters
    ----------
    seen : StandardRows
    config : SticksConfig
    criterion : {"bic", "mdl"}
    wanted : int or None
        The number of components, or None to let the criterion decide.
    seed : int
    device : torch.device
        Where gradients are computed.
    """
    rows = seen.rows.float().to(device)
    begun = plus_plus_start(rows, config, seed)
    module = StickBreaking(begun, config.concentration).to(device)
    training, frames = climb(rows, module, config, seed)
    whole = Refit(seen.rows, config.kind)
    generator = torch.Generator().manual_seed(seed)
    some = seen.rows[torch.randperm(len(seen.rows), generator=generator)[:_MERGED_ROWS]]
    levels = merge_down(*prune(module.mixture(), len(seen.rows), config.least), Refit(some, config.kind))
    judges = {name: Criterion(name, config.kind, whole.shape) for name in ("bic", "mdl")}
    judge = judges[criterion]
    descent = _descend(levels, whole, judge, wanted)
    log_c = module.log_concentration().detach().cpu().double()
    log_prior = float(component_weights_log_prob(_falling(descent.result.mixture).log(), log_c))
    record = None
    if config.keep_path:
        merging = merge_frames(frames[-1], descent.way, log_prior / len(rows))
        record = recorded(frames, merging, seen.offset, seen.spread)
    return MixtureRun(
        start=Level(begun, tuple(range(len(begun))), whole.log_prob(begun)),
        result=descent.result,
        training=training,
        converged=descent.converged,
        path=_judged(descent.by_size, judges["bic"]),
        counts={name: _preferred(descent.by_size, some_judge) for name, some_judge in judges.items()},
        near=_near(_judged(descent.by_size, judge)),
        value=judge(descent.result),
        log_prior=log_prior,
        log_concentration=float(log_c),
        record=record,
    )


def _descend(levels: Sequence[Level], whole: Refit, judge: Criterion, wanted: int | None) -> _Descent:
    """Choose among mixtures that a sample told, by all rows, and polish the choice."""
    levels = [replace(level, log_prob=whole.log_prob(level.mixture)) for level in levels]
    if wanted is None:
        settled = _settle(levels, whole, judge)
        way = merge_on(min(settled.values(), key=judge), whole, judge)
    else:
        settled = {}
        way = [min(levels, key=lambda level: abs(len(level.mixture) - wanted))]
    result, converged = polish(way[-1], whole, gain=_FINAL_GAIN, max_sweeps=_FINAL_SWEEPS)
    above = [level for level in levels if len(level.mixture) > len(way[0].mixture)]
    by_size = _by_size(levels) | settled | _by_size([*way, result])
    return _Descent([*above, *way, result], by_size, converged)


def _settle(levels: Sequence[Level], whole: Refit, judge: Criterion) -> dict[int, Level]:
    """Refit the levels around the best on all rows, until the best has refitted ones on both sides."""
    by_size = _by_size(levels)
    settled: dict[int, Level] = {}
    while True:
        best = _preferred(by_size | settled, judge)
        near = [k for k in range(best - _NEAR, best + _NEAR + 1) if k in by_size and k not in settled]
        if not near:
            return settled
        for k in near:
            settled[k], _ = polish(by_size[k], whole, gain=_ROUGH_GAIN, max_sweeps=_ROUGH_SWEEPS)


def _by_size(levels: Sequence[Level]) -> dict[int, Level]:
    return {len(level.mixture): level for level in levels}


def _judged(levels: dict[int, Level], judge: Criterion) -> dict[int, float]:
    return {k: judge(levels[k]) for k in sorted(levels)}


def _preferred(levels: dict[int, Level], judge: Criterion) -> int:
    values = _judged(levels, judge)
    return min(values, key=lambda k: values[k])


def _near(values: dict[int, float]) -> tuple[int, int]:
    """Least and largest number whose value is no argument against it: less than ten from the best."""
    good = [k for k, value in values.items() if value <= min(values.values()) + _NO_ARGUMENT]
    return min(good), max(good)


def mixture_count(run: MixtureRun, criterion: str) -> ClusterCount:
    """Write the choice of a run as an estimate of the number of clusters."""
    k, (low, high) = len(run.result.mixture), run.near
    low, high = min(low, k), max(high, k)
    message = f"{count(k, 'component')} by {criterion.upper()}"
    message += "." if low == high else f"; any number from {low} to {high} is nearly as good."
    if k == len(run.start.mixture):
        message += " None could be spared: raise max_components, or judge by mdl."
    picks = dict(run.counts)
    agreement = min(low, *picks.values()) / max(high, *picks.values())
    return ClusterCount(k, low, high, agreement, message, picks)


def _falling(mixture: Mixture) -> Tensor:
    return mixture.weights.sort(descending=True).values


def judged_in_units(
    run: MixtureRun, seen: StandardRows, start: str
) -> tuple[float, dict[int, float], dict[str, float]]:
    """Write joint log density, path of the BIC and evidence for the rows as they are, not standardised."""
    (n, d), shift = seen.rows.shape, float(seen.spread.log().sum())
    bic = Criterion("bic", run.result.mixture.kind, (n, d))
    evidence = {
        name: -bic(level) / (2 * n) - shift for name, level in ((start, run.start), ("result", run.result))
    }
    path = {k: value + 2 * n * shift for k, value in run.path.items()}
    return run.result.log_prob - shift + run.log_prior / n, path, evidence


def sensitivity(runs: Sequence[MixtureRun], seen: StandardRows) -> dict[str, Any] | None:
    """Tell how much the answer depends on the start; None for one start.

    Returns
    -------
    dict or None
        ``disagreement``: mean of one less the adjusted Rand index of the labels of any two starts;
        ``spread``: largest less least log density a row; ``n_clusters``: of each start.
    """
    if len(runs) < 2:
        return None
    labels = [labels_of(run.result.mixture, seen.rows) for run in runs]
    apart = [1 - ari(one, other) for one, other in combinations(labels, 2)]
    heights = [run.result.log_prob for run in runs]
    return {
        "disagreement": float(np.mean(apart)),
        "spread": float(max(heights) - min(heights)),
        "n_clusters": [len(run.result.mixture) for run in runs],
    }


def labels_of(mixture: Mixture, rows: Tensor) -> np.ndarray:
    """Likeliest component (n,) of standardised rows."""
    return np.asarray(weighted_log_prob(mixture, row_features(mixture, rows)).argmax(1).numpy())


def followed(earlier: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Give every component of the start (n,) the cluster in which most of its rows ended."""
    counts = np.zeros((earlier.max() + 1, labels.max() + 1), dtype=np.int64)
    np.add.at(counts, (earlier, labels), 1)
    return np.asarray(counts.argmax(1)[earlier])
