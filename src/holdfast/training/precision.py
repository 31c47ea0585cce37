"""How exactly training computes: in single precision, or faster where the processor can."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

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
    precision : {"float32", "relaxed", "bfloat16"}
        Single precision; the same with matrix products that torch may take from a faster library, after
        checking that they are as exact here; or products in bfloat16, with three digits.
    device : torch.device
        Where the work is done.
    """
    before = torch.get_float32_matmul_precision()
    mode = torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
    try:
        if precision == "relaxed":
            torch.set_float32_matmul_precision("medium")
            if (error := _product_error(device)) > _TOLERATED:
                torch.set_float32_matmul_precision(before)
                message = (
                    f"relaxed products have a relative error of {error:.0e} here; single precision is used."
                )
                warnings.warn(message, HoldfastWarning, stacklevel=2)
        with mode:
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
