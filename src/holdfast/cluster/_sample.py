"""How many rows a fit trains on, and which."""

from __future__ import annotations

from typing import Literal

import numpy as np

from holdfast.exceptions import InputError
from holdfast.io.mapped import release, row_blocks, take_rows

__all__ = [
    "USUAL_ROWS",
    "content_order",
    "drawn_numbers",
    "refuse_equal_rows",
    "sample_size",
    "training_rows",
]

USUAL_ROWS, _ROWS_A_CLUSTER = 50_000, 100
_SAMPLE_BYTES, _LEAST_ROWS_A_CLUSTER = 1 << 31, 20  # of very wide rows fewer, but enough for every cluster
_MOST_BYTES = 1 << 30  # of rows that are copied for their type alone
_HASHED_ROWS = 4_096


def sample_size(
    subsample: int | Literal["auto"] | None, n_clusters: int, shape: tuple[int, ...], usual: int = USUAL_ROWS
) -> int:
    """Resolve the parameter `subsample` for rows of shape (n, d); no fewer rows than clusters."""
    n, d = shape
    if subsample is None:
        return n
    if subsample == "auto":
        wanted = max(usual, _ROWS_A_CLUSTER * n_clusters)
        return min(n, wanted, max(_SAMPLE_BYTES // (4 * d), _LEAST_ROWS_A_CLUSTER * n_clusters))
    return min(n, max(subsample, n_clusters))


def training_rows(X: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Return `size` rows of X (n, d): all of them or a random sample, in their order, as float32.

    All rows of another type are left as they are where their copy would take more than a gigabyte.
    """
    n, d = X.shape
    if size == n:
        return X if X.dtype == np.float32 or 4 * n * d > _MOST_BYTES else take_rows(X, np.arange(n))
    return take_rows(X, drawn_numbers(n, size, seed))


def drawn_numbers(n_rows: int, size: int, seed: int) -> np.ndarray:
    """Draw `size` of `n_rows` row numbers at random, ascending."""
    return np.sort(np.random.default_rng(seed).choice(n_rows, size, replace=False))


def refuse_equal_rows(n_rows: int, scale: float, *, is_sample: bool) -> None:
    """Refuse rows whose centred entries have a root mean square of zero: there is nothing to tell apart.

    `is_sample` says that rows were left out.
    """
    if scale != 0:
        return
    rows, remedy = "rows", "check how the embeddings were made"
    if is_sample:
        rows, remedy = "rows of the sample", f"raise subsample, or {remedy}"
    raise InputError(f"all {n_rows} {rows} are equal, so there is nothing to tell apart; {remedy}.")


def content_order(X: np.ndarray, seed: int) -> np.ndarray:
    """Order rows by a hash of what they hold, so that the order they come in does not matter.

    It is a random order: its first rows are a random sample of all.

    Parameters
    ----------
    X : ndarray or memmap of shape (n, d)
        Copies of one row are spread over the order; which copy comes first is told by their own order.
    seed : int
        Another seed is another hash.

    Returns
    -------
    ndarray of shape (n,), int64
        Row numbers.
    """
    factors = np.random.default_rng(seed).integers(1 << 64, size=X.shape[1], dtype=np.uint64) | np.uint64(1)
    hashes = np.empty(len(X), dtype=np.uint64)
    start = 0
    for block in row_blocks(X, _HASHED_ROWS):
        rows = np.asarray(block, dtype=np.float32) + np.float32(0)  # -0 is 0
        words = np.ascontiguousarray(rows).view(np.uint32).astype(np.uint64)
        words *= factors
        hashes[start : start + len(block)] = words.sum(axis=1, dtype=np.uint64)
        start += len(block)
        release(X)
    hashes = _mixed(hashes)
    order = np.argsort(hashes, kind="stable")
    rank = _rank_among_equals(hashes[order])
    if not rank.any():
        return order
    apart = np.where(rank > 0, _mixed(hashes[order] + rank.astype(np.uint64)), hashes[order])
    return order[np.argsort(apart, kind="stable")]


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """Spread hashes over all bits, as splitmix64 does: sums of products are least even in their low ones."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(hashes ^ (hashes >> np.uint64(31)))


def _rank_among_equals(ascending: np.ndarray) -> np.ndarray:
    """Count equal values of a sorted array (n,) from 0: copies of a row are drawn one by one."""
    places = np.arange(len(ascending))
    is_first = np.concatenate([[True], ascending[1:] != ascending[:-1]])
    return np.asarray(places - np.maximum.accumulate(np.where(is_first, places, 0)))
