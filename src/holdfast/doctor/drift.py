"""Checks of a table against the collection that a model was fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast._wording import percent
from holdfast.doctor.findings import Finding
from holdfast.doctor.measures import centred
from holdfast.doctor.specimen import Specimen
from holdfast.graph import unit_rows

__all__ = ["DRIFT_CHECKS", "Pair"]

_SHIFTED = 0.25  # mean rows apart, in units of the collection's spread
_LENGTHS = 1.5
_UNLIKE_QUANTILE = 0.99
_UNLIKE = 0.1
_ROWS = 2_000


@dataclass(frozen=True, eq=False)
class Pair:
    """New rows beside those of the fit.

    Attributes
    ----------
    new : Specimen
        The table.
    width : int
        Columns that the model was fitted on.
    fitted : Specimen or None
        The stored collection, where there is one.
    encoder, fitted_encoder : str or None
        Recipes of the vectors.
    model : estimator or None
    """

    new: Specimen
    width: int
    fitted: Specimen | None = None
    encoder: str | None = None
    fitted_encoder: str | None = None
    model: Any = None

    @property
    def comparable(self) -> bool:
        """Whether the rows can be set against each other at all."""
        return self.fitted is not None and self.new.width == self.width and len(self.new.rows) > 0


def other_width(pair: Pair) -> Finding | None:
    """Find vectors of another width."""
    if pair.new.width == pair.width:
        return None
    return Finding(
        "other-width", "error",
        f"The table has vectors of width {pair.new.width} and the model was fitted on width {pair.width}.",
        "Embed the items with the encoder of the fit.",
    )  # fmt: skip


def other_encoder(pair: Pair) -> Finding | None:
    """Find vectors of another recipe."""
    if pair.encoder is None or pair.fitted_encoder is None or pair.encoder == pair.fitted_encoder:
        return None
    return Finding(
        "other-encoder", "error",
        f"The table was embedded by the recipe {pair.encoder} and the collection by {pair.fitted_encoder}.",
        "Embed the items with the encoder of the fit.",
    )  # fmt: skip


def other_lengths(pair: Pair) -> Finding | None:
    """Find rows of another length, such as normalised ones beside raw ones."""
    if not pair.comparable or pair.fitted is None:
        return None
    new, old = (_median_length(part) for part in (pair.new, pair.fitted))
    if 1 / _LENGTHS <= new / old <= _LENGTHS:
        return None
    return Finding(
        "other-lengths", "warning",
        f"Rows of the table have a median length of {new:.3g}, those of the collection {old:.3g}.",
        "Normalise both or neither: the model subtracts the collection's mean row.",
    )  # fmt: skip


def shifted(pair: Pair) -> Finding | None:
    """Find a mean row elsewhere."""
    if not pair.comparable or pair.fitted is None:
        return None
    old = pair.fitted.survey
    spread = float(np.sqrt(np.square(old.std).sum()))
    apart = float(np.linalg.norm(pair.new.survey.mean - old.mean)) / max(spread, 1e-30)
    chance = 3 / np.sqrt(len(pair.new.rows))  # a mean of few rows strays
    if apart <= max(_SHIFTED, chance):
        return None
    return Finding(
        "shifted-mean", "warning",
        f"The mean row of the table lies {apart:.2f} of the collection's spread away from its mean.",
        "Look whether other kinds of items have come or the preprocessing has changed; fit again if the new "
        "items are the rule.",
    )  # fmt: skip


def unlike(pair: Pair) -> Finding | None:
    """Find rows far from anything that was fitted."""
    if not pair.comparable or pair.fitted is None or len(pair.fitted.rows) < 50:
        return None
    usual, new, names = _distances(pair.new, pair.fitted)
    far = np.flatnonzero(new < usual)
    share = far.size / len(new)
    if share < _UNLIKE:
        return None
    order = far[np.argsort(new[far], kind="stable")]
    examples = tuple(str(name) for name in names[order[:10]].tolist())
    return Finding(
        "unlike-the-collection", "warning",
        f"{percent(share)} of the rows are farther from the collection than all but 1 % of its own rows are "
        f"from each other; farthest: {examples[0]}.",
        "Look at these items: if they are of new kinds, none of the clusters is theirs: fit again with them.",
        examples,
    )  # fmt: skip


DRIFT_CHECKS = (other_width, other_encoder, other_lengths, shifted, unlike)
"""In the order in which their findings are listed within a level."""


def _median_length(table: Specimen) -> float:
    return float(np.median(table.survey.norms[table.usable]))


def _distances(new: Specimen, old: Specimen) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the cosine that 99 % of fitted rows have with their nearest, and that of each new row.

    Fitted rows are halved, so that both kinds look for their nearest among the same rows, none their own.
    """
    rng = np.random.default_rng(0)
    known = old.sample[rng.permutation(len(old.rows))[: 2 * _ROWS]]
    drawn = np.sort(rng.permutation(len(new.rows))[:_ROWS])
    half = len(known) // 2
    mixed = unit_rows(centred(np.vstack([known, new.sample[drawn]]), about=known))
    base, rest = mixed[:half], mixed[half:]
    nearest = (rest @ base.T).max(axis=1)
    own, others = nearest[: len(known) - half], nearest[len(known) - half :]
    return float(np.quantile(own, 1 - _UNLIKE_QUANTILE)), others, new.ids[new.rows[drawn]]
