"""Gaussian components merged by their moments, what that costs, and what a component has to be worth."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from holdfast.functional.mixture import Product, features_of, gaussian_log_prob_of
from holdfast.functional.products import inner_products

__all__ = [
    "Covariance",
    "Mixture",
    "bic",
    "description_length",
    "merge_costs",
    "merged",
    "n_parameters",
    "row_features",
    "weighted_log_prob",
]

Covariance = Literal["diag", "spherical", "tied"]


@dataclass(frozen=True, eq=False)
class Mixture:
    """Parameters of a Gaussian mixture, in double precision.

    Attributes
    ----------
    kind : {"diag", "spherical", "tied"}
    weights : Tensor of shape (k,)
    means : Tensor of shape (k, d)
    covariance : Tensor of shape (k, d), for "tied" (d, d)
        Variances; those of a spherical component are equal.
    """

    kind: Covariance
    weights: Tensor
    means: Tensor
    covariance: Tensor

    def __len__(self) -> int:
        return len(self.weights)

    def take(self, index: Tensor) -> Mixture:
        """Keep some components, in a given order, with weights that sum to one again."""
        weights = self.weights[index]
        covariance = self.covariance if self.kind == "tied" else self.covariance[index]
        return Mixture(self.kind, weights / weights.sum(), self.means[index], covariance)


def row_features(mixture: Mixture, rows: Tensor) -> Tensor:
    """Squares and values of rows (n, d): what the log densities of every later mixture are linear in."""
    return rows if mixture.kind == "tied" else features_of(rows)


def weighted_log_prob(mixture: Mixture, features: Tensor, product: Product = inner_products) -> Tensor:
    r"""Joint log densities :math:`\ln w_j + \ln N(x_i; \mu_j, \Sigma_j)`, of shape (n, k).

    Parameters
    ----------
    mixture : Mixture
    features : Tensor
        :func:`row_features` of the rows.
    product : callable, default=inner_products
        As for :func:`holdfast.functional.mixture.gaussian_log_prob_of`.
    """
    log_weights = mixture.weights.log()
    if mixture.kind != "tied":
        log_scales = 0.5 * mixture.covariance.log()
        return gaussian_log_prob_of(features, mixture.means, log_scales, product) + log_weights
    # Seen through the inverse Cholesky factor, the components are round and of unit size.
    factor = torch.linalg.cholesky(mixture.covariance)
    inverse = torch.linalg.solve_triangular(factor, torch.eye(len(factor)).to(factor), upper=False)
    rows, means = product(features, inverse, None), mixture.means @ inverse.T
    shift = factor.diagonal().log().sum()
    each: Tensor = gaussian_log_prob_of(features_of(rows), means, torch.zeros_like(means), product) - shift
    return each + log_weights


def merged(mixture: Mixture, first: int, second: int) -> Mixture:
    r"""Replace two components by the Gaussian with their moments, in the place of the first.

    .. math::

        w = w_i + w_j, \quad \mu = \frac{w_i \mu_i + w_j \mu_j}{w}, \quad
        \Sigma = \frac{w_i \Sigma_i + w_j \Sigma_j}{w} + \frac{w_i w_j}{w^2} \delta \delta^\top,
        \quad \delta = \mu_i - \mu_j

    A tied covariance takes up the scatter between the two, :math:`w_i w_j / w\; \delta \delta^\top`.

    Returns
    -------
    Mixture
        Of k - 1 components, in the same order.
    """
    pair = torch.tensor([first, second])
    weights, means = mixture.weights[pair], mixture.means[pair]
    total = weights.sum()
    share = weights / total
    delta = means[0] - means[1]
    covariance = mixture.covariance.clone()
    if mixture.kind == "tied":
        covariance += total * share.prod() * torch.outer(delta, delta)
    else:
        scatter = share.prod() * delta * delta
        if mixture.kind == "spherical":
            scatter = scatter.mean().expand_as(delta)
        covariance[first] = share @ mixture.covariance[pair] + scatter
    new_weights, new_means = mixture.weights.clone(), mixture.means.clone()
    new_weights[first], new_means[first] = total, share @ means
    kept = torch.arange(len(mixture)) != second
    whole = replace(mixture, weights=new_weights, means=new_means, covariance=covariance)
    return whole.take(kept.nonzero().flatten())


def merge_costs(mixture: Mixture) -> Tensor:
    r"""Bound from above what merging any two components loses, in nats a row.

    .. math::

        B_{ij} = \tfrac12 \left[ (w_i + w_j) \ln |\Sigma_{ij}|
        - w_i \ln |\Sigma_i| - w_j \ln |\Sigma_j| \right]

    the bound of [1]_ on the divergence from the mixture before to the one after, with the merged
    :math:`\Sigma_{ij}` of :func:`merged`. For a tied covariance both mixtures share one each, and the bound
    is :math:`\tfrac12 \ln(1 + \tfrac{w_i w_j}{w_i + w_j} \delta^\top \Sigma^{-1} \delta)`.

    Returns
    -------
    Tensor of shape (k, k)
        Symmetric, infinite on the diagonal.

    References
    ----------
    .. [1] Runnalls, "Kullback-Leibler approach to Gaussian mixture reduction", 2007.
    """
    weights, means = mixture.weights, mixture.means
    total = weights[:, None] + weights
    share = weights[:, None] / total
    if mixture.kind == "tied":
        factor = torch.linalg.cholesky(mixture.covariance)
        round_means = torch.linalg.solve_triangular(factor, means.T, upper=False).T
        squared = torch.cdist(round_means, round_means, compute_mode="donot_use_mm_for_euclid_dist") ** 2
        costs = 0.5 * torch.log1p(total * share * (1 - share) * squared)
    else:
        costs = _diagonal_costs(mixture, total, share)
    return costs.fill_diagonal_(math.inf)


def _diagonal_costs(mixture: Mixture, total: Tensor, share: Tensor) -> Tensor:
    weights, means, variances = mixture.weights, mixture.means, mixture.covariance
    share = share[:, :, None]
    scatter = share * (1 - share) * (means[:, None] - means) ** 2
    if mixture.kind == "spherical":
        scatter = scatter.mean(2, keepdim=True)
    together = share * variances[:, None] + (1 - share) * variances + scatter
    own = weights * variances.log().sum(1)
    return 0.5 * (total * together.log().sum(2) - own[:, None] - own)


def n_parameters(kind: Covariance, n_components: int, n_columns: int) -> int:
    """Count the free parameters of a Gaussian mixture.

    Examples
    --------
    >>> n_parameters("diag", 4, 1)
    11
    """
    k, d = n_components, n_columns
    covariance = {"diag": k * d, "spherical": k, "tied": d * (d + 1) // 2}[kind]
    return k * d + covariance + k - 1


def bic(log_prob: float, kind: Covariance, n_components: int, shape: tuple[int, int]) -> float:
    r"""Bayesian information criterion :math:`-2 L + p \ln n`; lower is better.

    Parameters
    ----------
    log_prob : float
        L, of all rows.
    kind : {"diag", "spherical", "tied"}
    n_components : int
    shape : tuple of int
        Rows and columns of the data.
    """
    n, d = shape
    return -2 * log_prob + n_parameters(kind, n_components, d) * math.log(n)


def description_length(
    log_prob: float, kind: Covariance, n_components: int, shape: tuple[int, int], most_rows: int
) -> float:
    r"""Twice the length of a two-part code in which at most `most_rows` rows count; lower is better.

    .. math::

        -2 \frac{m}{n} L + p \ln m, \qquad m = \min(n, m_{max})

    A group of real rows is never quite Gaussian, and with enough rows any number of Gaussians describes it
    better than one: the criterion of [1]_ then splits it for ever. [2]_ asks instead for a mixture of which
    the rows are only nearly a sample, and finds that the likelihood of n rows then counts as that of m.

    References
    ----------
    .. [1] Schwarz, "Estimating the dimension of a model", 1978.
    .. [2] Miller and Dunson, "Robust Bayesian inference via coarsening", 2019.
    """
    n, d = shape
    m = min(n, most_rows)
    return bic(log_prob * m / n, kind, n_components, (m, d))
