"""The gradient stage of a Dirichlet-process mixture: from a start with too many components to a density."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from holdfast.functional.merging import Covariance, Mixture
from holdfast.nn.mixture import StickBreaking
from holdfast.training import ConvergenceMonitor, LoopResult, run_epochs

__all__ = ["Frame", "SticksConfig", "climb", "plus_plus_start"]

_JUDGED_ROWS = 4_096
_LEAST_STEPS = 25  # of an epoch: few rows are gone through several times
_PATIENCE, _MIN_GAIN = 4, 2e-3
_FIRST_FRAMES = 25  # steps that are all recorded; later ones ever more rarely, 200 frames of 30,000 steps
_ROWS_A_COMPONENT = 5
_TIGHTEST = 1e-2


@dataclass(frozen=True)
class SticksConfig:
    """The parameters of :class:`holdfast.DirichletGMM`'s gradient stage, resolved."""

    kind: Covariance
    max_components: int
    least: int
    concentration: float
    max_epochs: int
    batch_size: int
    learning_rate: float
    keep_path: bool


@dataclass(frozen=True, eq=False)
class Frame:
    """The mixture after some steps, for the record; a slot of a merged component has weight zero."""

    step: int
    mixture: Mixture
    loss: float


@dataclass(eq=False)
class _Sticks:
    """The stage that the loop trains."""

    module: StickBreaking
    rows: Tensor
    keeps_frames: bool
    name: str = "mixture"
    frames: list[Frame] = field(default_factory=list)
    steps: int = 0
    _due: int = 0

    def __post_init__(self) -> None:
        self._judged = self.rows[:: max(1, len(self.rows) // _JUDGED_ROWS)]
        self.n_rows = len(self.rows)

    def repeat(self, batch_size: int) -> None:
        """Go through few rows several times an epoch."""
        n = len(self.rows)
        self.n_rows = n * math.ceil(_LEAST_STEPS * min(batch_size, n) / n)

    def assess(self, *, restored: bool = False) -> Mapping[str, float]:  # noqa: ARG002 - nothing is aimed at
        weights = torch.exp(self.module.log_weights().detach())
        return {
            "score": -self._loss_now(),
            "components": float((weights * len(self.rows) >= 1).sum()),
            "concentration": float(torch.exp(self.module.log_concentration().detach())),
        }

    def losses(self, batch: Tensor) -> Mapping[str, Tensor]:
        if self.keeps_frames and self.steps >= self._due:
            self.frames.append(Frame(self.steps, self.module.mixture(), self._loss_now()))
            self._due += max(1, self.steps // _FIRST_FRAMES)
        self.steps += 1
        return {"loss": self._loss(self.rows[batch % len(self.rows)])}

    def _loss(self, rows: Tensor) -> Tensor:
        return -self.module.log_prob(rows).mean() - self.module.log_prior() / len(self.rows)

    @torch.no_grad()
    def _loss_now(self) -> float:
        return float(self._loss(self._judged))

    def state(self) -> Mapping[str, np.ndarray]:
        return {}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        pass


def plus_plus_start(rows: Tensor, config: SticksConfig, seed: int) -> Mixture:
    """Place components by k-means++ on a sample of the rows, all of one weight and one size.

    Parameters
    ----------
    rows : Tensor of shape (n, d)
        Standardised.
    config : SticksConfig
    seed : int
    """
    n, d = rows.shape
    k = min(max(config.least, min(config.max_components, n // _ROWS_A_COMPONENT)), n)
    some = rows[:: max(1, n // max(_JUDGED_ROWS, 2 * k))]
    means = torch.from_numpy(kmeans_plusplus(some.cpu().numpy(), k, random_state=seed)[0]).double()
    nearest = torch.cdist(some.cpu().double(), means).amin(1)
    size = float(nearest.square().mean() / d)
    size = max(size, _TIGHTEST)
    covariance = torch.eye(d) * size if config.kind == "tied" else torch.full((k, d), size)
    return Mixture(config.kind, torch.full((k,), 1 / k).double(), means, covariance.double())


def climb(
    rows: Tensor, module: StickBreaking, config: SticksConfig, seed: int
) -> tuple[LoopResult, list[Frame]]:
    """Climb the joint log density by Adam in mini-batches until it stalls.

    Parameters
    ----------
    rows : Tensor of shape (n, d), float32
        Standardised, where the module is.
    module : StickBreaking
        Trained in place.
    config : SticksConfig
    seed : int
        Orders the rows.

    Returns
    -------
    result : LoopResult
    frames : list of Frame
        Where the configuration asks for them, dense at the beginning.
    """
    stage = _Sticks(module, rows, config.keep_path)
    stage.repeat(config.batch_size)
    result = run_epochs(
        stage,
        lambda factor: torch.optim.Adam(module.parameters(), lr=config.learning_rate * factor),
        ConvergenceMonitor(patience=_PATIENCE, min_gain=_MIN_GAIN),
        max_epochs=config.max_epochs,
        batch_size=min(config.batch_size, len(rows)),
        generator=torch.Generator().manual_seed(seed),
        keep="best",
    )
    if config.keep_path:
        stage.frames.append(Frame(stage.steps, module.mixture(), stage._loss_now()))
    return result, stage.frames
