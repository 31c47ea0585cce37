"""From rows to a consensus: views, members, votes. No estimator, no files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import sparse

from holdfast.cluster._members import Member, graph_members, head_members, kmeans_members, linkage_members
from holdfast.cluster._module import DecConfig
from holdfast.cluster._recipe import refine
from holdfast.cluster._start import Start
from holdfast.cluster._views import MOST_NEIGHBOURS, GraphView, View, centred_view, make_views
from holdfast.cluster._votes import Panel, Verdict
from holdfast.evidence import STRUCTURE_SHARES, neighbourhood_size, structure
from holdfast.exceptions import InputError
from holdfast.graph import Neighbours, neighbour_pairs
from holdfast.quality import predicted_quality
from holdfast.training.callbacks import tell

__all__ = ["Consensus", "form_consensus", "form_fast_consensus"]

_DEC_WARM_EPOCHS, _DEC_EPOCHS, _DEC_BATCH_SIZE = 8, 12, 512  # a member among many need not be perfect
_FAST_NEIGHBOURS = 15
_TINY = 1e-30  # total weight of a graph without edges


@dataclass(frozen=True, eq=False)
class Consensus:
    """A partition and what it stands on.

    Attributes
    ----------
    labels : ndarray of shape (n,), int64
    neighbours : Neighbours
        Of the rows, as many as are meaningful.
    graph : csr_matrix of shape (n, n)
        That partitions are judged on.
    pairs : tuple of ndarray
        Rows that members voted on, two by two.
    panel : Panel
    verdict : Verdict
    """

    labels: np.ndarray
    neighbours: Neighbours
    graph: sparse.csr_matrix
    pairs: tuple[np.ndarray, np.ndarray]
    panel: Panel
    verdict: Verdict

    def expected(self, labels: np.ndarray) -> float:
        """Predict the share of labels (n,) that is right, from how the members reproduce each other.

        Members are taken in the mixture that :mod:`holdfast.quality` was fitted with; without such ones the
        share of neighbours that agree has to do.
        """
        references = [member for member in self.panel.members if _is_reference(member)]
        kinds = {member.kind for member in references}
        n_clusters = int(labels.max()) + 1
        if len(kinds) < 2 or n_clusters == 1:
            return float((labels[self.neighbours.indices] == labels[:, None]).mean())
        partitions = [member.labels for member in references]
        return predicted_quality(labels, self.neighbours, partitions, n_clusters).purity


def form_consensus(
    X: np.ndarray, config: DecConfig, widths: tuple[int, ...], kinds: Collection[str]
) -> Consensus:
    """Make members of the kinds asked for, and let them vote.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        In an order that does not depend on the one they were given in.
    config : DecConfig
        Number of clusters, seed, and how the member that is trained is trained.
    widths : tuple of int
        Columns of each embedding space.
    kinds : collection of {"kmeans", "graph", "linkage", "temi", "dec"}

    Returns
    -------
    Consensus
    """
    k = config.n_clusters
    views = make_views(X, widths, neighbourhood_size(len(X), k, MOST_NEIGHBOURS), config.seed)
    forming = _Forming(X, config, views)
    members: list[Member] = []
    for done, kind in enumerate(kinds):
        members += forming.make(kind)
        tell("members", done + 1, len(kinds) + 1, {})
    consensus = forming.settle(members)
    tell("members", len(kinds) + 1, len(kinds) + 1, {})
    return consensus


def form_fast_consensus(X: np.ndarray, config: DecConfig) -> Consensus:
    """Cut one graph by communities and by linkage, and take what has more structure."""
    k = config.n_clusters
    views: list[View] = [centred_view(X, neighbourhood_size(len(X), k, _FAST_NEIGHBOURS))]
    forming = _Forming(X, config, views)
    return forming.settle([*graph_members(views, k, None), *linkage_members(views, k)])


def _view_of(member: Member) -> str:
    return member.name.partition(",")[0]


def _is_reference(member: Member) -> bool:
    """Whether a member is of the mixture that the predicted quality was fitted with, 3 k-means to a graph."""
    if _view_of(member) not in ("raw", "unit", "centred"):
        return False  # of one embedding space of several
    if member.kind == "k-means":
        return "diffused" not in member.name or member.name.endswith("start 1")
    return member.kind == "graph" and member.name.endswith("shuffle 1")


class _Forming:
    """An ensemble in the making: its views, and the graph that everything is judged on."""

    def __init__(self, X: np.ndarray, config: DecConfig, views: list[View]) -> None:
        main = views[-1]
        if not isinstance(main, GraphView):
            raise TypeError("the last view must have neighbours")
        self.X, self.config, self.views, self.main = X, config, views, main
        self._k = config.n_clusters
        self._near = main.neighbours.first(neighbourhood_size(len(X), self._k))
        self._graph = _judging_graph(views)
        self._kmeans: list[Member] | None = None
        self._heads: list[Member] = []

    def make(self, kind: str) -> list[Member]:
        """Make the members of one kind."""
        makers: dict[str, Callable[[], Iterator[Member] | list[Member]]] = {
            "kmeans": self._kmeans_members,
            "graph": lambda: graph_members(self.views, self._k, self.config.seed),
            "linkage": lambda: linkage_members(self.views, self._k),
            "temi": self._head_members,
            "dec": self._trained_members,
        }
        return list(makers[kind]())

    def settle(self, members: list[Member]) -> Consensus:
        """Let members vote; of none, say so."""
        if not members:
            raise InputError(
                f"none of the members asked for can be made of {len(self.X)} rows and {self._k} clusters; "
                "ask for more kinds of members, or fewer rows (subsample)."
            )
        panel = Panel(members, self._graph, self._k)
        graphs = [view for view in self.views if isinstance(view, GraphView)]
        pairs = neighbour_pairs(view.neighbours for view in graphs)
        verdict = panel.settle(pairs)
        return Consensus(verdict.labels, self._near, self._graph, pairs, panel, verdict)

    def _kmeans_members(self) -> list[Member]:
        if self._kmeans is None:
            self._kmeans = list(kmeans_members(self.views, self._k, self.config.seed))
        return self._kmeans

    def _head_members(self) -> list[Member]:
        starts = [
            member
            for member in self._kmeans_members()
            if member.name.endswith("start 1") and _view_of(member) in ("unit", "centred")
        ]
        self._heads = list(head_members(self.main, starts, self._k, self.config.seed))
        return self._heads

    def _trained_members(self) -> list[Member]:
        """Train on from the k-means member or head of most structure."""
        judge = partial(structure, graph=self._graph, n_clusters=self._k)
        start = max([*self._kmeans_members(), *self._heads], key=lambda member: judge(member.labels))
        config = replace(
            self.config, pretrain_epochs=_DEC_WARM_EPOCHS, max_epochs=_DEC_EPOCHS, batch_size=_DEC_BATCH_SIZE
        )
        begun = Start(start.name, start.labels, judge(start.labels))
        _, labels = refine(self.X, config, begun, self._near, judge)
        return [Member("DEC", f"from {start.kind} on {start.name}", labels)]


def _judging_graph(views: list[View]) -> sparse.csr_matrix:
    """Add the Jaccard graphs of all views and neighbour counts, each scaled to a total weight of its own."""
    total: sparse.csr_matrix | None = None
    for view in views:
        if isinstance(view, GraphView):
            for k, share in STRUCTURE_SHARES.items():
                graph = view.graph(k).copy()  # the view keeps its own
                graph.data *= share / max(float(graph.data.sum(dtype=np.float64)), _TINY)
                total = graph if total is None else total + graph
    if total is None:
        raise TypeError("no view has neighbours")
    return total.tocsr()
