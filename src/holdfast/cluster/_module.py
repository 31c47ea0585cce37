"""What a run of deep embedded clustering is told, and the module it trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from holdfast.functional.geometry import LIFT_UP_TO, principal_directions
from holdfast.nn import Assignment, Autoencoder, Clusterer, Encoder, Preparation, Projection
from holdfast.training.batches import Rows, resolve_device

__all__ = ["DecConfig", "build_module", "empty_module"]

_LATENT = 128  # widest latent of the projection
_SAMPLE = 5_000  # rows that tell the leading directions


@dataclass(frozen=True)
class DecConfig:
    """The parameters of :class:`holdfast.DEC`, resolved: no "auto", no random state object."""

    n_clusters: int
    init: str
    encoder: str
    hidden_dims: tuple[int, ...]
    noise: str
    noise_level: float
    pretrain_epochs: int
    max_epochs: int
    target_update_interval: int
    batch_size: int
    tol: float
    alpha: float
    assignment: Assignment
    neighbour_weight: float
    gamma: float | None
    learning_rate: float
    n_init: int
    select: str
    subsample: int | Literal["auto"] | None
    spaces: tuple[int, ...] | None
    precision: str
    device: str
    seed: int


def build_module(
    X: np.ndarray, mean: np.ndarray, scale: float, config: DecConfig, generator: torch.Generator
) -> Clusterer:
    """Make the module of a run: for a projection of wide rows, on their leading directions alone.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    mean : ndarray of shape (d,)
        Mean row.
    scale : float
        Root mean square of the centred entries.
    config : DecConfig
    generator : torch.Generator
        Draws the weights and the rows that tell the directions.

    Returns
    -------
    Clusterer
        Untrained, without centres.
    """
    prepare = Preparation(torch.from_numpy(mean), scale, config.assignment)
    sample = torch.randperm(len(X), generator=generator)[:_SAMPLE].sort().values
    prepared = prepare(Rows(X, torch.device("cpu"))[sample])
    encoder: Encoder
    if config.encoder == "autoencoder":
        encoder = Autoencoder((prepared.shape[1], *config.hidden_dims), generator)
    else:
        directions = principal_directions(prepared, _LATENT)
        if len(directions) < prepared.shape[1]:
            prepare.directions = directions
            directions = torch.eye(len(directions))
        encoder = _projection(directions, config, generator)
    module = Clusterer(prepare, encoder, config.n_clusters, config.alpha)
    return module.to(resolve_device(config.device)).eval()


def empty_module(config: DecConfig, weights: dict[str, Tensor], n_features: int) -> Clusterer:
    """Build the module that ``weights`` (its state dict) belong to, for rows of ``n_features`` columns.

    Raises
    ------
    RuntimeError
        If names or shapes do not fit together.
    KeyError
        If a weight is missing.
    """
    generator = torch.Generator()
    k, latent_dim = weights["centres"].shape
    directions = weights.get("prepare.directions")
    prepare = Preparation(torch.zeros(n_features), 1.0, config.assignment, directions)
    prepare.spaces = config.spaces
    lifted = config.assignment == "cosine" and n_features <= LIFT_UP_TO
    width = len(directions) if directions is not None else n_features + lifted
    encoder: Encoder
    if config.encoder == "autoencoder":
        encoder = Autoencoder((width, *config.hidden_dims), generator)
    else:
        encoder = _projection(torch.zeros(latent_dim, width), config, generator)
    module = Clusterer(prepare, encoder, k, config.alpha)
    module.load_state_dict(weights)
    return module.to(resolve_device(config.device)).eval()


def _projection(directions: Tensor, config: DecConfig, generator: torch.Generator) -> Projection:
    return Projection(directions, config.hidden_dims[0], generator, decoder=config.gamma is not None)
