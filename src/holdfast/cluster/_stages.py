"""The stages of deep embedded clustering: what each minimises and how its state is judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from holdfast.cluster._start import Judge, Start
from holdfast.functional.assignment import divergence, soft_cross_entropy, target_distribution
from holdfast.functional.geometry import LIFT_UP_TO
from holdfast.nn import Clusterer, Preparation
from holdfast.training.batches import Rows, map_blocks

__all__ = ["Corruption", "Denoising", "FollowStart", "Joint", "JointOptions"]

_TINY = 1e-38  # a probability, for its logarithm


@dataclass(frozen=True)
class JointOptions:
    """What joint training is told.

    Attributes
    ----------
    neighbour_weight : float
        Weight of the neighbour term.
    update_interval : int
        Epochs between two targets.
    gamma : float or None
        IDEC's weight of the clustering loss beside the reconstruction; None leaves the reconstruction out.
    """

    neighbour_weight: float
    update_interval: int
    gamma: float | None = None


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

    def for_rows(self, prepare: Preparation) -> Corruption:
        """Return the noise that this one leaves in prepared rows.

        Along leading directions it is normal noise, alike in all of them: masking a share *p* of entries of
        unit size adds noise of variance ``p / (1 - p)`` to each, and a rotation mixes them.
        """
        if prepare.directions is None:
            return self
        spread = self.level if self.kind == "gaussian" else math.sqrt(self.level / (1 - self.level))
        return replace(self, kind="gaussian", level=spread * prepare.shrinkage)

    def __call__(self, prepared: Tensor) -> Tensor:
        """Corrupt prepared rows (n, d); rows of few columns, where no entry is redundant, are spared."""
        if self.level == 0 or prepared.shape[1] <= LIFT_UP_TO + 1:
            return prepared
        if self.kind == "gaussian":
            noise = torch.randn(prepared.shape, generator=self.generator)
            return torch.add(prepared, noise.to(prepared.device), alpha=self.level)
        kept = self._kept(prepared.shape).to(prepared.device, prepared.dtype)
        return kept.mul_(prepared).div_(1 - self._octet / 256)  # several times as fast as masked_fill

    def _kept(self, shape: torch.Size) -> Tensor:
        """Draw which entries stay, eight to a random number: to 1/256, the level is what it should be."""
        n_words = -(-shape.numel() // 8)
        words = torch.empty(n_words, dtype=torch.int64).random_(-(2**63), None, generator=self.generator)
        octets = words.view(torch.uint8)[: shape.numel()].view(shape)
        return octets >= self._octet

    @property
    def _octet(self) -> int:
        """The level in 256ths; 256 itself is no octet, and no number would be as large."""
        return min(round(256 * self.level), 255)


class _Stateless:
    """A stage that aims at the same thing all the time."""

    def state(self) -> dict[str, np.ndarray]:
        """Offer nothing to a checkpoint: the module is all there is."""
        return {}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take nothing."""


class Denoising(_Stateless):
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
        x = self._rows[batch]
        return {"loss": mse_loss(self.module.encoder.decode(self.module.latent(self._corrupt(x))), x)}


class FollowStart(_Stateless):
    """Warm start: the model learns to give the labels of the start before it may improve on them."""

    def __init__(
        self, module: Clusterer, rows: Rows, start: Start, judge: Judge, corrupt: Corruption
    ) -> None:
        self.name = "warm start" if corrupt.level else "warm start without noise"
        self.module = module
        self.n_rows = len(rows)
        self._rows = rows
        self._corrupt = corrupt
        self._judge = judge
        self._labels = torch.from_numpy(start.labels)

    def assess(self, *, restored: bool = False) -> Mapping[str, float]:  # noqa: ARG002 - the protocol's
        """Evidence of the labels given, and the share of rows whose label still differs from the start's."""
        answers = map_blocks(lambda x: self.module.score(x).argmax(1), self._rows)
        changed = float((answers != self._labels).double().mean())
        return {"changed": changed, "score": self._judge(answers.numpy()).value}

    def losses(self, batch: Tensor) -> Mapping[str, Tensor]:
        """Cross-entropy of the corrupted rows against the start's labels."""
        x = self._corrupt(self._rows[batch])
        return {"loss": cross_entropy(self.module.score(x), self._labels[batch].to(x.device))}


