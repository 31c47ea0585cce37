"""The mixture that introductions to this begin with: four bells, of which one sees two or three."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BELLS", "N_DRAWS", "Bell", "draw_bells"]

N_DRAWS = 1_000
"""Draws for each unit of weight: 19,000 together."""


@dataclass(frozen=True)
class Bell:
    """A normal distribution and its weight, in any unit."""

    weight: float
    location: float
    scale: float


BELLS = (Bell(2, -2.0, 1.1), Bell(10, -5.0, 2.0), Bell(1, 3.0, 1.0), Bell(6, 8.0, 1.5))
"""The truth: the widest bell covers the first one, and the third stands in the foot of the fourth."""


def draw_bells(
    seed: int = 0, n_draws: int = N_DRAWS
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Draw from the four bells.

    Parameters
    ----------
    seed : int, default=0
        Of the generator.
    n_draws : int, default=1000
        Draws for each unit of weight.

    Returns
    -------
    X : ndarray of shape (19 * n_draws, 1), float32
    y : ndarray of shape (19 * n_draws,), int64
        The bell of each draw: for scoring only.
    """
    random = np.random.default_rng(seed)
    sizes = [int(bell.weight * n_draws) for bell in BELLS]
    draws = [random.normal(bell.location, bell.scale, n) for bell, n in zip(BELLS, sizes, strict=True)]
    return np.concatenate(draws).astype(np.float32)[:, None], np.repeat(np.arange(len(BELLS)), sizes)
