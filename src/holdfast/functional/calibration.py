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

    The loss has one minimum in :math:`1 / T`; a golden-section search on a log scale finds it. Where all rows
    are right it is at no temperature at all, and every later row would be certain: then the aim is
    :math:`1 - 1 / (n + 2)` for the answer, and the rest for the others alike [2]_.

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
        Between 0.05 and 20.

    References
    ----------
    .. [1] Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017.
    .. [2] Platt, "Probabilistic outputs for support vector machines", 1999.
    """
    exact = logits.double()
    n, k = exact.shape
    all_right = bool((exact.argmax(1) == labels).all())
    smoothing = k / max(k - 1, 1) / (n + 2) if all_right else 0.0  # torch gives the answer its share back
    low, high = math.log(_LOWEST), math.log(_HIGHEST)

    def surprise(place: float) -> float:
        return float(cross_entropy(exact / math.exp(place), labels, label_smoothing=smoothing))

    for _ in range(steps):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if surprise(left) <= surprise(right) else (left, high)
    return math.exp((low + high) / 2)
