"""Where to cut a density: radii and neighbour counts are swept, and the rows alone decide between cuts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.cluster import HDBSCAN

from holdfast.cluster._start import as_float32, leading
from holdfast.evidence import neighbourhood_size, structure
from holdfast.functional.geometry import LIFT_UP_TO, lift
from holdfast.graph import (
    Neighbours,
    closeness_graph,
    communities_at,
    community_links,
    density_tree,
    jaccard_graph,
    join_beyond_lists,
    linkage_path,
    nearest_neighbours,
    random_walk,
    spread_labels,
    unit_rows,
    weight_shares,
)

__all__ = [
    "NOT_SEEN",
    "Cut",
    "DensityRows",
    "Merge",
    "Sweep",
    "all_in_one",
    "choose",
    "cut_density",
    "nearly_as_good",
    "stand_in",
]

NOT_SEEN = -2

_STEPS = 8  # of diffusion; 4 and 16 are a few points worse on most sets
_COUNTS = (10, 20, 40)  # min_samples that are tried
_USUAL_COUNT = 5  # scikit-learn's, where the radius is given
_EXPECTED = 10  # clusters assumed while choosing how many neighbours to look at
# Weights in the score, found on nine sets; without either of the last two, sets of few leaks fall in pieces.
_WITHIN, _EVENNESS, _LEAK = 0.5, 0.3, 0.02
_LEAST_LEAK = 1e-3  # less says nothing
_USEFUL = 0.1  # of the mean size, below which a cluster is a fragment
_SHARES = np.concatenate([np.linspace(0.2, 0.88, 15), 1 - np.geomspace(0.1, 1e-4, 18)])  # of the tree
_SPARE = 10  # neighbours listed beyond those that core distances need
_JOINED_UP_TO = 50_000  # rows: beyond, neighbours are not exact either
_HDBSCAN_ROWS, _HDBSCAN_DIRECTIONS = 10_000, 32
_HDBSCAN_SIZES = (10, 20, 40, 80, 160)
_MERGED = 8  # of the best cuts
_MOST_MERGED = 1_000  # clusters of a cut that is merged
_NEARLY = 0.03  # of score: what is no farther behind the best may be right as well


@dataclass(frozen=True)
class Sweep:
    """What a cut is looked for with; None is "auto"."""

    density: str
    eps: float | None
    min_samples: int | None
    steps: int | None
    seed: int


@dataclass(frozen=True, eq=False)
class Cut:
    """One answer of DBSCAN or HDBSCAN, and how well it stands.

    Attributes
    ----------
    labels : ndarray of shape (n,), int32
        -1 is noise, -2 a row that was left out.
    eps : float or None
        DBSCAN's radius, as a cosine distance.
    min_samples : int
    min_cluster_size : int or None
        HDBSCAN's.
    score : float
        See :meth:`DensityRows.score`; minus infinity below two clusters.
    """

    labels: np.ndarray
    eps: float | None
    min_samples: int
    min_cluster_size: int | None = None
    score: float = -np.inf

    @property
    def count(self) -> int:
        """How many clusters."""
        return int(self.labels.max(initial=-1)) + 1

    def summary(self) -> dict[str, Any]:
        """Return it as plain values, without labels."""
        asked = {"eps": self.eps, "min_samples": self.min_samples, "min_cluster_size": self.min_cluster_size}
        kept = {name: value for name, value in asked.items() if value is not None}
        return {**kept, "n_clusters": self.count, "noise": float((self.labels == -1).mean())} | (
            {"score": self.score} if np.isfinite(self.score) else {}
        )


@dataclass(frozen=True, eq=False)
class Merge:
    """A cut whose closest clusters were merged, or left as they are.

    Attributes
    ----------
    cut : Cut
    owner : ndarray of shape (k,), int64
        What each of the cut's clusters became part of, from 0.
    score : float
        As the score of a cut.
    is_stand_in : bool
        Whether the clusters are no density's: see :func:`stand_in`.
    """

    cut: Cut
    owner: np.ndarray
    score: float
    is_stand_in: bool = False

    @property
    def count(self) -> int:
        """How many clusters are left."""
        return int(self.owner.max(initial=-1)) + 1

    @property
    def labels(self) -> np.ndarray:
        """Merged clusters (n,), int64; what is negative in the cut stays."""
        found = self.cut.labels.astype(np.int64)
        return np.where(found >= 0, np.append(self.owner, 0)[found], found)


class DensityRows:
    """Rows as densities are estimated: centred, along leading directions, with their neighbour graph.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    mean : ndarray of shape (d,)
    scale : float
        Root mean square of the centred entries.
    seed : int
        Draws the rows that tell leading directions.
    """

    def __init__(self, X: np.ndarray, mean: np.ndarray, scale: float, seed: int) -> None:
        self.X = X
        if X.shape[1] <= LIFT_UP_TO:
            lifted = lift(torch.from_numpy(as_float32(X) - mean), scale * X.shape[1] ** 0.5)
            self.rows = unit_rows(lifted.numpy())
        else:
            self.rows = leading(X, lambda rows: unit_rows(as_float32(rows) - mean), seed)

    @cached_property
    def neighbours(self) -> Neighbours:
        """The meaningful neighbours: a cut is judged by them."""
        return nearest_neighbours(self.rows, neighbourhood_size(len(self.rows), _EXPECTED))

    @cached_property
    def graph(self) -> sparse.csr_matrix:
        """Their Jaccard graph."""
        return jaccard_graph(self.neighbours)

    def diffused(self, steps: int) -> np.ndarray:
        r"""Average rows over random walks on the graph, :math:`W^t X` (n, r): clusters draw together."""
        walk, rows = random_walk(self.graph), self.rows
        for _ in range(steps):
            rows = walk @ rows
        return np.asarray(rows)

    def spread(self, labels: np.ndarray) -> np.ndarray:
        """Give noise among labels (n,) to the clusters that it is connected to."""
        return spread_labels(labels, self.graph)

    def score(self, labels: np.ndarray) -> float:
        r"""Score labels (n,) of any number of clusters, two at least, without labels.

        .. math:: w / 2 - \sum_j d_j^2 + 0.3\,H - 0.02 \ln (1 - w)

        once noise is given to the clusters that it is connected to, with *w* the share of the graph's weight
        inside clusters, :math:`d_j` that at the nodes of cluster *j*, and *H* the entropy of the sizes over
        its maximum. Modularity has *w* alone where this has a logarithm too: where hardly any weight leaks
        out of true clusters, a little more is a lot.
        """
        spread = self.spread(labels)
        return _score(*weight_shares(spread, self.graph), np.bincount(spread[spread >= 0]))

    def structure(self, labels: np.ndarray, n_clusters: int) -> float:
        """Label-free score of labels (n,), comparable between partitions of one number of clusters."""
        return structure(labels, self.graph, n_clusters).value


def cut_density(seen: DensityRows, sweep: Sweep) -> list[Cut]:
    """Find the clusters of rows by density.

    With a radius given there is one cut, and it is DBSCAN's own. Otherwise the trees of several
    ``min_samples`` are cut at 33 radii each (or HDBSCAN is asked for several sizes); clusters below a tenth
    of the mean size become noise; and each cut has a score.

    Parameters
    ----------
    seen : DensityRows
    sweep : Sweep

    Returns
    -------
    list of Cut
        Best first; cuts without two clusters come last.
    """
    cuts = list(_hdbscan_cuts(seen, sweep) if sweep.density == "hdbscan" else _dbscan_cuts(seen, sweep))
    scored = [replace(cut, score=seen.score(cut.labels)) if cut.count > 1 else cut for cut in cuts]
    return sorted(scored, key=lambda cut: -cut.score)


def _dbscan_cuts(seen: DensityRows, sweep: Sweep) -> Iterator[Cut]:
    steps = sweep.steps if sweep.steps is not None else 0 if sweep.eps is not None else _STEPS
    rows = seen.diffused(steps) if steps else seen.X
    counts = _counts(len(rows), sweep)
    neighbours = nearest_neighbours(rows, max(counts) + _SPARE)
    for min_samples in counts:
        tree = density_tree(neighbours, min_samples)
        if sweep.eps is not None:
            exact = len(rows) <= _JOINED_UP_TO
            components = join_beyond_lists(rows, tree, sweep.eps) if exact else None
            yield Cut(tree.cut(sweep.eps, components).astype(np.int32), sweep.eps, min_samples)
        else:
            for eps in tree.radii(_SHARES):
                yield Cut(_useful(tree.cut(float(eps))), float(eps), min_samples)


def _counts(n: int, sweep: Sweep) -> list[int]:
    """List the ``min_samples`` to try: smaller ones than usual for very few rows."""
    if sweep.min_samples is not None:
        return [sweep.min_samples]
    if sweep.eps is not None:
        return [_USUAL_COUNT]
    return sorted({min(count, max(2, n // 20)) for count in _COUNTS})


def _useful(labels: np.ndarray) -> np.ndarray:
    """Take clusters below a tenth of the mean size for noise; numbers from 0 again."""
    clustered = labels >= 0
    sizes = np.bincount(labels[clustered])
    if len(sizes) == 0:
        return labels.astype(np.int32)
    kept = sizes >= _USEFUL * sizes.mean()
    number = np.where(kept, np.cumsum(kept) - 1, -1)
    return np.where(clustered, number[labels], labels).astype(np.int32)


def _hdbscan_cuts(seen: DensityRows, sweep: Sweep) -> Iterator[Cut]:
    """Ask scikit-learn's HDBSCAN, which compares all pairs of rows, for a sample of them."""
    n = len(seen.rows)
    rows = seen.diffused(_STEPS if sweep.steps is None else sweep.steps)
    random = np.random.default_rng(sweep.seed)
    some = np.sort(random.choice(n, min(n, _HDBSCAN_ROWS), replace=False))
    short = _along_leading(unit_rows(rows[some]))
    for size in sorted({int(np.clip(size, 2, max(2, len(some) // 4))) for size in _HDBSCAN_SIZES}):
        min_samples = min(sweep.min_samples or _COUNTS[0], size, len(some))
        model = HDBSCAN(min_cluster_size=size, min_samples=min_samples, copy=True)
        found = np.full(n, NOT_SEEN, dtype=np.int64)
        found[some] = np.maximum(model.fit_predict(short), -1)
        yield Cut(_useful(found), None, min_samples, size)


def _along_leading(rows: np.ndarray) -> np.ndarray:
    return leading(rows, as_float32, 0)[:, :_HDBSCAN_DIRECTIONS]


def choose(seen: DensityRows, cuts: list[Cut], n_clusters: int | None) -> list[Merge]:
    """Merge the closest clusters of the best cuts, pair by pair, and rank all that comes by.

    A radius low enough to tell the densest clusters apart cuts others in pieces, and one high enough to hold
    those together runs the first into one: merging repairs what no single radius can have. Pairs are merged
    by graph degree linkage (:func:`holdfast.graph.linkage_path`).

    Parameters
    ----------
    seen : DensityRows
    cuts : list of Cut
        Best first.
    n_clusters : int or None
        What alone is wanted.

    Returns
    -------
    list of Merge
        Best first; none where no cut has clusters enough.
    """
    least = 2 if n_clusters is None else n_clusters
    enough = [cut for cut in cuts if cut.count >= least][:_MERGED]
    found = [merge for cut in enough for merge in _merges(seen, cut)]
    wanted = [merge for merge in found if n_clusters in (None, merge.count)]
    return sorted(wanted, key=lambda merge: -merge.score)


def stand_in(seen: DensityRows, cut: Cut, n_clusters: int) -> Merge:
    """Return communities of the neighbour graph in the place of a cut, where densities give too few."""
    labels = communities_at(seen.graph, n_clusters)[0]
    found = replace(cut, labels=labels.astype(np.int32), eps=None)
    return Merge(found, np.arange(found.count), cut.score, is_stand_in=True)


def all_in_one(cut: Cut) -> Merge:
    """Make one cluster of all that a cut found; of all rows where it found nothing but noise."""
    labels = np.where(cut.labels == -1, 0, cut.labels) if cut.count == 0 else cut.labels
    found = replace(cut, labels=labels.astype(np.int32))
    return Merge(found, np.zeros(found.count, dtype=np.int64), cut.score)


def nearly_as_good(merges: list[Merge]) -> list[int]:
    """Numbers of clusters of all that is hardly behind the best, ascending."""
    return sorted({merge.count for merge in merges if merge.score >= merges[0].score - _NEARLY})


def _merges(seen: DensityRows, cut: Cut) -> Iterator[Merge]:
    """Yield a cut as it is, and after each merge down to two clusters."""
    yield Merge(cut, np.arange(cut.count), cut.score)
    if cut.count > _MOST_MERGED:
        return
    spread = seen.spread(cut.labels)
    inside = spread >= 0
    groups, total = spread[inside], float(seen.graph.data.sum(dtype=np.float64)) or 1.0
    links = community_links(seen.graph[inside][:, inside], groups).toarray() / total
    sizes = np.bincount(groups)
    for owner in linkage_path(closeness_graph(seen.neighbours)[inside][:, inside], groups):
        within = float(links[owner[:, None] == owner].sum())
        chance = float(np.square(np.bincount(owner, weights=links.sum(axis=1))).sum())
        yield Merge(cut, owner, _score(within, chance, np.bincount(owner, weights=sizes)))


def _score(within: float, chance: float, sizes: np.ndarray) -> float:
    """Put together what :meth:`DensityRows.score` is made of; `sizes` (k,) are those of the clusters."""
    share = sizes / sizes.sum()
    evenness = -float((share * np.log(share)).sum()) / float(np.log(len(share)))
    leak = float(np.log(max(1 - within, _LEAST_LEAK)))
    return _WITHIN * within - chance + _EVENNESS * evenness - _LEAK * leak
