"""Checks of a result: its clusters, how training ended, and whether the parts of the folder agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast._wording import count, percent
from holdfast.doctor.findings import Finding, listed
from holdfast.io.mapped import take_rows

__all__ = ["RESULT_CHECKS", "Result"]

_TINY = 0.02  # of the mean size
_LARGE_SHARE = 0.5
_FEW_ROWS_EACH = 10
_DOUBTFUL = 0.3
_LOST = 0.002  # evidence: what DEC itself warns of
_MANY_QUARANTINED = 0.05
_ROUNDED = 0.01  # share of rows that half precision may move across a border
_FOREIGN = 0.1
_PREDICTED_ROWS = 5_000
_RESTORE = "Restore the folder: its model, vectors and assignments are not of one fit."
_SHOWN_VERSIONS = ("holdfast", "torch", "numpy", "scipy", "scikit-learn", "safetensors")


@dataclass(frozen=True, eq=False)
class Result:
    """A fitted model, and what a run left around it; None or empty where it is not known.

    Attributes
    ----------
    labels : ndarray of shape (n,), int
        Clusters of the fitted rows, -1 for none.
    n_clusters : int
    confidence : ndarray of shape (n,) or None
    converged, n_iter : bool and int, or None
        How training ended.
    start : str
        Name of the start.
    evidence : mapping of str to float
        Scores of the starts and of the result.
    libraries : mapping of str to str
        Versions that made it.
    quarantined : int
        Images that were set aside.
    model : estimator or None
    X : ndarray of shape (n, d) or None
        The stored vectors.
    ids : ndarray of shape (n,) or None
    """

    labels: npt.NDArray[np.integer]
    n_clusters: int
    confidence: npt.NDArray[np.float32] | None = None
    converged: bool | None = None
    n_iter: int | None = None
    start: str = ""
    evidence: Mapping[str, float] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    quarantined: int = 0
    model: Any = None
    X: npt.NDArray[np.float32] | None = None
    ids: npt.NDArray[np.str_] | None = None

    @cached_property
    def sizes(self) -> npt.NDArray[np.intp]:
        """Rows of each cluster."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.n_clusters)


def empty_clusters(result: Result) -> Finding | None:
    """Find clusters without a member."""
    empty = np.flatnonzero(result.sizes == 0)
    if not empty.size:
        return None
    verb = "has" if empty.size == 1 else "have"
    return Finding(
        "empty-clusters", "warning",
        f"{empty.size:,} of {count(result.n_clusters, 'cluster')} {verb} no member: "
        f"{listed(empty.tolist())}.",
        f"Ask for at most {result.n_clusters - empty.size} clusters, or for auto.",
        _texts(empty),
    )  # fmt: skip


def tiny_clusters(result: Result) -> Finding | None:
    """Find clusters of next to nothing."""
    limit = max(2.0, _TINY * len(result.labels) / max(result.n_clusters, 1))
    tiny = np.flatnonzero((result.sizes > 0) & (result.sizes <= limit))
    if not tiny.size or result.n_clusters < 2:
        return None
    named = [f"{cluster} ({count(int(result.sizes[cluster]), 'row')})" for cluster in tiny[:10]]
    return Finding(
        "tiny-clusters", "warning" if tiny.size > 0.2 * result.n_clusters else "note",
        f"{tiny.size:,} of {count(result.n_clusters, 'cluster')} are tiny: {listed(named, tiny.size)}.",
        "Look at their members: they are outliers or duplicates, or the number of clusters is too large.",
        _texts(tiny),
    )  # fmt: skip


def swallowing_cluster(result: Result) -> Finding | None:
    """Find one cluster with most of the rows."""
    largest = int(result.sizes.argmax())
    share = float(result.sizes[largest]) / max(len(result.labels), 1)
    if result.n_clusters < 3 or share <= _LARGE_SHARE:
        return None
    return Finding(
        "swallowing-cluster", "warning",
        f"Cluster {largest} holds {percent(share)} of the rows; the other {result.n_clusters - 1:,} share "
        "the rest.",
        "Look at its members: ask for more clusters if they are of several kinds, and check the vectors for "
        "duplicates and a common direction.",
        (str(largest),),
    )  # fmt: skip


def few_rows_each(result: Result) -> Finding | None:
    """Find more clusters than the rows can tell apart."""
    each = len(result.labels) / max(result.n_clusters, 1)
    if each >= _FEW_ROWS_EACH:
        return None
    return Finding(
        "few-rows-per-cluster", "warning",
        f"{len(result.labels):,} rows in {result.n_clusters:,} clusters are {each:.1f} each.",
        f"Ask for at most {max(2, len(result.labels) // _FEW_ROWS_EACH):,} clusters, or collect more items.",
    )  # fmt: skip


def noise(result: Result) -> Finding | None:
    """Find rows in no cluster."""
    share = float(np.mean(result.labels < 0))
    if share < 0.2:
        return None
    return Finding(
        "much-noise", "warning" if share >= 0.5 else "note",
        f"{percent(share)} of the rows belong to no cluster.",
        "Lower min_confidence, or loosen the method's density (eps), if they should.",
    )  # fmt: skip


