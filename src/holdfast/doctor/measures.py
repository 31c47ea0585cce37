"""What can be measured of where rows lie: structure against noise, common directions, dimension."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from holdfast.functional.geometry import lift
from holdfast.graph import Neighbours, unit_rows

__all__ = ["NEIGHBOURS", "centred", "intrinsic_dimension", "mean_cosine", "principal_share", "structure"]

NEIGHBOURS = 10
_ASKED = 1_000  # rows whose neighbours are looked for
_RANK = 4  # of the neighbour: nearer ones may be copies, farther ones are of another small cluster
_SEED = 0

Rows = npt.NDArray[np.float32]


def centred(rows: npt.NDArray, about: npt.NDArray | None = None) -> Rows:
    """Subtract the mean row and lift rows of few columns: the geometry in which holdfast clusters.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
    about : ndarray of shape (k, d), optional
        Rows whose mean and typical length are taken; by default the rows themselves.

    Returns
    -------
    ndarray of shape (m, d) or, for few columns, (m, d + 1), float32
    """
    mean = (rows if about is None else about).mean(axis=0, dtype=np.float64)
    away = (rows - mean).astype(np.float32)
    typical = away if about is None else about - mean
    height = float(np.sqrt(np.square(typical, dtype=np.float64).sum(axis=1).mean()))
    return np.asarray(lift(torch.from_numpy(away), height))


def structure(rows: Rows) -> float:
    r"""How much closer neighbours are than in noise: 0 for noise, 1 for points in a few places.

    .. math:: S = \min_{null} \frac{s - s_{null}}{1 - s_{null}}

    where *s* is the median cosine, after centring, between a row and its fourth neighbour. The nulls know the
    rows' spread and nothing of groups: the same columns, each shuffled for itself, and a Gaussian with
    the same covariance (on the sphere, if the rows are).

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Rows that all differ, some thousands of them: clusters of fewer than five are not seen.

    Returns
    -------
    float
        At most 1; a little below 0 by chance.
    """
    rng = np.random.default_rng(_SEED)
    asked = rng.permutation(len(rows))[:_ASKED]
    here = _closeness(rows, asked)
    nulls = [_closeness(null, asked) for null in _nulls(rows, rng)]
    return min((here - null) / max(1 - null, 1e-6) for null in nulls)


def _nulls(rows: Rows, rng: np.random.Generator) -> Iterator[Rows]:
    """Yield noise with the spread of `rows`, one kind after the other."""
    lengths = np.linalg.norm(rows, axis=1)
    on_sphere = bool(lengths.std() < 0.01 * lengths.mean())
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = _square_root(rows - mean)
    for kind in ("shuffled", "gaussian"):
        if kind == "shuffled":
            noise = rng.permuted(rows, axis=0)
        else:
            noise = rng.standard_normal((len(rows), len(spread)), dtype=np.float32) @ spread + mean
        yield unit_rows(noise) if on_sphere else noise


def _square_root(away: Rows) -> Rows:
    """Return a matrix whose square, transposed first, is the covariance of centred rows (m, d)."""
    m, d = away.shape
    if d >= m:
        return away / np.float32(np.sqrt(m))
    values, vectors = np.linalg.eigh((away.T @ away).astype(np.float64) / m)
    return np.asarray(np.sqrt(values.clip(0))[:, None] * vectors.T, dtype=np.float32)


def _closeness(rows: Rows, asked: npt.NDArray[np.intp]) -> float:
    """Median cosine of the rows that are asked with their fourth neighbour among all rows."""
    unit = unit_rows(centred(rows))
    cosines = unit[asked] @ unit.T
    cosines[np.arange(len(asked)), asked] = -np.inf
    return float(np.median(np.partition(cosines, -_RANK, axis=1)[:, -_RANK]))


def mean_cosine(rows: Rows) -> float:
    """Mean cosine between two different rows (m, d), from the sum of the unit rows."""
    m = len(rows)
    total = unit_rows(rows).sum(axis=0, dtype=np.float64)
    return float((total @ total - m) / (m * (m - 1)))


def principal_share(rows: Rows) -> float:
    """Share of the variance of rows (m, d) along its first principal direction, by power iteration."""
    away = (rows - rows.mean(axis=0, dtype=np.float64)).astype(np.float32)
    total = float(np.square(away, dtype=np.float64).sum())
    if total == 0:
        return 1.0
    direction = np.random.default_rng(_SEED).standard_normal(away.shape[1]).astype(np.float32)
    for _ in range(20):
        direction = away.T @ (away @ direction)
        direction /= np.linalg.norm(direction)
    return float(np.square(away @ direction, dtype=np.float64).sum()) / total


def intrinsic_dimension(rows: Rows, neighbours: Neighbours) -> float:
    r"""Estimate the dimension of the surface that rows lie on from their two nearest neighbours.

    .. math:: \hat d = \ln 2 \Big/ \ln \mathrm{median}_i \, \frac{r_{i2}}{r_{i1}}

    since the ratio exceeds :math:`\mu` with probability :math:`\mu^{-d}` [1]_. The median, unlike the maximum
    of the likelihood, does not mind copies.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Rows that all differ, centred.
    neighbours : Neighbours
        Theirs, by cosine; at least two each.

    Returns
    -------
    float
        Not a number where rows have too few neighbours, infinite where all are equally far.

    References
    ----------
    .. [1] Facco et al., "Estimating the intrinsic dimension of datasets by a minimal neighborhood
       information", Scientific Reports 7, 2017.
    """
    if neighbours.k < 2:
        return float("nan")
    unit = unit_rows(rows)
    asked = np.arange(len(unit))[:: max(1, len(unit) // _ASKED)]
    ratios = []
    for row in asked.tolist():
        # Differences, for cosines in single precision cannot tell distances below 3e-4 from each other.
        apart = np.linalg.norm(unit[neighbours.indices[row]] - unit[row], axis=1)
        first, second = np.partition(apart, 1)[:2]
        ratios.append(second / max(first, 1e-12))
    typical = float(np.log(np.median(ratios)))
    return float(np.log(2) / typical) if typical > 0 else float("inf")
