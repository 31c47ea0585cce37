"""Checks of the values in a table: gaps, columns, lengths of rows, duplicates, precision."""

from __future__ import annotations

import numpy as np

from holdfast._wording import count, percent
from holdfast.doctor.findings import Finding, listed
from holdfast.doctor.specimen import LONGEST, Specimen

__all__ = ["VALUE_CHECKS"]

_EXAMPLES = 10
_UNIT = 1e-3  # how far from 1 a length may be: half precision rounds to 5e-4
_MOSTLY = 0.9
_LENGTHS_DIFFER, _LENGTHS_APART = 1.5, 10.0
_FAR_LONGER = 1_000
_SCALES_APART = 100.0
_LARGEST_HALF = 65_504.0
_ROUNDING_LIMIT = 0.01  # of the spread
_FEW_ROWS = 50


def not_finite(table: Specimen) -> Finding | None:
    """Find rows with NaN or infinity."""
    bad = np.flatnonzero(~table.survey.finite)
    if not bad.size:
        return None
    names = _names(table, bad)
    half = " (half precision holds up to 65,504)" if table.dtype == np.float16 else ""
    return Finding(
        "not-finite", "error",
        f"{_some(bad.size, len(table))} a NaN or an infinity{half}: {listed(names, bad.size)}.",
        "Remove these rows or fill the gaps; if many images gave them, run the encoder in float32.",
        names,
    )  # fmt: skip


def zero_rows(table: Specimen) -> Finding | None:
    """Find rows of nothing but zeros, which point nowhere."""
    zero = np.flatnonzero(table.survey.finite & (table.survey.norms == 0))
    if not zero.size:
        return None
    names = _names(table, zero)
    return Finding(
        "zero-rows", "warning",
        f"{_some(zero.size, len(table))} zeros only: {listed(names, zero.size)}.",
        "Embed these items again, or remove them: they will share one cluster for no reason.",
        names,
    )  # fmt: skip


def duplicate_ids(table: Specimen) -> Finding | None:
    """Find ids that occur more than once."""
    ids, times = np.unique(table.ids, return_counts=True)
    again = np.flatnonzero(times > 1)
    if not again.size:
        return None
    again = again[np.argsort(-times[again], kind="stable")]
    named = [f"{str(ids[i])!r} ({times[i]:,} times)" for i in again[:_EXAMPLES]]
    occur = "occurs" if again.size == 1 else "occur"
    return Finding(
        "duplicate-ids", "error",
        f"{count(again.size, 'id')} {occur} more than once: {listed(named, again.size)}.",
        "Rename or drop all but one row of each id.",
        tuple(str(ids[i]) for i in again[:_EXAMPLES]),
    )  # fmt: skip


def equal_rows(table: Specimen) -> Finding | None:
    """Find no two rows that differ."""
    survey = table.survey
    finite = int(survey.finite.sum())
    if finite < 2 or not np.array_equal(survey.low, survey.high):
        return None
    return Finding(
        "all-rows-equal", "error",
        f"All {finite:,} rows are equal, so there is nothing to tell apart.",
        "Check how the embeddings were made.",
    )  # fmt: skip


def constant_columns(table: Specimen) -> Finding | None:
    """Find columns of one value."""
    survey = table.survey
    constant = np.flatnonzero(survey.low == survey.high)
    if not constant.size or constant.size == table.width or survey.finite.sum() < 2:
        return None
    columns = tuple(str(c) for c in constant[:_EXAMPLES])
    share = constant.size / table.width
    verb = "has" if constant.size == 1 else "have"
    return Finding(
        "constant-columns", "warning" if share > 0.5 else "note",
        f"{constant.size:,} of {count(table.width, 'column')} {verb} the same value in every row: "
        f"{listed(columns, constant.size)}.",
        "Drop them: they say nothing" + (", and ask why so many are dead." if share > 0.5 else "."),
        columns,
    )  # fmt: skip


def column_scales(table: Specimen) -> Finding | None:
    """Find a few columns so large that the others hardly count."""
    std = table.survey.std
    spread = std[std > 0]
    if spread.size < 3:
        return None
    typical = float(np.median(spread))
    large = np.flatnonzero(std > _SCALES_APART * typical)
    if not large.size:
        return None
    large = large[np.argsort(-std[large])]
    columns = tuple(str(c) for c in large[:_EXAMPLES])
    share = float(np.square(std[large]).sum() / np.square(std).sum())
    verb = "varies" if large.size == 1 else "vary"
    return Finding(
        "columns-of-different-scale", "warning",
        f"{large.size:,} of {count(table.width, 'column')} {verb} over {_SCALES_APART:g} times as much as "
        f"the median one and hold {percent(share)} of the variance: {listed(columns, large.size)}.",
        "Standardise the columns (subtract the mean, divide by the standard deviation) before clustering.",
        columns,
    )  # fmt: skip


def row_lengths(table: Specimen) -> Finding | None:
    """Find rows that are not of unit length: some of them, or all."""
    norms = table.survey.norms[table.usable]
    unit = np.abs(norms - 1) <= _UNIT
    if unit.all() or norms.size < _FEW_ROWS:
        return None
    return _mixed_lengths(table, unit) if unit.mean() >= _MOSTLY else _free_lengths(norms)


