"""The bridge between two partitions of the same items: which cluster became which.

Letters: ``counts`` (a, b) holds at ``i, j`` the items that old cluster i and new cluster j share. `follow`
does the same for the components of a mixture that moves, which share no items but places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

__all__ = ["KEPT_WHOLE", "PART", "SURVIVED", "Bridge", "Kind", "Pillar", "bridge", "contingency", "follow"]

Kind = Literal["same", "grown", "shrunk", "split from", "merged from", "new", "gone"]
Counts = npt.NDArray[np.integer]

SURVIVED = 0.5
"""Share of a cluster that has to stay together for it to live on."""
KEPT_WHOLE = 0.9
"""Share, of the old cluster and of the new one, from which on a cluster counts as the same."""
PART = 0.25
"""Share of an old cluster that makes a new one a part of its split."""
_MISTAKEN = 8.0
"""How many times their least movement has to be gained before places in an array are not believed."""


@dataclass(frozen=True)
class Pillar:
    """What became of one cluster.

    Attributes
    ----------
    old, new : int or None
        The two ends, as row and column of the counts; None where there is none.
    shared : int
        Items in both; without a partner, items shared with the largest of the sources, if any.
    share_old, share_new : float
        The same as a share of that old and of the new cluster.
    jaccard : float
        Shared items over items in either.
    kind : {"same", "grown", "shrunk", "split from", "merged from", "new", "gone"}
    sources : tuple of int
        The old clusters it was split from or merged from.
    """

    old: int | None
    new: int | None
    shared: int
    share_old: float
    share_new: float
    jaccard: float
    kind: Kind
    sources: tuple[int, ...] = ()


@dataclass(frozen=True)
class Bridge:
    """A one-to-one map of clusters.

    Attributes
    ----------
    pillars : tuple of Pillar
        One for each new cluster, in order, then one for each old cluster that is gone.
    n_items : int
        Items counted, those in no cluster included.
    n_kept : int
        Items that are in the partner of the cluster they were in.
    """

    pillars: tuple[Pillar, ...]
    n_items: int
    n_kept: int

    @property
    def partner(self) -> dict[int, int]:
        """Old cluster by new cluster."""
        return {p.new: p.old for p in self.pillars if p.old is not None and p.new is not None}


def contingency(old: Counts, new: Counts, shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Count items by old and new cluster.

    Parameters
    ----------
    old, new : ndarray of shape (n,), int
        Clusters of each item, from 0; -1 for none. Items without a cluster on one side are left out.
    shape : tuple of int
        Number of old and of new clusters.

    Returns
    -------
    ndarray of shape `shape`, int64
    """
    known = (old >= 0) & (new >= 0)
    cells = old[known].astype(np.int64) * shape[1] + new[known]
    return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape).astype(np.int64)


def bridge(counts: Counts, old_sizes: Counts | None = None, new_sizes: Counts | None = None) -> Bridge:
    r"""Match clusters one to one so that as many items as possible are shared, and name what happened.

    .. math:: \max_m \sum_i n_{i\,m(i)}, \qquad J_{ij} = \frac{n_{ij}}{|O_i| + |N_j| - n_{ij}}

    with *m* one-to-one [1]_; of equally good maps the one of the larger summed Jaccard index *J* is taken. A
    pair that shares less than half of either cluster is no pair. Kinds follow MONIC [2]_, in this order:

    - merged from: at least half of each of two or more old clusters is here;
    - same: at least 90 % of the partner is here and makes up at least 90 %;
    - split from: an old cluster of which at least half of this one comes, when it has another such part and
      both hold at least 25 % of it, or when half of it is not here;
    - grown, shrunk: at least half of the partner is here, among more or fewer items than it had;
    - new: none of these;
    - gone: an old cluster without a partner that no other kind names.

    Parameters
    ----------
    counts : ndarray of shape (a, b), int
        Shared items.
    old_sizes, new_sizes : ndarray of shape (a,) and (b,), int, optional
        Items of each cluster, those included that are in no cluster on the other side; by default the sums
        of `counts`.

    Returns
    -------
    Bridge

    References
    ----------
    .. [1] Kuhn, "The Hungarian method for the assignment problem", 1955.
    .. [2] Spiliopoulou et al., "MONIC: modeling and monitoring cluster transitions", KDD 2006.

    Examples
    --------
    >>> found = bridge(np.array([[50, 0], [2, 30]]))
    >>> [(p.old, p.new, p.shared, p.kind) for p in found.pillars]
    [(0, 0, 50, 'same'), (1, 1, 30, 'same')]
    """
    counts = np.asarray(counts, dtype=np.int64)
    old = np.asarray(counts.sum(1) if old_sizes is None else old_sizes, dtype=np.int64)
    new = np.asarray(counts.sum(0) if new_sizes is None else new_sizes, dtype=np.int64)
    overlap = _Overlap(counts, old, new)
    partner = _partners(overlap)
    pillars = [_pillar(overlap, partner, j) for j in range(len(new))]
    named = {p.old for p in pillars} | {source for p in pillars for source in p.sources}
    gone = [Pillar(i, None, 0, 0.0, 0.0, 0.0, "gone") for i in range(len(old)) if i not in named]
    kept = sum(p.shared for p in pillars if p.old is not None)
    return Bridge((*pillars, *gone), int(max(old.sum(), new.sum())), kept)


