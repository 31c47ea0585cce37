"""Run an encoder over many images: threads prepare, the caller's thread runs the model.

At most two batches are held at any time, however many images there are, and results come in the order of the
images whatever the threads do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from holdfast.embedding.base import Encoder, unit_rows
from holdfast.exceptions import ImageError
from holdfast.images import ImageSource, describe_source

__all__ = ["EncodedBatch", "encode_stream"]


@dataclass(frozen=True)
class EncodedBatch:
    """What became of some successive images.

    Attributes
    ----------
    rows : ndarray of shape (b,), int
        The numbers, from 0, of the images that became vectors, in order.
    vectors : ndarray of shape (b, d), float32
        Their embeddings, of length 1.
    failures : dict of int to ImageError
        The numbers of the images that did not, and why.
    """

    rows: npt.NDArray[np.intp]
    vectors: npt.NDArray[np.float32]
    failures: dict[int, ImageError]

    @property
    def n_images(self) -> int:
        """How many images this batch has dealt with."""
        return len(self.rows) + len(self.failures)


def encode_stream(
    encoder: Encoder, images: Iterable[ImageSource], *, batch_size: int, threads: int
) -> Iterator[EncodedBatch]:
    """Encode images one batch after the other.

    Parameters
    ----------
    encoder : Encoder
        Prepares single images and encodes batches.
    images : iterable of image sources
        Consumed no further than two batches ahead.
    batch_size : int
        Images a model call.
    threads : int
        Threads that decode and preprocess while the model runs.

    Yields
    ------
    EncodedBatch
        In the order of the images. A broken image is a failure of its batch, never an exception.
    """
    with closing(_prepared(encoder, images, threads, ahead=max(batch_size, 2 * threads))) as prepared:
        while block := list(islice(prepared, batch_size)):
            yield _encode(encoder, block)


@dataclass(frozen=True)
class _Prepared:
    """One image on its way: the model's input, or why there is none."""

    row: int
    outcome: npt.NDArray[np.float32] | ImageError
    name: str


_Pending: TypeAlias = "deque[Future[_Prepared]]"


def _prepared(
    encoder: Encoder, images: Iterable[ImageSource], threads: int, ahead: int
) -> Generator[_Prepared]:
    """Prepare images in threads, `ahead` of them before they are asked for."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="holdfast-decode")
    pending: _Pending = deque()
    try:
        for row, image in enumerate(images):
            pending.append(pool.submit(_prepare, encoder, row, image))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(encoder: Encoder, row: int, image: ImageSource) -> _Prepared:
    name = describe_source(image)
    try:
        return _Prepared(row, encoder.prepare(image), name)
    except ImageError as error:
        return _Prepared(row, error, name)


def _encode(encoder: Encoder, block: list[_Prepared]) -> EncodedBatch:
    """Run the model once on what could be prepared; a vector without a direction is a failure too."""
    failures = {item.row: item.outcome for item in block if isinstance(item.outcome, ImageError)}
    good = [item for item in block if item.row not in failures]
    if not good:
        return EncodedBatch(np.empty(0, np.intp), np.empty((0, encoder.dim), np.float32), failures)
    pixels = np.stack([item.outcome for item in block if not isinstance(item.outcome, ImageError)])
    vectors, usable = unit_rows(encoder.encode(pixels))
    failures |= {
        item.row: ImageError(
            f"{item.name} has a zero or non-finite embedding under {encoder.name}; "
            "leave it out or check the model."
        )
        for item, fine in zip(good, usable, strict=True)
        if not fine
    }
    rows = np.array([item.row for item in good], dtype=np.intp)
    return EncodedBatch(rows[usable], vectors[usable], failures)
