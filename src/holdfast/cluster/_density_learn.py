"""Teach a module the labels that a density gave some of the rows, and stop when it has learnt them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from holdfast.cluster._module import DecConfig
from holdfast.cluster._stages import Corruption
from holdfast.functional.assignment import calibrated_temperature, cosine_similarity
from holdfast.functional.calibration import fitted_temperature
from holdfast.nn import Clusterer
from holdfast.training import ConvergenceMonitor, LoopResult, run_epochs
from holdfast.training.batches import Rows, map_blocks

__all__ = ["Learnt", "learn", "learn_on", "similarity"]

_HELD_BACK = 0.15  # of every cluster
_CONFIDENCE = 0.7  # mean of the largest q when training starts, as for DEC's warm start
_CORRUPTION = ("mask", 0.3)  # DEC's too
_PATIENCE = 5
_REJECTED = 0.05  # of held-back rows with a label, where rows unlike them are to be rejected


@dataclass(frozen=True, eq=False)
class Learnt:
    """What teaching came to.

    Attributes
    ----------
    training : LoopResult
    begun : dict of str to Tensor
        State of the module before: centres at the mean of their members.
    accuracy : float or None
        Share of the held-back rows that were given their label; None where clusters are too small to hold
        any back.
    least : float
        Similarity to the nearest centre that 95 % of the held-back rows reach.
    """

    training: LoopResult
    begun: dict[str, Tensor]
    accuracy: float | None
    least: float


class LearnLabels:
    """Cross-entropy on labels; judged by how surprising the labels of held-back rows are.

    Parameters
    ----------
    module : Clusterer
    rows : Rows
        All rows, prepared.
    labels : Tensor of shape (n,), int64
        On the rows' device; read where they are not negative.
    taught, held_back : Tensor of int64
        Numbers of the rows to learn from, and of those to be judged by.
    corrupt : Corruption
    """

    name = "learning"

    def __init__(
        self, module: Clusterer, rows: Rows, labels: Tensor, taught: Tensor, held_back: Tensor,
        corrupt: Corruption,
    ) -> None:  # fmt: skip
        self.module = module
        self.n_rows = len(taught)
        self._rows = rows
        self._labels = labels
        self._taught = taught
        self._held_back = held_back
        self._corrupt = corrupt

    def assess(self, *, restored: bool = False) -> Mapping[str, float]:  # noqa: ARG002 - the protocol's
        """Loss and accuracy on the held-back rows; without any there is nothing to judge by."""
        if len(self._held_back) == 0:
            return {}
        logits, labels = self.held_back()
        right = (logits.argmax(1) == labels).double().mean()
        return {"score": -float(cross_entropy(logits, labels)), "accuracy": float(right)}

    def held_back(self) -> tuple[Tensor, Tensor]:
        """Logits (h, k) and labels (h,) of the held-back rows."""
        logits = map_blocks(self.module.score, Part(self._rows, self._held_back))
        return logits, self._labels[self._held_back].cpu()

    def losses(self, batch: Tensor) -> Mapping[str, Tensor]:
        """Cross-entropy of a batch, looked at through noise."""
        some = self._taught[batch]
        logits = self.module.score(self._corrupt(self._rows[some]))
        return {"loss": cross_entropy(logits, self._labels[some.to(self._labels.device)])}

    def state(self) -> dict[str, np.ndarray]:
        """Offer nothing to a checkpoint: the module is all there is."""
        return {}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take nothing."""


class Part(Rows):
    """Some of the rows of another, in their order."""

    def __init__(self, rows: Rows, chosen: Tensor) -> None:
        self.device = rows.device
        self._of = rows
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        return self._of[self._chosen[index]]


