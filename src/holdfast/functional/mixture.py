"""Densities of Gaussian mixtures whose weights come from a broken stick: pure functions of tensors."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

from holdfast.functional.products import inner_products

__all__ = [
    "Product",
    "component_weights_log_prob",
    "features_of",
    "gaussian_log_prob",
    "gaussian_log_prob_of",
    "joint_log_prob",
    "log_weights_of_sticks",
    "mixture_log_prob",
    "sticks_of_log_weights",
]

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Makes ``rows @ others.T + bias``."""

_LOG_2PI = math.log(2 * math.pi)


def log_weights_of_sticks(logits: Tensor) -> Tensor:
    r"""Break a stick of length one into the weights of components, in log space.

    .. math::

        \ln w_j = \ln v_j + \sum_{i<j} \ln(1 - v_i), \qquad v_j = \sigma(l_j), \quad v_k = 1

    Parameters
    ----------
    logits : Tensor of shape (k - 1,)
        What is broken off what is left, before the logistic function.

    Returns
    -------
    Tensor of shape (k,)
        Logarithms of weights that sum to one.

    Examples
    --------
    >>> log_weights_of_sticks(torch.tensor([0.0, 0.0])).exp()
    tensor([0.5000, 0.2500, 0.2500])
    """
    left = pad(torch.cumsum(logsigmoid(-logits), dim=0), (1, 0))
    return pad(logsigmoid(logits), (0, 1)) + left


def sticks_of_log_weights(log_weights: Tensor) -> Tensor:
    """Find the logits (k - 1,) whose broken stick has these log weights (k,), which need not be normalised.

    Examples
    --------
    >>> sticks_of_log_weights(torch.tensor([0.5, 0.25, 0.25]).log())
    tensor([0., 0.])
    """
    rest = torch.logcumsumexp(log_weights.flip(0), dim=0).flip(0)
    return log_weights[:-1] - rest[1:]


def component_weights_log_prob(
    log_component_weights: Tensor, log_concentration: Tensor, num_components: int | None = None
) -> Tensor:
    r"""Log density of the sticks of component weights, each Beta(1, c).

    .. math::

        \sum_{j<k} \ln \mathrm{Beta}(v_j; 1, c) = (k - 1) \ln c + (c - 1) \sum_{j<k} \ln(1 - v_j)

    Every stick has this prior; one left out could take all the weight for nothing. The last piece is what
    is left over, and no stick.

    Parameters
    ----------
    log_component_weights : Tensor of shape (k,)
        Need not be normalised.
    log_concentration : Tensor of shape ()
        ``ln c``; a small c breaks off large pieces first.
    num_components : int, optional
        Components whose sticks have a prior, k by default. Fewer are for comparison with other programs.

    Returns
    -------
    Tensor of shape ()
        Nats.
    """
    n_sticks = len(log_component_weights) - 1
    if num_components is not None:
        n_sticks = min(num_components, n_sticks)
    rest = torch.logcumsumexp(log_component_weights.flip(0), dim=0).flip(0)
    log_left = rest[n_sticks] - rest[0]  # the logarithms of 1 - v_j sum to that of what is left
    return n_sticks * log_concentration + (torch.exp(log_concentration) - 1) * log_left


def features_of(data: Tensor) -> Tensor:
    """Squares and values of rows (n, d) side by side (n, 2d): log densities are linear in them."""
    return torch.cat([data * data, data], dim=1)


def gaussian_log_prob_of(
    features: Tensor, means: Tensor, log_scales: Tensor, product: Product = inner_products
) -> Tensor:
    r"""Log densities of rows under Gaussians with diagonal covariance, from :func:`features_of` the rows.

    .. math::

        \ln N(x; \mu, \sigma) = -\tfrac12 \sum_d \left[ \frac{(x_d - \mu_d)^2}{\sigma_d^2}
        + 2 \ln \sigma_d + \ln 2\pi \right]

    One matrix product; rows should be standardised, or the squares cancel.

    Parameters
    ----------
    features : Tensor of shape (n, 2d)
    means : Tensor of shape (k, d)
    log_scales : Tensor of shape (k, d), or one that expands to it
    product : callable, default=inner_products
        Makes ``rows @ others.T + bias``; torch's own is faster for few columns, but not the same to the last
        bit wherever a row stands.

    Returns
    -------
    Tensor of shape (n, k)
    """
    log_scales = log_scales.expand_as(means)
    precisions = torch.exp(-2 * log_scales)
    constant = -0.5 * (precisions * means * means + 2 * log_scales + _LOG_2PI).sum(1)
    return product(features, torch.cat([-0.5 * precisions, precisions * means], dim=1), constant)


def gaussian_log_prob(data: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
    """Log densities (n, k) of rows (n, d) under k Gaussians with diagonal covariance.

    Parameters
    ----------
    data : Tensor of shape (n, d)
    means : Tensor of shape (k, d)
    log_scales : Tensor of shape (k, d), (k, 1) or (1, d)
        Logarithms of standard deviations: diagonal, spherical, or one for all components.
    """
    return gaussian_log_prob_of(features_of(data), means, log_scales)


def mixture_log_prob(
    log_component_weights: Tensor, component_mus: Tensor, log_component_scales: Tensor, data: Tensor
) -> Tensor:
    r"""Log density of all data under a Gaussian mixture.

    .. math::

        \sum_i \ln \sum_j w_j N(x_i; \mu_j, \sigma_j)

    Parameters
    ----------
    log_component_weights : Tensor of shape (k,)
        Need not be normalised.
    component_mus : Tensor of shape (k,) or (k, d)
    log_component_scales : Tensor of the shape of `component_mus`, or one that expands to it
    data : Tensor of shape (n,) or (n, d)

    Returns
    -------
    Tensor of shape ()
        Nats.
    """
    if data.ndim == 1:
        data, component_mus = data[:, None], component_mus[:, None]
        log_component_scales = log_component_scales.reshape(-1, 1)
    log_weights = torch.log_softmax(log_component_weights, dim=0)
    each = gaussian_log_prob(data, component_mus, log_component_scales) + log_weights
    total: Tensor = torch.logsumexp(each, dim=1).sum()
    return total


def joint_log_prob(
    log_component_weights: Tensor,
    log_concentration: Tensor,
    num_components: int | None,
    component_mus: Tensor,
    log_component_scales: Tensor,
    data: Tensor,
) -> Tensor:
    """Log density of the weights and of all data given them: what the optimisation climbs.

    The sum of :func:`component_weights_log_prob` and :func:`mixture_log_prob`, with their parameters.

    Returns
    -------
    Tensor of shape ()
        Nats.
    """
    weights = component_weights_log_prob(log_component_weights, log_concentration, num_components)
    return weights + mixture_log_prob(log_component_weights, component_mus, log_component_scales, data)
