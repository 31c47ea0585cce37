"""Checks of where the rows of a table lie: whether they differ, and whether there is anything to find."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from holdfast._wording import percent
from holdfast.doctor.findings import Finding, listed
from holdfast.doctor.specimen import Specimen

__all__ = ["GEOMETRY_CHECKS"]

_ENOUGH_ROWS = 50  # for statistics of neighbours
_ENOUGH_FOR_NOISE = 300  # below, chance is as large as what is looked for
_STRUCTURE_LIMIT = 0.07  # measured: noise up to 0.06 (3 columns or fewer, else 0.02), real data from 0.11
_NEAR = 1e-3  # of 1 - cosine
_MUCH_NEARER = 0.02  # than is usual among these rows
_ONE_WAY = 0.9
_COLLAPSED = 0.9
_FEW_DIMENSIONS = 2.5
_WIDE = 16


def near_duplicates(table: Specimen) -> Finding | None:
    """Find rows that differ from another one by almost nothing."""
    if table.width <= _WIDE or len(table.distinct) < _ENOUGH_ROWS:
        return None
    if table.intrinsic_dimension < _FEW_DIMENSIONS:  # on a curve or a surface close neighbours are no news
        return None
    away = np.maximum(1 - table.neighbours.similarities[:, 0], 0)
    near = np.flatnonzero(away < min(_NEAR, _MUCH_NEARER * float(np.median(away))))
    if not near.size:
        return None
    place = near[np.argsort(away[near], kind="stable")[0]]
    partner = table.neighbours.indices[place, 0]
    ids = table.ids[table.rows[table.distinct]]
    pair = (str(ids[place]), str(ids[partner]))
    share = near.size / len(ids)
    return Finding(
        "near-duplicates", "warning" if share >= 0.05 else "note",
        f"{percent(share)} of {table.basis} have a neighbour that is almost the same (centred cosine above "
        f"{1 - _NEAR:g}) without being equal: for one, {listed(pair)}.",
        "Keep one of each if they are copies, crops or re-encodings of one image.",
        pair,
    )  # fmt: skip


def common_direction(table: Specimen) -> Finding | None:
    """Find all rows pointing nearly the same way."""
    if len(table.distinct) < _ENOUGH_ROWS:
        return None
    cosine = table.mean_cosine
    if cosine < _ONE_WAY:
        return None
    return Finding(
        "common-direction", "note",
        f"Two random rows have a mean cosine of {cosine:.3f}: one direction is common to all of them.",
        "Nothing for holdfast, which subtracts the mean row; elsewhere centre them before taking cosines, "
        "and check that the encoder is a trained one.",
    )  # fmt: skip


def collapsed(table: Specimen) -> Finding | None:
    """Find one direction that holds nearly all of the variance."""
    if len(table.distinct) < _ENOUGH_ROWS or table.width < 3:
        return None
    share = table.principal_share
    if share < _COLLAPSED:
        return None
    return Finding(
        "collapsed", "warning",
        f"{percent(share)} of the variance lies along one direction of {table.width:,}.",
        "Standardise columns of raw features; with an encoder, look for images of two kinds (such as blank "
        "ones) or for an encoder that has collapsed.",
    )  # fmt: skip


def few_dimensions(table: Specimen) -> Finding | None:
    """Find rows on a curve or a surface, whatever the number of columns."""
    if table.width <= _WIDE or len(table.distinct) < _ENOUGH_ROWS:
        return None
    dimension = table.intrinsic_dimension
    if not dimension < _FEW_DIMENSIONS:
        return None
    return Finding(
        "few-dimensions", "note",
        f"The rows have {table.width:,} columns and look locally {dimension:.1f}-dimensional.",
        "Check that they are embeddings: layouts for plots and frames of one video look like this.",
    )  # fmt: skip


def uniform_geometry(table: Specimen) -> Finding | None:
    """Find rows without more structure than noise has."""
    m = len(table.many)
    if m < _ENOUGH_FOR_NOISE or table.structure >= _STRUCTURE_LIMIT:
        return None
    return Finding(
        "uniform-geometry", "warning",
        f"Neighbours are no closer than in noise of the same spread (structure {table.structure:.3f}, where "
        f"embeddings of real images have 0.15 or more; judged on {m:,} rows).",
        "Check that the encoder has its trained weights and its own preprocessing: any clusters found here "
        "would be arbitrary.",
    )  # fmt: skip


GEOMETRY_CHECKS: tuple[Callable[[Specimen], Finding | None], ...] = (
    uniform_geometry,
    collapsed,
    near_duplicates,
    common_direction,
    few_dimensions,
)
"""In the order in which their findings are listed within a level."""