def low_confidence(result: Result) -> Finding | None:
    """Find rows that could as well be elsewhere."""
    if result.confidence is None:
        return None
    doubtful = float(np.mean(result.confidence[result.labels >= 0] < 0.5)) if len(result.labels) else 0.0
    if not doubtful >= _DOUBTFUL:
        return None
    return Finding(
        "low-confidence", "warning" if doubtful >= 0.5 else "note",
        f"For {percent(doubtful)} of the rows the other clusters together are as likely as their own "
        "(confidence below 0.5).",
        "Ask for fewer clusters, or for auto, and compare confidences rather than read them as they stand.",
    )  # fmt: skip


def not_converged(result: Result) -> Finding | None:
    """Find training that ran out of epochs."""
    if result.converged is not False:
        return None
    after = "" if result.n_iter is None else f" after {count(result.n_iter, 'epoch')}"
    return Finding(
        "not-converged", "warning",
        f"Training stopped{after} with labels still changing.",
        "Raise max_epochs or tol; the best state seen was kept.",
    )  # fmt: skip


def below_start(result: Result) -> Finding | None:
    """Find a result with less evidence than training began with."""
    before, after = result.evidence.get("start"), result.evidence.get("result")
    if before is None or after is None or after >= before - 1e-6:
        return None
    return Finding(
        "below-start", "warning",
        f"The result has less label-free evidence ({after:.3f}) than training began with ({before:.3f}).",
        'Fit with select="evidence", which returns the best state it has seen.',
    )  # fmt: skip


def start_not_held(result: Result) -> Finding | None:
    """Find a start that the model could not express."""
    made, after = result.evidence.get(result.start), result.evidence.get("result")
    if made is None or after is None or after >= made - _LOST:
        return None
    return Finding(
        "start-not-held", "warning",
        f"The {result.start} start had {made:.3f} evidence and the result has {after:.3f}: the model could "
        "not learn it.",
        "Raise pretrain_epochs or the width of the encoder (hidden_dims[0]).",
    )  # fmt: skip


def many_quarantined(result: Result) -> Finding | None:
    """Find images that were set aside."""
    if not result.quarantined:
        return None
    share = result.quarantined / (result.quarantined + len(result.labels))
    return Finding(
        "quarantined-images", "warning" if share >= _MANY_QUARANTINED else "note",
        f"{count(result.quarantined, 'image')} ({percent(share)}) could not be read and were set aside.",
        "Read their reasons under quarantined in run.json, mend or remove the files, and run it again.",
    )  # fmt: skip


def other_predictions(result: Result) -> Finding | None:
    """Find stored clusters that the model would not give today."""
    if result.model is None or result.X is None or len(result.X) != len(result.labels):
        return None
    if result.X.shape[1] != result.model.n_features_in_:
        return Finding(
            "other-predictions", "error",
            f"The vectors have width {result.X.shape[1]} and the model was fitted on width "
            f"{result.model.n_features_in_}.",
            _RESTORE,
        )  # fmt: skip
    size = min(len(result.X), _PREDICTED_ROWS)
    rows = np.sort(np.random.default_rng(0).choice(len(result.X), size, replace=False))
    now = np.asarray(result.model.predict(take_rows(result.X, rows)))
    moved = rows[now != result.labels[rows]]
    share = moved.size / size
    if share <= _ROUNDED:
        return None
    names = _texts(moved) if result.ids is None else tuple(map(str, result.ids[moved[:10]].tolist()))
    foreign = share >= _FOREIGN
    return Finding(
        "other-predictions", "error" if foreign else "warning",
        f"The model puts {percent(share)} of {size:,} stored vectors into other clusters than the "
        f"assignments say: {listed(names, moved.size)}.",
        _RESTORE if foreign else
        "Trust the assignments; half precision or another version of a library moved rows across borders.",
        names,
    )  # fmt: skip


def other_versions(result: Result) -> Finding | None:
    """Find libraries that have changed since."""
    changed = [
        f"{name} {then} (now {now})"
        for name in _SHOWN_VERSIONS
        if (then := result.libraries.get(name)) is not None and (now := _installed(name)) not in (None, then)
    ]
    if not changed:
        return None
    return Finding(
        "other-versions", "note",
        f"It was made with {', '.join(changed)}.",
        "Nothing, as long as predictions agree; install the old versions to repeat a fit to the last bit.",
        tuple(changed),
    )  # fmt: skip


RESULT_CHECKS = (
    other_predictions,
    swallowing_cluster,
    empty_clusters,
    few_rows_each,
    low_confidence,
    noise,
    not_converged,
    below_start,
    start_not_held,
    tiny_clusters,
    many_quarantined,
    other_versions,
)
"""In the order in which their findings are listed within a level."""


def _installed(name: str) -> str | None:
    """Return the version that is installed; None in a source tree on the path."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _texts(numbers: npt.NDArray[Any]) -> tuple[str, ...]:
    return tuple(str(number) for number in numbers[:10].tolist())