def _mixed_lengths(table: Specimen, unit: np.ndarray) -> Finding:
    odd = table.usable[~unit]
    names = _names(table, odd)
    lengths = table.survey.norms[odd]
    return Finding(
        "mixed-lengths", "warning",
        f"{_some(odd.size, len(table))} another length than 1 ({lengths.min():.3g} to {lengths.max():.3g}), "
        f"while the rest are unit vectors: {listed(names, odd.size)}.",
        "Normalise these rows too, or find out which step they missed.",
        names,
    )  # fmt: skip


def _free_lengths(norms: np.ndarray) -> Finding | None:
    low, middle, high = np.quantile(norms, [0.05, 0.5, 0.95])
    if high <= _LENGTHS_DIFFER * low:  # all of about one length, which is as good as 1
        return None
    apart = bool(high > _LENGTHS_APART * low)
    return Finding(
        "unnormalised-rows", "warning" if apart else "note",
        f"Rows are of different lengths: median {middle:.3g}, nine in ten between {low:.3g} and {high:.3g}.",
        "Divide rows by their length if the encoder was trained for cosine similarity"
        + ("; long rows move the mean that is subtracted." if apart else "; holdfast works either way."),
    )  # fmt: skip


def huge_rows(table: Specimen) -> Finding | None:
    """Find rows so long that they hide all others."""
    norms = np.where(table.survey.finite, table.survey.norms, 0)
    typical = float(np.median(norms[norms > 0])) if norms.any() else 0.0
    huge = np.flatnonzero(norms > min(_FAR_LONGER * typical, LONGEST))
    if not huge.size:
        return None
    names = _names(table, huge)
    hopeless = bool(norms.max() >= LONGEST)
    return Finding(
        "huge-rows", "error" if hopeless else "warning",
        f"{_some(huge.size, len(table))} a length of up to {norms.max():.3g}, where the median is "
        f"{typical:.3g}: {listed(names, huge.size)}.",
        "Embed these items again, or remove them: a number in them is wrong, and beside it all other rows "
        "look equal.",
        names,
    )  # fmt: skip


def exact_duplicates(table: Specimen) -> Finding | None:
    """Find rows that are equal to an earlier one."""
    rows = table.usable
    if rows.size < 2:
        return None
    _, first, group, times = np.unique(
        table.survey.hashes[rows], return_index=True, return_inverse=True, return_counts=True
    )
    surplus = rows.size - first.size
    if not surplus or first.size == 1:  # all rows equal is an error of its own
        return None
    largest = int(times.argmax())
    names = _names(table, rows[np.flatnonzero(group == largest)[:_EXAMPLES]])
    share = surplus / rows.size
    groups = count(int((times > 1).sum()), "group")
    repeat = "repeats" if surplus == 1 else "repeat"
    return Finding(
        "exact-duplicates", "warning" if share >= 0.01 else "note",
        f"{count(surplus, 'row')} ({percent(share)}) {repeat} an earlier one, in {groups} of equal rows; "
        f"the largest has {int(times.max()):,}: {listed(names, int(times.max()))}.",
        "Keep one of each unless they are meant to weigh more: copies are each other's nearest neighbours.",
        names,
    )  # fmt: skip


def half_precision(table: Specimen) -> Finding | None:
    """Find values that half precision cannot hold, or has rounded."""
    if not len(table.rows):
        return None
    survey, sample = table.survey, table.sample
    largest = float(max(np.abs(survey.low).max(), np.abs(survey.high).max()))
    if largest > _LARGEST_HALF:
        return Finding(
            "half-precision-overflow", "note",
            f"The largest value is {largest:.4g}; half precision ends at 65,504.",
            "Nothing, if 4 bytes a value are no trouble: holdfast keeps these vectors in float32.",
        )  # fmt: skip
    # Half precision keeps 11 bits: an error of at most 2^-12 of the value, even, so its square is a third.
    error = float(np.sqrt(np.square(sample, dtype=np.float64).mean() / 3) * 2**-12)
    spread = float(np.sqrt(np.square(survey.std).mean()))
    if spread == 0 or error <= _ROUNDING_LIMIT * spread:
        return None
    stored = table.dtype == np.float16
    return Finding(
        "half-precision-rounding", "warning" if stored else "note",
        f"Rounding to half precision {'has blurred' if stored else 'would blur'} the rows by "
        f"{percent(error / spread)} of their spread, for they lie far from zero.",
        "Write the embeddings in float32." if stored else
        "Keep float32, or subtract the mean row first; holdfast keeps these vectors in float32.",
    )  # fmt: skip


def few_rows(table: Specimen) -> Finding | None:
    """Find too few rows to find groups in."""
    n = len(table)
    if n >= _FEW_ROWS:
        return None
    if n < 2:
        return Finding(
            "too-few-rows", "error", f"There is {count(n, 'row')}.", "Give at least 2, better hundreds."
        )
    return Finding(
        "few-rows", "warning",
        f"There are only {n} rows; statistics of their neighbours mean little.",
        "Collect more items, or sort these by hand.",
    )  # fmt: skip


VALUE_CHECKS = (
    not_finite,
    duplicate_ids,
    equal_rows,
    few_rows,
    zero_rows,
    constant_columns,
    column_scales,
    huge_rows,
    row_lengths,
    exact_duplicates,
    half_precision,
)
"""In the order in which their findings are listed within a level."""


def _names(table: Specimen, rows: np.ndarray) -> tuple[str, ...]:
    """Name the first rows by their ids; a row without one has its number for an id."""
    return tuple(str(name) for name in table.ids[rows[:_EXAMPLES]].tolist())


def _some(part: int, n: int) -> str:
    return f"{part:,} of {count(n, 'row')} {'has' if part == 1 else 'have'}"
