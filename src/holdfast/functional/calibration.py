"""Probabilities that mean what they say: one temperature, fitted where the answers are known."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import cross_entropy

__all__ = ["fitted_temperature"]

_GOLDEN = (math.sqrt(5) - 1) / 2
_LOWEST, _HIGHEST = 0.05, 20.0


def fitted_temperature(logits: Tensor, labels: Tensor, *, steps: int = 40) -> float:
    r"""Find the temperature at which held-back rows are least surprising [1]_.

    .. math:: T^* = \arg\min_T \; -\frac{1}{n} \sum_i \log \mathrm{softmax}(l_i / T)_{y_i}

    The loss has one minimum in :math:`1 / T`; a golden-section search on a log scale finds it.

    Parameters
    ----------
    logits : Tensor of shape (n, k)
        Of rows that were not trained on.
    labels : Tensor of shape (n,), int64
        Their answers.
    steps : int, default=40
        Shortenings of the interval, by 0.618 each.

    Returns
    -------
    float
        Between 0.05 and 20; an end of it where all rows are right, or hopeless.

    References
    ----------
    .. [1] Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017.
    """
    exact = logits.double()
    low, high = math.log(_LOWEST), math.log(_HIGHEST)

    def surprise(place: float) -> float:
        return float(cross_entropy(exact / math.exp(place), labels))

    for _ in range(steps):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if surprise(left) <= surprise(right) else (left, high)
    return math.exp((low + high) / 2)
