"""The report as a tree of frozen values: everything that is shown and nothing about how it looks.

::

    Report
    ├── Headline           one title, a few plain sentences
    ├── Summary            the numbers of the header
    ├── Trust              Expected ... (of all, of each cluster), Answered ... (if only the sure are kept)
    ├── Cluster ...        size, confidence, neighbours, and its Members
    │   ├── Member ...     typical, uncertain, foreign
    │   └── Composition    labels that came with the data, where there are any
    ├── Member ...         the doubtful items of the whole collection
    ├── ClusterMap         MapPoint ... and one sheet of small pictures
    ├── Curve ...          the training history
    ├── Ballot ...         which kinds of partition voted, where there was a vote: Vote ...
    ├── Mixture            how a mixture found its components, in mixture.py
    ├── Counting           what each criterion says of the number of clusters, in counts.py
    ├── Comparison         the start against the result: Evidence ..., Flow ...
    ├── Agreement          Scores of start and result
    ├── Recipe             how to do it again
    └── Picture ...        every thumbnail once; members point to them by position
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.report.counts import Counting
    from holdfast.report.mixture import Mixture

__all__ = [
    "Agreement",
    "Answered",
    "Ballot",
    "Cluster",
    "ClusterMap",
    "Comparison",
    "Composition",
    "Curve",
    "Evidence",
    "Expected",
    "Fact",
    "Flow",
    "Headline",
    "MapPoint",
    "Member",
    "Near",
    "Picture",
    "Recipe",
    "Report",
    "Scores",
    "Sheet",
    "Summary",
    "Trust",
    "Vote",
]


@dataclass(frozen=True)
class Picture:
    """An encoded thumbnail: its media type, its bytes, and its size in pixels."""

    mime: str
    data: bytes = field(repr=False)
    width: int
    height: int


@dataclass(frozen=True)
class Member:
    """One item as it is shown: who it is, where it belongs, and how sure the model is of that.

    `runner_up` is the cluster that would take the item if its own did not exist, `margin` the lead of
    the best probability over the second best, `picture` a position in `Report.pictures`.
    """

    id: str
    cluster: int
    confidence: float
    margin: float
    runner_up: int | None
    picture: int | None


@dataclass(frozen=True)
class Near:
    """Another cluster, and the cosine between the two centres, or their distance in a mixture."""

    number: int
    value: float
    measure: str = "cosine"


@dataclass(frozen=True)
class Composition:
    """The labels found inside one cluster, most frequent first, as (label, share) pairs."""

    parts: tuple[tuple[str, float], ...]
    n_labels: int

    @property
    def label(self) -> str:
        """The most frequent label."""
        return self.parts[0][0]

    @property
    def share(self) -> float:
        """The share of the most frequent label, in [0, 1]."""
        return self.parts[0][1]


@dataclass(frozen=True)
class Cluster:
    """One cluster: its size, how sure the model is of its members, and the members worth looking at.

    `confidence` is the mean of the highest probability over the members, `doubtful` the share of
    members below one half, `histogram` the number of members in ten equal bins of confidence.
    """

    number: int
    size: int
    share: float
    confidence: float
    doubtful: float
    histogram: tuple[int, ...]
    near: tuple[Near, ...]
    typical: tuple[Member, ...]
    uncertain: tuple[Member, ...]
    foreign: tuple[Member, ...]
    composition: Composition | None


@dataclass(frozen=True)
class MapPoint:
    """One item on the map; x and y in [0, 1], `tile` its position on the sheet of small pictures."""

    x: float
    y: float
    id: str
    cluster: int
    confidence: float
    tile: int | None


@dataclass(frozen=True)
class Sheet:
    """Many small square pictures in one: `columns` tiles a row, each `side` pixels wide."""

    picture: Picture
    columns: int
    side: int


@dataclass(frozen=True)
class ClusterMap:
    """The latent in two dimensions: the points, the name of the method, and what was sampled."""

    method: str
    points: tuple[MapPoint, ...]
    n_items: int
    sheet: Sheet | None


@dataclass(frozen=True)
class Curve:
    """One signal of the training history; a value is None where an epoch did not report it.

    `mark` is the position of the state that the fit returned, where that is known.
    """

    key: str
    title: str
    epochs: tuple[float, ...]
    values: tuple[float | None, ...]
    is_share: bool
    mark: int | None = None


@dataclass(frozen=True)
class Evidence:
    """The label-free score of one partition; `role` is "start", "result" or "candidate"."""

    name: str
    value: float
    role: str


@dataclass(frozen=True)
class Flow:
    """Items that left one cluster of the start for one of the result.

    `source` is the cluster of the result that the start cluster became (None: it has no successor),
    `start` the start's own number for it.
    """

    start: int
    source: int | None
    target: int
    size: int
    examples: tuple[Member, ...]


@dataclass(frozen=True)
class Comparison:
    """The start against the result, start clusters matched one to one to maximise what stayed.

    `matrix` has one row for every start cluster in `rows` (matched cluster or None) and one column for
    every cluster in `columns`; it is empty where it would be too large to read.
    """

    name: str
    n_items: int
    moved: int | None
    n_start: int
    evidence: tuple[Evidence, ...]  # candidates for the start, the start, the result
    flows: tuple[Flow, ...]
    n_flows: int
    rows: tuple[int | None, ...]
    columns: tuple[int, ...]
    matrix: tuple[tuple[int, ...], ...]

    @property
    def share_moved(self) -> float:
        """The share of items that left their matched cluster, in [0, 1]."""
        return (self.moved or 0) / max(self.n_items, 1)


@dataclass(frozen=True)
class Expected:
    """The predicted share of items that are in the right cluster, and its interval; all in [0, 1].

    `number` is the cluster, None for the whole; `is_weak` marks the clusters to look at first.
    """

    number: int | None
    size: int
    purity: float
    low: float
    high: float
    is_weak: bool = False


@dataclass(frozen=True)
class Answered:
    """If only items at least this sure are kept: their share, and the share of them expected to be right."""

    threshold: float
    coverage: float
    purity: float


@dataclass(frozen=True)
class Trust:
    """How far to trust the result: what is predicted of it, and what keeping only the sure items gains.

    `whole` is None and `clusters` empty where nothing was predicted; `clusters` begin with the weakest.
    `curve` runs from all items to the surest, `steps` are round thresholds, `advice` one of them.
    `sentences` speak of the whole; `look` says where to look first, and `keep` what to keep, or is empty.
    """

    whole: Expected | None
    clusters: tuple[Expected, ...]
    curve: tuple[Answered, ...]
    steps: tuple[Answered, ...]
    advice: Answered | None
    sentences: tuple[str, ...]
    look: str
    keep: str


@dataclass(frozen=True)
class Vote:
    """One partition of an ensemble: its score without labels, its support by others, its share of the say."""

    name: str
    kind: str
    score: float
    support: float
    share: float


@dataclass(frozen=True)
class Ballot:
    """The partitions of one kind, the weightiest first; `score` is their mean, `share` their sum."""

    kind: str
    score: float
    share: float
    votes: tuple[Vote, ...]


@dataclass(frozen=True)
class Scores:
    """Agreement of one partition with the labels that came with the data."""

    name: str
    acc: float
    nmi: float
    ari: float
    purity: float


@dataclass(frozen=True)
class Agreement:
    """Scores of the start and the result; the labels were not used in training."""

    n_labels: int
    scores: tuple[Scores, ...]


@dataclass(frozen=True)
class Fact:
    """A name and a value, both text."""

    name: str
    value: str


@dataclass(frozen=True)
class Recipe:
    """How to do it again: the command, the same in Python, parameters, versions, the rest of the run."""

    command: str | None
    snippet: str
    parameters: tuple[Fact, ...]
    versions: tuple[Fact, ...]
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Summary:
    """The numbers of the header. `doubtful` counts items whose highest probability is below one half."""

    n_items: int
    n_features: int
    n_latent: int
    n_clusters: int
    n_empty: int
    n_noise: int
    confidence: float
    doubtful: int
    method: str
    source: str | None
    encoder: str | None
    date: str | None
    seconds: float | None
    version: str
    n_epochs: int | None
    converged: bool | None


@dataclass(frozen=True)
class Headline:
    """The title and the plain sentences below it."""

    title: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Everything the report shows. Built by `build_report`, written by `write_report`."""

    headline: Headline
    summary: Summary
    clusters: tuple[Cluster, ...]
    doubtful: tuple[Member, ...]
    map: ClusterMap
    curves: tuple[Curve, ...]
    remarks: tuple[str, ...]
    comparison: Comparison | None
    agreement: Agreement | None
    recipe: Recipe
    pictures: tuple[Picture, ...]
    missing_pictures: int = 0
    trust: Trust | None = None
    ballots: tuple[Ballot, ...] = ()
    mixture: Mixture | None = None
    counting: Counting | None = None
