"""The latent on a page: a sample of rows, and their places in two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from holdfast.graph import unit_rows
from holdfast.io.mapped import take_rows
from holdfast.report.members import Floats, Ints, lies_in_places

__all__ = ["project", "sample_rows"]

SAMPLE = 2000  # t-SNE of 2,000 rows takes about 4 s on one thread, of 4,000 about 10 s
_EACH = 5  # rows of every cluster that enter before the rest, so that small clusters are on the map
_FEWEST = 15  # below this t-SNE has no neighbourhoods to speak of
_ITERATIONS = 500  # twice as many change the picture by little and cost twice the time


def sample_rows(labels: Ints, seed: int = 0, cap: int = SAMPLE) -> Ints:
    """Return at most `cap` rows, sorted: a few of every cluster first, then at random."""
    n = len(labels)
    if n <= cap:
        return np.arange(n)
    shuffled = np.random.default_rng(seed).permutation(n)
    by_cluster = np.argsort(labels[shuffled], kind="stable")
    grouped = labels[shuffled][by_cluster]
    rank = np.empty(n, np.intp)
    rank[by_cluster] = np.arange(n) - np.searchsorted(grouped, grouped)
    first = np.argsort(rank >= _EACH, kind="stable")
    return np.sort(shuffled[first[:cap]])


def project(model: Any, X: npt.NDArray, rows: Ints, seed: int = 0) -> tuple[str, Floats]:
    """Place rows of X in the unit square by the directions of their latent vectors; of a mixture, by places.

    Parameters
    ----------
    model : fitted estimator with `transform`
    X : ndarray of shape (n, d)
    rows : ndarray of shape (m,)
    seed : int

    Returns
    -------
    method : str
        "t-SNE", or "PCA" where there is too little to place for t-SNE, or "pile" for a mixture in one column.
    places : ndarray of shape (m, 2)
        In [0, 1], scaled by the longer side so that no direction is stretched.
    """
    latent = np.asarray(model.transform(take_rows(X, rows)), dtype=np.float32)
    by_place = lies_in_places(model)
    if by_place and latent.shape[1] == 1:
        return "pile", _pile(latent[:, 0], seed)
    latent = latent if by_place else unit_rows(latent)
    flat = min(latent.shape) <= 2 or not np.ptp(latent, axis=0).max() > 0
    if flat or len(latent) < _FEWEST:
        return "PCA", _fit_square(_principal(latent, seed))
    tsne = TSNE(
        metric="euclidean" if by_place else "cosine",
        init="pca",
        perplexity=min(30.0, (len(latent) - 1) / 3),
        max_iter=_ITERATIONS,
        random_state=seed,
    )
    return "t-SNE", _fit_square(np.asarray(tsne.fit_transform(latent), np.float32))


def _pile(column: Floats, seed: int) -> Floats:
    """Place a column from left to right, and up and down as far as it is crowded there."""
    x = _fit_square(column[:, None])[:, 0]
    counts, edges = np.histogram(x, bins=min(36, max(1, len(x) // 10)), range=(0, 1))
    crowd = np.interp(x, (edges[:-1] + edges[1:]) / 2, counts / max(int(counts.max()), 1))
    aside = np.random.default_rng(seed).uniform(-0.5, 0.5, len(x))
    return np.stack([x, 0.5 + 0.36 * crowd * aside], axis=1).astype(np.float32)


def _principal(latent: Floats, seed: int) -> Floats:
    places = np.zeros((len(latent), 2), np.float32)
    n_components = min(2, *latent.shape)
    if len(latent) > 1 and np.ptp(latent, axis=0).max() > 0:
        places[:, :n_components] = PCA(n_components, random_state=seed).fit_transform(latent)
    return places


def _fit_square(places: Floats) -> Floats:
    low, high = places.min(axis=0), places.max(axis=0)
    longest = float((high - low).max()) or 1.0
    return np.asarray((places - (low + high) / 2) / longest + 0.5, np.float32)
