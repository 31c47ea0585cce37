"""The way of an optimisation from its start to the final mixture, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from holdfast.cluster._merging import Level
from holdfast.cluster._sticks import Frame
from holdfast.functional.merging import Mixture

__all__ = ["MixturePath", "merge_frames", "path_arrays", "path_from_arrays", "recorded"]


_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class MixturePath:
    """What the components were at each of s moments; component j is the same one in every frame.

    Attributes
    ----------
    steps : ndarray of shape (s,), int64
        Gradient steps done.
    weights : ndarray of shape (s, k), float32
        Sum to one in every frame; zero once a component was merged away.
    means, variances : ndarray of shape (s, k, d_z), float32
        In the space of ``means_``; the variances of a tied covariance are its diagonal.
    losses : ndarray of shape (s,), float32
        Negative joint log density a row, in nats.
    phase : ndarray of shape (s,), str
        ``"gradient"`` or ``"merge"``; the last frame is the final mixture.
    """

    steps: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    losses: np.ndarray
    phase: np.ndarray


def merge_frames(last: Frame, levels: Sequence[Level], prior: float) -> list[Frame]:
    """Put the mixtures of the way down into the slots of the last gradient frame.

    Parameters
    ----------
    last : Frame
        Of k slots.
    levels : sequence of Level
    prior : float
        Log density of the sticks a row, as the gradient left it.
    """
    frames = []
    for level in levels:
        slots = torch.tensor(level.slots)
        weights, means = torch.zeros_like(last.mixture.weights), last.mixture.means.clone()
        weights[slots], means[slots] = level.mixture.weights, level.mixture.means
        covariance = level.mixture.covariance
        if level.mixture.kind != "tied":
            covariance = last.mixture.covariance.clone()
            covariance[slots] = level.mixture.covariance
        mixture = Mixture(level.mixture.kind, weights, means, covariance)
        last = Frame(last.step, mixture, -level.log_prob - prior)
        frames.append(last)
    return frames


def recorded(
    climbed: Sequence[Frame], merging: Sequence[Frame], offset: Tensor, spread: Tensor
) -> MixturePath:
    """Write frames as arrays in the space of the latent rows.

    Parameters
    ----------
    climbed, merging : sequence of Frame
        Of standardised rows.
    offset, spread : Tensor of shape (d_z,)
        What they were standardised by.
    """
    frames = [*climbed, *merging]
    mixtures = [frame.mixture for frame in frames]
    shift = float(spread.log().sum())  # densities are of rows as they are
    variances = [
        (m.covariance.diagonal().expand_as(m.means) if m.kind == "tied" else m.covariance) * spread**2
        for m in mixtures
    ]
    return MixturePath(
        steps=np.array([frame.step for frame in frames], dtype=np.int64),
        weights=_single([m.weights for m in mixtures]),
        means=_single([offset + spread * m.means for m in mixtures]),
        variances=_single(variances),
        losses=np.array([frame.loss + shift for frame in frames], dtype=np.float32),
        phase=np.array(["gradient"] * len(climbed) + ["merge"] * len(merging)),
    )


def _single(tensors: list[Tensor]) -> np.ndarray:
    return np.asarray(torch.stack(tensors).clamp(-_LARGEST, _LARGEST).float().numpy())


def path_arrays(path: MixturePath) -> dict[str, np.ndarray]:
    """Write a path as arrays of numbers, for :func:`holdfast.save`."""
    arrays = {
        f"path.{name}": getattr(path, name) for name in ("steps", "weights", "means", "variances", "losses")
    }
    return arrays | {"path.merges": path.phase == "merge"}


def path_from_arrays(tensors: dict[str, np.ndarray]) -> MixturePath | None:
    """Read what :func:`path_arrays` wrote; None where there is none."""
    if "path.steps" not in tensors:
        return None
    given = {name: tensors[f"path.{name}"] for name in ("steps", "weights", "means", "variances", "losses")}
    return MixturePath(**given, phase=np.where(tensors["path.merges"], "merge", "gradient"))
