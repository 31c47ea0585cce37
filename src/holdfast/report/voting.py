"""What voted: the partitions of an ensemble by kind, their scores and the weight of their votes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.report.tree import Ballot, Vote

__all__ = ["KINDS", "ballots_of", "in_words"]

KINDS = {
    "k-means": "round groups about their centres",
    "graph": "communities of the neighbour graph",
    "linkage": "groups joined step by step, nearest first",
    "TEMI": "heads trained to give neighbours the same cluster",
    "DEC": "deep embedded clustering",
}
"""What an ensemble may be made of, in the words of the report."""


def ballots_of(members: Iterable[Mapping[str, Any]] | None) -> tuple[Ballot, ...]:
    """Sort the members of an ensemble by kind, the kind with the most weight first.

    Parameters
    ----------
    members : iterable of mapping, optional
        Each with `kind`, `name`, `score`, `support` and `weight`; weights are taken as shares of their sum.
    """
    listed = list(members or ())
    total = sum(float(member["weight"]) for member in listed) or 1.0
    votes = [
        Vote(
            name=str(member["name"]),
            kind=str(member["kind"]),
            score=float(member["score"]),
            support=float(member["support"]),
            share=float(member["weight"]) / total,
        )
        for member in listed
    ]
    kinds = dict.fromkeys(vote.kind for vote in votes)
    found = [_ballot(kind, [vote for vote in votes if vote.kind == kind]) for kind in kinds]
    return tuple(sorted(found, key=lambda ballot: -ballot.share))


def in_words(ballots: Iterable[Ballot]) -> str | None:
    """Write the vote in one line, for the recipe; None where there was none."""
    parts = [f"{len(b.votes)} x {b.kind} ({100 * b.share:.0f} %)" for b in ballots]
    return ", ".join(parts) or None


def _ballot(kind: str, votes: list[Vote]) -> Ballot:
    score = sum(vote.score for vote in votes) / len(votes)
    by_weight = sorted(votes, key=lambda vote: -vote.share)
    return Ballot(kind, score, sum(vote.share for vote in votes), tuple(by_weight))
