"""How exactly training computes: in single precision, or as exactly and faster where that is to be had."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from holdfast.exceptions import HoldfastWarning

__all__ = ["computing"]

_SIDE = 256  # of the product that is tried
_TOLERATED = 1e-5  # relative error of a relaxed product; single precision makes 1e-6


@contextmanager
def computing(precision: str, device: torch.device) -> Iterator[None]:
    """Compute in a precision inside a ``with`` block.

    Parameters
    ----------
    precision : {"float32", "relaxed"}
        Single precision; or the same with matrix products that torch may take from a faster library, after
        checking that they are as exact here. By torch's contract they need not be everywhere.
    device : torch.device
        Where the work is done.
    """
    before = torch.get_float32_matmul_precision()
    try:
        if precision == "relaxed":
            torch.set_float32_matmul_precision("medium")
            if (error := _product_error(device)) > _TOLERATED:
                torch.set_float32_matmul_precision(before)
                message = f"relaxed products are off by {error:.0e} here, so single precision is used."
                warnings.warn(message, HoldfastWarning, stacklevel=2)
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _product_error(device: torch.device) -> float:
    """Relative error of a matrix product as it is computed now."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(_SIDE, _SIDE, generator=generator) for _ in range(2))
    exact = left.double() @ right.double()
    product = (left.to(device) @ right.to(device)).cpu().double()
    return float((product - exact).norm() / exact.norm())
