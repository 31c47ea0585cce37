"""What an encoder is, and the fingerprint that says which vectors may be mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from holdfast.images import ImageSource

__all__ = ["Encoder", "Progress", "hash_files", "recipe_hash", "unit_rows"]

RECIPE_VERSION = 1
"""Raised whenever the same model and the same picture give another vector than before."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (images done, images in all), from the thread that called, after every batch."""


@runtime_checkable
class Encoder(Protocol):
    """A frozen model in two steps, so that pictures are prepared in threads while the model runs.

    An implementation is a small object without queues or batches of its own; `Embedder` adds those.
    """

    @property
    def name(self) -> str:
        """What the user asked for, for messages and reports."""
        ...

    @property
    def dim(self) -> int:
        """Width d of the vectors."""
        ...

    @property
    def recipe(self) -> str:
        """Fingerprint of all that decides the vectors; see `recipe_hash`."""
        ...

    def prepare(self, image: ImageSource) -> npt.NDArray[np.float32]:
        """Decode one image to the model's input of shape (3, height, width), the same size for every image.

        Runs in several threads at a time. Raises ImageError for an image that cannot be used.
        """
        ...

    def encode(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Run the model on a batch of shape (b, 3, height, width); return its vectors (b, d), any length."""
        ...


def recipe_hash(parts: Mapping[str, Any]) -> str:
    """Fingerprint the recipe of an embedding.

    Parameters
    ----------
    parts : mapping
        What decides the vectors (model configuration, hash of the weights, preprocessing, pooling,
        normalisation), as values that JSON knows. Their order does not matter, nor where files are.

    Returns
    -------
    str
        16 hexadecimal digits of a SHA-256.
    """
    text = json.dumps({"version": RECIPE_VERSION, **parts}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_files(paths: Iterable[Path]) -> str:
    """Fingerprint files by name and content, wherever they lie.

    Parameters
    ----------
    paths : iterable of Path
        The files; sorted by name here.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.
    """
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        with path.open("rb") as file:
            digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def unit_rows(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Scale rows to length 1.

    Parameters
    ----------
    vectors : ndarray of shape (b, d)
        Any finite or broken numbers.

    Returns
    -------
    unit : ndarray of shape (b, d), float32
        Rows of length 1 where that is possible, zero elsewhere.
    usable : ndarray of shape (b,), bool
        False for rows that are zero or not finite: they have no direction.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    usable = np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)
    unit = np.zeros(vectors.shape, dtype=np.float32)
    np.divide(vectors, lengths, out=unit, where=usable[:, None])
    return unit, usable
