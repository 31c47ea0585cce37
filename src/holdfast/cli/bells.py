"""What was found of the demonstration's mixture, beside what is true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    from holdfast.report.mixture import Mixture

__all__ = ["compared"]


def compared(mixture: Mixture | None) -> list[dict[str, Any]]:
    """Match the components that were found with the true bells, one to one by location, left to right.

    Returns
    -------
    list of dict
        ``cluster``, ``found`` and ``true``; the last two have ``location``, ``scale`` and ``weight`` (a
        share). None where a bell was not found, or a component is no bell.
    """
    from holdfast.cluster._specimen import BELLS

    whole = sum(bell.weight for bell in BELLS)
    true = [_bell(bell.location, bell.scale, bell.weight / whole) for bell in BELLS]
    found = _found(mixture)
    numbers, places = list(found), [bell["location"] for bell in found.values()]
    far = np.abs(np.subtract.outer(places, [bell["location"] for bell in true])).reshape(
        len(found), len(true)
    )
    pairs = {int(column): numbers[row] for row, column in zip(*linear_sum_assignment(far), strict=True)}
    rows = [_row(pairs.get(i), found, bell) for i, bell in enumerate(true)]
    rows += [_row(number, found, None) for number in numbers if number not in pairs.values()]
    return sorted(rows, key=lambda row: (row["true"] or row["found"])["location"])


def _found(mixture: Mixture | None) -> dict[int, dict[str, float]]:
    """Return the components of the last frame by the number of their cluster."""
    if mixture is None:
        return {}
    film = mixture.film
    return {
        int(film.clusters[j]): _bell(
            float(film.means[-1, j, 0]),
            float(film.covariances[-1, j, 0]) ** 0.5,
            mixture.weights[film.clusters[j]],
        )
        for j in np.flatnonzero(film.clusters >= 0)
    }


def _bell(location: float, scale: float, weight: float) -> dict[str, float]:
    return {"location": location, "scale": scale, "weight": weight}


def _row(
    cluster: int | None, found: dict[int, dict[str, float]], true: dict[str, float] | None
) -> dict[str, Any]:
    return {"cluster": cluster, "found": None if cluster is None else found[cluster], "true": true}
