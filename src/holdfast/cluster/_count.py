"""How many clusters: an answer with an interval, because no single criterion can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array, check_random_state

from holdfast.cluster._base import as_rows
from holdfast.cluster._start import find_neighbours
from holdfast.functional.geometry import mean_row, root_mean_square
from holdfast.graph import Neighbours, communities, jaccard_graph, random_walk, unit_rows
from holdfast.io.mapped import take_rows
from holdfast.metrics import ari, sampled_silhouette
from holdfast.training.threads import within_cpus

__all__ = ["ClusterCount", "estimate_n_clusters"]

_MOST_ROWS = 4_000  # a sample of this size tells the count; more rows only take longer
_RESOLUTIONS = np.geomspace(0.02, 16, 16)
_SUBSETS, _SUBSET_SHARE = 3, 0.8
_EXPECTED = 10  # clusters assumed while choosing how many neighbours to look at


@dataclass(frozen=True)
class ClusterCount:
    """How many clusters a collection seems to have.

    Attributes
    ----------
    n_clusters, low, high : int
        The estimate, and the interval that the criteria span.
    agreement : float
        ``low / high``: 1 where all criteria name one number, near 0 where they tell nothing.
    message : str
        One sentence for people.
    evidence : dict of str to int
        What each criterion says.
    """

    n_clusters: int
    low: int
    high: int
    agreement: float
    message: str
    evidence: dict[str, int]


@dataclass(frozen=True, eq=False)
class _Cut:
    """The graph cut at one resolution: how many clusters, how stable, how well separated."""

    count: int
    stability: float
    separation: float


def estimate_n_clusters(X: Any, *, random_state: Any = None) -> ClusterCount:
    """Estimate the number of clusters from a sweep of graph partitions.

    The Jaccard graph of (a sample of) the rows is cut at many resolutions. Four criteria each pick a cut:
    how well it survives leaving out a fifth of the rows, its silhouette in rows averaged over their
    neighbourhoods, the product of the two, and the modularity at its natural resolution. The answer is
    their median on a log scale, the interval their spread.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Embeddings.
    random_state : int, RandomState or None, default=None
        Fixes the sample and the cuts.

    Returns
    -------
    ClusterCount

    Raises
    ------
    InputError
        If rows are not finite or fewer than two.
    """
    rows = as_rows(X, partial(check_array, ensure_min_samples=2))
    random = check_random_state(random_state)
    some = (
        random.choice(len(rows), _MOST_ROWS, replace=False)
        if len(rows) > _MOST_ROWS
        else np.arange(len(rows))
    )
    rows = take_rows(rows, np.sort(some))
    mean = mean_row(rows)
    scale = root_mean_square(rows, mean)
    if scale == 0 or len(rows) < 2 * _EXPECTED:
        return _summarise({"too little to tell": 1 if scale == 0 else min(2, len(rows))})
    with within_cpus():
        neighbours = find_neighbours(rows, mean, scale, _EXPECTED)
        return _summarise(_picks(rows - mean, neighbours, random))


def _picks(rows: np.ndarray, neighbours: Neighbours, random: np.random.RandomState) -> dict[str, int]:
    graph = jaccard_graph(neighbours)
    walk = random_walk(graph)
    smooth = walk @ (walk @ unit_rows(rows))
    kept = [np.sort(random.permutation(len(rows))[: int(_SUBSET_SHARE * len(rows))]) for _ in range(_SUBSETS)]
    subsets = [(index, graph[index][:, index]) for index in kept]
    cuts = [_cut(graph, smooth, subsets, resolution) for resolution in _RESOLUTIONS]
    cuts = [cut for cut in cuts if cut.count >= 2] or [_Cut(1, 1.0, 1.0)]
    return {
        "stability": max(cuts, key=lambda cut: cut.stability).count,
        "separation": max(cuts, key=lambda cut: cut.separation).count,
        "stable separation": max(cuts, key=lambda cut: cut.stability * cut.separation).count,
        "modularity": _count_useful(communities(graph, 1.0, seed=0)),
    }


def _cut(
    graph: sparse.csr_matrix,
    smooth: np.ndarray,
    subsets: list[tuple[np.ndarray, sparse.csr_matrix]],
    resolution: float,
) -> _Cut:
    labels = communities(graph, resolution, seed=0)
    count = _count_useful(labels)
    if count < 2:
        return _Cut(count, 0.0, 0.0)
    agreements = [ari(labels[index], communities(part, resolution, seed=1)) for index, part in subsets]
    silhouette = sampled_silhouette(smooth, labels, random_state=0).value
    return _Cut(count, float(np.mean(agreements)), max(silhouette, 0.0))


def _count_useful(labels: np.ndarray) -> int:
    """Count communities of at least five rows and a tenth of the mean size, but no fewer than one."""
    sizes = np.bincount(labels)
    return max(1, int((sizes >= max(5, 0.1 * sizes.mean())).sum()))


def _summarise(picks: dict[str, int]) -> ClusterCount:
    counts = np.array(list(picks.values()))
    middle = round(float(np.exp(np.median(np.log(counts)))))
    low, high = int(counts.min()), int(counts.max())
    message = (
        f"About {middle} clusters; the criteria agree."
        if low == high
        else f"About {middle} clusters, between {low} and {high}: look at the report and choose."
    )
    return ClusterCount(middle, low, high, low / high, message, picks)
