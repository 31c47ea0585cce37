"""How the members of an ensemble vote, and what they agree on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import sparse

from holdfast.cluster._members import Member, fine_enough
from holdfast.evidence import Evidence, structure
from holdfast.functional.matching import contingency
from holdfast.functional.mutual import normalised_mutual_information
from holdfast.graph import agreement_graph, can_link, communities_at, fine_communities, linkage_at

__all__ = ["Panel", "Verdict"]

_ALLIES = 8  # members whose agreement counts for one; with more, the kind of most members wins
_SUPPORT_WEIGHT = 0.25
_STRICT = 0.05  # of score: around the best, a member this far behind it has a vote e times as light
_NEAR = 0.15  # of mutual information: the same for one this far from the best
_MILD = 0.15  # of score: the same where all vote
# Of score, for what several made: they smooth each other's mistakes, which no score sees.
_FEW_TOGETHER, _ALL_TOGETHER = 0.006, 0.012


@dataclass(frozen=True, eq=False)
class Verdict:
    """What an ensemble settled on.

    Attributes
    ----------
    labels : ndarray of shape (n,), int64
    name : str
        ``"best member"``, or how the votes were counted.
    scores : dict of str to float
        Of every candidate.
    weights : ndarray of shape (m,)
        Share of each member in what was settled on, or, if that was one member, in the strict count.
    """

    labels: np.ndarray
    name: str
    scores: dict[str, float]
    weights: np.ndarray


class Panel:
    """Judges partitions by structure and by the support of a set of members.

    Parameters
    ----------
    members : sequence of Member
    graph : csr_matrix of shape (n, n)
        Near neighbours, for :func:`holdfast.evidence.structure`.
    n_clusters : int
    """

    def __init__(self, members: Sequence[Member], graph: sparse.csr_matrix, n_clusters: int) -> None:
        self.members = list(members)
        self._graph = graph
        self._n_clusters = n_clusters
        self.likeness = np.eye(len(members))
        for i, j in combinations(range(len(members)), 2):
            self.likeness[i, j] = self.likeness[j, i] = self._alike(members[i], members[j])
        self.structures = np.array([self.structure(member.labels).value for member in members])
        # The member itself, at a likeness of 1, is none of its allies, unless there is no other.
        others = np.sort(self.likeness, axis=1)[:, : max(len(members) - 1, 1)]
        self.supports = others[:, -_ALLIES:].mean(axis=1)
        self.scores = self.structures + _SUPPORT_WEIGHT * self.supports

    def structure(self, labels: np.ndarray) -> Evidence:
        """Score labels (n,) by the graph alone."""
        return structure(labels, self._graph, self._n_clusters)

    def score(self, labels: np.ndarray) -> float:
        """Score a candidate (n,): structure and the support of all members, itself included if it is one."""
        one = Member("", "", labels)
        likeness = np.sort([self._alike(one, other) for other in self.members])
        return self.structure(labels).value + _SUPPORT_WEIGHT * float(likeness[-_ALLIES:].mean())

    def settle(self, pairs: tuple[np.ndarray, np.ndarray]) -> Verdict:
        """Let the members vote on pairs of neighbours; return the candidate of highest score.

        Candidates are the best member; what linkage finds in the agreement of the members near it; and what
        communities find in the agreement of all, each kind having the same say.

        Parameters
        ----------
        pairs : tuple of ndarray
            Two arrays of row numbers.

        Returns
        -------
        Verdict
        """
        best = int(self.scores.argmax())
        behind = self.scores - self.scores[best]
        near = np.exp(behind / _STRICT + (self.likeness[best] - 1) / _NEAR)
        candidates = {"best member": (self.members[best].labels, near)}
        scores = {"best member": self.score(self.members[best].labels)}
        for name, labels, weights, bonus in self._counts(near, self._equal_say(behind), pairs):
            candidates[name] = labels, weights
            scores[name] = self.score(labels) + bonus
        name = max(scores, key=lambda name: scores[name])
        labels, weights = candidates[name]
        return Verdict(labels, name, scores, weights / weights.sum())

    def _equal_say(self, behind: np.ndarray) -> np.ndarray:
        """Weight members (m,) by score, as many as a kind may have."""
        _, kind, count = np.unique(
            [member.kind for member in self.members], return_inverse=True, return_counts=True
        )
        return np.exp(behind / _MILD) / count[kind]

    def _counts(
        self, near: np.ndarray, mild: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]
    ) -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
        """Count the votes: name, labels, weights of the members, and what is added to the score."""
        partitions, k = [member.labels for member in self.members], self._n_clusters
        graph = agreement_graph(partitions, near, pairs)
        groups = fine_communities(graph, fine_enough(graph.shape[0], k), None)
        if can_link(groups, k):
            yield "consensus around the best", linkage_at(graph, groups, k), near, _FEW_TOGETHER
        graph = agreement_graph(partitions, mild, pairs)
        yield "consensus of all", communities_at(graph, k, orders=(None,))[0], mild, _ALL_TOGETHER

    def _alike(self, one: Member, other: Member) -> float:
        shape = (int(one.labels.max()) + 1, int(other.labels.max()) + 1)
        return normalised_mutual_information(contingency(one.labels, other.labels, shape))
