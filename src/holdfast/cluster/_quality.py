"""How pure a partition is, predicted without labels: the public face of :mod:`holdfast.quality`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array, check_random_state

from holdfast._validation import row_text
from holdfast.cluster._base import as_rows
from holdfast.evidence import neighbourhood_size
from holdfast.exceptions import InputError
from holdfast.functional.geometry import (
    LIFT_UP_TO,
    lift,
    mean_row,
    principal_directions,
    root_mean_square,
)
from holdfast.graph import (
    Neighbours,
    communities_at,
    jaccard_graph,
    kmeans_on_sample,
    nearest_neighbours,
    random_walk,
    unit_rows,
)
from holdfast.io.mapped import take_rows
from holdfast.quality import SMALL_GRAPH, Quality, predicted_quality
from holdfast.training.threads import within_cpus

__all__ = ["predict_quality", "reference_partitions"]

_MOST_ROWS = 10_000  # a sample of this size tells the quality; more rows only take longer
_DIRECTIONS, _DIRECTION_ROWS = 64, 3_000  # references want speed, and differ by more than this costs
_RESTARTS = 3  # k-means on all directions, and as many again on half of them
_RESTART_ROWS, _RESTART_SHARE = 4_000, 0.7
_MEDIUM_GRAPH = 10
_LEAST_CLUSTERS, _MOST_CLUSTERS = 2, 1_000  # of the references: of one cluster all agree
_ORDERS = 2  # Louvain on the small graph, which is fast; on the medium one a single time


def predict_quality(
    X: Any, labels: Any, *, partitions: Sequence[Any] | None = None, random_state: Any = 0
) -> Quality:
    """Predict how pure a partition and each of its clusters are, with 90 % intervals and without labels.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Embeddings: NumPy array, torch tensor or memory map. Of more than 10,000 rows a random sample is
        looked at.
    labels : array-like of shape (n,)
        Cluster of each row, an integer from 0 below n; -1 is noise or abstention, and left out.
    partitions : sequence of array-like of shape (n,), optional
        At least two other partitions of the same rows into about as many clusters, by methods as different
        as there are: what they agree on is trusted, and partitions by one method agree too easily. None makes
        some, which is what the prediction was fitted with: k-means on samples of the rows, on half of their
        leading directions and on averaged neighbourhoods, and Louvain on two graphs.
    random_state : int, RandomState or None, default=0
        Fixes the sample and the partitions that are made.

    Returns
    -------
    Quality
        `purity` with `low` and `high` for the whole partition, `cluster_purity` and its bounds by cluster.

    Raises
    ------
    InputError
        If rows are not finite, all equal or fewer than two; if labels or partitions are no cluster numbers
        of these rows, or all noise; if there are fewer than two partitions.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.cluster import KMeans
    >>> X = load_digits().data
    >>> found = predict_quality(X, KMeans(10, n_init=1, random_state=0).fit_predict(X))
    >>> bool(0.5 < found.low < found.purity < found.high < 1)
    True
    """
    rows = as_rows(X, partial(check_array, ensure_min_samples=2))
    numbers = _cluster_numbers(labels, "labels", len(rows))
    if (numbers < 0).all():
        raise InputError("labels is -1 in every row, so there is no cluster to tell of: give a partition.")
    others = None if partitions is None else _all_numbers(partitions, len(rows))
    random = check_random_state(random_state)
    some = np.sort(random.permutation(len(rows))[:_MOST_ROWS])
    with within_cpus():
        return _predicted(take_rows(rows, some), numbers, some, others, random)


def _predicted(
    rows: np.ndarray,
    labels: np.ndarray,
    some: np.ndarray,
    others: list[np.ndarray] | None,
    random: np.random.RandomState,
) -> Quality:
    """Predict from the rows (m, d) that were drawn, with the labels (n,) of all."""
    seen = labels[some]
    n_clusters = max(_LEAST_CLUSTERS, len(np.unique(seen[seen >= 0])))
    centred = _centred(rows)
    neighbours = nearest_neighbours(centred, min(_MEDIUM_GRAPH, neighbourhood_size(len(rows), n_clusters)))
    if others is None:
        given = reference_partitions(centred, neighbours, min(n_clusters, _MOST_CLUSTERS, len(rows)), random)
    else:
        given = [other[some] for other in others]
    return _for_every(predicted_quality(seen, neighbours, given, n_clusters), labels)


def _for_every(found: Quality, labels: np.ndarray) -> Quality:
    """Add the clusters after the last one that was drawn, of whose rows none was looked at."""
    missing = int(labels.max(initial=-1)) + 1 - len(found.sizes)
    if missing == 0:
        return found
    return replace(
        found,
        cluster_purity=np.append(found.cluster_purity, np.full(missing, found.purity)),
        cluster_low=np.append(found.cluster_low, np.zeros(missing)),
        cluster_high=np.append(found.cluster_high, np.ones(missing)),
        sizes=np.append(found.sizes, np.zeros(missing, dtype=np.int64)),
    )


def _all_numbers(partitions: Sequence[Any], n_rows: int) -> list[np.ndarray]:
    return [_cluster_numbers(labels, f"partitions[{i}]", n_rows) for i, labels in enumerate(partitions)]


def _cluster_numbers(labels: Any, name: str, n_rows: int) -> np.ndarray:
    """Return cluster numbers (n,) as int64, or say in a sentence what is wrong with them."""
    if isinstance(labels, torch.Tensor):
        labels = labels.detach().cpu().numpy()
    numbers = np.asarray(labels)
    if numbers.shape != (n_rows,):
        raise InputError(f"{name} has shape {numbers.shape} and X has {n_rows} rows: give one label per row.")
    if numbers.dtype.kind not in "iu":
        raise InputError(f"{name} is of type {numbers.dtype}: give the clusters as integers from 0.")
    wrong = np.flatnonzero((numbers < -1) | (numbers >= n_rows))
    if wrong.size:
        raise InputError(
            f"{name} is {numbers[wrong[0]]} in {row_text(int(wrong[0]))}: number the clusters from 0 to "
            f"{n_rows - 1} at most, and noise as -1."
        )
    return numbers.astype(np.int64)


def reference_partitions(
    rows: np.ndarray, neighbours: Neighbours, n_clusters: int, random: np.random.RandomState
) -> list[np.ndarray]:
    """Make a few cheap and diverse partitions, for a prediction of quality to hold others against.

    Parameters
    ----------
    rows : ndarray of shape (n, d), float32
        Centred unit rows.
    neighbours : Neighbours
        Their nearest neighbours.
    n_clusters : int
        How many clusters, at most ``n``.
    random : RandomState

    Returns
    -------
    list of ndarray of shape (n,), int64
    """
    short = _leading(rows, random)
    medium, small = (jaccard_graph(neighbours.first(k)) for k in (_MEDIUM_GRAPH, SMALL_GRAPH))
    walk = random_walk(medium)
    smooth = walk @ (walk @ short)
    found = [_kmeans(short, n_clusters, random) for _ in range(_RESTARTS)]
    found += [_kmeans(_half(short, random), n_clusters, random) for _ in range(_RESTARTS)]
    found += [_kmeans(view, n_clusters, random) for view in (smooth, walk @ (walk @ smooth))]
    seed = int(random.randint(1 << 30))
    found += communities_at(small, n_clusters, orders=range(seed, seed + _ORDERS))
    return found + communities_at(medium, n_clusters, orders=(seed,))


def _kmeans(rows: np.ndarray, n_clusters: int, random: np.random.RandomState) -> np.ndarray:
    """Partition rows (n, r) by one k-means on a sample of them."""
    size = max(n_clusters, min(_RESTART_ROWS, int(_RESTART_SHARE * len(rows))))
    seed = int(random.randint(1 << 30))
    return kmeans_on_sample(rows, n_clusters, sample_size=size, seed=seed)[0]


def _half(rows: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Take half of the columns of rows (n, r), at random."""
    columns = random.permutation(rows.shape[1])[: (rows.shape[1] + 1) // 2]
    return np.ascontiguousarray(rows[:, columns])


def _centred(X: np.ndarray) -> np.ndarray:
    """Make unit rows as seen from the mean, in which quality is told; rows of few columns are lifted."""
    mean = mean_row(X)
    scale = root_mean_square(X, mean)
    if scale == 0:
        raise InputError(f"all {len(X)} rows are equal, so there is nothing to tell apart; give other rows.")
    centred = torch.from_numpy((X - mean) / np.float32(scale))  # of unit size, whatever they were
    return unit_rows(lift(centred, X.shape[1] ** 0.5).numpy())


def _leading(rows: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Put rows (n, d) on at most 64 leading directions."""
    if rows.shape[1] <= max(_DIRECTIONS, LIFT_UP_TO + 1):
        return rows
    sample = torch.from_numpy(rows[random.permutation(len(rows))[:_DIRECTION_ROWS]])
    directions = principal_directions(sample - sample.mean(0), _DIRECTIONS)
    return np.asarray(torch.from_numpy(rows) @ directions.T)
