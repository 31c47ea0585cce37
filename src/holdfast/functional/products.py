"""Matrix products whose rows do not depend on where they stand."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import linear, pad

__all__ = ["inner_products"]

_ALIGNMENT = 16  # floats in 64 bytes


def inner_products(rows: Tensor, others: Tensor, bias: Tensor | None = None) -> Tensor:
    """Inner product of every row with every other row: ``rows @ others.T + bias``.

    Matrix kernels sum in another order for rows that begin at another alignment in memory, so the same row
    may be answered with other last bits elsewhere in a block. Rows whose width is a multiple of 64 bytes
    all begin alike; others are filled up with zeros, which add nothing.

    Parameters
    ----------
    rows : Tensor of shape (n, d)
    others : Tensor of shape (k, d)
    bias : Tensor of shape (k,), optional

    Returns
    -------
    Tensor of shape (n, k)
        For a given ``n``, row i depends on ``rows[i]`` alone, to the last bit.
    """
    missing = -rows.shape[1] % _ALIGNMENT
    if missing:
        rows, others = pad(rows, (0, missing)), pad(others, (0, missing))
    return linear(rows, others, bias)
