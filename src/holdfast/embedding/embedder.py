"""`Embedder`: what users hold; an encoder plus batches, threads and checks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from holdfast._validation import check_int
from holdfast.embedding.base import Encoder, Progress
from holdfast.embedding.stream import EncodedBatch, encode_stream
from holdfast.exceptions import ImageError, ParameterError
from holdfast.images import ImageSource

if TYPE_CHECKING:
    from holdfast.embedding.transformers import Precision

__all__ = ["Embedder"]

_MAX_THREADS = 16  # beyond that many decoders, Python's lock is the bottleneck


class Embedder:
    """Turns images into unit vectors with a frozen encoder.

    Parameters
    ----------
    encoder : Encoder
        The model; see `from_pretrained` for the usual way to get one.
    batch_size : int, default=32
        Images a model call. The vectors do not depend on it.
    threads : int, optional
        Threads that decode images while the model runs. By default as many as torch computes with, which
        follows OMP_NUM_THREADS and the process's CPU set; 16 at most.

    Examples
    --------
    >>> embedder = Embedder.from_pretrained("facebook/dinov2-base")  # doctest: +SKIP
    >>> embedder.embed(["a.jpg", "b.jpg"]).shape  # doctest: +SKIP
    (2, 768)
    """

    def __init__(self, encoder: Encoder, *, batch_size: int = 32, threads: int | None = None) -> None:
        self.encoder = encoder
        self.batch_size = check_int("batch_size", batch_size, 1)
        self.threads = check_int("threads", threads or min(torch.get_num_threads(), _MAX_THREADS), 1)

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | os.PathLike[str],
        *,
        device: str = "auto",
        batch_size: int = 32,
        precision: Precision = "float32",
    ) -> Embedder:
        """Load a ViT, DeiT, DINOv2, DINOv3 or CLIP vision model through transformers.

        Parameters
        ----------
        name_or_folder : str or path-like
            A folder with ``config.json``, ``preprocessor_config.json`` and ``model.safetensors`` (the network
            is then never used), or a name on the Hugging Face hub such as ``"facebook/dinov2-base"``.
        device : str, default="auto"
            ``"auto"`` is CUDA where there is one, else the CPU; or a torch device such as ``"cuda:1"``.
        batch_size : int, default=32
            Images a model call.
        precision : {"float32", "bfloat16"}, default="float32"
            Arithmetic of the model; the vectors are float32 in any case. On 3,781 product photographs under a
            ViT-Tiny, bfloat16 kept a cosine to float32 of .9994 at least and .9999 in the median, and ran 1.4
            times as fast on two CPU cores that have bfloat16 instructions. It is another recipe.

        Returns
        -------
        Embedder

        Raises
        ------
        ModelFileError
            If the folder is incomplete or damaged, the model has no CLS token that is known to describe the
            image, or the name can neither be found nor downloaded.
        ParameterError
            If `device` or `precision` cannot be used.
        MissingDependencyError
            If transformers is not installed.
        """
        from holdfast.embedding.transformers import TransformersEncoder

        encoder = TransformersEncoder.from_pretrained(name_or_folder, device=device, precision=precision)
        return cls(encoder, batch_size=batch_size)

    @property
    def name(self) -> str:
        """What the encoder was loaded from."""
        return self.encoder.name

    @property
    def dim(self) -> int:
        """Width d of the vectors."""
        return self.encoder.dim

    @property
    def recipe(self) -> str:
        """Fingerprint (16 hexadecimal digits) of the model, its weights and the preprocessing.

        Vectors with equal recipes may be mixed. It is the same for the same files at another place.
        """
        return self.encoder.recipe

    def embed(
        self, images: Sequence[ImageSource], progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed images.

        Parameters
        ----------
        images : sequence of str, Path, bytes or PIL.Image.Image, length n
            Paths, encoded files, or images in memory, in any mixture.
        progress : callable, optional
            Called after every batch with the number of images done and `n`.

        Returns
        -------
        ndarray of shape (n, d), float32
            Rows of length 1, in the order of the images.

        Raises
        ------
        ImageError
            If there is no image, or one of them is broken; names the first broken one. `embed_folder` sets
            broken files aside instead.
        """
        if isinstance(images, str | bytes | Path | Image.Image):
            raise ParameterError("images must be a sequence of images, not one; put it in a list.")
        if not len(images):
            raise ImageError("There is no image to embed; give one at least.")
        vectors = np.empty((len(images), self.dim), dtype=np.float32)
        for batch in self.stream(images):
            for row, error in sorted(batch.failures.items())[:1]:
                raise ImageError(f"images[{row}]: {error}") from error
            vectors[batch.rows] = batch.vectors
            if progress is not None:
                progress(int(batch.rows[-1]) + 1, len(images))
        return vectors

    def stream(self, images: Sequence[ImageSource]) -> Iterator[EncodedBatch]:
        """Embed images batch by batch, with failures set apart.

        Parameters
        ----------
        images : sequence of str, Path, bytes or PIL.Image.Image, length n
            As in `embed`.

        Yields
        ------
        EncodedBatch
            Numbers and vectors of the good images and the errors of the others, in order.
        """
        return encode_stream(self.encoder, images, batch_size=self.batch_size, threads=self.threads)
