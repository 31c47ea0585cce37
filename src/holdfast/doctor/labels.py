"""Checks of the labels that travel with a table. They only score, so nothing here makes it unusable."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from holdfast._wording import percent
from holdfast.doctor.findings import Finding, listed
from holdfast.doctor.specimen import Specimen

__all__ = ["LABEL_CHECKS"]

_IMBALANCE = 20
_LEAK = 0.02  # of the label changes that are to be expected along a column that knows nothing
_ALIKE = 0.99
_COLUMNS_AT_ONCE = 256
_SEED = 0


def constant_labels(table: Specimen) -> Finding | None:
    """Find one class only."""
    names = table.classes[0]
    if len(names) != 1 or len(table) < 2:
        return None
    return Finding(
        "labels-constant", "warning",
        f"All {len(table):,} rows have the label {names[0]!r}.",
        "Leave the column out or fill it: scores against one class mean nothing.",
    )  # fmt: skip


def unique_labels(table: Specimen) -> Finding | None:
    """Find as many classes as rows."""
    names, codes = table.classes
    if len(names) < 0.9 * len(codes) or len(codes) < 10:
        return None
    return Finding(
        "labels-unique", "warning",
        f"{len(names):,} labels for {len(codes):,} rows: nearly every row is a class of its own.",
        "Check that this column holds classes and not names or numbers of items.",
    )  # fmt: skip


def imbalanced_labels(table: Specimen) -> Finding | None:
    """Find a class many times larger than another."""
    names, codes = table.classes
    if not 2 <= len(names) < 0.9 * len(codes):
        return None
    sizes = np.bincount(codes)
    small, large = int(sizes.argmin()), int(sizes.argmax())
    if sizes[large] < _IMBALANCE * sizes[small]:
        return None
    return Finding(
        "labels-imbalanced", "note",
        f"Of {len(names):,} classes the largest, {names[large]!r}, has {sizes[large]:,} rows and the "
        f"smallest, {names[small]!r}, has {sizes[small]:,}.",
        "Read NMI and ARI beside ACC: one large class can carry the accuracy alone.",
        (names[large], names[small]),
    )  # fmt: skip


def leaking_column(table: Specimen) -> Finding | None:
    """Find a column of the vectors from which the label can be read off."""
    names, codes = table.classes
    if not 2 <= len(names) < 0.5 * len(codes) or len(table.rows) < 20:
        return None
    changes = _label_changes(table.sample, codes[table.rows])
    leaks = np.flatnonzero(changes < _LEAK)
    if not leaks.size:
        return None
    best = int(changes.argmin())
    where = f"column{'' if leaks.size == 1 else 's'} {listed(leaks.tolist())}"
    return Finding(
        "label-leak", "warning",
        f"The label can be read off {where} of the vectors alone: along column {best} it changes "
        f"{percent(max(float(changes[best]), 0.0))} as often as in random order ({table.basis}).",
        "Take the label out of the vectors before clustering: every score against it would be meaningless.",
        tuple(str(c) for c in leaks[:10]),
    )  # fmt: skip


def one_hot_labels(table: Specimen) -> Finding | None:
    """Find a column for each class that says whether a row belongs to it."""
    names, codes = table.classes
    if not 2 <= len(names) < 0.5 * len(codes) or len(names) > table.width or len(table.rows) < 20:
        return None
    switches = _switches(table.sample, codes[table.rows], len(names))
    if switches is None:
        return None
    return Finding(
        "one-hot-labels", "warning",
        f"Each of the {len(names):,} classes has a column of the vectors that is switched by it: "
        f"{listed(switches)}.",
        "Take these columns out of the vectors before clustering: every score would be meaningless.",
        switches,
    )  # fmt: skip


def labels_in_names(table: Specimen) -> Finding | None:
    """Find ids or paths that tell the label."""
    names, codes = table.classes
    if not 2 <= len(names) < 0.5 * len(codes):
        return None
    for place, texts in (("paths", table.paths), ("ids", table.ids)):
        if texts is not None and _folders_are_classes(texts[table.rows], codes[table.rows]):
            return Finding(
                "labels-in-names", "note",
                f"The folder in the {place} tells the label: {str(texts[0])!r} is {names[codes[0]]!r}.",
                "Nothing, for names never enter a fit; keep it in mind where they are shown to raters.",
            )  # fmt: skip
    return None


LABEL_CHECKS = (
    one_hot_labels,
    leaking_column,
    constant_labels,
    unique_labels,
    imbalanced_labels,
    labels_in_names,
)
"""In the order in which their findings are listed within a level; they are asked where there are labels."""


def _label_changes(sample: npt.NDArray[np.float32], codes: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Count how often the label changes along each column once it is sorted, as a share of what chance gives.

    Rows of equal value come in random order, so that a constant column tells nothing.
    """
    order = np.random.default_rng(_SEED).permutation(len(codes))
    sample, codes = sample[order], codes[order]
    shares = np.bincount(codes) / len(codes)
    expected = (len(codes) - 1) * (1 - float(np.square(shares).sum()))
    least = len(np.unique(codes)) - 1
    found = []
    for start in range(0, sample.shape[1], _COLUMNS_AT_ONCE):
        ranks = np.argsort(sample[:, start : start + _COLUMNS_AT_ONCE], axis=0, kind="stable")
        along = codes[ranks]
        found.append((along[1:] != along[:-1]).sum(axis=0))
    return (np.concatenate(found) - least) / expected


def _switches(
    sample: npt.NDArray[np.float32], codes: npt.NDArray[np.intp], n_classes: int
) -> tuple[str, ...] | None:
    """Find for every class a column of two values, one for its rows and one for all others."""
    low, high = sample.min(axis=0), sample.max(axis=0)
    binary = np.flatnonzero((low < high) & ((sample == low) | (sample == high)).all(axis=0))
    if len(binary) < n_classes:
        return None
    on = (sample[:, binary] == high[binary]).astype(np.float32)
    member = np.eye(n_classes, dtype=np.float32)[codes]
    alike = (member.T @ on + (1 - member).T @ (1 - on)) / len(codes)
    best = alike.argmax(axis=1)
    certain = alike.max(axis=1) >= _ALIKE
    # A small class is told from nothing by 99 %: its own rows have to agree as well.
    members_agree = (member.T @ on)[np.arange(n_classes), best] >= _ALIKE * member.sum(axis=0)
    if not (certain & members_agree).all() or len(set(best.tolist())) < n_classes:
        return None
    return tuple(str(binary[column]) for column in best)


def _folders_are_classes(texts: npt.NDArray[np.str_], codes: npt.NDArray[np.intp]) -> bool:
    """Tell whether each class has its own folder and each folder its own class."""
    folders = [PurePosixPath(text.replace("\\", "/")).parent.name for text in texts.tolist()]
    pairs = set(zip(folders, codes.tolist(), strict=True))
    return len(set(folders)) == len(pairs) == len(np.unique(codes)) > 1
