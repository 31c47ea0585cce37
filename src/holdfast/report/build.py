"""From a fitted estimator and its embeddings to the report tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from holdfast.exceptions import InputError
from holdfast.io import Embeddings
from holdfast.metrics import purity
from holdfast.report.compare import Moves, agree, as_text, compare, compose, find_moves, start_labels_of
from holdfast.report.counts import counting_of
from holdfast.report.headline import make_headline, start_name
from holdfast.report.history import curves_of, remarks_of
from holdfast.report.members import Ints, Placement, best_rows, labels_of, lies_in_places, likeness, place
from holdfast.report.mixture import mixture_of
from holdfast.report.pictures import Album, ImageOf, make_album, make_sheet
from holdfast.report.project import project, sample_rows
from holdfast.report.recipe import first_of, make_recipe, version
from holdfast.report.tree import Cluster, ClusterMap, MapPoint, Member, Near, Report, Summary, Trust
from holdfast.report.trust import make_trust
from holdfast.report.voting import ballots_of

if TYPE_CHECKING:
    from holdfast.quality import Quality

__all__ = ["build_report"]

TYPICAL, UNCERTAIN, FOREIGN = 12, 6, 6
DOUBTFUL = 24
_FULL_DETAIL = 100  # clusters up to which every one shows that many members
_BINS = 10
_NEAR = 3
HALF = 0.5  # an item below this is doubtful: the other clusters together are as likely as its own


def build_report(
    model: Any,
    emb: Embeddings,
    *,
    image_of: ImageOf | None = None,
    run: Mapping[str, Any] | None = None,
    quality: Quality | None = None,
) -> Report:
    """Collect everything the report shows; no HTML yet, nothing is written.

    Parameters
    ----------
    model : fitted estimator
        Needs `transform`, `predict_proba`, `predict` and `cluster_centers_`; `labels_`, `start_labels_`,
        `start_`, `evidence_`, `history_`, `members_`, `n_iter_` and `converged_` are shown where they are.
    emb : Embeddings of n rows
        What was clustered. Its labels, if any, are scored against and never reach the model.
    image_of : callable, optional
        Row number -> PIL image, or None for a row without one. Pictures that cannot be read are left out
        and counted.
    run : mapping, optional
        What is known of the run: `source`, `date`, `seconds`, `command`, `encoder`, `versions`; anything
        else is listed under "How to reproduce".
    quality : Quality, optional
        What :func:`holdfast.predict_quality` says of these rows and labels.

    Returns
    -------
    Report
        Depends on nothing but the arguments and the installed versions: the sample and the map are seeded.

    Raises
    ------
    InputError
        If there are no rows, or labels do not fit to the cluster centres.
    """
    return _Builder(model, emb, image_of, run or {}).report(quality)


@dataclass(frozen=True, eq=False)
class _Selection:
    """The rows that are shown, and for whom."""

    typical: list[Ints]
    uncertain: list[Ints]
    foreign: list[Ints]
    doubtful: Ints
    moves: Moves | None

    def by_importance(self) -> Iterable[int]:
        """All rows: first members of every cluster before second ones, flows and the doubtful in between."""
        flows = self.moves.flows if self.moves else ()
        return chain(
            *_in_turn(self.typical),
            self.doubtful,
            *_in_turn(self.uncertain),
            *_in_turn(self.foreign),
            *(flow.rows for flow in flows),
        )


class _Builder:
    """One report in the making: what every part of it needs, computed once."""

    def __init__(self, model: Any, emb: Embeddings, image_of: ImageOf | None, run: Mapping[str, Any]) -> None:
        self.model, self.emb, self.image_of, self.run = model, emb, image_of, run
        self.labels = labels_of(model, emb.X)
        self.n_clusters = len(model.cluster_centers_)
        _check_labels(self.labels, self.n_clusters)
        self.placement = place(model, emb.X, self.labels, FOREIGN)
        self.start = start_labels_of(model, len(emb))
        self.truth = None if emb.labels is None else as_text(emb.labels)
        self.sizes = np.bincount(self.labels[self.labels >= 0], minlength=self.n_clusters)
        self.selection = _select(self.placement, self.start, self.sizes)
        self.album = make_album(list(self.selection.by_importance()), image_of)

    def report(self, quality: Quality | None) -> Report:
        clusters = self._clusters()
        summary = self._summary()
        moves = self.selection.moves
        comparison = compare(self.model, len(self.emb), moves, self._members)
        history = getattr(self.model, "history_", None)
        evidence = getattr(self.model, "evidence_", None) or {}
        start = start_name(comparison.name if comparison else "first")
        agreement = agree(self.truth, self.labels, self.start, start)
        trust = self._trust(quality)
        ballots = ballots_of(getattr(self.model, "members_", None))
        return Report(
            headline=make_headline(summary, clusters, comparison, trust),
            summary=summary,
            clusters=clusters,
            doubtful=self._members(self.selection.doubtful),
            map=self._map(),
            curves=curves_of(history, evidence.get("result")),
            remarks=remarks_of(history, evidence),
            comparison=comparison,
            agreement=agreement,
            recipe=make_recipe(self.model, self.run, ballots),
            pictures=self.album.pictures,
            missing_pictures=self.album.missing,
            trust=trust,
            ballots=ballots,
            mixture=mixture_of(self.model, self.emb.X, self.labels, self.run.get("animation")),
            counting=counting_of(getattr(self.model, "cluster_count_", None), self._levels()),
        )

    def _levels(self) -> tuple[int, ...]:
        """Numbers of clusters from coarse to fine; a model of an earlier release has no levels."""
        if getattr(self.model, "_levels", None) is None:
            return ()
        return tuple(self.model.levels_.values())

    def _trust(self, quality: Quality | None) -> Trust:
        """Put together what is expected, of the items that have a cluster (of all, if none has)."""
        answered = self.labels >= 0
        by_labels = None
        if self.truth is not None and answered.any():
            by_labels = purity(self.truth[answered], self.labels[answered])
        if not answered.any():
            answered = ~answered
        return make_trust(
            quality,
            self.sizes,
            self.placement.confidence[answered],
            n_items=len(answered),
            noun="pictures" if self.album.pictures else "items",
            by_labels=by_labels,
            count=getattr(self.model, "cluster_count_", None) is not None,
        )

    def _members(self, rows: Ints) -> tuple[Member, ...]:
        return tuple(_member(int(row), self.emb, self.placement, self.album) for row in rows)

    def _clusters(self) -> tuple[Cluster, ...]:
        near = _nearest_centres(self.model, self.sizes)
        order = np.argsort(self.labels, kind="stable")
        ends = np.searchsorted(self.labels[order], np.arange(self.n_clusters + 1))
        return tuple(
            self._cluster(c, order[ends[c] : ends[c + 1]], near[c])
            for c in np.flatnonzero(self.sizes).tolist()
        )

    def _cluster(self, c: int, rows: Ints, near: tuple[Near, ...]) -> Cluster:
        confidence = self.placement.confidence[rows]
        histogram, _ = np.histogram(confidence, bins=_BINS, range=(0, 1))
        return Cluster(
            number=c,
            size=len(rows),
            share=len(rows) / len(self.labels),
            confidence=float(confidence.mean(dtype=np.float64)),
            doubtful=float((confidence < HALF).mean()),
            histogram=tuple(int(count) for count in histogram),
            near=near,
            typical=self._members(self.selection.typical[c]),
            uncertain=self._members(self.selection.uncertain[c]),
            foreign=self._members(self.selection.foreign[c]),
            composition=None if self.truth is None else compose(self.truth[rows]),
        )

    def _map(self) -> ClusterMap:
        rows = sample_rows(self.labels)
        method, places = project(self.model, self.emb.X, rows)
        sheet, tiles = make_sheet(rows.tolist(), self.image_of)
        points = tuple(
            MapPoint(
                x=float(x),
                y=float(y),
                id=str(self.emb.ids[row]),
                cluster=int(self.labels[row]),
                confidence=float(self.placement.confidence[row]),
                tile=tiles.get(int(row)),
            )
            for row, (x, y) in zip(rows, places, strict=True)
        )
        return ClusterMap(method, points, len(self.emb), sheet)

    def _summary(self) -> Summary:
        model, run, confidence = self.model, self.run, self.placement.confidence
        seconds = first_of(run, "seconds")
        return Summary(
            n_items=len(self.emb),
            n_features=int(self.emb.X.shape[1]),
            n_latent=int(np.shape(model.cluster_centers_)[1]),
            n_clusters=int((self.sizes > 0).sum()),
            n_empty=int((self.sizes == 0).sum()),
            n_noise=int((self.labels < 0).sum()),
            confidence=float(confidence.mean(dtype=np.float64)),
            doubtful=int((confidence < HALF).sum()),
            method=type(model).__name__,
            source=_text(first_of(run, "source")),
            encoder=_text(first_of(run, "encoder") or self.emb.encoder),
            date=_date(first_of(run, "date")),
            seconds=None if seconds is None else float(seconds),
            version=str(run.get("holdfast") or version()),
            n_epochs=_maybe(int, getattr(model, "n_iter_", None)),
            converged=_maybe(bool, getattr(model, "converged_", None)),
        )


def _check_labels(labels: Ints, n_clusters: int) -> None:
    if len(labels) == 0:
        raise InputError(
            "The report needs at least one row, the embeddings have none; cluster some items first."
        )
    if labels.max() >= n_clusters:
        raise InputError(
            f"Row {int(labels.argmax())} has label {int(labels.max())} but the model has only {n_clusters} "
            "cluster centres; give the embeddings that the model was fitted on."
        )


def _select(placement: Placement, start: Ints | None, sizes: npt.NDArray) -> _Selection:
    """Choose the members; with more than a hundred clusters, fewer for each."""
    k, labels = len(sizes), placement.labels
    scale = min(1.0, _FULL_DETAIL / max(k, 1))
    typical, uncertain, foreign = (max(2, round(m * scale)) for m in (TYPICAL, UNCERTAIN, FOREIGN))
    inside = np.flatnonzero(labels >= 0)
    least = inside[np.argsort(placement.margin[inside], kind="stable")[:DOUBTFUL]]
    return _Selection(
        typical=best_rows(placement.own_likeness, labels, k, typical),
        uncertain=best_rows(-placement.margin, labels, k, uncertain),
        foreign=[rows[rows >= 0][:foreign] for rows in placement.foreign],
        doubtful=least if k > 1 else least[:0],
        moves=None if start is None else find_moves(start, labels, placement.confidence),
    )


def _member(row: int, emb: Embeddings, placement: Placement, album: Album) -> Member:
    other = int(placement.runner_up[row])
    return Member(
        id=str(emb.ids[row]),
        cluster=int(placement.labels[row]),
        confidence=float(placement.confidence[row]),
        margin=float(placement.margin[row]),
        runner_up=other if other >= 0 else None,
        picture=album.position.get(row),
    )


def _nearest_centres(model: Any, sizes: npt.NDArray) -> list[tuple[Near, ...]]:
    """List for each centre the nearest others that have members, by cosine, or by distance in a mixture."""
    by_place = lies_in_places(model)
    centres = np.asarray(model.cluster_centers_, dtype=np.float32)
    found = []
    for c in range(len(centres)):  # row by row: k may be thousands
        near = likeness(centres[c : c + 1], centres, by_place=by_place)[0]
        near[sizes == 0] = -np.inf
        near[c] = -np.inf
        best = [int(b) for b in np.argsort(-near, kind="stable")[:_NEAR] if np.isfinite(near[b])]
        found.append(tuple(_near(b, float(near[b]), by_place=by_place) for b in best))
    return found


def _near(number: int, likeness: float, *, by_place: bool) -> Near:
    return Near(number, max(-likeness, 0.0) ** 0.5, "distance") if by_place else Near(number, likeness)


def _in_turn(lists: list[Ints]) -> Iterable[list[int]]:
    longest = max((len(rows) for rows in lists), default=0)
    return ([int(rows[i]) for rows in lists if i < len(rows)] for i in range(longest))


def _date(value: Any) -> str | None:
    """Write an ISO 8601 time as people do; leave anything else as it came."""
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return _text(value)
    clock = f", {time:%H:%M} {time.tzname() or ''}".rstrip() if len(str(value)) > len("2026-01-31") else ""
    return f"{time.day} {time:%B %Y}{clock}"


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _maybe(kind: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else kind(value)
