"""Rows -> latent -> soft assignment: the one module that every stage and every prediction goes through."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from holdfast.functional.assignment import student_logits
from holdfast.functional.geometry import lift, unit_blocks
from holdfast.functional.products import inner_products
from holdfast.nn.encoders import Encoder

__all__ = ["Assignment", "Clusterer", "Preparation"]

Assignment = Literal["cosine", "student"]

_SHORTEST = 1e-12  # a row of zeros stays one


class Preparation(nn.Module):
    r"""Centre and scale rows, so that their entries are of about unit size.

    For cosine assignment every row gets the length :math:`\sqrt d`: only directions count, as they do in
    embeddings (rows of few columns are lifted first). For Student-t assignment all rows are divided by one
    number, so that distances keep their meaning. Wide rows can then be looked at along their leading
    directions alone, ``r`` of them, scaled so that entries stay of about unit size.

    Parameters
    ----------
    mean : Tensor of shape (d,)
        Subtracted from every row.
    scale : float
        Root mean square of the centred entries.
    assignment : {"cosine", "student"}
    directions : Tensor of shape (r, d), optional
        Orthonormal rows; without them all columns are kept.

    Attributes
    ----------
    spaces : tuple of int or None
        Widths of the blocks of columns that are scaled to one length before anything else.
    """

    mean: Tensor
    scale: Tensor
    directions: Tensor | None

    def __init__(
        self, mean: Tensor, scale: float, assignment: Assignment, directions: Tensor | None = None
    ) -> None:
        super().__init__()
        self.assignment = assignment
        self.spaces: tuple[int, ...] | None = None
        self.register_buffer("mean", mean)
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("directions", directions)

    @property
    def shrinkage(self) -> float:
        """What the scaling after the reduction does to noise of unit size in the rows before it."""
        if self.directions is None:
            return 1.0
        r, d = self.directions.shape
        return math.sqrt(r / d)

    def forward(self, x: Tensor) -> Tensor:
        """Prepare raw rows (n, d)."""
        centred = (x if self.spaces is None else unit_blocks(x, self.spaces)) - self.mean
        factor: Tensor = 1 / self.scale
        if self.assignment == "cosine":
            centred = lift(centred, self.scale * math.sqrt(x.shape[1]))
            length = torch.linalg.vector_norm(centred, dim=1, keepdim=True).clamp_min(_SHORTEST)
            factor = math.sqrt(centred.shape[1]) / length
        if self.directions is None:
            return centred * factor
        # Scaled last: there are fewer directions than columns.
        return inner_products(centred, self.directions) * (factor * self.shrinkage)


class Clusterer(nn.Module):
    """A preparation of rows, an encoder and the cluster centres in its latent.

    Parameters
    ----------
    prepare : Preparation
        Raw rows (n, d) to prepared rows.
    encoder : Encoder
        Prepared rows to latent rows (n, d_z).
    n_clusters : int
        Number of centres, k.
    alpha : float, default=1.0
        Degrees of freedom of the Student-t assignment.
    """

    temperature: Tensor
    calibration: Tensor

    def __init__(self, prepare: Preparation, encoder: Encoder, n_clusters: int, alpha: float = 1.0) -> None:
        super().__init__()
        self.prepare = prepare
        self.encoder = encoder
        self.centres = nn.Parameter(torch.zeros(n_clusters, encoder.latent_dim))
        self.assignment = prepare.assignment
        self.alpha = alpha
        self.register_buffer("temperature", torch.tensor(1.0))
        self.register_buffer("calibration", torch.tensor(1.0))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.centres.device

    def latent(self, prepared: Tensor) -> Tensor:
        """Map prepared rows (n, d) to latent rows (n, d_z), of length one for cosine assignment."""
        z: Tensor = self.encoder(prepared)
        return normalize(z, dim=1) if self.assignment == "cosine" else z

    def encode(self, x: Tensor) -> Tensor:
        """Map raw rows (n, d) to latent rows (n, d_z)."""
        return self.latent(self.prepare(x))

    def score(self, prepared: Tensor) -> Tensor:
        """Logits (n, k) of the soft assignment of prepared rows."""
        return self.logits(self.latent(prepared))

    def logits(self, z: Tensor) -> Tensor:
        """Logits (n, k) of the soft assignment of latent rows."""
        if self.assignment == "student":
            return student_logits(z, self.centres, self.alpha)
        # Latent rows are of length one already, and the few centres are cheaper to scale than many cosines.
        return inner_products(z, normalize(self.centres, dim=1) / self.temperature)

    def forward(self, x: Tensor) -> Tensor:
        """Soft assignment q (n, k) of raw rows."""
        return torch.softmax(self.score(self.prepare(x)), dim=1)

    def probabilities(self, prepared: Tensor) -> Tensor:
        """Soft assignment (n, k) of prepared rows, calibrated: as unsure as the neighbourhoods say.

        Training sharpens ``q``, whether it is right or not; this undoes it without moving any label.
        """
        return torch.softmax(self.score(prepared) / self.calibration, dim=1)

    def locate(self, prepared: Tensor) -> Tensor:
        """Latent and calibrated soft assignment of prepared rows, side by side (n, d_z + k)."""
        z = self.latent(prepared)
        return torch.cat([z, torch.softmax(self.logits(z) / self.calibration, dim=1)], dim=1)

    def answer(self, prepared: Tensor) -> Tensor:
        """Cluster number and calibrated probability of it, as two columns (n, 2), of prepared rows."""
        logits = self.score(prepared)
        confidence = torch.softmax(logits / self.calibration, dim=1).amax(1)
        return torch.stack([logits.argmax(1).to(confidence.dtype), confidence], dim=1)

    def unit_centres(self) -> Tensor:
        """Centres (k, d_z) on the CPU, of length one for cosine assignment."""
        centres = self.centres.detach().cpu()
        return normalize(centres, dim=1) if self.assignment == "cosine" else centres.clone()

    def assign(self, x: Tensor) -> Tensor:
        """Cluster number (n,) of raw rows."""
        return self.score(self.prepare(x)).argmax(1)

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Make cluster ``order[j]`` number j, without touching what any row is answered otherwise."""
        self.centres.copy_(self.centres[order].clone())

    @torch.no_grad()
    def place_centres(self, z: Tensor, labels: Tensor) -> None:
        """Put every centre at the mean of its members' latent rows; an empty cluster's stays."""
        sums = torch.zeros_like(self.centres).index_add_(0, labels, z)
        sizes = torch.bincount(labels, minlength=len(self.centres))
        means, filled = sums / sizes.clamp_min(1)[:, None], sizes > 0
        self.centres[filled] = (
            normalize(means, dim=1)[filled] if self.assignment == "cosine" else means[filled]
        )
