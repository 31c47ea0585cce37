"""The members of an ensemble: partitions of several kinds, whose mistakes differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from holdfast.cluster._temi import train_heads
from holdfast.cluster._views import GraphView, View
from holdfast.graph import (
    can_link,
    closeness_graph,
    communities_at,
    fine_communities,
    kmeans_on_sample,
    linkage_at,
    random_walk,
    unit_rows,
)

__all__ = ["Member", "fine_enough", "graph_members", "head_members", "kmeans_members", "linkage_members"]

_NEIGHBOUR_COUNTS = (10, 15, 25)
_LINKED_COUNTS = (10, 25)
_DIFFUSED_BY = _AS_THEY_STAND = 15  # neighbours
_STEPS = (2, 4)  # of the walk: more would smooth clusters into one
_STARTS = 2  # of k-means on each view
_SHUFFLES = 6  # of the nodes of all graphs together, at least
_HEADS = 4
_SAMPLE, _SAMPLE_A_CLUSTER = 5_000, 30  # rows that k-means finds its centres on
_FINE, _FINE_A_CLUSTER, _MOST_FINE = 200, 8, 2_000  # communities that linkage begins with


@dataclass(frozen=True, eq=False)
class Member:
    """One partition and where it comes from.

    Attributes
    ----------
    kind : {"k-means", "graph", "linkage", "TEMI", "DEC"}
    name : str
        What distinguishes it from the others of its kind.
    labels : ndarray of shape (n,), int64
        Numbers from 0.
    """

    kind: str
    name: str
    labels: np.ndarray


def kmeans_members(views: Sequence[View], n_clusters: int, seed: int) -> Iterator[Member]:
    """k-means on every view, on its rows diffused along its graph, and on random halves of the directions."""
    rng = np.random.default_rng(seed)
    size = max(_SAMPLE, _SAMPLE_A_CLUSTER * n_clusters)

    def partition(rows: np.ndarray) -> np.ndarray:
        return kmeans_on_sample(rows, n_clusters, sample_size=size, seed=int(rng.integers(1 << 31)))[0]

    for name, rows in _kmeans_rows(views):
        for start in range(_STARTS):
            yield Member("k-means", f"{name}, start {start + 1}", partition(rows))
        half = np.sort(rng.permutation(rows.shape[1])[: max(2, rows.shape[1] // 2)])
        yield Member(
            "k-means", f"{name}, half of the directions", partition(np.ascontiguousarray(rows[:, half]))
        )


def _kmeans_rows(views: Sequence[View]) -> Iterator[tuple[str, np.ndarray]]:
    for view in views:
        yield view.name, view.rows
        if isinstance(view, GraphView):
            rows, walk, done = view.rows, _lazy_walk(view), 0
            for steps in _STEPS:
                for _ in range(steps - done):
                    rows = np.asarray(walk @ rows)
                done = steps
                yield f"{view.name}, diffused {steps} steps", rows


def _lazy_walk(view: GraphView) -> sparse.csr_matrix:
    """Random walk on the Jaccard graph that stays where it is every other step."""
    walk = random_walk(view.graph(_DIFFUSED_BY))
    return random_walk((walk + sparse.identity(walk.shape[0], dtype=np.float32)).tocsr())


def graph_members(views: Sequence[View], n_clusters: int, seed: int | None) -> Iterator[Member]:
    """Communities of every graph, its nodes in orders shuffled by a seed, and of some as they stand.

    Without a seed there is one graph, of most neighbours, and no shuffle.
    """
    graphs = list(_graphs(views))
    if seed is None:
        for name, view, k in graphs[-1:]:
            labels = communities_at(view.graph(k), n_clusters, orders=(None,))[0]
            yield Member("graph", f"{name}, content", labels)
        return
    n_orders = -(-_SHUFFLES // len(graphs))
    for number, (name, view, k) in enumerate(graphs):
        orders: dict[str, int | None] = {
            f"shuffle {i + 1}": seed + number * n_orders + i for i in range(n_orders)
        }
        if k == min(_AS_THEY_STAND, view.neighbours.k):
            orders["content"] = None
        found = communities_at(view.graph(k), n_clusters, orders=[*orders.values()])
        for order, labels in zip(orders, found, strict=True):
            yield Member("graph", f"{name}, {order}", labels)


def linkage_members(views: Sequence[View], n_clusters: int) -> Iterator[Member]:
    """Graph degree linkage on every graph, weighted by distances and by shared neighbours."""
    for name, view, k in _graphs(views, _LINKED_COUNTS):
        graph = view.graph(k)
        groups = fine_communities(graph, fine_enough(graph.shape[0], n_clusters), None)
        if not can_link(groups, n_clusters):
            continue
        for kind, weights in (
            ("distances", closeness_graph(view.neighbours.first(k))),
            ("shared neighbours", graph),
        ):
            yield Member("linkage", f"{name}, {kind}", linkage_at(weights, groups, n_clusters))


def fine_enough(n_rows: int, n_clusters: int) -> int:
    """How many small communities are enough to merge into clusters."""
    wanted = min(max(_FINE, _FINE_A_CLUSTER * n_clusters), _MOST_FINE)
    return max(min(wanted, n_rows // 4), min(n_clusters + n_clusters // 2, n_rows))


def head_members(view: GraphView, starts: Sequence[Member], n_clusters: int, seed: int) -> Iterator[Member]:
    """TEMI's heads on one view, each started from a k-means member."""
    starts = starts[:_HEADS]
    answers = train_heads(
        unit_rows(view.rows), view.neighbours.indices, [start.labels for start in starts], n_clusters, seed
    )
    for start, labels in zip(starts, answers, strict=True):
        yield Member("TEMI", f"from {start.name}", labels)


def _graphs(
    views: Sequence[View], counts: Sequence[int] = _NEIGHBOUR_COUNTS
) -> Iterator[tuple[str, GraphView, int]]:
    """Name, view and number of neighbours of every graph; counts beyond what is meaningful become one."""
    for view in views:
        if isinstance(view, GraphView):
            for k in dict.fromkeys(min(k, view.neighbours.k) for k in counts):
                yield f"{view.name}, {k} neighbours", view, k
