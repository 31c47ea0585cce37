"""The stages of deep embedded clustering: what each minimises and how its state is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from holdfast.evidence import evidence
from holdfast.functional.assignment import divergence, target_distribution
from holdfast.functional.geometry import LIFT_UP_TO
from holdfast.graph import Neighbours
from holdfast.nn import Autoencoder, Clusterer
from holdfast.training.batches import Rows, map_blocks

__all__ = ["Corruption", "Denoising", "FollowStart", "Joint"]


@dataclass(frozen=True)
class Corruption:
    """Noise that the encoder learns to look through.

    Attributes
    ----------
    kind : {"mask", "gaussian"}
        Entries set to zero, or normal noise added.
    level : float
        Share of entries set to zero, or the noise's standard deviation where entries are of unit size.
    generator : torch.Generator
        Draws the noise, on the CPU, so that a seed means the same on every device.
    """

    kind: str
    level: float
    generator: torch.Generator

    def __call__(self, prepared: Tensor) -> Tensor:
        """Corrupt prepared rows (n, d); rows of few columns, where no entry is redundant, are spared."""
        if self.level == 0 or prepared.shape[1] <= LIFT_UP_TO + 1:
            return prepared
        if self.kind == "gaussian":
            noise = torch.randn(prepared.shape, generator=self.generator)
            return prepared + self.level * noise.to(prepared.device)
        kept = torch.rand(prepared.shape, generator=self.generator) >= self.level
        return prepared * kept.to(prepared.device) / (1 - self.level)


class Denoising:
    """Pretraining: an autoencoder restores corrupted rows, all layers at once."""

    name = "pretraining"

    def __init__(self, module: Clusterer, rows: Rows, corrupt: Corruption) -> None:
        self.module = module
        self.n_rows = len(rows)
        self._rows = rows
        self._corrupt = corrupt

    def assess(self, *, restored: bool = False) -> Mapping[str, float]:  # noqa: ARG002 - the protocol's
        """There is nothing to judge before the loss of the next epoch."""
        return {}

    def losses(self, batch: Tensor) -> Mapping[str, Tensor]:
        """Mean squared error of the restored rows."""
        encoder = self.module.encoder
        if not isinstance(encoder, Autoencoder):
            raise TypeError(f"pretraining needs an autoencoder, not {type(encoder).__name__}")
        x = self.module.prepare(self._rows[batch])
        return {"loss": mse_loss(encoder.decode(self.module.latent(self._corrupt(x))), x)}


class FollowStart:
    """Warm start: the model learns to give the labels of the start before it may improve on them."""

    name = "warm start"

    def __init__(self, module: Clusterer, rows: Rows, labels: np.ndarray, corrupt: Corruption) -> None:
        self.module = module
        self.n_rows = len(rows)
        self._rows = rows
        self._corrupt = corrupt
        self._labels = torch.from_numpy(labels)

    def assess(self, *, restored: bool = False) -> Mapping[str, float]:  # noqa: ARG002 - the protocol's
        """Share of rows whose label still differs from the start's."""
        answers = map_blocks(self.module.assign, self._rows)
        changed = float((answers != self._labels).double().mean())
        return {"changed": changed, "score": -changed}

    def losses(self, batch: Tensor) -> Mapping[str, Tensor]:
        """Cross-entropy of the corrupted rows against the start's labels."""
        x = self._corrupt(self.module.prepare(self._rows[batch]))
        labels = self._labels[batch].to(x.device)
        return {"loss": cross_entropy(self.module.logits(self.module.latent(x)), labels)}


class Joint:
    r"""Joint training of encoder and centres towards two targets, both over the whole data set.

    .. math::

        L = KL(p \,\Vert\, q) + \lambda\, KL(\bar p \,\Vert\, q), \qquad
        p = T(q), \quad \bar p = T(W^2 q)

    with *T* DEC's target distribution and *W* the row-normalised Jaccard graph: a row follows its own
    sharpened assignment and that of its neighbourhood two steps wide. With :math:`\lambda = 0` this is DEC.

    Parameters
    ----------
    module : Clusterer
    rows : Rows
        n rows.
    neighbours : Neighbours
        For the evidence of each epoch's labels.
    walk : csr_matrix of shape (n, n) or None
        Row-stochastic *W*; None leaves the neighbour term out.
    neighbour_weight : float
        :math:`\lambda`.
    update_interval : int
        Epochs between two targets.
    corrupt : Corruption
    """

    name = "joint training"

    def __init__(
        self, module: Clusterer, rows: Rows, neighbours: Neighbours, walk: sparse.csr_matrix | None, *,
        neighbour_weight: float, update_interval: int, corrupt: Corruption,
    ) -> None:  # fmt: skip
        self.module = module
        self.n_rows = len(rows)
        self._rows = rows
        self._neighbours = neighbours
        self._walk = walk
        self._weight = neighbour_weight
        self._interval = update_interval
        self._corrupt = corrupt
        self._assessed = 0
        self._at_update: np.ndarray | None = None
        self.labels = np.empty(0, dtype=np.int64)
        self.targets: tuple[Tensor, ...] = ()

    def assess(self, *, restored: bool = False) -> Mapping[str, float]:
        """Judge the labels as they are; refresh the targets where their time has come."""
        if restored:
            self._assessed = 0
        q = map_blocks(self.module, self._rows)
        self.labels = q.argmax(1).numpy()
        signals = self._signals(q)
        if self._assessed % self._interval == 0:
            if self._at_update is not None:
                signals["changed"] = float(np.mean(self._at_update != self.labels))
            self._at_update = self.labels
            self.targets = self._make_targets(q)
        self._assessed += 1
        return signals

    def _signals(self, q: Tensor) -> dict[str, float]:
        score = evidence(self.labels, self._neighbours, q.shape[1])
        used = len(np.unique(self.labels)) / q.shape[1]
        return {
            "score": score.value,
            "evidence": score.value,
            "agreement": score.agreement,
            "entropy": score.entropy,
            "used": used,
            "confidence": float(q.amax(1).mean()),
        }

    def _make_targets(self, q: Tensor) -> tuple[Tensor, ...]:
        own = target_distribution(q)
        if self._walk is None or self._weight == 0:
            return (own,)
        around = torch.from_numpy(self._walk @ (self._walk @ q.numpy()))
        return own, target_distribution(around)

    def losses(self, batch: Tensor) -> Mapping[str, Tensor]:
        """Divergence from the rows' own target and from their neighbourhood's."""
        x = self._corrupt(self.module.prepare(self._rows[batch]))
        logits = self.module.logits(self.module.latent(x))
        own, *around = (divergence(target[batch].to(x.device), logits) for target in self.targets)
        if not around:
            return {"loss": own, "kl": own}
        return {"loss": own + self._weight * around[0], "kl": own, "neighbour": around[0]}
