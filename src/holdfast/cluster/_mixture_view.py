"""What a mixture sees of rows: few columns as they are, many along leading directions; and the way back."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from holdfast.cluster._sample import refuse_equal_rows
from holdfast.cluster._start import find_neighbours
from holdfast.evidence import neighbourhood_size
from holdfast.exceptions import InputError
from holdfast.functional.assignment import calibrated_temperature
from holdfast.functional.geometry import LIFT_UP_TO, mean_row, principal_directions, root_mean_square
from holdfast.functional.merging import Covariance, Mixture
from holdfast.nn import Preparation
from holdfast.nn.mixture import AsTheyAre, MixtureClusterer
from holdfast.training.batches import Rows, map_blocks

__all__ = ["calibrate", "covariances_of", "drawn_rows", "restored", "view_of"]

_SAMPLE = 5_000  # rows that tell the directions, and how sure the answers are
_EMPTY = 1e-5  # of the widest direction's spread: what is narrower is rounding, and no direction
_LONGEST = 1e18  # squares of longer rows are beyond single precision


def view_of(
    rows: np.ndarray, n_directions: int, seed: int, *, is_sample: bool
) -> tuple[Preparation | AsTheyAre, Tensor]:
    """Choose the latent, and map the rows of a fit to it.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    n_directions : int
        For rows of more than 16 columns.
    seed : int
        Draws the rows that tell the directions.
    is_sample : bool
        Whether rows were left out; for the message.

    Returns
    -------
    prepare : Preparation or AsTheyAre
    z : Tensor of shape (n, d_z), float32

    Raises
    ------
    InputError
        If all rows are equal, or a wide one is too long for single precision.
    """
    mean = mean_row(rows)
    scale = root_mean_square(rows, mean)
    refuse_equal_rows(len(rows), scale, is_sample=is_sample)
    on_cpu = Rows(rows, torch.device("cpu"))
    if rows.shape[1] <= LIFT_UP_TO:
        return AsTheyAre(), map_blocks(lambda x: x, on_cpu)
    if scale * math.sqrt(rows.shape[1]) > _LONGEST:
        raise InputError(f"rows are up to {scale:.0e} large, beyond single precision; divide X by that.")
    prepare = Preparation(torch.from_numpy(mean), scale, "cosine")
    sample = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:_SAMPLE].sort().values
    prepare.directions = _filled(prepare(on_cpu[sample]), n_directions)
    return prepare, map_blocks(prepare, on_cpu)


def _filled(sample: Tensor, n_directions: int) -> Tensor:
    """Find the leading directions of rows (s, d), without those in which all of them lie in one place.

    The mixture makes all directions equally wide: of one that only rounding fills it would make as much as of
    the first.
    """
    directions = principal_directions(sample, n_directions)
    spread = (sample.double() @ directions.double().T).std(0, correction=0)
    return directions[spread > _EMPTY * spread.max()]


def restored(weights: dict[str, Tensor], kind: Covariance, n_features: int) -> MixtureClusterer:
    """Build the module that saved weights belong to, for rows of so many columns."""
    mixture = Mixture(kind, weights["weights"], weights["means"], weights["covariance"])
    prepare = _empty_view(n_features, weights.get("prepare.directions"))
    module = MixtureClusterer(prepare, mixture, weights["offset"], weights["spread"])
    module.load_state_dict(weights)
    return module.eval()


def _empty_view(n_features: int, directions: Tensor | None) -> Preparation | AsTheyAre:
    """Build what the state of a saved view belongs to."""
    if n_features <= LIFT_UP_TO:
        return AsTheyAre()
    return Preparation(torch.zeros(n_features), 1.0, "cosine", directions)


def calibrate(module: MixtureClusterer, rows: np.ndarray) -> None:
    """Flatten the posterior of wide rows (n, d) until it is as sure as neighbours agree."""
    if isinstance(module.prepare, AsTheyAre) or len(module.means) == 1:
        return
    some = np.asarray(rows[:: max(1, len(rows) // _SAMPLE)], dtype=np.float32)
    logits = map_blocks(module.score, Rows(some, module.device, module.prepare))
    labels = logits.argmax(1).numpy()
    mean = mean_row(some)
    neighbours = find_neighbours(some, mean, root_mean_square(some, mean), len(module.means))
    near = neighbours.indices[:, : neighbourhood_size(len(some), len(module.means))]
    agreement = float((labels[near] == labels[:, None]).mean())
    module.calibration.fill_(calibrated_temperature(logits, agreement))


def drawn_rows(module: MixtureClusterer, n_samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows (n, d) in the space of the input, and the component (n,) of each."""
    random = np.random.default_rng(seed)
    mixture = module.mixture
    weights = mixture.weights.cpu().numpy()
    labels = random.choice(len(weights), n_samples, p=weights / weights.sum())
    noise = torch.from_numpy(random.standard_normal((n_samples, module.encoder.latent_dim)))
    index = torch.from_numpy(labels)
    standard = mixture.means.cpu()[index] + _scaled(mixture, noise, index)
    z = module.offset.cpu() + module.spread.cpu() * standard
    return np.asarray(_back(module.prepare, z).float().numpy()), labels.astype(np.int64)


def _scaled(mixture: Mixture, noise: Tensor, index: Tensor) -> Tensor:
    covariance = mixture.covariance.cpu()
    if mixture.kind == "tied":
        factor: Tensor = torch.linalg.cholesky(covariance)
        return noise @ factor.T
    return noise * covariance.sqrt()[index]


def _back(prepare: Preparation | AsTheyAre, z: Tensor) -> Tensor:
    """Undo a view: rows of the typical length, without what the directions left out."""
    if isinstance(prepare, AsTheyAre) or prepare.directions is None:
        return z
    directions = prepare.directions.cpu().double()
    typical = prepare.scale.cpu().double() / prepare.shrinkage
    return prepare.mean.cpu().double() + (z @ directions) * typical


def covariances_of(module: MixtureClusterer) -> np.ndarray:
    """Covariances in the latent: (k, d_z), for "spherical" (k,), for "tied" (d_z, d_z)."""
    spread, covariance = module.spread.cpu().numpy(), module.covariance.cpu().numpy()
    if module.kind == "tied":
        return np.asarray(covariance * np.outer(spread, spread))
    scaled = covariance * spread**2
    return np.asarray(scaled[:, 0] if module.kind == "spherical" else scaled)
