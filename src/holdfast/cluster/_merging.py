"""From an over-complete mixture to the components that are worth their parameters: merge, refit, compare."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from holdfast.functional.merging import (
    Covariance,
    Mixture,
    bic,
    description_length,
    merge_costs,
    merged,
    row_features,
    weighted_log_prob,
)

__all__ = ["COARSE_ROWS", "Criterion", "Level", "Refit", "merge_down", "merge_on", "polish", "prune"]

COARSE_ROWS = 500
"""Rows that count at most by "mdl". Chosen among 200 to 1,000 with the true numbers of groups of nine
collections in sight: with a thousand, four were split into twice their groups; with 200, most lost many."""

_FLOOR = 1e-6  # least variance of standardised rows: what is finer is a repeated value
_LEAST_ROWS = 2.0  # of a component, else it is a single row
_CANDIDATES, _FEW = 3, 8  # pairs tried where few components are left, where the cheapest is not always best
_SWEEPS, _FEW_SWEEPS = 8, 40  # of a refit after a merge
_ROUGH_GAIN = 1e-6
_FINE_GAIN, _FINE_SWEEPS = 1e-8, 200  # half-way, a mixture that is better in the end can look worse
_EMPTY = 1e-12
_DEPTH = 8  # points that a stride combines
_STILL = 1e-5
_RCOND = 1e-10


class Refit:
    """Expectation-maximisation on fixed rows, in double precision, one sweep at a time.

    Parameters
    ----------
    rows : Tensor of shape (n, d), float64
        Standardised.
    kind : {"diag", "spherical", "tied"}
    """

    def __init__(self, rows: Tensor, kind: Covariance) -> None:
        self.shape = (rows.shape[0], rows.shape[1])
        self._kind = kind
        empty = Mixture(kind, rows.new_ones(0), rows.new_ones(0, self.shape[1]), rows)
        self._features = row_features(empty, rows)
        self._second = rows.T @ rows / len(rows) if kind == "tied" else None

    def sweep(self, mixture: Mixture) -> tuple[Mixture, float]:
        """Return the mixture after one sweep, and the log density a row of the one before it."""
        joint = weighted_log_prob(mixture, self._features, linear)
        highest = joint.amax(1, keepdim=True)
        resp = joint.sub_(highest).exp_()
        total = resp.sum(1, keepdim=True)
        value = float(highest.mean() + total.log_().mean())
        return self._maximised(resp.div_(total.exp_())), value

    def log_prob(self, mixture: Mixture) -> float:
        """Mean log density of a row."""
        return float(torch.logsumexp(weighted_log_prob(mixture, self._features, linear), dim=1).mean())

    def _maximised(self, resp: Tensor) -> Mixture:
        d = self.shape[1]
        sizes = resp.sum(0).clamp_min(_EMPTY)
        moments = (resp.T @ self._features) / sizes[:, None]
        means = moments[:, -d:]
        weights = sizes / sizes.sum()
        if self._second is not None:
            covariance = self._second - (means.T * weights) @ means
            covariance.diagonal().add_(_FLOOR)
            return Mixture(self._kind, weights, means, covariance)
        variances = moments[:, :d] - means * means
        if self._kind == "spherical":
            variances = variances.mean(1, keepdim=True).expand(-1, d)
        return Mixture(self._kind, weights, means, variances.clamp_min(_FLOOR))


@dataclass(frozen=True, eq=False)
class Level:
    """The mixture of one number of components on the way down.

    Attributes
    ----------
    mixture : Mixture
    slots : tuple of int
        Where its components stood in the over-complete mixture; a merged one, where its heavier part did.
    log_prob : float
        Mean log density of a row.
    """

    mixture: Mixture
    slots: tuple[int, ...]
    log_prob: float


@dataclass(frozen=True)
class Criterion:
    """What a number of components is judged by; lower is better.

    Attributes
    ----------
    name : {"bic", "mdl"}
    kind : {"diag", "spherical", "tied"}
    shape : tuple of int
        Rows and columns that are described.
    """

    name: str
    kind: Covariance
    shape: tuple[int, int]

    def __call__(self, level: Level) -> float:
        """Judge the mixture of a level."""
        log_prob, k = level.log_prob * self.shape[0], len(level.mixture)
        if self.name == "bic":
            return bic(log_prob, self.kind, k, self.shape)
        return description_length(log_prob, self.kind, k, self.shape, COARSE_ROWS)


def prune(mixture: Mixture, n_rows: int, least: int) -> tuple[Mixture, tuple[int, ...]]:
    """Drop components of fewer than two rows, but keep the `least` largest; tell where they stood."""
    order = torch.argsort(mixture.weights, descending=True)
    n_kept = max(int((mixture.weights * n_rows >= _LEAST_ROWS).sum()), min(least, len(mixture)), 1)
    kept = order[:n_kept].sort().values
    return mixture.take(kept), tuple(kept.tolist())


def merge_down(mixture: Mixture, slots: tuple[int, ...], refit: Refit) -> list[Level]:
    """Merge the cheapest pair again and again down to one component, refitting after each merge.

    Parameters
    ----------
    mixture : Mixture
        Over-complete.
    slots : tuple of int
        Where its components stand in the record.
    refit : Refit

    Returns
    -------
    list of Level
        From the most components to the least.
    """
    levels = [_refitted(refit, mixture, slots)]
    while len(levels[-1].mixture) > 1:
        levels.append(_next_level(levels[-1], refit))
    return levels


def _next_level(level: Level, refit: Refit) -> Level:
    return max(_merges(level, refit), key=lambda some: some.log_prob)


def _merges(level: Level, refit: Refit) -> list[Level]:
    """Merge and refit the cheapest pair; where few components are left, each of the cheapest."""
    k = len(level.mixture)
    upper = torch.triu_indices(k, k, offset=1)
    cheapest = torch.argsort(merge_costs(level.mixture)[upper[0], upper[1]], stable=True)
    tried = []
    n_tried = _CANDIDATES if k <= _FEW else 1
    for pair in cheapest[:n_tried].tolist():
        i, j = upper[:, pair].tolist()
        if level.mixture.weights[j] > level.mixture.weights[i]:
            i, j = j, i
        kept = tuple(slot for at, slot in enumerate(level.slots) if at != j)
        tried.append(_refitted(refit, merged(level.mixture, i, j), kept))
    return tried


def _refitted(refit: Refit, mixture: Mixture, slots: tuple[int, ...]) -> Level:
    start = Level(mixture, slots, -math.inf)
    return polish(start, refit, gain=_ROUGH_GAIN, max_sweeps=_SWEEPS if len(mixture) > _FEW else _FEW_SWEEPS)[
        0
    ]


def merge_on(level: Level, refit: Refit, judge: Criterion) -> list[Level]:
    """Merge a mixture on for as long as that is better: pairs that a sample told apart, all rows may not.

    Returns
    -------
    list of Level
        Each better than the one before it, the given one first.
    """
    way = [level]
    while len(way[-1].mixture) > 1:
        rough = min(_merges(way[-1], refit), key=judge)
        following, _ = polish(rough, refit, gain=_FINE_GAIN, max_sweeps=_FINE_SWEEPS)
        if judge(following) >= judge(way[-1]):
            break
        way.append(following)
    return way


def polish(level: Level, refit: Refit, *, gain: float, max_sweeps: int) -> tuple[Level, bool]:
    """Sweep to convergence, in strides: sweeps alone need thousands where components overlap.

    Anderson's method [1]_: the next point is the combination of the last few that a sweep would change least;
    where it has a lower density than the point before, the plain sweep from there is taken instead.

    Parameters
    ----------
    level : Level
    refit : Refit
    gain : float
        Nats a row; a sweep that gains less is the last.
    max_sweeps : int

    Returns
    -------
    level : Level
    converged : bool
        Whether a sweep gained less, or changed no parameter by more than a hundred-thousandth.

    References
    ----------
    .. [1] Walker and Ni, "Anderson acceleration for fixed-point iterations", 2011.
    """
    like = level.mixture
    now = _flat(like)
    after, value = _swept(refit, now, like)
    past: list[tuple[Tensor, Tensor]] = []
    n_sweeps, converged = 1, False
    while n_sweeps < max_sweeps and not converged:
        past = [*past[1 - _DEPTH :], (now, after)]
        following = _stride(past)
        swept, new_value = _swept(refit, following, like)
        n_sweeps += 1
        if not new_value >= value:  # also where it is not finite
            past, following = [], after
            swept, new_value = _swept(refit, following, like)
            n_sweeps += 1
            converged = new_value - value < gain
        now, after, value = following, swept, new_value
        converged = converged or bool((after - now).abs().max() < _STILL)
    return Level(_shaped(now, like), level.slots, value), converged


def _stride(past: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Combine the last points and what sweeps made of them."""
    before, after = torch.stack([x for x, _ in past]), torch.stack([y for _, y in past])
    if len(past) == 1:
        return after[0]
    change = after - before
    solved = torch.linalg.lstsq(change.diff(dim=0).T, change[-1:].T, rcond=_RCOND, driver="gelsd")
    stride: Tensor = after.diff(dim=0).T @ solved.solution[:, 0]
    return after[-1] - stride


def _swept(refit: Refit, point: Tensor, like: Mixture) -> tuple[Tensor, float]:
    try:
        mixture, value = refit.sweep(_shaped(point, like))
    except RuntimeError:  # torch's linear algebra: a stride too far: a covariance that is none
        return point, -math.inf
    return _flat(mixture), value


def _flat(mixture: Mixture) -> Tensor:
    """Write the parameters as one vector, positive ones by their logarithms."""
    covariance = mixture.covariance if mixture.kind == "tied" else mixture.covariance.log()
    return torch.cat([mixture.weights.log(), mixture.means.flatten(), covariance.flatten()])


def _shaped(point: Tensor, like: Mixture) -> Mixture:
    sizes = [like.weights.numel(), like.means.numel(), like.covariance.numel()]
    weights, means, covariance = torch.split(point, sizes)
    covariance = covariance.view_as(like.covariance)
    if like.kind != "tied":
        covariance = covariance.exp().clamp_min(_FLOOR)
    return Mixture(like.kind, torch.softmax(weights, 0), means.view_as(like.means), covariance)
