"""The number of clusters as an answer: a point, an interval, and how far the criteria agree."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ClusterCount"]


@dataclass(frozen=True)
class ClusterCount:
    """How many clusters a collection seems to have.

    Attributes
    ----------
    n_clusters, low, high : int
        The likeliest number, and the interval in which the true one is about eight times in ten.
    agreement : float
        Mean over the criteria of the smaller of their number and the answer over the larger: 1 where all
        criteria name one number, near 0 where they contradict each other.
    message : str
        A sentence or two for people; it says so where the criteria disagree.
    evidence : dict of str to int
        What each criterion says by itself.
    curves : dict of str to dict
        For each criterion and for their sum, ``"counts"`` and ``"values"``: how likely it finds each number.
        Only the shape of a curve matters, not its height.
    """

    n_clusters: int
    low: int
    high: int
    agreement: float
    message: str
    evidence: dict[str, int]
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)