class Joint:
    r"""Joint training of encoder and centres towards two targets, both over the whole data set.

    .. math::

        L = KL(p \,\Vert\, q) + \lambda\, KL(\bar p \,\Vert\, q), \qquad
        p = T(q), \quad \bar p = T(W^2 q)

    with *T* DEC's target distribution and *W* the row-normalised Jaccard graph: a row follows its own
    sharpened assignment and that of its neighbourhood two steps wide. With :math:`\lambda = 0` this is DEC.
    With a clustering weight :math:`\gamma` the loss is IDEC's (equation 7 of [1]_),

    .. math:: L_r + \gamma L, \qquad L_r = \lVert x - g(z) \rVert^2 / d,

    *g* being the encoder's decoder.

    Parameters
    ----------
    module : Clusterer
    rows : Rows
        n prepared rows.
    judge : Judge
        For the evidence of each epoch's labels.
    walk : csr_matrix of shape (n, n) or None
        Row-stochastic *W*; None leaves the neighbour term out.
    options : JointOptions
    corrupt : Corruption

    References
    ----------
    .. [1] Guo et al., "Improved deep embedded clustering with local structure preservation", IJCAI 2017.
    """

    name = "joint training"

    def __init__(
        self, module: Clusterer, rows: Rows, judge: Judge, walk: sparse.csr_matrix | None,
        options: JointOptions, corrupt: Corruption,
    ) -> None:  # fmt: skip
        self.module = module
        self.n_rows = len(rows)
        self._rows = rows
        self._judge = judge
        self._walk = walk
        self._options = options
        self._corrupt = corrupt
        self._assessed = 0
        self._at_update = np.empty(0, dtype=np.int64)
        self.labels = np.empty(0, dtype=np.int64)
        self.target = torch.empty(0)
        self._floor = torch.empty(0)

    def assess(self, *, restored: bool = False) -> Mapping[str, float]:
        """Judge the labels as they are; refresh the target where its time has come."""
        if restored:
            self._assessed = 0
        q = map_blocks(lambda x: torch.softmax(self.module.score(x), dim=1), self._rows)
        self.labels = q.argmax(1).numpy()
        signals = self._signals(q)
        if self._assessed % self._options.update_interval == 0:
            if len(self._at_update):
                signals["changed"] = float(np.mean(self._at_update != self.labels))
            self._at_update = self.labels
            signals |= self._aim(q)
        self._assessed += 1
        return signals

    def _signals(self, q: Tensor) -> dict[str, float]:
        score = self._judge(self.labels)
        used = len(np.unique(self.labels)) / q.shape[1]
        return {
            "score": score.value,
            "evidence": score.value,
            "agreement": score.agreement,
            "entropy": score.entropy,
            "used": used,
            "confidence": float(q.amax(1).mean()),
        }

    def _aim(self, q: Tensor) -> dict[str, float]:
        """Put the two targets into one, their divergence being that from their sum but for a constant."""
        own, weight = target_distribution(q), self._options.neighbour_weight
        logarithms = q.clamp_min(_TINY).log_()
        signals = {"kl": float(divergence(own, logarithms))}
        self.target, self._floor = own, torch.special.entr(own).sum(1)
        if self._walk is not None and weight:
            around = target_distribution(torch.from_numpy(self._walk @ (self._walk @ q.numpy())))
            signals["neighbour"] = float(divergence(around, logarithms))
            self.target = own.add_(around, alpha=weight)
            self._floor = self._floor.add_(torch.special.entr(around).sum(1), alpha=weight)
        return signals

    def losses(self, batch: Tensor) -> Mapping[str, Tensor]:
        """Divergence from the rows' own target and from their neighbourhood's; with a weight, IDEC's loss."""
        x = self._rows[batch]
        z = self.module.latent(self._corrupt(x))
        target = self.target.index_select(0, batch).to(x.device)
        floor = float(self._floor.index_select(0, batch).mean())
        clustering = soft_cross_entropy(target, self.module.logits(z)) - floor
        if self._options.gamma is None:
            return {"loss": clustering}
        restored = mse_loss(self.module.encoder.decode(z), x)
        return {"loss": restored + self._options.gamma * clustering, "reconstruction": restored}

    def state(self) -> dict[str, np.ndarray]:
        """Offer what the coming epochs depend on, beside the module; for a checkpoint."""
        return {
            "assessed": np.array(self._assessed),
            "at_update": self._at_update,
            "target": self.target.numpy(),
            "floor": self._floor.numpy(),
        }

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take what :meth:`state` offered."""
        self._assessed = int(state["assessed"])
        self._at_update = state["at_update"]
        self.target, self._floor = torch.from_numpy(state["target"]), torch.from_numpy(state["floor"])
