"""Mutual information: between the soft assignments of neighbours (TEMI's loss), and between partitions.

Letters: n pairs, h heads, k clusters; assignments are (n, h, k) with rows that sum to one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["entropy", "mutual_information_loss", "normalised_mutual_information", "pair_weights"]

_TINY = 1e-8


def pair_weights(teacher: Tensor, teacher_other: Tensor) -> Tensor:
    r"""How far all heads believe that two neighbours share a cluster (equation 8 of [1]_).

    .. math:: w(x, x') = \frac{1}{h} \sum_{i=1}^{h} \sum_{c=1}^{k} q_t^i(c|x)\, q_t^i(c|x')

    Parameters
    ----------
    teacher, teacher_other : Tensor of shape (n, h, k)
        Logarithms of the teacher's assignments of the rows and of their neighbours.

    Returns
    -------
    Tensor of shape (n, 1)

    References
    ----------
    .. [1] Adaloglou, Michels, Kalisch and Kollmann, "Exploring the limits of deep image clustering using
       pretrained models", BMVC 2023.
    """
    return torch.exp(teacher + teacher_other).sum(2).mean(1, keepdim=True)


def mutual_information_loss(
    student: Tensor, teacher_other: Tensor, prior: Tensor, weights: Tensor, beta: float
) -> Tensor:
    r"""TEMI's loss of one direction of the pairs (equations 4 and 8 of [1]_).

    .. math:: L = -\frac{1}{nh} \sum w(x, x')\, \log \sum_{c=1}^{k}
              \frac{(q_s(c|x)\, q_t(c|x'))^\beta}{\tilde q_t(c)}

    Parameters
    ----------
    student : Tensor of shape (n, h, k)
        Logarithms of the assignments; carries the gradient.
    teacher_other : Tensor of shape (n, h, k)
        Logarithms of the teacher's assignments of the neighbours.
    prior : Tensor of shape (h, k)
        Running mean of the teacher's assignments: clusters need not be of one size.
    weights : Tensor of shape (n, 1)
        Of the pairs.
    beta : float
        Below 1, clusters stay in use that would otherwise be given up.

    Returns
    -------
    Tensor of shape ()

    References
    ----------
    .. [1] Adaloglou, Michels, Kalisch and Kollmann, "Exploring the limits of deep image clustering using
       pretrained models", BMVC 2023.
    """
    together = torch.logsumexp(beta * (student + teacher_other) - prior.clamp_min(_TINY).log(), dim=2)
    return -(weights * together).mean()


def normalised_mutual_information(counts: np.ndarray) -> float:
    r"""Normalised mutual information of two partitions, from their contingency table.

    .. math:: 2\, I(p; q) / (H(p) + H(q))

    Parameters
    ----------
    counts : ndarray of shape (a, b)
        Rows in cluster i of one and cluster j of the other.

    Returns
    -------
    float
        0 to 1; 1 where both have one cluster only.
    """
    share = counts / max(counts.sum(), 1)
    one, other, joint = (entropy(part) for part in (share.sum(1), share.sum(0), share.ravel()))
    return 2 * (one + other - joint) / (one + other) if one + other > 0 else 1.0


def entropy(share: np.ndarray) -> float:
    """Entropy in nats of shares that sum to one; zeros add nothing."""
    used = share[share > 0]
    return float(-(used * np.log(used)).sum())
