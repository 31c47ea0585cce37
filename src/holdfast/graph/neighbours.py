"""Exact nearest neighbours by cosine similarity, in memory O(n x k) beside the rows."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import util
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

__all__ = ["Neighbours", "nearest_neighbours", "unit_rows"]

_BLOCK_ENTRIES = 2**24  # similarities held at once: 64 MB of float32
_BLOCK_ROWS = 8_192  # rows scaled at once


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest rows of every row, closest first, itself excluded.

    Attributes
    ----------
    indices : ndarray of shape (n, k), int64
        Row numbers of the neighbours.
    similarities : ndarray of shape (n, k), float32
        Their cosine similarities, descending along each row.
    """

    indices: np.ndarray
    similarities: np.ndarray

    @property
    def k(self) -> int:
        """How many neighbours each row has."""
        return int(self.indices.shape[1])

    def first(self, k: int) -> Neighbours:
        """Return the ``k`` closest of the neighbours held (all of them where fewer are held)."""
        return Neighbours(self.indices[:, :k], self.similarities[:, :k])


def unit_rows(X: np.ndarray) -> np.ndarray:
    """Scale every row to length one, so that an inner product is a cosine.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows; one of zeros stays zero.

    Returns
    -------
    ndarray of shape (n, d), float32
        A new array.
    """
    rows = np.empty(X.shape, dtype=np.float32)
    for start in range(0, len(X), _BLOCK_ROWS):
        block = np.array(X[start : start + _BLOCK_ROWS], dtype=np.float32)  # a map on disk may be read-only
        rows[start : start + _BLOCK_ROWS] = normalize(torch.from_numpy(block), dim=1).numpy()
    return rows


def nearest_neighbours(X: np.ndarray, k: int) -> Neighbours:
    """Find the ``k`` rows of highest cosine similarity to each row.

    faiss answers where it is installed (twice as fast); otherwise blocks of a matrix product do.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows, of any length.
    k : int
        Neighbours wanted; at most ``n - 1`` are given.

    Returns
    -------
    Neighbours
        ``indices`` and ``similarities`` of shape (n, min(k, n - 1)).
    """
    rows = unit_rows(X)
    k = min(k, len(rows) - 1)
    find = _faiss_top if util.find_spec("faiss") else _torch_top
    similarities, indices = find(rows, k + 1)
    return _without_self(indices, similarities)


def _torch_top(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    data = torch.from_numpy(rows)
    block = max(1, _BLOCK_ENTRIES // len(rows))
    tops = [torch.topk(part @ data.T, k, dim=1) for part in torch.split(data, block)]
    return torch.cat([t.values for t in tops]).numpy(), torch.cat([t.indices for t in tops]).numpy()


def _faiss_top(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    import faiss

    index: Any = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    similarities, indices = index.search(rows, k)
    return similarities, indices


def _without_self(indices: np.ndarray, similarities: np.ndarray) -> Neighbours:
    """Drop each row's own number; among many duplicates, where it is not listed, drop the last."""
    own = indices == np.arange(len(indices))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = (len(indices), indices.shape[1] - 1)
    return Neighbours(indices[~own].reshape(shape).astype(np.int64), similarities[~own].reshape(shape))
