"""The geometry in which rows are compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

__all__ = ["LIFT_UP_TO", "lift", "mean_row", "principal_directions", "root_mean_square", "unit_blocks"]

LIFT_UP_TO = 16
"""Rows of at most this many columns are lifted: so few directions alone say too little."""

_BLOCK = 8_192
_TINY = 1e-30


def lift(centred: Tensor, height: Tensor | float) -> Tensor:
    """Append a constant column to rows of few columns, so that directions keep their distances.

    Seen from a point ``height`` away, rows at different distances from the mean lie in different
    directions; wide rows are returned as they are.

    Parameters
    ----------
    centred : Tensor of shape (n, d)
        Rows with their mean subtracted.
    height : Tensor or float
        A typical length of the rows.

    Returns
    -------
    Tensor of shape (n, d + 1) where d <= 16, else (n, d)
    """
    if centred.shape[1] > LIFT_UP_TO:
        return centred
    return torch.cat([centred, torch.ones_like(centred[:, :1]) * height], dim=1)


def unit_blocks(x: Tensor, widths: Sequence[int]) -> Tensor:
    """Scale every block of columns of every row to one length, so that all embedding spaces count the same.

    Parameters
    ----------
    x : Tensor of shape (n, d)
        Embeddings of the same rows by several encoders, side by side.
    widths : sequence of int
        Columns of each space, d in all.

    Returns
    -------
    Tensor of shape (n, d)
        Blocks of length ``1 / sqrt(len(widths))``, rows of length one; a block of zeros stays one.
    """
    blocks = []
    for block in torch.split(x, list(widths), dim=1):
        largest = block.abs().amax(1, keepdim=True).clamp_min(_TINY)  # squares of long rows would overflow
        blocks.append(normalize(block / largest, dim=1))
    joined: Tensor = torch.cat(blocks, dim=1) / len(widths) ** 0.5
    return joined


def mean_row(X: np.ndarray) -> np.ndarray:
    """Mean of the rows, summed in double precision block by block.

    Parameters
    ----------
    X : ndarray of shape (n, d)

    Returns
    -------
    ndarray of shape (d,), float32
    """
    total = np.zeros(X.shape[1])
    for start in range(0, len(X), _BLOCK):
        total += _single(X[start : start + _BLOCK]).sum(axis=0, dtype=np.float64)
    return (total / len(X)).astype(np.float32)


def root_mean_square(X: np.ndarray, mean: np.ndarray) -> float:
    """Root mean square of all centred entries, block by block.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    mean : ndarray of shape (d,)

    Returns
    -------
    float
        Zero exactly where all rows are equal.
    """
    total = 0.0
    for start in range(0, len(X), _BLOCK):
        total += float(np.square(_single(X[start : start + _BLOCK]) - mean, dtype=np.float64).sum())
    return float(np.sqrt(total / X.size))


def _single(rows: np.ndarray) -> np.ndarray:
    """Return rows as they are computed with: no more exact than single precision."""
    return rows if rows.dtype in (np.float16, np.float32) else rows.astype(np.float32)


def principal_directions(rows: Tensor, n_directions: int) -> Tensor:
    """Leading right singular vectors of rows, which are taken as they are: centre them first.

    Found from the smaller of the two Gram matrices, in double precision: several times faster than a singular
    value decomposition, and as good for directions that matter.

    Parameters
    ----------
    rows : Tensor of shape (n, d)
        A few thousand rows tell the directions of any number of them.
    n_directions : int
        Directions wanted.

    Returns
    -------
    Tensor of shape (min(n_directions, n, d), d)
        Orthonormal rows, signs fixed so that the largest entry of each is positive.
    """
    wanted = min(n_directions, *rows.shape)
    exact = rows.double()
    if rows.shape[1] <= rows.shape[0]:
        directions = torch.linalg.eigh(exact.T @ exact).eigenvectors[:, -wanted:].flip(1).T
    else:
        left = torch.linalg.eigh(exact @ exact.T).eigenvectors[:, -wanted:].flip(1)
        directions = torch.linalg.qr((left.T @ exact).T).Q.T  # of rank below n, some are arbitrary
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    signed: Tensor = directions * torch.where(largest < 0, -1.0, 1.0)
    return signed.to(rows.dtype).contiguous()
