"""The first thing that is read: one title and a few sentences without a term of the trade."""

from __future__ import annotations

import statistics

from holdfast._wording import count, percent
from holdfast.report.tree import Cluster, Comparison, Evidence, Headline, Summary, Trust

__all__ = ["make_headline", "start_name", "start_phrase"]

_START_NAMES = {"kmeans": "k-means", "start": "start of training"}
_NO_STARTS = {"best member", "consensus", "refined"}  # partitions on the way, not starts of their own


def make_headline(
    summary: Summary,
    clusters: tuple[Cluster, ...],
    comparison: Comparison | None,
    trust: Trust | None = None,
) -> Headline:
    """Say in plain language what was found, how far to trust it, and what training changed."""
    title = f"{count(summary.n_items, 'item')} in {count(summary.n_clusters, 'cluster')}"
    sentences = (
        *_sizes(clusters),
        *([] if trust is None or trust.whole is None else [trust.sentences[0]]),
        _trust(summary),
        *_outside(summary),
        *([trust.look] if trust is not None and trust.look else _weakest(summary, clusters)),
        *_training(comparison),
    )
    return Headline(title, sentences)


def start_name(name: str) -> str:
    """Write the name of a start as people do."""
    return _START_NAMES.get(name, name)


def start_phrase(name: str) -> str:
    """Write what training began with: a start, or a partition with a name of its own."""
    return name if name in _NO_STARTS else f"{start_name(name)} start"


def _sizes(clusters: tuple[Cluster, ...]) -> tuple[str, ...]:
    if len(clusters) < 2:
        return ()
    sizes = sorted(cluster.size for cluster in clusters)
    typical = round(statistics.median(sizes))
    return (f"Clusters hold between {sizes[0]:,} and {sizes[-1]:,} items; a typical one holds {typical:,}.",)


def _trust(summary: Summary) -> str:
    sure = 1 - summary.doubtful / summary.n_items
    if sure < 0.5:
        return (
            f"For {percent(1 - sure)} of the items the other clusters together are as likely as their own: "
            "compare the clusters' confidence rather than read it as it stands, and consider fewer of them."
        )
    if summary.doubtful == 0:
        return "The model is more sure than not about every single item."
    return (
        f"The model is more sure than not about {percent(sure)} of the items; "
        f"{count(summary.doubtful, 'item')} {'is' if summary.doubtful == 1 else 'are'} worth a second look."
    )


def _outside(summary: Summary) -> tuple[str, ...]:
    verb = "belongs" if summary.n_noise == 1 else "belong"
    return (f"{count(summary.n_noise, 'item')} {verb} to no cluster.",) if summary.n_noise else ()


def _weakest(summary: Summary, clusters: tuple[Cluster, ...]) -> tuple[str, ...]:
    if len(clusters) < 3:
        return ()
    weakest = min(clusters, key=lambda cluster: cluster.confidence)
    if weakest.doubtful < 0.05 or summary.doubtful > summary.n_items / 2:
        return ()
    doubtful = f"{percent(weakest.doubtful)} of its {count(weakest.size, 'item')}"
    return (f"Look at cluster {weakest.number} first: {doubtful} could as well be elsewhere.",)


def _training(comparison: Comparison | None) -> tuple[str, ...]:
    if comparison is None or comparison.moved is None:
        return ()
    if comparison.moved == 0:
        return (f"Training kept every item where the {start_phrase(comparison.name)} had put it.",)
    moved = f"Training moved {count(comparison.moved, 'item')} ({percent(comparison.share_moved)})"
    return (f"{moved} away from the {start_phrase(comparison.name)}{_evidence(comparison.evidence)}.",)


def _evidence(evidence: tuple[Evidence, ...]) -> str:
    by_role = {item.role: item.value for item in evidence}
    if "start" not in by_role or "result" not in by_role:
        return ""
    before, after = (f"{by_role[role]:.3f}" for role in ("start", "result"))
    if before == after:
        return f" and left the label-free evidence at {after}"
    verb = "raised" if by_role["result"] > by_role["start"] else "lowered"
    return f" and {verb} the label-free evidence from {before} to {after}"
