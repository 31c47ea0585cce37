"""Soft assignment, its target distribution and the divergence between the two.

Letters: n rows, k clusters, d_z the width of the latent; ``z`` (n, d_z), ``centres`` (k, d_z), ``q`` and
``p`` (n, k) with rows that sum to one. Logits are kept instead of ``q`` wherever a logarithm follows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from holdfast.functional.products import inner_products

__all__ = [
    "calibrated_temperature",
    "cosine_similarity",
    "divergence",
    "soft_cross_entropy",
    "student_logits",
    "target_distribution",
]

_ENOUGH_ROWS = 20_000  # for a mean over rows


def cosine_similarity(z: Tensor, centres: Tensor) -> Tensor:
    """Cosine between every latent row and every centre.

    Parameters
    ----------
    z : Tensor of shape (n, d_z)
    centres : Tensor of shape (k, d_z)

    Returns
    -------
    Tensor of shape (n, k)
        Values in [-1, 1].
    """
    return inner_products(normalize(z, dim=1), normalize(centres, dim=1))


def student_logits(z: Tensor, centres: Tensor, alpha: float = 1.0) -> Tensor:
    r"""Logits of DEC's Student-t assignment (equation 1 of [1]_).

    .. math:: q_{ij} \propto (1 + \lVert z_i - c_j \rVert^2 / \alpha)^{-(\alpha + 1) / 2}

    Parameters
    ----------
    z : Tensor of shape (n, d_z)
    centres : Tensor of shape (k, d_z)
    alpha : float, default=1.0
        Degrees of freedom.

    Returns
    -------
    Tensor of shape (n, k)

    References
    ----------
    .. [1] Xie, Girshick and Farhadi, "Unsupervised deep embedding for clustering analysis", 2016.
    """
    products = inner_products(z, centres)
    squared = (z.square().sum(1, keepdim=True) - 2 * products + centres.square().sum(1)).clamp_min(0)
    return torch.log1p(squared / alpha) * (-(alpha + 1) / 2)


def target_distribution(q: Tensor) -> Tensor:
    r"""DEC's target (equation 3 of [1]_), over all rows at once.

    .. math:: p_{ij} = \frac{q_{ij}^2 / f_j}{\sum_{j'} q_{ij'}^2 / f_{j'}}, \qquad f_j = \sum_i q_{ij}

    Parameters
    ----------
    q : Tensor of shape (n, k)
        Soft assignment of the whole data set: the cluster frequencies ``f`` are sums over all of it.

    Returns
    -------
    Tensor of shape (n, k)

    References
    ----------
    .. [1] Xie, Girshick and Farhadi, "Unsupervised deep embedding for clustering analysis", 2016.
    """
    weight = q.square() / q.sum(0).clamp_min(torch.finfo(q.dtype).tiny)
    return weight / weight.sum(1, keepdim=True).clamp_min(torch.finfo(q.dtype).tiny)


def divergence(p: Tensor, logits: Tensor) -> Tensor:
    r"""Mean over rows of :math:`KL(p_i \,\Vert\, q_i)` with :math:`q = softmax(logits)`.

    Parameters
    ----------
    p : Tensor of shape (n, k)
        Target; carries no gradient.
    logits : Tensor of shape (n, k)

    Returns
    -------
    Tensor of shape ()
        Nats; zero exactly where the two agree.
    """
    entropy = torch.special.entr(p).sum(1)
    cross = -(p * log_softmax(logits, dim=1)).sum(1)
    mean: Tensor = (cross - entropy).mean()
    return mean


def soft_cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    r"""Mean over rows of :math:`-\sum_j t_{ij} \ln q_{ij}` with :math:`q = softmax(logits)`.

    It differs from the divergence, and from a weighted sum of several, by an entropy without a gradient.

    Parameters
    ----------
    target : Tensor of shape (n, k)
        One target or the weighted sum of several.
    logits : Tensor of shape (n, k)

    Returns
    -------
    Tensor of shape ()
        Nats.
    """
    return -(target * log_softmax(logits, dim=1)).sum() / len(target)


def calibrated_temperature(cosines: Tensor, confidence: float, *, steps: int = 40) -> float:
    """Find the temperature at which the mean of the largest ``q`` has a wanted value.

    A latent whose ``q`` is nearly uniform has a target that is noise; calibrating the start avoids it.

    Parameters
    ----------
    cosines : Tensor of shape (n, k)
        Cosines between latent rows and centres; of many rows, evenly spaced ones are looked at.
    confidence : float
        Wanted mean of ``q.max(1)``, above ``1 / k`` and below 1.
    steps : int, default=40
        Halvings of the interval [1e-3, 1e2] on a log scale.

    Returns
    -------
    float
        The temperature; an end of the interval where the wanted value lies outside.
    """
    cosines = cosines[:: max(1, len(cosines) // _ENOUGH_ROWS)]
    low, high = 1e-3, 1e2
    for _ in range(steps):
        middle = math.sqrt(low * high)
        too_sharp = torch.softmax(cosines / middle, dim=1).amax(1).mean() > confidence
        low, high = (middle, high) if too_sharp else (low, middle)
    return math.sqrt(low * high)
