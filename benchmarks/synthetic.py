"""Rows like embeddings, made up: for shapes that no shared data set has. Their accuracies say little."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_SUBSPACE, _LOCAL = 48, 6  # dimensions of the whole collection, and of one class
_BLOCK = 8_192


def embedding_like(
    n: int, d: int = 768, k: int = 100, *, seed: int = 0, spread: float = 1.6
) -> tuple[np.ndarray, np.ndarray]:
    """``k`` classes of unequal sizes, each a bent patch: unit rows (n, d) and their classes (n,)."""
    X, y = np.empty((n, d), dtype=np.float32), np.empty(n, dtype=np.int64)
    for rows, block, classes in blocks(n, d, k, seed=seed, spread=spread):
        X[rows], y[rows] = block, classes
    return X, y


def blocks(
    n: int, d: int, k: int, *, seed: int, spread: float
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """The same, block by block: where the block goes, its rows and their classes."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(d, _SUBSPACE)))[0].T.astype(np.float32)
    scale = np.arange(1, _SUBSPACE + 1, dtype=np.float32) ** -0.4
    centres = rng.normal(size=(k, _SUBSPACE)).astype(np.float32) * scale
    patches = rng.normal(size=(k, _LOCAL, _SUBSPACE)).astype(np.float32) * scale * 0.55 / _LOCAL**0.5
    share = rng.dirichlet(np.full(k, 5.0))
    mean = 0.1 * rng.normal(size=d).astype(np.float32)
    for start in range(0, n, _BLOCK):
        size = min(_BLOCK, n - start)
        y = rng.choice(k, size, p=share)
        along = rng.normal(size=(size, _LOCAL)).astype(np.float32)
        bent = along + 0.5 * spread * along**2
        noise = 0.75 * rng.normal(size=(size, _SUBSPACE)).astype(np.float32) * scale
        z = centres[y] + spread * (np.einsum("nj,njr->nr", bent, patches[y]) + noise)
        x = z @ basis + 0.05 * rng.normal(size=(size, d)).astype(np.float32) + mean
        yield slice(start, start + size), x / np.linalg.norm(x, axis=1, keepdims=True), y
