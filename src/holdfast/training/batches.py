"""Rows on their way to the device: shuffled batches for training, fixed blocks for everything else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from holdfast.exceptions import ParameterError
from holdfast.io.mapped import release

__all__ = ["BLOCK_ROWS", "Rows", "digest", "map_blocks", "resolve_device", "shuffled"]

BLOCK_ROWS = 512
"""Rows in a block. Every block has exactly this many, the last one padded: a matrix product may round
differently for another number of rows, and an answer must not depend on what else was asked. Nor on the
place in the block: see :func:`holdfast.functional.products.inner_products`. More rows would be answered a
little faster still, and a single one slower: it costs a block."""

_DIGESTED_ROWS = 8_192
_HELD_BYTES = 1 << 30  # prepared rows are kept in memory up to here
_WIDENED_BY_TORCH = {"float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"}
_RELEASE_BYTES = 1 << 26  # of a mapped file, read before its pages are given back


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
        Any type of number.
    device : torch.device
        Where batches go.
    prepare : callable, optional
        Applied to every batch; row i of its result depends on row i alone.
    """

    def __init__(
        self, X: np.ndarray, device: torch.device, prepare: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self._X = X
        self.device = device
        self._prepare = prepare
        self._held: Tensor | None = None
        self._read = 0

    def __len__(self) -> int:
        return len(self._X)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        if self._held is not None:
            if isinstance(index, slice):
                return self._held[index]
            return self._held.index_select(0, index.to(self.device))
        part = np.ascontiguousarray(self._X[index.numpy()] if isinstance(index, Tensor) else self._X[index])
        self._account(part.nbytes)
        if part.dtype.name not in _WIDENED_BY_TORCH or not part.dtype.isnative:
            part = part.astype(np.float32)
        # torch widens half precision twenty times faster than NumPy does, but takes no read-only array.
        rows = torch.from_numpy(part if part.flags.writeable else part.copy())
        if self._prepare is None:
            return rows.to(self.device, torch.float32, copy=True)
        return self._prepare(rows.to(self.device, torch.float32))

    def hold(self) -> Rows:
        """Keep the rows on the device, prepared once and for all, if they take less than a gigabyte."""
        first = self[slice(0, 1)]
        if self._held is None and first.nbytes * len(self) <= _HELD_BYTES:
            self._held = map_blocks(lambda rows: rows, self, on=self.device)
        return self

    def _account(self, n_bytes: int) -> None:
        """Give the pages of a mapped file back now and then."""
        self._read += n_bytes
        if self._read > _RELEASE_BYTES:
            release(self._X)
            self._read = 0


def shuffled(n_rows: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Every row number once, in random order, ``batch_size`` at a time (the last may be shorter)."""
    yield from torch.split(torch.randperm(n_rows, generator=generator), batch_size)


def digest(X: np.ndarray) -> str:
    """Return a checksum of the rows of an array, of their shape and of their type."""
    total = hashlib.sha256(f"{X.dtype.name}{X.shape}".encode())
    for start in range(0, len(X), _DIGESTED_ROWS):
        total.update(np.ascontiguousarray(X[start : start + _DIGESTED_ROWS]).data)
        release(X)
    return total.hexdigest()


@torch.inference_mode()
def map_blocks(function: Callable[[Tensor], Tensor], rows: Rows, *, on: torch.device | str = "cpu") -> Tensor:
    """Apply a row-wise function to all rows, a fixed block at a time.

    Parameters
    ----------
    function : callable
        Tensor (block, d) to tensor (block, ...), on the rows' device.
    rows : Rows
        n rows.
    on : device, default="cpu"
        Where the result is wanted.

    Returns
    -------
    Tensor of shape (n, ...)
        Row i depends on row i alone, to the last bit.
    """
    answers: Tensor | None = None
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[slice(start, start + BLOCK_ROWS)]
        size = len(block)
        if size < BLOCK_ROWS:
            block = torch.cat([block, block.new_zeros(BLOCK_ROWS - size, *block.shape[1:])])
        part = function(block)[:size]
        if answers is None:
            answers = torch.empty((len(rows), *part.shape[1:]), dtype=part.dtype, device=on)
        answers[start : start + size] = part
    if answers is None:
        raise ValueError("there are no rows to map")
    return answers
