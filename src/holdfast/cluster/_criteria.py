"""What each criterion says of the number of clusters: a curve over counts, higher is likelier."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from holdfast.cluster._density_cut import DensityRows, Sweep, choose, cut_density
from holdfast.cluster._dirichlet import SEEN_COLUMNS, DirichletGMM
from holdfast.cluster._start import leading
from holdfast.cluster._views import GraphView, centred_view
from holdfast.evidence import structure
from holdfast.functional.geometry import mean_row, root_mean_square
from holdfast.graph import (
    closeness_graph,
    communities,
    fine_communities,
    kmeans,
    linkage_path,
    random_walk,
    unit_rows,
)
from holdfast.metrics import ari, sampled_silhouette

__all__ = ["Criteria", "Curve", "Cut"]

_NEAR, _FAR = 15, 25  # neighbours; more than a cluster has rows tie it to others, few leave it in pieces
_ROWS_A_NEIGHBOUR = 20
_RESOLUTIONS = np.geomspace(0.02, 20, 36)
_EVERY = 2  # resolutions at which cuts are made again and measured
_USEFUL_SHARE, _USEFUL_ROWS = 0.25, 5  # smaller communities are fragments
_PREFERENCE = 0.8  # how fast a resolution is believed less, by the logarithm of its distance from 1
_WIDTH = 0.15  # of a count, in its logarithm
_SUBSETS, _SUBSET_SHARE = 2, 0.8
_COUNTS, _ROWS_A_CLUSTER, _MOST_CLUSTERS = 14, 8, 220  # at which k-means and merging are compared
_FINE, _TINY = 300, 1e-4
_LEAST_EXCESS, _LEAST_LOSS = 0.03, 0.05
_STARTS = 2
_UNHARMED, _MORE_MODULAR = 0.9, 0.03  # clouds reach .76 and .02; collections .65 at least, nearly all more
_WORST = 0.3  # behind the best score of a density, from where on it makes no difference
_MIXTURE_WIDTH = 0.35


@dataclass(frozen=True, eq=False)
class Curve:
    """How likely a criterion finds each of some numbers of clusters.

    Attributes
    ----------
    counts : ndarray of shape (m,), float64
        Ascending.
    values : ndarray of shape (m,), float64
    """

    counts: np.ndarray
    values: np.ndarray

    @property
    def pick(self) -> int:
        """The likeliest number."""
        return round(float(self.counts[self.values.argmax()]))

    def at(self, counts: np.ndarray) -> np.ndarray:
        """Interpolate at other counts, on a log scale; beyond the ends the curve stays as it is."""
        return np.asarray(np.interp(np.log(counts), np.log(self.counts), self.values))


@dataclass(frozen=True, eq=False)
class Cut:
    """A graph cut at one resolution."""

    resolution: float
    labels: np.ndarray

    @cached_property
    def count(self) -> int:
        """Communities that are no fragments."""
        sizes = np.bincount(self.labels)
        return max(1, int((sizes >= max(_USEFUL_ROWS, _USEFUL_SHARE * sizes.mean())).sum()))


class Criteria:
    """The rows of a collection, or a sample, as the criteria look at them.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        In an order that does not depend on the one they were given in.
    seed : int
        Draws subsets and starts.
    """

    def __init__(self, X: np.ndarray, seed: int) -> None:
        self.X, self._seed = X, seed
        n_neighbours = int(np.clip(len(X) // _ROWS_A_NEIGHBOUR, 2, _FAR))
        self.view: GraphView = centred_view(X, n_neighbours)
        self.near = self.view.neighbours.first(min(_NEAR, n_neighbours))
        self.graph = self.view.graph(self.near.k)
        self.counts = np.unique(
            np.geomspace(2, np.clip(len(X) // _ROWS_A_CLUSTER, 2, _MOST_CLUSTERS), _COUNTS).round()
        ).astype(np.int64)
        self._cuts_by_neighbours: dict[int, list[Cut]] = {}

    @cached_property
    def measured(self) -> list[Cut]:
        """Every second cut of the graph of near neighbours into two communities or more."""
        return [cut for cut in self._cuts(self.near.k)[::_EVERY] if cut.count >= 2]

    def _cuts(self, n_neighbours: int) -> list[Cut]:
        """Cut a graph at every resolution, up to where clusters are a few rows."""
        if n_neighbours in self._cuts_by_neighbours:
            return self._cuts_by_neighbours[n_neighbours]
        graph, found = self.view.graph(n_neighbours), list[Cut]()
        for resolution in _RESOLUTIONS.tolist():
            found.append(Cut(resolution, communities(graph, resolution, seed=0)))
            if found[-1].count > len(self.X) / _USEFUL_ROWS:
                break
        self._cuts_by_neighbours[n_neighbours] = found
        return found

    def plateau(self, grid: np.ndarray) -> Curve:
        r"""Communities: how many resolutions, and how natural ones, lead to each number.

        With resolutions :math:`\gamma` evenly spread on a log scale and :math:`k(\gamma)` communities,

        .. math::

            \ln \sum_\gamma \exp\left(-0.8 |\ln \gamma|
            - \frac{(\ln k - \ln k(\gamma))^2}{2 \cdot 0.15^2}\right)

        which is long plateaus weighed by a prior: at :math:`\gamma = 1` modularity compares with chance as it
        was defined.
        """
        total = np.zeros(len(grid))
        for n_neighbours in dict.fromkeys((self.near.k, self.view.neighbours.k)):
            for cut in self._cuts(n_neighbours):
                if cut.count < 2:
                    continue
                away = np.square((np.log(grid) - np.log(cut.count)) / _WIDTH)
                total += np.exp(-_PREFERENCE * abs(np.log(cut.resolution)) - away / 2)
        return Curve(grid, np.log(total / max(total.sum(), _TINY) + _TINY))

    def stability(self) -> Curve:
        """How well the cuts survive leaving out a fifth of the rows.

        Minus the logarithm of what is lost: of one less the adjusted Rand index, both over chance.
        """
        chances = [_chance_of_survival(cut.count) for cut in self.measured]
        kept = (np.subtract(self._survivals, chances) / np.subtract(1, chances)).clip(0, 1)
        return _by_count(self.measured, (-np.log(1 - kept + _LEAST_LOSS)).tolist())

    @cached_property
    def _survivals(self) -> list[float]:
        random = np.random.default_rng(self._seed)
        n = len(self.X)
        kept = [np.sort(random.permutation(n)[: int(_SUBSET_SHARE * n)]) for _ in range(_SUBSETS)]
        parts = [(rows, self.graph[rows][:, rows]) for rows in kept]
        return [self._survival(cut, parts) for cut in self.measured]

    def _survival(self, cut: Cut, parts: Sequence[tuple[np.ndarray, sparse.csr_matrix]]) -> float:
        again = [ari(cut.labels[rows], communities(part, cut.resolution, seed=1)) for rows, part in parts]
        return float(np.mean(again))

    def separation(self) -> Curve:
        """Silhouette of the cuts in rows averaged twice over their neighbourhoods."""
        walk = random_walk(self.graph)
        smooth = np.asarray(walk @ (walk @ unit_rows(self.view.rows)))
        values = [sampled_silhouette(smooth, cut.labels, random_state=0).value for cut in self.measured]
        return _by_count(self.measured, values)

    def merging(self) -> Curve:
        """Over-cluster, then merge: where merged groups and k-means agree, over chance.

        Graph degree linkage follows chains of neighbours and k-means makes round clusters: what both find
        at one number of clusters is in the rows. Logarithm of the mean adjusted Rand index.
        """
        groups = fine_communities(
            self.graph, min(len(self.X) // 4, max(_FINE, 2 * int(self.counts[-1]))), None
        )
        merged = [self._merged(weights, groups) for weights in (self.graph, closeness_graph(self.near))]
        counts = sorted(set(merged[0]) & set(merged[1]))
        values = [self._excess(count, [found[count] for found in merged]) for count in counts]
        return _curve(counts, np.log(values).tolist())

    def _merged(self, weights: sparse.csr_matrix, groups: np.ndarray) -> dict[int, np.ndarray]:
        """Merge groups, and keep the partitions (n,) into the numbers that are asked for."""
        path = ((int(owners.max()) + 1, owners) for owners in linkage_path(weights, groups))
        wanted = set(self.counts.tolist())
        return {count: owners[groups] for count, owners in path if count in wanted}

    def density(self) -> Curve:
        """DBSCAN at many radii, its closest clusters merged: the best score at each number.

        See :class:`DensityMLP`, which learns the best of these cuts.
        """
        mean = mean_row(self.X)
        seen = DensityRows(self.X, mean, root_mean_square(self.X, mean), self._seed)
        merges = choose(seen, cut_density(seen, Sweep("dbscan", None, None, None, self._seed)), None)
        best: dict[int, float] = {}
        for merge in merges:  # best first
            best.setdefault(merge.count, merge.score)
        counts = sorted(count for count in best if count >= 2)
        return _curve(counts, [max(best[count], merges[0].score - _WORST) for count in counts])

    def mixture(self, grid: np.ndarray) -> Curve:
        """Components of a Dirichlet-process Gaussian mixture: one number, and what is near it."""
        away = np.square((np.log(grid) - np.log(max(self._components, 2))) / _MIXTURE_WIDTH)
        return Curve(grid, np.exp(-away / 2))

    @cached_property
    def _components(self) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a mixture that nobody asked for
            mixture = DirichletGMM(random_state=self._seed)
            mixture._fit_rows(self.X)  # what `fit` adds, checks and levels, is not asked for
        return mixture.n_clusters_

    def look_like_one_cloud(self) -> bool:
        """Tell whether rows are no more clustered than one Gaussian cloud of the same covariance.

        They are if no cut survives losing rows unharmed, and if the graph is hardly more modular than that of
        the cloud, both cut at resolution 1 (modularity over its maximum, see :func:`evidence.structure`).
        The graphs of few columns are chains and nets, of the same modularity whatever hangs on them: there
        the mixture tells.
        """
        if self.X.shape[1] <= SEEN_COLUMNS:
            return self._components == 1
        if max(self._survivals, default=1.0) >= _UNHARMED:
            return False
        mean, n = mean_row(self.X), len(self.X)
        draws = np.random.default_rng(self._seed).standard_normal((n, n), dtype=np.float32)
        cloud = draws @ (self.X - mean) / np.float32(n**0.5) + mean  # sums of rows at random
        excess = self._modularity(self.view) - self._modularity(centred_view(cloud, self.view.neighbours.k))
        return excess < _MORE_MODULAR

    def _modularity(self, view: GraphView) -> float:
        graph = view.graph(self.near.k)
        labels = communities(graph, 1.0, seed=0)
        return structure(labels, graph, int(labels.max()) + 1).agreement

    def _excess(self, count: int, merged: Sequence[np.ndarray]) -> float:
        starts = [kmeans(self._leading, count, n_init=1, seed=self._seed + start) for start in range(_STARTS)]
        agreement = np.mean([ari(labels, other) for labels in starts for other in merged])
        return max(float(agreement) - _chance_of_agreement(count), _LEAST_EXCESS)

    @cached_property
    def _leading(self) -> np.ndarray:
        return leading(self.view.rows, unit_rows, self._seed)


def _by_count(cuts: Sequence[Cut], values: Sequence[float]) -> Curve:
    """Mean value of the cuts into each number of communities."""
    counts, index = np.unique([cut.count for cut in cuts], return_inverse=True)
    sums = np.bincount(index, weights=values, minlength=len(counts))
    return _curve(counts, (sums / np.bincount(index, minlength=len(counts))).tolist())


def _curve(counts: Sequence[int] | np.ndarray, values: Sequence[float]) -> Curve:
    """Make a curve; of nothing, one that prefers no number."""
    if len(counts) == 0:
        return Curve(np.array([2.0]), np.zeros(1))
    return Curve(np.asarray(counts, dtype=np.float64), np.asarray(values, dtype=np.float64))


def _chance_of_survival(count: int) -> float:
    """Survival of cuts of one Gaussian cloud, about, for the shapes of ten collections."""
    return 0.33 + 0.7 / count


def _chance_of_agreement(count: int) -> float:
    """Agreement of k-means and merging on one Gaussian cloud, likewise."""
    return float(0.5 * count**-0.75)
