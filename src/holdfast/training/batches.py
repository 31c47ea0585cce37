"""Rows on their way to the device: shuffled batches for training, fixed blocks for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from holdfast.exceptions import ParameterError

__all__ = ["BLOCK_ROWS", "Rows", "map_blocks", "resolve_device", "shuffled"]

BLOCK_ROWS = 256
"""Rows in a block. Every block has exactly this many, the last one padded: a matrix product may round
differently for another number of rows, and an answer must not depend on what else was asked. Nor on the
place in the block: see :func:`holdfast.functional.products.inner_products`."""


def resolve_device(device: str) -> torch.device:
    """Turn ``"auto"`` into CUDA where there is one, else the CPU; anything else is torch's own name.

    Raises
    ------
    ParameterError
        If torch cannot use the device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        probe = torch.zeros(1, device=torch.device(device))
        probe.item()  # "meta" makes tensors that hold nothing
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:  # torch's ways to say no
        raise ParameterError(
            f"device={device!r} cannot be used on this machine; choose 'auto' or 'cpu', which always work."
        ) from error
    return probe.device


class Rows:
    """The rows of an array, handed out as float32 tensors on a device, without a copy of the whole.

    Parameters
    ----------
    X : ndarray or memmap of shape (n, d)
        Any floating type.
    device : torch.device
        Where batches go.
    """

    def __init__(self, X: np.ndarray, device: torch.device) -> None:
        self._X = X
        self._device = device

    def __len__(self) -> int:
        return len(self._X)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        part = self._X[index.numpy()] if isinstance(index, Tensor) else self._X[index]
        return torch.from_numpy(np.array(part, dtype=np.float32)).to(self._device)


def shuffled(n_rows: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Every row number once, in random order, ``batch_size`` at a time (the last may be shorter)."""
    yield from torch.split(torch.randperm(n_rows, generator=generator), batch_size)


@torch.inference_mode()
def map_blocks(function: Callable[[Tensor], Tensor], rows: Rows) -> Tensor:
    """Apply a row-wise function to all rows, a fixed block at a time.

    Parameters
    ----------
    function : callable
        Tensor (block, d) to tensor (block, ...), on the rows' device.
    rows : Rows
        n rows.

    Returns
    -------
    Tensor of shape (n, ...)
        On the CPU. Row i depends on row i alone, to the last bit.
    """
    parts = []
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[slice(start, start + BLOCK_ROWS)]
        padding = block.new_zeros(BLOCK_ROWS - len(block), block.shape[1])
        parts.append(function(torch.cat([block, padding]))[: len(block)].cpu())
    return torch.cat(parts)
