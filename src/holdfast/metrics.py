"""Scores of a partition: against true classes, against an earlier partition, and against the data alone.

Labels may be integers or texts. A predicted label of -1 is noise: accuracy and purity count it as wrong,
NMI and ARI treat it as one more cluster, the silhouette leaves it out.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_samples

from holdfast._validation import check_choice, check_int
from holdfast.exceptions import InputError, ParameterError
from holdfast.io.mapped import take_rows

__all__ = [
    "CentreShift",
    "Coverage",
    "SilhouetteEstimate",
    "ari",
    "centre_shift",
    "churn",
    "clustering_accuracy",
    "coverage_curve",
    "nmi",
    "purity",
    "sampled_silhouette",
    "score",
]

NOISE = -1


class CentreShift(NamedTuple):
    """How far the centres moved, in units of the old centres' mean distance to their nearest other centre."""

    mean: float
    max: float


class SilhouetteEstimate(NamedTuple):
    """The mean silhouette of a sample, and the 95 % interval for that of all rows."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Coverage:
    """What answering less gains: arrays of shape (m,) over rising `thresholds` of confidence.

    `coverage` is the share of rows at least that sure, `purity` the share of these expected to be right.
    """

    thresholds: npt.NDArray[np.float64]
    coverage: npt.NDArray[np.float64]
    purity: npt.NDArray[np.float64]


def clustering_accuracy(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the share of rows that are right under the best one-to-one map of clusters to classes.

    ``ACC = max_m (1/n) sum_i [y_i = m(c_i)]``, the maximum found by the Hungarian method. Clusters beyond the
    number of classes stay without one, and their rows count as wrong, as does noise (-1).

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        True classes and clusters.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    InputError
        If the lengths differ, or there are no rows.

    Examples
    --------
    >>> clustering_accuracy(["cat", "cat", "dog", "dog"], [1, 1, 0, 1])
    0.75
    """
    counts = _contingency(y_true, y_pred, without_noise=True)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return float(counts[rows, columns].sum() / np.size(y_true))


