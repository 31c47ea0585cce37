"""The result against where it started, and against labels that training never saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from holdfast import metrics
from holdfast.report.headline import start_name
from holdfast.report.members import Ints
from holdfast.report.tree import Agreement, Comparison, Composition, Evidence, Flow, Member, Scores

__all__ = ["Moves", "RawFlow", "agree", "compare", "compose", "find_moves", "start_labels_of", "start_of"]

N_FLOWS = 12
N_EXAMPLES = 6
_LARGEST_MATRIX = 40  # rows or columns beyond which a matrix is no picture any more
_LARGEST_COMPOSITION = 3


@dataclass(frozen=True, eq=False)
class RawFlow:
    """Items that went from one start cluster to a cluster that is not its successor; rows are examples."""

    start: int
    source: int | None
    target: int
    size: int
    rows: Ints


@dataclass(frozen=True, eq=False)
class Moves:
    """How start clusters became clusters of the result.

    Attributes
    ----------
    start, final : ndarray of shape (s,) and (k,)
        The numbers that occur.
    counts : ndarray of shape (s, k)
        Items by start and final cluster.
    successor : ndarray of shape (s,)
        Column that each start cluster became, -1 for none; no two share one.
    """

    start: Ints
    final: Ints
    counts: npt.NDArray[np.int64]
    successor: Ints
    flows: tuple[RawFlow, ...]
    n_flows: int

    @property
    def n_moved(self) -> int:
        """The number of items outside their start cluster's successor."""
        kept = self.successor >= 0
        return int(self.counts.sum() - self.counts[kept, self.successor[kept]].sum())


def start_labels_of(model: Any, n_items: int) -> Ints | None:
    """Return the labels of the start if the estimator kept them for exactly these rows."""
    start = getattr(model, "start_labels_", None)
    return np.asarray(start).astype(np.intp) if start is not None and len(start) == n_items else None


def start_of(model: Any) -> str | None:
    """Return the name of what the result began with: a start, or the best member of an ensemble."""
    named = getattr(model, "start_", None)
    if named is None and "best member" in (getattr(model, "evidence_", None) or {}):
        return "best member"
    return None if named is None else str(named)


def find_moves(start_labels: Ints, labels: Ints, confidence: npt.NDArray) -> Moves:
    """Match start clusters to final ones so that as many items as possible stayed, and list who did not.

    Parameters
    ----------
    start_labels, labels : ndarray of shape (n,)
        Numbers are only names; -1 (no cluster) corresponds to -1 alone.
    confidence : ndarray of shape (n,)
        The most confident items of a flow become its examples.
    """
    start, row = np.unique(start_labels, return_inverse=True)
    final, column = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(start), len(final)), np.int64)
    np.add.at(counts, (row, column), 1)
    successor = _match(counts, start, final)
    moved = counts.copy()
    kept = np.flatnonzero(successor >= 0)
    moved[kept, successor[kept]] = 0
    largest = np.argsort(-moved, axis=None, kind="stable")[:N_FLOWS]
    pairs = [divmod(int(cell), len(final)) for cell in largest if moved.flat[cell] > 0]
    flows = []
    for s, f in pairs:
        rows = np.flatnonzero((row == s) & (column == f))
        best = rows[np.argsort(-confidence[rows], kind="stable")[:N_EXAMPLES]]
        source = int(final[successor[s]]) if successor[s] >= 0 else None
        flows.append(RawFlow(int(start[s]), source, int(final[f]), int(moved[s, f]), best))
    return Moves(start, final, counts, successor, tuple(flows), int((moved > 0).sum()))


def _match(counts: npt.NDArray[np.int64], start: Ints, final: Ints) -> Ints:
    gain = counts.copy()
    gain[start < 0, :] = -1
    gain[:, final < 0] = -1
    gain[np.ix_(start < 0, final < 0)] = counts.sum() + 1
    rows, columns = linear_sum_assignment(gain, maximize=True)
    real = gain[rows, columns] > 0
    successor = np.full(len(start), -1, np.intp)
    successor[rows[real]] = columns[real]
    return successor


def compare(
    model: Any, n_items: int, moves: Moves | None, members: Callable[[Ints], tuple[Member, ...]]
) -> Comparison | None:
    """Describe start and result; None if the estimator tells nothing about its start."""
    evidence = _evidence(model)
    if moves is None and not evidence:
        return None
    name = start_of(model) or "first"
    if moves is None:
        return Comparison(name, n_items, None, 0, evidence, (), 0, (), (), ())
    rows, matrix = _ordered_matrix(moves)
    return Comparison(
        name=name,
        n_items=n_items,
        moved=moves.n_moved,
        n_start=int((moves.start >= 0).sum()),
        evidence=evidence,
        flows=tuple(Flow(f.start, f.source, f.target, f.size, members(f.rows)) for f in moves.flows),
        n_flows=moves.n_flows,
        rows=rows,
        columns=tuple(int(c) for c in moves.final) if matrix else (),
        matrix=matrix,
    )


def _ordered_matrix(moves: Moves) -> tuple[tuple[int | None, ...], tuple[tuple[int, ...], ...]]:
    """Put each start cluster in the row of its successor, so that what stayed lies on the diagonal."""
    if max(moves.counts.shape) > _LARGEST_MATRIX:
        return (), ()
    last = len(moves.final)
    order = np.argsort(np.where(moves.successor >= 0, moves.successor, last), kind="stable")
    names = tuple(int(moves.final[c]) if (c := moves.successor[s]) >= 0 else None for s in order)
    return names, tuple(tuple(int(v) for v in moves.counts[s]) for s in order)


def _evidence(model: Any) -> tuple[Evidence, ...]:
    found = getattr(model, "evidence_", None) or {}
    # Training may begin with a little less than the start it chose: the model has to learn it first.
    start = "start" if "start" in found else start_of(model)
    roles = {start: "start", "result": "result"}
    listed = [
        Evidence(start_name(str(name)), float(value), roles.get(name, "candidate"))
        for name, value in found.items()
        if value is not None and np.isfinite(value)
    ]
    return tuple(sorted(listed, key=lambda item: ("candidate", "start", "result").index(item.role)))


def agree(truth: npt.NDArray | None, labels: Ints, start: Ints | None, start_name: str) -> Agreement | None:
    """Score start and result against the labels that came with the data."""
    if truth is None:
        return None
    truth = as_text(truth)
    partitions = [(f"start ({start_name})", start)] if start is not None else []
    partitions.append(("result", labels))
    scores = tuple(Scores(name=name, **metrics.score(truth, part)) for name, part in partitions)
    return Agreement(len(np.unique(truth)), scores)


def as_text(truth: npt.NDArray) -> npt.NDArray:
    """Return labels of any kind as text."""
    names, codes = np.unique(truth, return_inverse=True)  # few names for many rows
    return np.asarray([str(name) for name in names.tolist()])[codes]


def compose(truth: npt.NDArray) -> Composition:
    """Count the labels inside one cluster, most frequent first (ties: alphabetical)."""
    names, counts = np.unique(truth, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_LARGEST_COMPOSITION]
    parts = tuple((str(names[i]), float(counts[i] / len(truth))) for i in order)
    return Composition(parts, len(names))
