"""Sets made from those of ``benchmarks.datasets``: skewed class sizes, and fewer classes. One draw each.

The labels make the set, and then only score it. ``digits 1:100`` has classes of 2 and 3 rows, which nobody
can find: they count all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.datasets import Dataset, datasets

_SEED = 0


def imbalanced(data: Dataset, ratio: int, seed: int = _SEED) -> Dataset:
    """Thin the classes, in random order, to geometric sizes: the first as large as the smallest class is."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.unique(data.y))
    largest = np.unique(data.y, return_counts=True)[1].min()
    sizes = np.round(largest * ratio ** -np.linspace(0, 1, len(classes))).astype(int)
    kept = [
        rng.permutation(np.flatnonzero(data.y == c))[:size] for c, size in zip(classes, sizes, strict=True)
    ]
    return _take(data, np.concatenate(kept), f"{data.name} 1:{ratio}")


def some_classes(data: Dataset, n_classes: int, seed: int = _SEED) -> Dataset:
    """Keep all rows of some random classes."""
    classes = np.random.default_rng(seed).choice(np.unique(data.y), n_classes, replace=False)
    return _take(data, np.flatnonzero(np.isin(data.y, classes)), f"{data.name}, {n_classes} classes")


def _take(data: Dataset, rows: np.ndarray, name: str) -> Dataset:
    rows = np.sort(rows)  # in the order of the file, so that the order tells no class
    return Dataset(name, data.X[rows], data.y[rows])


_Make = Callable[[Dataset], Dataset]
_RATIOS: list[_Make] = [lambda data: imbalanced(data, 10), lambda data: imbalanced(data, 100)]

_MADE: dict[str, list[_Make]] = {
    "digits": [*_RATIOS, lambda data: some_classes(data, 5)],
    "mnist_test": _RATIOS,
    "cifar10": [*_RATIOS, lambda data: some_classes(data, 4)],
    "IN50": [
        lambda data: some_classes(data, 5),
        lambda data: some_classes(data, 12),
        lambda data: some_classes(data, 25),
    ],
    "clothing": [lambda data: some_classes(data, 5)],
}


def derived_sets(names: list[str] | None = None) -> Iterator[Dataset]:
    """Make all of them, or those of these names."""
    for data in datasets(list(_MADE)):
        for make in _MADE[data.name]:
            made = make(data)
            if names is None or made.name in names:
                yield made
