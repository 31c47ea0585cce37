"""The data sets that quality is measured on: digits, and what lies in the shared data folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

MOST_ROWS = 10_000
PIXELS = ("mnist_test", "mnist_train", "usps")

_FILES = {
    "clothing": "emb_clothing_vittiny16.npz",
    "cifar10": "emb_cifar10_test_vittiny16.npz",
    "IN50": "emb_imagenet50_moco_test.npz",
    "n2d_mnist": "emb_n2d_umap10_mnist.npz",
    "mfeat": "feat_mfeat.npz",
    "scene15": "feat_scene15.npz",
    "mnist_test": "img_mnist_test.npz",
    "mnist_train": "img_mnist_train.npz",
    "usps": "img_usps.npz",
}

NAMES = ("digits", *_FILES)


@dataclass(frozen=True)
class Dataset:
    """Rows, and the true classes that only the scoring sees."""

    name: str
    X: np.ndarray
    y: np.ndarray

    @property
    def n_classes(self) -> int:
        return len(np.unique(self.y))


def data_folder() -> Path:
    """``$HOLDFAST_DATA``, or the folder ``shared/data`` beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("HOLDFAST_DATA", beside))


def datasets(names: list[str] | None = None) -> Iterator[Dataset]:
    """Load digits and every set that is there, at most 10,000 rows of each (a fixed random sample)."""
    if names is None or "digits" in names:
        digits = load_digits()
        yield Dataset("digits", digits.data.astype(np.float32), digits.target)
    for name, file in _FILES.items():
        path = data_folder() / file
        if (names is None or name in names) and path.exists():
            yield _load(name, path)


def _load(name: str, path: Path) -> Dataset:
    with np.load(path, allow_pickle=False) as table:
        X, y = table["X"], table["y"]
    if len(X) > MOST_ROWS:
        sample = np.random.default_rng(0).permutation(len(X))[:MOST_ROWS]
        X, y = X[sample], y[sample]
    return Dataset(name, X.reshape(len(X), -1).astype(np.float32), y)
