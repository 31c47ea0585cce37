"""Gaussian mixtures as modules: one that gradients find, and one that answers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from holdfast.functional.merging import Covariance, Mixture, row_features, weighted_log_prob
from holdfast.functional.mixture import (
    component_weights_log_prob,
    features_of,
    gaussian_log_prob_of,
    log_weights_of_sticks,
    sticks_of_log_weights,
)
from holdfast.functional.products import inner_products
from holdfast.nn.clusterer import Preparation
from holdfast.nn.encoders import Encoder

__all__ = ["AsTheyAre", "MixtureClusterer", "StickBreaking"]

_STICKS = (-15.0, 15.0)
_LOG_SCALES = (-7.0, 3.0)  # of standardised rows: from a thousandth of their spread to twenty times it
_LOG_CONCENTRATION = (-5.0, 5.0)
_SHAPE = 2.0  # of the Gamma prior of the concentration: mode at half its mean


def _bounded(raw: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Keep values inside bounds, and as they are around the middle."""
    middle, half = (bounds[0] + bounds[1]) / 2, (bounds[1] - bounds[0]) / 2
    return middle + half * torch.tanh((raw - middle) / half)


def _unbounded(value: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Undo :func:`_bounded`."""
    middle, half = (bounds[0] + bounds[1]) / 2, (bounds[1] - bounds[0]) / 2
    return middle + half * torch.atanh(((value - middle) / half).clamp(-0.999, 0.999))


class StickBreaking(nn.Module):
    r"""A Gaussian mixture with a Dirichlet process over its weights, for gradients.

    Every stick has the prior Beta(1, c), and the concentration c, which is learned, a Gamma prior. Sticks,
    scales and concentration are bounded smoothly, so that no number of steps leads out of the finite numbers.

    Parameters
    ----------
    start : Mixture
        Of k components.
    concentration : float
        Mean of the prior of c, at which it begins.
    """

    def __init__(self, start: Mixture, concentration: float) -> None:
        super().__init__()
        self.kind: Covariance = start.kind
        self.mean_concentration = concentration
        self.sticks = nn.Parameter(_unbounded(sticks_of_log_weights(start.weights.log()).float(), _STICKS))
        self.raw_concentration = nn.Parameter(
            _unbounded(torch.tensor(math.log(concentration)), _LOG_CONCENTRATION)
        )
        self.means = nn.Parameter(start.means.float())
        if start.kind == "tied":
            factor = torch.linalg.inv(torch.linalg.cholesky(start.covariance)).float()
            self.log_scales = nn.Parameter(_unbounded(-factor.diagonal().log(), _LOG_SCALES))
            self.skew = nn.Parameter(factor.tril(-1))
        else:
            log_scales = 0.5 * start.covariance.log().float()
            log_scales = log_scales[:, :1] if start.kind == "spherical" else log_scales
            self.log_scales = nn.Parameter(_unbounded(log_scales, _LOG_SCALES))

    def log_weights(self) -> Tensor:
        """Logarithms (k,) of the weights."""
        return log_weights_of_sticks(_bounded(self.sticks, _STICKS))

    def log_concentration(self) -> Tensor:
        """``ln c``."""
        return _bounded(self.raw_concentration, _LOG_CONCENTRATION)

    def log_prior(self) -> Tensor:
        """Log density of sticks and concentration: Beta(1, c) for each, and a Gamma prior of ``ln c``."""
        log_c = self.log_concentration()
        hyper = _SHAPE * log_c - _SHAPE / self.mean_concentration * torch.exp(log_c)
        return component_weights_log_prob(self.log_weights(), log_c) + hyper

    def log_prob(self, rows: Tensor) -> Tensor:
        """Log density (n,) of standardised rows (n, d)."""
        log_scales = _bounded(self.log_scales, _LOG_SCALES)
        means: Tensor = self.means
        shift: Tensor | float = 0.0
        if self.kind == "tied":
            inverse = self.skew.tril(-1) + torch.diag(torch.exp(-log_scales))
            rows, means, shift = (
                inner_products(rows, inverse),
                inner_products(means, inverse),
                log_scales.sum(),
            )
            log_scales = torch.zeros_like(means)
        each = gaussian_log_prob_of(features_of(rows), means, log_scales) + self.log_weights()
        return torch.logsumexp(each, dim=1) - shift

    @torch.no_grad()
    def mixture(self) -> Mixture:
        """Return the parameters as they are, in double precision."""
        scales = torch.exp(_bounded(self.log_scales.double().cpu(), _LOG_SCALES))
        weights, means = torch.softmax(self.log_weights().double().cpu(), 0), self.means.double().cpu()
        if self.kind == "tied":
            factor = torch.linalg.inv(self.skew.double().cpu().tril(-1) + torch.diag(1 / scales))
            return Mixture("tied", weights, means, factor @ factor.T)
        return Mixture(self.kind, weights, means, (scales**2).expand_as(means).contiguous())


class AsTheyAre(nn.Module):
    """A preparation that leaves rows alone."""

    def forward(self, x: Tensor) -> Tensor:
        """Return rows (n, d)."""
        return x


class _Whole(Encoder):
    """An encoder that leaves prepared rows alone."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def forward(self, x: Tensor) -> Tensor:
        return x

    def decode(self, z: Tensor) -> Tensor:
        return z


class MixtureClusterer(nn.Module):
    """A Gaussian mixture that answers as :class:`holdfast.nn.Clusterer` does.

    Densities are computed in double precision, of rows standardised by what the fit saw.

    Parameters
    ----------
    prepare : Preparation or AsTheyAre
        Raw rows (n, d) to latent rows (n, d_z).
    mixture : Mixture
        Of standardised latent rows.
    offset, spread : Tensor of shape (d_z,), float64
        Standardised rows are latent rows less the first, over the second.
    """

    weights: Tensor
    means: Tensor
    covariance: Tensor
    offset: Tensor
    spread: Tensor
    calibration: Tensor

    def __init__(
        self, prepare: Preparation | AsTheyAre, mixture: Mixture, offset: Tensor, spread: Tensor
    ) -> None:
        super().__init__()
        self.prepare = prepare
        self.encoder = _Whole(len(offset))
        self.kind = mixture.kind
        self.register_buffer("offset", offset.double())
        self.register_buffer("spread", spread.double())
        self.register_buffer("calibration", torch.tensor(1.0))
        for name in ("weights", "means", "covariance"):
            self.register_buffer(name, getattr(mixture, name).double())

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.means.device

    @property
    def mixture(self) -> Mixture:
        """Of standardised latent rows."""
        return Mixture(self.kind, self.weights, self.means, self.covariance)

    @property
    def centres(self) -> Tensor:
        """Means (k, d_z) in the latent."""
        return (self.offset + self.spread * self.means).float()

    def unit_centres(self) -> Tensor:
        """Means (k, d_z) in the latent, on the CPU."""
        return self.centres.cpu()

    def latent(self, prepared: Tensor) -> Tensor:
        """Return prepared rows, which are latent rows."""
        return prepared

    def standardised(self, z: Tensor) -> Tensor:
        """Latent rows (n, d_z) as the mixture sees them, float64."""
        return (z.double() - self.offset) / self.spread

    def joint(self, prepared: Tensor) -> Tensor:
        """Joint log density (n, k) of standardised rows and components, float64."""
        mixture = self.mixture
        return weighted_log_prob(mixture, row_features(mixture, self.standardised(prepared)))

    def log_prob(self, prepared: Tensor) -> Tensor:
        """Log density (n,) in the latent, float64."""
        return torch.logsumexp(self.joint(prepared), dim=1) - self.spread.log().sum()

    def score(self, prepared: Tensor) -> Tensor:
        """Logits (n, k) of the posterior of prepared rows, the largest of each row being zero."""
        joint = self.joint(prepared)
        return (joint - joint.amax(1, keepdim=True)).float()

    def probabilities(self, prepared: Tensor) -> Tensor:
        """Posterior (n, k) of prepared rows, calibrated."""
        return torch.softmax(self.score(prepared) / self.calibration, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Posterior (n, k) of raw rows."""
        return torch.softmax(self.score(self.prepare(x)), dim=1)

    def locate(self, prepared: Tensor) -> Tensor:
        """Latent and calibrated posterior of prepared rows, side by side (n, d_z + k)."""
        return torch.cat([prepared, self.probabilities(prepared)], dim=1)

    def answer(self, prepared: Tensor) -> Tensor:
        """Cluster number and calibrated probability of it, as two columns (n, 2), of prepared rows."""
        logits = self.score(prepared)
        confidence = torch.softmax(logits / self.calibration, dim=1).amax(1)
        return torch.stack([logits.argmax(1).to(confidence.dtype), confidence], dim=1)

    def assign(self, x: Tensor) -> Tensor:
        """Cluster number (n,) of raw rows."""
        return self.score(self.prepare(x)).argmax(1)

    @torch.no_grad()
    def take(self, mixture: Mixture) -> None:
        """Answer by another mixture from now on."""
        for name in ("weights", "means", "covariance"):
            setattr(self, name, getattr(mixture, name).double().to(self.device))