def learn(module: Clusterer, X: np.ndarray, labels: np.ndarray, config: DecConfig) -> Learnt:
    """Teach a new module the labels of rows, until held-back ones gain nothing more; then calibrate it.

    Parameters
    ----------
    module : Clusterer
        Trained in place.
    X : ndarray of shape (n, d)
    labels : ndarray of shape (n,)
        Every number from 0 below ``config.n_clusters``; rows of negative ones are left out.
    config : DecConfig

    Returns
    -------
    Learnt
    """
    rows = Rows(X, module.device, module.prepare).hold()
    generator = torch.Generator().manual_seed(config.seed)
    taught, held_back = _split(labels, generator)
    targets = torch.from_numpy(labels.astype(np.int64)).to(module.device)
    _place(module, rows, torch.cat([taught, held_back]).sort().values, targets)
    begun = copy.deepcopy(module.state_dict())
    corrupt = Corruption(*_CORRUPTION, generator).for_rows(module.prepare)
    stage = LearnLabels(module, rows, targets, taught, held_back, corrupt)
    monitor = ConvergenceMonitor(patience=_PATIENCE)
    training = _run(stage, config, monitor, generator, config.max_epochs)
    return Learnt(training, begun, *_judged(stage, held_back if len(held_back) else taught, rows))


def learn_on(module: Clusterer, X: np.ndarray, labels: np.ndarray, config: DecConfig) -> LoopResult | None:
    """Train a module for one epoch, in place, on those rows (n, d) that have labels (n,); None without."""
    taught = torch.from_numpy(np.flatnonzero(labels >= 0))
    if len(taught) == 0:
        return None
    rows = Rows(X, module.device, module.prepare).hold()
    generator = torch.Generator().manual_seed(config.seed)
    targets = torch.from_numpy(labels.astype(np.int64)).to(module.device)
    corrupt = Corruption(*_CORRUPTION, generator).for_rows(module.prepare)
    stage = LearnLabels(module, rows, targets, taught, taught[:0], corrupt)
    return _run(stage, config, ConvergenceMonitor(), generator, 1)


def similarity(module: Clusterer, prepared: Tensor) -> Tensor:
    """Cosine (n,) of prepared rows to the nearest centre, in the latent."""
    return module.score(prepared).amax(1) * module.temperature


def _run(
    stage: LearnLabels,
    config: DecConfig,
    monitor: ConvergenceMonitor,
    generator: torch.Generator,
    epochs: int,
) -> LoopResult:
    parameters = list(stage.module.parameters())
    return run_epochs(
        stage,
        lambda factor: torch.optim.Adam(parameters, lr=config.learning_rate * factor, fused=True),
        monitor,
        max_epochs=epochs,
        batch_size=config.batch_size,
        generator=generator,
    )


def _split(labels: np.ndarray, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Hold back 15 % of the rows of every cluster, at random."""
    shuffled = torch.randperm(len(labels), generator=generator)
    shuffled = shuffled[torch.from_numpy(labels >= 0)[shuffled]]
    grouped = shuffled[torch.from_numpy(labels.astype(np.int64))[shuffled].argsort(stable=True)]
    sizes = np.bincount(labels[labels >= 0])
    place = np.arange(len(grouped)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    is_held_back = torch.from_numpy(place < np.repeat((_HELD_BACK * sizes).astype(np.int64), sizes))
    return grouped[~is_held_back].sort().values, grouped[is_held_back].sort().values


@torch.no_grad()
def _place(module: Clusterer, rows: Rows, known: Tensor, targets: Tensor) -> None:
    """Put every centre at the mean of its members, and the temperature where training begins well."""
    z = map_blocks(module.latent, Part(rows, known), on=module.device)
    module.place_centres(z, targets[known.to(targets.device)])
    uniform = 1 / len(module.centres)
    cosines = cosine_similarity(z, module.centres)
    confidence = uniform + _CONFIDENCE * (1 - uniform)
    module.temperature.fill_(calibrated_temperature(cosines, confidence))


@torch.no_grad()
def _judged(stage: LearnLabels, judged: Tensor, rows: Rows) -> tuple[float | None, float]:
    """Calibrate on rows that were not learnt from; return how many were right, and how near they are."""
    module = stage.module
    near = map_blocks(lambda x: similarity(module, x), Part(rows, judged))
    least = float(torch.quantile(near.double()[:: max(1, len(near) // 100_000)], _REJECTED))
    signals = stage.assess()
    if not signals:
        return None, least
    module.calibration.fill_(fitted_temperature(*stage.held_back()))
    return signals["accuracy"], least
