"""Vectors on their way into a file: converted a block at a time, so that no second X is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from holdfast._validation import row_text
from holdfast.exceptions import InputError
from holdfast.io.embeddings import Embeddings
from holdfast.io.mapped import block_rows, release

__all__ = ["Stored"]


@dataclass(frozen=True)
class Stored:
    """The vectors of `emb` in the precision of a file."""

    emb: Embeddings
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        n, d = self.emb.X.shape
        return n, d

    def blocks(self, most_rows: int) -> Iterator[tuple[slice, npt.NDArray]]:
        """Yield which rows a block has, and the rows; at most `most_rows`, fewer where they are wide.

        Raises
        ------
        InputError
            If a value overflows; names the row.
        """
        n, d = self.shape
        step = block_rows(d, most_rows)
        for start in range(0, n, step):
            rows = slice(start, start + step)
            yield rows, self._converted(self.emb.X[rows], start)
            release(self.emb.X)

    def _converted(self, block: npt.NDArray, start: int) -> npt.NDArray:
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(block, dtype=self.dtype)
        if self.dtype == np.float16 and block.dtype != np.float16 and np.isinf(stored).any():
            row = start + int(np.flatnonzero(np.isinf(stored).any(axis=1))[0])
            where = row_text(row, self.emb.ids[row])
            raise InputError(f"X does not fit float16 in {where}: write it as float32.")
        return stored
