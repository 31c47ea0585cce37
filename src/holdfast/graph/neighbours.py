"""Nearest neighbours by cosine similarity: exact for few rows, of measured recall for many."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import util
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from holdfast.functional.geometry import principal_directions
from holdfast.io.mapped import release, take_rows

__all__ = ["Neighbours", "nearest_neighbours", "unit_rows"]

_BLOCK_ENTRIES = 2**24  # similarities held at once: 64 MB of float32
_BLOCK_ROWS = 8_192  # rows scaled at once
_EXACT_UP_TO = 10_000  # rows
_FLAT_UP_TO = 50_000  # rows that are each compared with all others, if only along leading directions
_DIRECTIONS = 128
_CANDIDATES = 2  # for every neighbour wanted
_RANKED_AT_ONCE = 64  # rows whose candidates stay in the processor's cache
_PROBE = 256  # rows whose neighbours are found exactly too, to measure the recall
_ENOUGH_RECALL = 0.95
_ROUNDING = 1e-6
_SHORTEST = 1e-12  # a row of zeros is similar to nothing
_EFFORTS = 3  # each twice the last
_SAMPLE = 5_000  # rows that tell the directions


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest rows of every row, closest first, itself excluded.

    Attributes
    ----------
    indices : ndarray of shape (n, k), int64
        Row numbers of the neighbours.
    similarities : ndarray of shape (n, k), float32
        Their cosine similarities, descending along each row.
    recall : float
        Share of the true neighbours that were found; below 1 where it was estimated from a sample of rows.
    """

    indices: np.ndarray
    similarities: np.ndarray
    recall: float = 1.0

    @property
    def k(self) -> int:
        """How many neighbours each row has."""
        return int(self.indices.shape[1])

    def first(self, k: int) -> Neighbours:
        """Return the ``k`` closest of the neighbours held (all of them where fewer are held)."""
        return Neighbours(self.indices[:, :k], self.similarities[:, :k], self.recall)


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

    Up to 10,000 rows are each compared with all others. Of more rows twice as many candidates as neighbours
    are found along the 128 leading directions and ranked by their true similarities; beyond 50,000 rows the
    candidates come from faiss's inverted lists where it is installed. The share of true neighbours among the
    answers is measured, and below 19 in 20 the search is widened.

    Parameters
    ----------
    X : ndarray or memmap of shape (n, d)
        Rows, of any length.
    k : int
        Neighbours wanted; at most ``n - 1`` are given.

    Returns
    -------
    Neighbours
        ``indices`` and ``similarities`` of shape (n, min(k, n - 1)).
    """
    k = min(k, len(X) - 1)
    if len(X) <= _EXACT_UP_TO:
        return _without_self(*_flat(unit_rows(X), k + 1))
    probe = np.linspace(0, len(X) - 1, _PROBE).astype(np.int64)
    kth = _kth_similarity(X, probe, k)
    short = _leading(X)
    is_short = short.shape[1] == X.shape[1]
    for effort in range(_EFFORTS):
        wanted = k + 1 if is_short else min((_CANDIDATES << effort) * k + 1, len(X))
        similarities, candidates = _candidates(short, wanted, effort)
        found = _without_self(similarities, candidates) if is_short else _ranked(X, candidates, k)
        # By similarity: of many equal rows, any are right.
        recall = float((found.similarities[probe] >= kth[:, None] - _ROUNDING).mean())
        if recall >= _ENOUGH_RECALL:
            break
    return Neighbours(found.indices, found.similarities, recall)


def _leading(X: np.ndarray) -> np.ndarray:
    """Put unit rows (n, d) on at most 128 leading directions, as rows of length one again."""
    if X.shape[1] <= _DIRECTIONS:
        return unit_rows(X)
    sample = unit_rows(take_rows(X, np.arange(0, len(X), max(1, len(X) // _SAMPLE))))
    directions = principal_directions(torch.from_numpy(sample), _DIRECTIONS)
    rows = np.empty((len(X), len(directions)), dtype=np.float32)
    for start in range(0, len(X), _BLOCK_ROWS):
        block = torch.from_numpy(unit_rows(X[start : start + _BLOCK_ROWS]))
        rows[start : start + _BLOCK_ROWS] = normalize(block @ directions.T, dim=1).numpy()
        release(X)
    return rows


def _candidates(rows: np.ndarray, k: int, effort: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the ``k`` most similar of unit rows, itself included: exactly, or for very many from lists."""
    if len(rows) > _FLAT_UP_TO and util.find_spec("faiss"):
        return _faiss_lists(rows, k, effort)
    return _flat(rows, k)


