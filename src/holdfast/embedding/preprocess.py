"""From a decoded image to a model's input, as the model's ``preprocessor_config.json`` says.

The arithmetic is that of transformers' image processors on Pillow (resize on 8 bits, crop, rescale in double
precision, normalise in single), so that the vectors are those the model's authors get. Written here because
those processors change names and defaults between releases, and a table of embeddings must not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from holdfast.exceptions import ModelFileError

__all__ = ["Preprocessing"]

Size = tuple[int, int]
"""Height and width, in this order, as everywhere in this module."""

_STRIP = 64
"""Pictures that resizing would make larger than this many crops are resized within the crop's window only."""


_SIZES = "sides from 1 to 4096 pixels (shortest_edge, or height and width)"

_BARE_SIZE_IS_SHORTER_SIDE = ("Bit", "CLIP", "Siglip")
"""Processors whose old files write ``"size": 224`` for the shorter side; for all others it is a square."""


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop, rescale, normalise.

    Attributes
    ----------
    resize : int, (int, int) or None
        The shorter side to scale to (proportions kept), or height and width, or no resizing.
    resample : int
        Pillow's code of the filter: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming.
    crop : (int, int) or None
        Height and width of the centre crop; a smaller image is padded with black.
    rescale : float
        Factor on the 8-bit values, usually 1/255.
    mean, std : tuple of 3 floats
        Subtracted from and divided into the rescaled values, red, green, blue.
    """

    resize: int | Size | None
    resample: int
    crop: Size | None
    rescale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_config(cls, config: Mapping[str, Any], name: str) -> Preprocessing:
        """Read the content of a ``preprocessor_config.json``.

        Parameters
        ----------
        config : mapping
            The parsed file. Steps that are not mentioned are done, as by transformers' processors; the crop
            is done when it has a size.
        name : str
            The file, for messages.

        Raises
        ------
        ModelFileError
            If a field is missing or cannot be used, or images would come out in different sizes.
        """
        read = _ConfigReader(config, name)
        step = cls(
            resize=read.resize(),
            resample=read.resample(),
            crop=read.crop(),
            rescale=read.number("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0,
            mean=read.channels("image_mean", 0.0),
            std=read.channels("image_std", 1.0),
        )
        if step.size is None:
            raise ModelFileError(
                f"{name} keeps every image's own size or proportions; give it a crop_size or a size with "
                "height and width."
            )
        if 0.0 in step.std:
            raise ModelFileError(f"{name} has an image_std of 0; give those the model was trained with.")
        return step

    @property
    def size(self) -> Size | None:
        """Height and width of what comes out; None if that depends on the image."""
        if self.crop is not None:
            return self.crop
        return self.resize if isinstance(self.resize, tuple) else None

    @property
    def shorter_side(self) -> int | None:
        """The shorter side that an image is resized to; None if it is not resized."""
        return min(self.resize) if isinstance(self.resize, tuple) else self.resize

    def as_dict(self) -> dict[str, Any]:
        """Return the steps as values that JSON knows."""
        return asdict(self)

    def __call__(self, image: Image.Image) -> npt.NDArray[np.float32]:
        """Turn an RGB image into an array of shape (3, height, width).

        Parameters
        ----------
        image : PIL.Image.Image
            Mode RGB, at least 1 x 1.

        Returns
        -------
        ndarray of shape (3, height, width), float32
        """
        pixels = np.asarray(self._resized_and_cropped(image)).transpose(2, 0, 1)
        # Rescaled in double precision, one rounding to float32, normalised there: transformers' order.
        scaled = (pixels * np.float64(self.rescale)).astype(np.float32)
        mean = np.array(self.mean, dtype=np.float32)[:, None, None]
        std = np.array(self.std, dtype=np.float32)[:, None, None]
        return np.ascontiguousarray((scaled - mean) / std)

    def _resized_and_cropped(self, image: Image.Image) -> Image.Image:
        height, width = _scaled_size(image, self.resize)
        if self.crop is None:
            return image.resize((width, height), self.resample)
        if height * width > _STRIP * self.crop[0] * self.crop[1]:
            return _resized_in_window(image, (height, width), self.crop, self.resample)
        if (height, width) != (image.height, image.width):
            image = image.resize((width, height), self.resample)
        return _centre_crop(image, self.crop)


def _scaled_size(image: Image.Image, resize: int | Size | None) -> Size:
    """Return the height and width to resize to; the longer side is cut to an integer, not rounded."""
    if resize is None:
        return image.height, image.width
    if isinstance(resize, tuple):
        return resize
    short, long = sorted(image.size)
    other = int(resize * long / short)
    return (other, resize) if image.width <= image.height else (resize, other)


def _centre_crop(image: Image.Image, crop: Size) -> Image.Image:
    """Cut out the centre; where the image is smaller, pad with black."""
    top, left = _offset(image.height, crop[0]), _offset(image.width, crop[1])
    return image.crop((left, top, left + crop[1], top + crop[0]))


def _offset(length: int, crop: int) -> int:
    """Return where a crop begins. Odd differences go to the right in a cut and to the left in a padding."""
    return (length - crop) // 2 if length >= crop else -ceil((crop - length) / 2)


def _resized_in_window(image: Image.Image, size: Size, crop: Size, resample: int) -> Image.Image:
    """Resize only what the crop will keep.

    A strip of 40,000 x 1 has a shorter side of 1: scaled to 224, the whole of it would take 6 GB.
    """
    (height, width), (crop_h, crop_w) = size, (min(crop[0], size[0]), min(crop[1], size[1]))
    top, left = (height - crop_h) // 2, (width - crop_w) // 2
    x, y = image.width / width, image.height / height
    box = (left * x, top * y, (left + crop_w) * x, (top + crop_h) * y)
    return _centre_crop(image.resize((crop_w, crop_h), resample, box=box), crop)


@dataclass(frozen=True)
class _ConfigReader:
    """Reads the fields of one preprocessor file; every error names the file and the field."""

    config: Mapping[str, Any]
    name: str

    @property
    def _kind(self) -> str:
        """Name of the processor that wrote the file, "CLIPImageProcessor" for one."""
        return str(self.config.get("image_processor_type") or self.config.get("feature_extractor_type") or "")

    def resize(self) -> int | Size | None:
        if not self.config.get("do_resize", True):
            return None
        size = self.config.get("size")
        if isinstance(size, Mapping) and set(size) == {"shortest_edge"}:
            return self._pixels("size", size["shortest_edge"])
        if isinstance(size, int) and self._kind.startswith(_BARE_SIZE_IS_SHORTER_SIDE):
            return self._pixels("size", size)
        return self._height_and_width("size", size)

    def crop(self) -> Size | None:
        size = self.config.get("crop_size")
        if not self.config.get("do_center_crop", size is not None):
            return None
        return self._height_and_width("crop_size", size)

    def resample(self) -> int:
        # transformers' defaults, for files that do not say
        default = Image.Resampling.BILINEAR if self._kind.startswith("ViT") else Image.Resampling.BICUBIC
        code = self.config.get("resample", default)
        if not isinstance(code, int) or code not in set(Image.Resampling):
            raise self._error("resample", code, "a Pillow filter from 0 to 5")
        return int(code)

    def number(self, field: str, default: float) -> float:
        value = self.config.get(field, default)
        if not _is_number(value):
            raise self._error(field, value, "a number")
        return float(value)

    def channels(self, field: str, neutral: float) -> tuple[float, float, float]:
        if not self.config.get("do_normalize", True):
            return neutral, neutral, neutral
        value = self.config.get(field)
        if not isinstance(value, list) or len(value) != 3 or not all(map(_is_number, value)):
            raise self._error(field, value, "three numbers")
        return float(value[0]), float(value[1]), float(value[2])

    def _height_and_width(self, field: str, size: Any) -> Size:
        """Read height and width; a bare number is a square."""
        if isinstance(size, Mapping) and set(size) == {"height", "width"}:
            return self._pixels(field, size["height"]), self._pixels(field, size["width"])
        side = self._pixels(field, size)
        return side, side

    def _pixels(self, field: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 4096:
            raise self._error(field, value, _SIZES)
        return value

    def _error(self, field: str, value: Any, wanted: str) -> ModelFileError:
        return ModelFileError(f"{self.name} has {field}={value!r}, not {wanted}; correct the file.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
