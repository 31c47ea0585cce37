"""A table on the bench: one pass over all rows, and a sample of them for whatever costs more."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast._wording import count
from holdfast.doctor import measures
from holdfast.graph import Neighbours, nearest_neighbours
from holdfast.io.mapped import release, take_rows

__all__ = ["LONGEST", "Specimen", "Survey", "survey"]

LONGEST = 1e18
"""Length of a row beyond which products of two rows are no numbers in single precision any more."""

_SAMPLE = 5_000  # rows: all pairs of them take a second
_LARGE_SAMPLE = 10_000
_SAMPLE_VALUES = 1 << 24
_BLOCK_VALUES = 1 << 21
_SEED = 0


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over all rows tells.

    Attributes
    ----------
    finite : ndarray of shape (n,), bool
        Rows without NaN and infinity, as float32.
    norms : ndarray of shape (n,), float64
        Lengths of the rows.
    hashes : ndarray of shape (n,), uint64
        Equal for equal rows, and (but for bad luck) for no others.
    low, high, mean, std : ndarray of shape (d,), float64
        Of the columns, over finite rows.
    """

    finite: npt.NDArray[np.bool_]
    norms: npt.NDArray[np.float64]
    hashes: npt.NDArray[np.uint64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Specimen:
    """A table and what has been measured of it; each measurement is made once, when it is asked for.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Numbers of any type, faults included. It is never copied as a whole.
    ids : ndarray of shape (n,), str
    labels : ndarray of shape (n,) or None
    paths : ndarray of shape (n,), str, or None
    stored : dtype or None
        The type of number in the file, where `X` has another one.
    """

    X: npt.NDArray[Any]
    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[Any] | None = None
    paths: npt.NDArray[np.str_] | None = None
    stored: np.dtype | None = None

    def __len__(self) -> int:
        return len(self.X)

    @property
    def width(self) -> int:
        """The number of columns."""
        return int(self.X.shape[1])

    @property
    def dtype(self) -> np.dtype:
        """The type of number in the file."""
        return self.X.dtype if self.stored is None else self.stored

    @cached_property
    def survey(self) -> Survey:
        """The pass over all rows."""
        return survey(self.X)

    @cached_property
    def usable(self) -> npt.NDArray[np.intp]:
        """Rows that have a direction: finite, not all zeros, and not so long that nothing can be computed."""
        norms = self.survey.norms
        return np.flatnonzero(self.survey.finite & (norms > 0) & (norms < LONGEST))

    @cached_property
    def classes(self) -> tuple[list[str], npt.NDArray[np.intp]]:
        """The names of the classes, and the class of every row; none without labels."""
        if self.labels is None:
            return [], np.zeros(0, dtype=np.intp)
        names, codes = np.unique(self.labels, return_inverse=True)
        return [str(name) for name in names.tolist()], codes

    @cached_property
    def rows(self) -> npt.NDArray[np.intp]:
        """The sample: numbers of usable rows, in order."""
        return self._draw(_SAMPLE)

    @cached_property
    def sample(self) -> npt.NDArray[np.float32]:
        """The sampled rows (m, d)."""
        return self._take(self.rows)

    @cached_property
    def many(self) -> npt.NDArray[np.intp]:
        """A larger sample of rows that all differ, in order."""
        rows = self._draw(_LARGE_SAMPLE)
        return rows[np.sort(np.unique(self.survey.hashes[rows], return_index=True)[1])]

    @cached_property
    def distinct(self) -> npt.NDArray[np.intp]:
        """Places within the sample of rows that differ from all before them."""
        return np.sort(np.unique(self.survey.hashes[self.rows], return_index=True)[1])

    @cached_property
    def neighbours(self) -> Neighbours:
        """The nearest distinct rows of each distinct sampled row, by the cosine of centred rows."""
        return nearest_neighbours(self._centred, measures.NEIGHBOURS)

    @cached_property
    def _centred(self) -> npt.NDArray[np.float32]:
        return measures.centred(self.sample[self.distinct])

    @cached_property
    def structure(self) -> float:
        """How much closer neighbours are than in noise."""
        return measures.structure(self._take(self.many))

    @cached_property
    def mean_cosine(self) -> float:
        """Mean cosine of two sampled rows, as they are."""
        return measures.mean_cosine(self.sample)

    @cached_property
    def principal_share(self) -> float:
        """Share of the variance along one direction."""
        return measures.principal_share(self.sample)

    @cached_property
    def intrinsic_dimension(self) -> float:
        """Dimension of the surface that the rows lie on, seen from nearby."""
        return measures.intrinsic_dimension(self._centred, self.neighbours)

    def _draw(self, most: int) -> npt.NDArray[np.intp]:
        size = min(len(self.usable), most, max(300, _SAMPLE_VALUES // self.width))
        return np.sort(np.random.default_rng(_SEED).choice(self.usable, size, replace=False))

    def _take(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        with np.errstate(over="ignore"):
            return take_rows(self.X, rows)

    @property
    def basis(self) -> str:
        """Say what the sample is, for a sentence."""
        n = len(self.rows)
        if n < len(self.usable):
            return f"a random sample of {n:,} rows"
        return f"all {count(n, 'row')}" if n == len(self) else f"the {n:,} usable rows"


def survey(X: npt.NDArray[Any]) -> Survey:
    """Look at every row once, some at a time.

    Parameters
    ----------
    X : ndarray of shape (n, d)

    Returns
    -------
    Survey
    """
    n, d = X.shape
    factors = np.random.default_rng(_SEED).integers(0, 2**64, d, dtype=np.uint64) | np.uint64(1)
    finite, norms = np.empty(n, dtype=bool), np.empty(n)
    hashes = np.empty(n, dtype=np.uint64)
    moments = _Moments(d)
    step = max(1, _BLOCK_VALUES // d)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        with np.errstate(over="ignore", invalid="ignore"):
            block = np.asarray(X[rows]).astype(np.float32)
            block += 0  # -0 becomes 0: equal rows, equal bits
            hashes[rows] = (block.view(np.uint32) * factors).sum(axis=1, dtype=np.uint64)
        finite[rows] = np.isfinite(block).all(axis=1)
        good = np.where(finite[rows, None], block, 0).astype(np.float64)
        norms[rows] = np.sqrt(np.einsum("ij,ij->i", good, good))
        moments.add(good[finite[rows]])
        release(X)
    return Survey(finite, norms, hashes, moments.low, moments.high, moments.mean, moments.std)


class _Moments:
    """Extremes, mean and standard deviation of columns, block by block and without cancellation."""

    def __init__(self, d: int) -> None:
        self.n = 0
        self.low, self.high = np.full(d, np.inf), np.full(d, -np.inf)
        self.mean, self._squares = np.zeros(d), np.zeros(d)

    def add(self, block: npt.NDArray[np.float64]) -> None:
        """Take some more rows, by the update of Chan, Golub and LeVeque (1979)."""
        if not len(block):
            return
        self.low, self.high = np.minimum(self.low, block.min(0)), np.maximum(self.high, block.max(0))
        mean, m = block.mean(axis=0), len(block)
        ahead, total = mean - self.mean, self.n + m
        self._squares += np.square(block - mean).sum(axis=0) + np.square(ahead) * (self.n * m / total)
        self.mean = self.mean + ahead * (m / total)
        self.n = total

    @property
    def std(self) -> npt.NDArray[np.float64]:
        return np.asarray(np.sqrt(self._squares / max(self.n, 1)))