def _flat(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Compare all with all: by faiss where it is installed (twice as fast), else by blocks of a product."""
    return _faiss_flat(rows, k) if util.find_spec("faiss") else _torch_flat(rows, k)


def _torch_flat(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    data = torch.from_numpy(rows)
    block = max(1, _BLOCK_ENTRIES // len(rows))
    tops = [torch.topk(part @ data.T, k, dim=1) for part in torch.split(data, block)]
    return torch.cat([t.values for t in tops]).numpy(), torch.cat([t.indices for t in tops]).numpy()


def _faiss_flat(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    import faiss

    index: Any = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    similarities, indices = index.search(rows, k)
    return similarities, indices


def _faiss_lists(rows: np.ndarray, k: int, effort: int) -> tuple[np.ndarray, np.ndarray]:
    import faiss

    n_lists = int(np.sqrt(len(rows)))
    quantiser: Any = faiss.IndexFlatIP(rows.shape[1])
    index: Any = faiss.IndexIVFFlat(quantiser, rows.shape[1], n_lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10
    index.train(rows[:: max(1, len(rows) // (64 * n_lists))])
    index.add(rows)
    index.nprobe = max(8, n_lists // 16) << effort
    similarities, indices = index.search(rows, k)
    short = np.flatnonzero(indices[:, -1] < 0)  # few rows are near these: too few in the lists that were read
    if len(short):
        index.nprobe = n_lists
        similarities[short], indices[short] = index.search(rows[short], k)
    return similarities, indices


def _ranked(X: np.ndarray, candidates: np.ndarray, k: int) -> Neighbours:
    """Keep the ``k`` best of each row's candidates (n, c), by similarity in all columns of X."""
    n = len(X)
    indices, similarities = np.empty((n, k), dtype=np.int64), np.empty((n, k), dtype=np.float32)
    for start in range(0, n, _RANKED_AT_ONCE):
        rows = slice(start, start + _RANKED_AT_ONCE)
        near = torch.from_numpy(candidates[rows])
        own = torch.from_numpy(unit_rows(X[rows]))
        others = _taken(X, near.flatten()).view(*near.shape, -1)
        lengths = others.norm(dim=2).clamp_min(_SHORTEST)
        scores = others.mul_(own[:, None]).sum(2) / lengths
        scores[near == torch.arange(start, start + len(near))[:, None]] = -np.inf
        best = scores.topk(k, dim=1)
        similarities[rows], indices[rows] = best.values.numpy(), near.gather(1, best.indices).numpy()
        if start % _BLOCK_ROWS == 0:
            release(X)
    return Neighbours(indices, similarities)


def _taken(X: np.ndarray, index: torch.Tensor) -> torch.Tensor:
    """Copy some rows of X."""
    if X.dtype == np.float32 and X.flags.writeable and X.flags.c_contiguous:  # torch gathers faster
        return torch.from_numpy(X).index_select(0, index)
    return torch.from_numpy(np.ascontiguousarray(X[index.numpy()], dtype=np.float32))


def _kth_similarity(X: np.ndarray, probe: np.ndarray, k: int) -> np.ndarray:
    """Measure the similarity (p,) of the true k-th neighbour of some rows, found block by block."""
    queries = torch.from_numpy(unit_rows(X[probe]))
    best = torch.empty(len(probe), 0)
    for start in range(0, len(X), _BLOCK_ROWS):
        block = torch.from_numpy(unit_rows(X[start : start + _BLOCK_ROWS]))
        scores = queries @ block.T
        inside = np.flatnonzero((probe >= start) & (probe < start + len(block)))
        scores[inside, probe[inside] - start] = -1.0  # itself is no neighbour
        best = torch.cat([best, scores], dim=1)
        best = best.topk(min(k, best.shape[1]), dim=1).values
        release(X)
    return np.asarray(best[:, -1])


def _without_self(similarities: np.ndarray, indices: np.ndarray) -> Neighbours:
    """Drop each row's own number; among many duplicates, where it is not listed, drop the last."""
    own = indices == np.arange(len(indices))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = (len(indices), indices.shape[1] - 1)
    return Neighbours(indices[~own].reshape(shape).astype(np.int64), similarities[~own].reshape(shape))
