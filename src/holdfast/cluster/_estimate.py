"""How many clusters: an answer with an interval, because no single criterion can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from sklearn.utils import check_array

from holdfast.cluster._base import as_rows
from holdfast.cluster._count import ClusterCount
from holdfast.cluster._criteria import Criteria, Curve
from holdfast.cluster._dirichlet import SEEN_COLUMNS
from holdfast.cluster._sample import content_order
from holdfast.cluster._trained import drawn_seed
from holdfast.functional.geometry import mean_row, root_mean_square
from holdfast.io.mapped import take_ordered
from holdfast.training.threads import within_cpus

__all__ = ["estimate_n_clusters"]

_MOST_ROWS = 4_000  # a sample of this size tells the count; more rows only take longer
_LEAST_ROWS = 20
_WEIGHTS = {
    "communities": 1.5,
    "merging": 1.5,
    "density": 5.0,
    "mixture": 1.5,
    "stability": 2.5,
    "separation": 0.5,
}
"""Of each curve in their sum, the logarithm of a likelihood; found on 48 collections and parts of some."""
_SEEN_WEIGHT, _OTHERS = 6.0, 0.1  # where graphs are chains and nets: of the mixture, and left of the others
_TAIL = 0.1  # of the likelihood, left out at either end of the interval
_STEP = 0.05  # of the counts looked at, in their logarithm
_ROWS_A_CLUSTER = 6
_CLOSE = 0.8  # criteria within a fifth of the answer agree with it


def estimate_n_clusters(X: Any, *, random_state: Any = None) -> ClusterCount:
    """Estimate the number of clusters, with an interval, from criteria that look at different things.

    ``communities``
        The graph of nearest neighbours is cut at resolutions from coarse to fine: numbers that a long range
        of resolutions leads to are likely, natural resolutions more than extreme ones.
    ``merging``
        Small groups are merged along the graph, and k-means is run, at many numbers: where the two agree
        more than chance lets them.
    ``stability``
        How well the cuts survive leaving out a fifth of the rows.
    ``separation``
        Silhouette of the cuts in rows averaged over their neighbourhoods.
    ``density``
        DBSCAN at many radii, its closest clusters merged, as in :class:`DensityMLP`.
    ``mixture``
        Components of a Dirichlet-process Gaussian mixture, as in :class:`DirichletGMM`.

    They are summed, as logarithms of likelihoods, with weights that were fixed on collections whose number of
    classes was known; rows of up to three columns are left to the mixture, nearly. The answer is the maximum,
    the interval leaves out a tenth of the likelihood at either end. Rows
    that are no more clustered than one Gaussian cloud are one cluster. Classes that people name need not be
    clusters: overlapping ones are found as one, and several views of one object as many.
    ``predict(X, level=...)`` of every estimator gives coarser and finer answers.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Embeddings. Of more than 4,000 rows a sample is looked at.
    random_state : int, RandomState or None, default=None
        Fixes the sample and all starts. The order of the rows does not matter.

    Returns
    -------
    ClusterCount

    Raises
    ------
    InputError
        If rows are not finite or fewer than two.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> count = estimate_n_clusters(load_digits().data, random_state=0)
    >>> count.low <= 10 <= count.high
    True
    """
    rows = as_rows(X, partial(check_array, ensure_min_samples=2))
    seed = drawn_seed(random_state)
    rows = take_ordered(rows, content_order(rows, seed)[:_MOST_ROWS])
    scale = root_mean_square(rows, mean_row(rows))
    if scale == 0 or len(rows) < _LEAST_ROWS:
        return _too_little(len(rows), are_equal=scale == 0)
    with within_cpus():
        criteria, grid = Criteria(rows, seed), _grid(len(rows))
        curves = {
            "communities": criteria.plateau(grid),
            "merging": criteria.merging(),
            "density": criteria.density(),
            "mixture": criteria.mixture(grid),
            "stability": criteria.stability(),
            "separation": criteria.separation(),
        }
        weights = _weights(rows.shape[1])
        return _combined(curves, weights, grid, is_one_cloud=criteria.look_like_one_cloud())


def _weights(n_columns: int) -> dict[str, float]:
    if n_columns > SEEN_COLUMNS:
        return _WEIGHTS
    return {name: _OTHERS * weight for name, weight in _WEIGHTS.items()} | {"mixture": _SEEN_WEIGHT}


def _too_little(n_rows: int, *, are_equal: bool) -> ClusterCount:
    if are_equal:
        return ClusterCount(1, 1, 1, 1.0, "All rows are equal.", {})
    return ClusterCount(2, 1, n_rows, 1 / n_rows, f"{n_rows} rows are too few to tell.", {})


def _grid(n_rows: int) -> np.ndarray:
    """Numbers of clusters that are looked at, evenly spread on a log scale."""
    most = max(_ROWS_A_CLUSTER, n_rows / _ROWS_A_CLUSTER)
    return np.asarray(np.exp(np.arange(np.log(2), np.log(most), _STEP)))


def _combined(
    curves: Mapping[str, Curve], weights: Mapping[str, float], grid: np.ndarray, *, is_one_cloud: bool
) -> ClusterCount:
    """Add what the criteria say, and put the answer in words."""
    summed = sum(weights[name] * curve.at(grid) for name, curve in curves.items())
    likelihood = np.exp(summed - np.max(summed))
    below = np.cumsum(likelihood) / likelihood.sum()
    best = round(float(grid[likelihood.argmax()]))
    low = min(best, round(float(grid[np.searchsorted(below, _TAIL)])))
    high = max(best, round(float(grid[np.searchsorted(below, 1 - _TAIL)])))
    evidence = {name: curve.pick for name, curve in curves.items()}
    message = _message(best, low, high, evidence)
    if is_one_cloud:
        message = (
            "These rows look like one cloud, without clusters; what numbers the criteria name means little."
        )
        best, low = 1, 1
    agreement = float(np.mean([min(pick, best) / max(pick, best) for pick in evidence.values()]))
    shown = {name: _plain(curve) for name, curve in curves.items()} | {"all": _plain(Curve(grid, likelihood))}
    return ClusterCount(best, low, high, agreement, message, evidence, shown)


def _message(n_clusters: int, low: int, high: int, evidence: Mapping[str, int]) -> str:
    """Say what was found, and who contradicts."""
    found = f"About {n_clusters} clusters, between {low} and {high} in four cases of five"
    others = {
        name: pick
        for name, pick in evidence.items()
        if min(pick, n_clusters) < _CLOSE * max(pick, n_clusters)
    }
    if not others:
        return f"{found}; the criteria agree."
    said = ", ".join(f"{name} {pick}" for name, pick in sorted(others.items(), key=lambda pair: pair[1]))
    return f"{found}. Not all criteria agree: {said}. Look at the report, and at coarser and finer levels."


def _plain(curve: Curve) -> dict[str, list[float]]:
    return {
        "counts": [round(float(count), 2) for count in curve.counts],
        "values": [round(float(value), 4) for value in curve.values],
    }
