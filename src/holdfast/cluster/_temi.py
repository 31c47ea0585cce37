"""Members of an ensemble that are trained: TEMI's heads, each from another partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from holdfast.functional.mutual import mutual_information_loss, pair_weights
from holdfast.nn.heads import Heads
from holdfast.training import ConvergenceMonitor, run_epochs
from holdfast.training.batches import Rows, map_blocks

__all__ = ["train_heads"]

_BETA = 0.8  # TEMI's .6 is for heads that start at random
_TEMPERATURE = 0.1
_MOMENTUM, _PRIOR_MOMENTUM = 0.99, 0.9
_EPOCHS, _BATCH_SIZE, _RATE = 20, 1024, 3e-2


class _HeadsStage:
    """TEMI's loss over pairs of a row and one of its neighbours, drawn anew for every batch."""

    name = "heads"

    def __init__(self, module: Heads, rows: Tensor, neighbours: Tensor, generator: torch.Generator) -> None:
        self.module = module
        self.n_rows = len(rows)
        self._rows = rows
        self._neighbours = neighbours
        self._generator = generator
        self._prior = module.taught(rows[:_BATCH_SIZE]).exp().mean(0)

    def assess(self, *, restored: bool = False) -> Mapping[str, float]:  # noqa: ARG002 - the protocol's
        """Nothing is judged here: heads are members, and members are judged together."""
        return {}

    def losses(self, batch: Tensor) -> Mapping[str, Tensor]:
        """Both directions of the pairs; the teachers move first."""
        self.module.update(_MOMENTUM)
        drawn = torch.randint(self._neighbours.shape[1], (len(batch),), generator=self._generator)
        x, other = self._rows[batch], self._rows[self._neighbours[batch, drawn]]
        taught, taught_other = self.module.taught(x), self.module.taught(other)
        mean = (taught.exp().mean(0) + taught_other.exp().mean(0)) / 2
        self._prior = _PRIOR_MOMENTUM * self._prior + (1 - _PRIOR_MOMENTUM) * mean
        weights = pair_weights(taught, taught_other)
        one = mutual_information_loss(self.module(x), taught_other, self._prior, weights, _BETA)
        two = mutual_information_loss(self.module(other), taught, self._prior, weights, _BETA)
        return {"loss": (one + two) / 2}

    def state(self) -> dict[str, np.ndarray]:
        """Offer the running prior; for a checkpoint."""
        return {"prior": self._prior.numpy()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take what :meth:`state` offered."""
        self._prior = torch.from_numpy(state["prior"])


def train_heads(
    rows: np.ndarray, neighbours: np.ndarray, starts: Sequence[np.ndarray], n_clusters: int, seed: int
) -> list[np.ndarray]:
    """Train one linear head from each start so that neighbours share its clusters.

    Parameters
    ----------
    rows : ndarray of shape (n, d), float32
        Rows of length one.
    neighbours : ndarray of shape (n, k), int64
        Row numbers of the neighbours of each row.
    starts : sequence of ndarray of shape (n,), int64
        The partitions that the heads begin with.
    n_clusters : int
    seed : int

    Returns
    -------
    list of ndarray of shape (n,), int64
        The teachers' answers.

    References
    ----------
    .. [1] Adaloglou, Michels, Kalisch and Kollmann, "Exploring the limits of deep image clustering using
       pretrained models", BMVC 2023.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(rows)
    heads = Heads(x, torch.from_numpy(np.stack(starts)), n_clusters, _TEMPERATURE)
    stage = _HeadsStage(heads, x, torch.from_numpy(neighbours), generator)
    run_epochs(
        stage,
        lambda factor: torch.optim.Adam([heads.weight], lr=_RATE * factor, fused=True),
        ConvergenceMonitor(patience=_EPOCHS),
        max_epochs=_EPOCHS,
        batch_size=_BATCH_SIZE,
        generator=generator,
        keep="last",
    )
    answers = map_blocks(lambda block: heads.taught(block).argmax(2), Rows(rows, torch.device("cpu")))
    return [np.ascontiguousarray(column) for column in np.asarray(answers).T]