def nmi(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the normalised mutual information (arithmetic mean), between 0 and 1.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        True classes and clusters; noise (-1) is one more cluster.

    Raises
    ------
    InputError
        If the lengths differ, or there are no rows.
    """
    return float(normalized_mutual_info_score(*_paired_codes(y_true, y_pred)))


def ari(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the adjusted Rand index: 1 for equal partitions, about 0 for unrelated ones.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        True classes and clusters; noise (-1) is one more cluster.

    Raises
    ------
    InputError
        If the lengths differ, or there are no rows.
    """
    return float(adjusted_rand_score(*_paired_codes(y_true, y_pred)))


def purity(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the share of rows that belong to the commonest class of their cluster.

    It never falls when clusters are split, so read it beside their number. Noise (-1) counts as wrong.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        True classes and clusters.

    Raises
    ------
    InputError
        If the lengths differ, or there are no rows.
    """
    counts = _contingency(y_true, y_pred, without_noise=True)
    return float(counts.max(axis=0, initial=0).sum() / np.size(y_true))


def score(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> dict[str, float]:
    """Return ``acc``, ``nmi``, ``ari`` and ``purity`` of a partition against true classes.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        True classes and clusters.

    Raises
    ------
    InputError
        If the lengths differ, or there are no rows.
    """
    classes, _ = _codes(y_true, "y_true")  # once: texts take long to sort
    return {
        "acc": clustering_accuracy(classes, y_pred),
        "nmi": nmi(classes, y_pred),
        "ari": ari(classes, y_pred),
        "purity": purity(classes, y_pred),
    }


def churn(
    old_ids: npt.ArrayLike, new_ids: npt.ArrayLike, redirects: Mapping[Any, Hashable] | None = None
) -> float:
    """Return the share of known items whose cluster id, after redirects, differs from before.

    Parameters
    ----------
    old_ids, new_ids : array-like of shape (n,)
        The cluster id of each known item before and after; row i is the same item in both.
    redirects : mapping, optional
        Retired id -> id that took its place, as a merge leaves them; chains are followed. Items that only
        followed a redirect did not churn.

    Returns
    -------
    float
        Between 0 and 1; 0 for no items.

    Raises
    ------
    InputError
        If the lengths differ.
    ParameterError
        If the redirects go round in a circle.

    Examples
    --------
    >>> churn([1, 1, 2, 3], [1, 4, 5, 3], redirects={2: 5})
    0.25
    """
    old, new = np.asarray(old_ids), np.asarray(new_ids)
    _check_lengths("old_ids", old, "new_ids", new)
    if old.size == 0:
        return 0.0
    names, place = np.unique(old, return_inverse=True)
    expected = [_follow(name, redirects or {}) for name in names.tolist()]
    moved = [expected[at] != now for at, now in zip(place.tolist(), new.tolist(), strict=True)]
    return float(np.mean(moved))


def centre_shift(old: npt.ArrayLike, new: npt.ArrayLike) -> CentreShift:
    """Return how far centres moved, relative to how far they stand apart.

    Parameters
    ----------
    old, new : array-like of shape (k, d)
        Centres before and after; row j is the same cluster in both.

    Returns
    -------
    CentreShift
        Mean and maximum of ``||new_j - old_j||`` divided by the mean distance of an old centre to its nearest
        other one. Where that is 0 or there is one centre only, 0 if nothing moved and infinite otherwise.

    Raises
    ------
    InputError
        If the shapes differ or are no (k, d).
    """
    before, after = np.asarray(old, dtype=np.float64), np.asarray(new, dtype=np.float64)
    if before.shape != after.shape or before.ndim != 2 or len(before) == 0:
        raise InputError(
            f"old has shape {before.shape} and new {after.shape}: give the same (k, d) for both."
        )
    moved = np.linalg.norm(after - before, axis=1)
    if not moved.any():
        return CentreShift(0.0, 0.0)
    unit = _nearest_distance(before)
    if unit == 0:
        return CentreShift(float("inf"), float("inf"))
    return CentreShift(float(moved.mean() / unit), float(moved.max() / unit))


def coverage_curve(confidence: npt.ArrayLike, n_points: int = 50) -> Coverage:
    """Return how many rows are kept, and how many of them expected to be right, for rising thresholds.

    Parameters
    ----------
    confidence : array-like of shape (n,)
        Each row's probability of its cluster; the expectation is only as good as these are calibrated.
    n_points : int, default=50
        Quantiles of the confidence to take as thresholds, at least 1; equal ones count once.

    Returns
    -------
    Coverage
        From all rows to the surest: thresholds rise, coverage falls, purity does not fall.

    Raises
    ------
    InputError
        If there are no rows, or a confidence is not between 0 and 1.

    Examples
    --------
    >>> coverage_curve([0.5, 1.0, 0.75, 0.75], n_points=3).purity
    array([0.75      , 0.83333333, 1.        ])
    """
    quantiles = np.linspace(0, 1, check_int("n_points", n_points, 1))
    rising = np.sort(np.asarray(confidence, dtype=np.float64), axis=None)
    if not (rising.size and rising[0] >= 0 and rising[-1] <= 1 + 1e-6):  # not: NaN, sorted to the end
        raise InputError("confidence must have a number between 0 and 1 for each of at least one row.")
    thresholds = np.unique(np.quantile(rising, quantiles, method="higher"))
    kept = rising.size - np.searchsorted(rising, thresholds)
    return Coverage(thresholds, kept / rising.size, np.cumsum(rising[::-1])[kept - 1] / kept)


def sampled_silhouette(
    X: npt.NDArray,
    labels: npt.ArrayLike,
    *,
    n_samples: int = 1000,
    metric: str = "cosine",
    random_state: int | np.random.Generator | None = None,
) -> SilhouetteEstimate:
    """Estimate the mean silhouette from a random sample of rows.

    A plain random sample is drawn (not by cluster), and each sampled row is measured against the sample only:
    memory is O(n_samples^2) and O(n_samples d), whatever n. The interval is the normal one of the sampled
    values' mean, with the correction for drawing without replacement, so that it closes when the sample is
    everything. It does not know that clusters of very few sampled rows are measured coarsely.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        The rows; a memory map is read at the sampled rows only.
    labels : array-like of shape (n,)
        Their clusters. Noise (-1) is left out.
    n_samples : int, default=1000
        Rows to draw, at least 2.
    metric : {"cosine", "euclidean"}, default="cosine"
        The distance.
    random_state : int, Generator or None
        The seed of the draw.

    Returns
    -------
    SilhouetteEstimate
        Values in [-1, 1]; all 0 where a silhouette has no meaning (fewer than two clusters in the sample, or
        no two rows in one).

    Raises
    ------
    InputError
        If the lengths differ.
    """
    check_int("n_samples", n_samples, 2)
    check_choice("metric", metric, ("cosine", "euclidean"))
    codes, noise = _codes(labels, "labels")
    if len(codes) != len(X):
        raise InputError(f"labels has {len(codes)} entries for {len(X)} rows of X: give one per row.")
    rows = np.flatnonzero(~noise)
    drawn = np.random.default_rng(random_state).choice(rows, min(n_samples, rows.size), replace=False)
    drawn.sort()  # a memory map is read in order
    n_clusters = np.unique(codes[drawn]).size
    if not 2 <= n_clusters < drawn.size:
        return SilhouetteEstimate(0.0, 0.0, 0.0)
    values = silhouette_samples(take_rows(np.asanyarray(X), drawn), codes[drawn], metric=metric)
    unseen = (rows.size - drawn.size) / max(1, rows.size - 1)
    half = 1.96 * float(values.std(ddof=1)) * math.sqrt(unseen / drawn.size)
    mean = float(values.mean())
    return SilhouetteEstimate(mean, max(-1.0, mean - half), min(1.0, mean + half))


def _contingency(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, *, without_noise: bool
) -> npt.NDArray[np.int64]:
    """Count rows by class (rows) and cluster (columns)."""
    classes, clusters = _paired_codes(y_true, y_pred)
    noise = _codes(y_pred, "y_pred")[1]
    shape = (classes.max() + 1, clusters.max() + 1)
    keep = ~noise if without_noise else slice(None)
    counts = np.zeros(shape, dtype=np.int64)
    np.add.at(counts, (classes[keep], clusters[keep]), 1)
    return counts


def _paired_codes(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return both labellings as codes 0, 1, ... of the same, positive length."""
    true, _ = _codes(y_true, "y_true")
    pred, _ = _codes(y_pred, "y_pred")
    _check_lengths("y_true", true, "y_pred", pred)
    if true.size == 0:
        raise InputError("y_true has no entries: give at least one row to score.")
    return true, pred


def _codes(labels: npt.ArrayLike, name: str) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return codes 0, 1, ... for integer or text labels, and which of them are noise."""
    array = np.asarray(labels)
    array = np.asarray(array.tolist()) if array.dtype == object else array
    if array.ndim != 1:
        raise InputError(f"{name} has {array.ndim} dimensions: give one label per row.")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError(f"{name} is NaN in row {int(np.isnan(array).argmax())}: give every row a label.")
    noise = array == NOISE if array.dtype.kind in "if" else np.zeros(len(array), dtype=bool)
    sortable = array.astype(str) if array.dtype == object else array
    return np.unique(sortable, return_inverse=True)[1], noise


def _check_lengths(name: str, values: npt.NDArray, other: str, others: npt.NDArray) -> None:
    """Refuse labellings of different lengths."""
    if values.shape != others.shape:
        raise InputError(
            f"{name} has {values.size} entries and {other} {others.size}: give one per row in both."
        )


def _follow(name: Any, redirects: Mapping[Any, Hashable]) -> Any:
    """Follow redirects from `name` to the id that stands today."""
    seen = {name}
    while name in redirects:
        name = redirects[name]
        if name in seen:
            raise ParameterError(f"redirects go round in a circle at {name!r}: let each end at an id in use.")
        seen.add(name)
    return name


def _nearest_distance(centres: npt.NDArray[np.float64]) -> float:
    """Return the mean distance of a centre to its nearest other one; 0 if there is no other."""
    if len(centres) < 2:
        return 0.0
    distances = cdist(centres, centres)
    np.fill_diagonal(distances, np.inf)
    return float(distances.min(axis=1).mean())