class _Overlap:
    """The counts as shares of either side, and what follows from them at once."""

    def __init__(self, counts: Counts, old: Counts, new: Counts) -> None:
        self.counts, self.old, self.new = counts, old, new
        self.of_old = counts / np.maximum(old, 1)[:, None]
        self.of_new = counts / np.maximum(new, 1)
        self.jaccard = counts / np.maximum(old[:, None] + new - counts, 1)
        # Where an old cluster went, and where a new one came from: at least half of it.
        self.went = self.of_old >= SURVIVED
        self.came = self.of_new >= SURVIVED
        self.parts = self.came & (self.of_old >= PART)


def _partners(overlap: _Overlap) -> npt.NDArray[np.intp]:
    """Return the old cluster of each new one, -1 for none."""
    # Jaccard indices of any map sum up to less than the bonus of one item more.
    gain = overlap.counts + overlap.jaccard / (min(overlap.counts.shape, default=0) + 1)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    real = (overlap.went | overlap.came)[rows, columns] & (overlap.counts[rows, columns] > 0)
    partner = np.full(overlap.counts.shape[1], -1, dtype=np.intp)
    partner[columns[real]] = rows[real]
    return partner


def _pillar(overlap: _Overlap, partner: npt.NDArray[np.intp], j: int) -> Pillar:
    i = int(partner[j])
    kind, sources = _kind(overlap, i, j)
    if i < 0 and not sources:
        return Pillar(None, j, 0, 0.0, 0.0, 0.0, kind)
    end, i = (i, i) if i >= 0 else (None, max(sources, key=lambda s: overlap.counts[s, j]))
    share_old, share_new, jaccard = (
        float(table[i, j]) for table in (overlap.of_old, overlap.of_new, overlap.jaccard)
    )
    return Pillar(end, j, int(overlap.counts[i, j]), share_old, share_new, jaccard, kind, sources)


def _kind(overlap: _Overlap, i: int, j: int) -> tuple[Kind, tuple[int, ...]]:
    """Name what happened to new cluster j, whose partner is i (or -1), and the old clusters it came from."""
    merged = np.flatnonzero(overlap.went[:, j])
    if merged.size >= 2:
        return "merged from", tuple(merged.tolist())
    if i >= 0 and min(overlap.of_old[i, j], overlap.of_new[i, j]) >= KEPT_WHOLE:
        return "same", ()
    if i >= 0 and overlap.parts[i, j] and overlap.parts[i].sum() >= 2:
        return "split from", (i,)
    if i >= 0 and overlap.went[i, j]:
        return ("grown" if overlap.new[j] >= overlap.old[i] else "shrunk"), ()
    if overlap.came[:, j].any():
        return "split from", (int(overlap.of_new[:, j].argmax()),)
    return "new", ()


def follow(
    weights: npt.NDArray[np.floating], means: npt.NDArray[np.floating], variances: npt.NDArray[np.floating]
) -> npt.NDArray[np.intp]:
    r"""Find the components of a mixture again in every later state of it, in whatever order they come.

    Components of two states are as far apart as their means, scales and weights,

    .. math:: |\mu_i - \mu_j|^2 + |\sigma_i - \sigma_j|^2 + L^2 (\sqrt{w_i} - \sqrt{w_j})^2,

    with :math:`L^2` the variance of the whole, and are matched one to one so that the sum is least. Where
    the order they came in explains the states nearly as well, it is kept: components may cross.

    Parameters
    ----------
    weights : ndarray of shape (s, k)
        Of each component in each state.
    means, variances : ndarray of shape (s, k, d)

    Returns
    -------
    ndarray of shape (s, k), int
        At ``t, i`` the place in state t of the component that is at place i in the first.
    """
    places = np.concatenate([means, np.sqrt(variances)], axis=2, dtype=np.float64)
    spread = np.var(means[-1], axis=0).sum() + np.mean(variances[-1], axis=0).sum()
    masses = np.sqrt(spread * np.asarray(weights, dtype=np.float64))[..., None]
    order = np.tile(np.arange(weights.shape[1], dtype=np.intp), (len(weights), 1))
    for t in range(1, len(order)):
        own = order[t - 1]
        moved = cdist(places[t - 1][own], places[t], "sqeuclidean")
        cost = moved + cdist(masses[t - 1][own], masses[t], "sqeuclidean")
        order[t] = _believable(cost, moved, own, linear_sum_assignment(cost)[1])
    return order


def _believable(
    cost: npt.NDArray[np.float64],
    moved: npt.NDArray[np.float64],
    own: npt.NDArray[np.intp],
    best: npt.NDArray[np.intp],
) -> npt.NDArray[np.intp]:
    """Take the best places, but leave those their own who change them among each other for little."""
    holder = np.empty_like(own)
    holder[own] = np.arange(len(own))
    heir, chosen = holder[best], best.copy()
    seen = heir == np.arange(len(own))
    for i in range(len(own)):
        if seen[i]:
            continue
        cycle = [i]
        while heir[cycle[-1]] != i:
            cycle.append(int(heir[cycle[-1]]))
        seen[cycle] = True
        gain = cost[cycle, own[cycle]].sum() - cost[cycle, best[cycle]].sum()
        if gain <= _MISTAKEN * moved[cycle, best[cycle]].sum():
            chosen[cycle] = own[cycle]
    return chosen
