"""Which items to show: one pass over the rows, in blocks, then a few selections.

Nothing here is ever n x n, and nothing n x k outlives its block: a million rows cost five vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.graph import unit_rows
from holdfast.io.mapped import block_rows, release

__all__ = ["Placement", "best_rows", "labels_of", "lies_in_places", "likeness", "place"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]

_BLOCK_CELLS = 4_000_000  # rows x clusters held at once: 16 MB of float32


@dataclass(frozen=True, eq=False)
class Placement:
    """Where every item stands.

    Attributes
    ----------
    labels : ndarray of shape (n,)
        Cluster of each item, -1 for none.
    confidence, margin : ndarray of shape (n,)
        Highest probability, and its lead over the second highest.
    runner_up : ndarray of shape (n,)
        The most probable cluster other than the item's own; -1 with a single cluster.
    own_likeness : ndarray of shape (n,)
        How near the item is to its centre in the latent: see `likeness`; -inf for items without a cluster.
    foreign : ndarray of shape (k, m)
        Rows of other clusters closest to each centre, nearest first, -1 where there are fewer.
    """

    labels: Ints
    confidence: Floats
    margin: Floats
    runner_up: Ints
    own_likeness: Floats
    foreign: Ints


def labels_of(model: Any, X: npt.NDArray) -> Ints:
    """Return the labels of the rows: the fitted ones where they belong to these rows, else predicted."""
    fitted = getattr(model, "labels_", None)
    if fitted is None or len(fitted) != len(X):
        fitted = model.predict(X)
    return np.asarray(fitted).astype(np.intp)


def place(model: Any, X: npt.NDArray, labels: Ints, n_foreign: int) -> Placement:
    """Ask the model about every row once, in blocks.

    Parameters
    ----------
    model : fitted estimator
        Needs `cluster_centers_` of shape (k, d_z), `transform` and `predict_proba`; `locate`, which answers
        both at once, is used where it is there.
    X : ndarray of shape (n, d)
        The rows; a memory map is read block by block, and its pages go back.
    labels : ndarray of shape (n,)
        Cluster of each row, -1 for none.
    n_foreign : int
        How many rows of other clusters to keep for each centre.

    Returns
    -------
    Placement
    """
    n = len(X)
    centres, by_place = np.asarray(model.cluster_centers_, dtype=np.float32), lies_in_places(model)
    confidence, margin, own = (np.empty(n, np.float32) for _ in range(3))
    runner_up = np.empty(n, np.intp)
    foreign = _NearestForeign(len(centres), n_foreign)
    step = min(max(256, _BLOCK_CELLS // max(len(centres), 1)), block_rows(X.shape[1]))
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        block = np.asarray(X[rows], dtype=np.float32)
        latent, proba = _located(model, block)
        confidence[rows], margin[rows], runner_up[rows] = _certainty(proba, labels[rows])
        near = likeness(latent, centres, by_place=by_place)
        own[rows] = _take_own(near, labels[rows])
        foreign.see(near, start)
        release(X)
    return Placement(labels, confidence, margin, runner_up, own, foreign.rows)


def lies_in_places(model: Any) -> bool:
    """Tell whether distances count in the latent, as in a mixture, rather than directions."""
    return hasattr(model, "covariances_")


def likeness(latent: npt.NDArray, centres: npt.NDArray, *, by_place: bool) -> Floats:
    """Return how near rows (b, d) are to centres (k, d), (b, k): cosine, or less the squared distance."""
    if not by_place:
        return np.asarray(unit_rows(latent) @ unit_rows(centres).T)
    middle = centres.mean(axis=0)  # far from the origin, products of places would leave no digits
    z, c = latent - middle, centres - middle
    return np.asarray(2 * z @ c.T - (z**2).sum(axis=1)[:, None] - (c**2).sum(axis=1), dtype=np.float32)


def _located(model: Any, block: Floats) -> tuple[npt.NDArray, Floats]:
    """Return the latent and the probabilities of some rows; the latter as a copy that may be written to."""
    if hasattr(model, "locate"):  # both at once
        latent, proba = model.locate(block)
    else:
        latent, proba = model.transform(block), model.predict_proba(block)
    return latent, np.array(proba, dtype=np.float32)


def _certainty(proba: Floats, labels: Ints) -> tuple[Floats, Floats, Ints]:
    """Return the highest probability, its lead over the second, and the best cluster other than the own."""
    if proba.shape[1] == 1:
        return proba[:, 0], proba[:, 0], np.full(len(proba), -1, np.intp)
    two = np.partition(proba, -2, axis=1)[:, -2:]
    _take_own(proba, labels)
    return two[:, 1], two[:, 1] - two[:, 0], proba.argmax(axis=1)


def _take_own(scores: Floats, labels: Ints) -> Floats:
    """Return each row's score for its own cluster and leave -inf in its place, so that others remain."""
    inside = np.flatnonzero(labels >= 0)
    taken = np.full(len(scores), -np.inf, np.float32)
    taken[inside] = scores[inside, labels[inside]]
    scores[inside, labels[inside]] = -np.inf
    return taken


class _NearestForeign:
    """The m best rows for each of k columns over a stream of blocks."""

    def __init__(self, n_columns: int, keep: int) -> None:
        self.scores = np.full((n_columns, keep), -np.inf, np.float32)
        self.rows: Ints = np.full((n_columns, keep), -1, np.intp)

    def see(self, scores: Floats, first_row: int) -> None:
        """Merge one block of shape (b, k); -inf never enters."""
        keep = self.scores.shape[1]
        cut = max(len(scores) - keep, 0)
        best = np.argpartition(scores, cut, axis=0)[cut:] if cut else np.arange(len(scores))[:, None]
        best = np.broadcast_to(best, (len(best), scores.shape[1]))
        seen = np.hstack([self.scores, np.take_along_axis(scores, best, axis=0).T])
        rows = np.hstack([self.rows, best.T + first_row])
        order = np.argsort(-seen, axis=1, kind="stable")[:, :keep]
        self.scores = np.take_along_axis(seen, order, axis=1)
        rows = np.take_along_axis(rows, order, axis=1)
        self.rows = np.where(np.isfinite(self.scores), rows, -1)


def best_rows(score: npt.NDArray, labels: Ints, n_clusters: int, keep: int) -> list[Ints]:
    """Return for each cluster the rows with the highest score, best first (ties: lower row first)."""
    order = np.lexsort((-score, labels))
    ends = np.searchsorted(labels[order], np.arange(n_clusters + 1))
    return [order[ends[c] : min(ends[c] + keep, ends[c + 1])] for c in range(n_clusters)]
