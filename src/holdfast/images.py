"""Safe decoding of images: the one place where holdfast opens a picture.

Embedding, contrastive learning and reports all come through :func:`open_image`, so that every room sees
the same pixels: RGB, upright, transparency on white, the first frame of an animation. A file is measured
before it is decoded, and only formats that Pillow decodes by itself are accepted (EPS, for one, would
start Ghostscript).
"""

from __future__ import annotations

import logging
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError

from holdfast.exceptions import HoldfastWarning, ImageError

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "ImageFolder",
    "ImageSource",
    "describe_source",
    "list_images",
    "open_image",
    "path_text",
    "thumbnail",
]

logger = logging.getLogger(__name__)

ImageSource: TypeAlias = str | Path | bytes | Image.Image
"""What can be opened: a path, the bytes of an image file, or an image in memory."""

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
"""File names that :func:`list_images` takes for images, in lower case."""

MAX_PIXELS = 120_000_000
"""Largest picture that is decoded: above the phone sensors of 108 megapixels, and 360 MB as RGB."""

MAX_SIDE = 50_000
"""Longest side that is decoded: a strip of 60,000 x 1 is few pixels but explodes as soon as it is resized."""

_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(source: ImageSource, *, shorter_side: int | None = None) -> Image.Image:
    """Decode one image to upright RGB.

    Parameters
    ----------
    source : str, Path, bytes or PIL.Image.Image
        A path, the bytes of an image file, or an image in memory (which is left untouched).
    shorter_side : int, optional
        The shorter side, in pixels, that the caller will resize to. A JPEG that is at least four times as
        large is then decoded at a half, a quarter or an eighth of its size, never below twice this number,
        which is three times as fast for 12 megapixels. The default decodes every pixel.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, orientation tag applied, transparency composed on white, 16 bits reduced to 8.

    Raises
    ------
    ImageError
        If the file is missing, truncated, not an image, or larger than `MAX_PIXELS` or `MAX_SIDE`.
    """
    name = describe_source(source)
    try:
        if isinstance(source, Image.Image):
            return _decode(source, name)
        stream = BytesIO(source) if isinstance(source, bytes) else _regular(Path(source))
        with Image.open(stream, formats=_known_formats()) as image:
            return _decode(image, name, shorter_side)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise whatever the broken byte led them to
        raise ImageError(_why_unreadable(name, error)) from error


def describe_source(source: ImageSource) -> str:
    """Name an image source in a message: its path, or what it is when it has none.

    Parameters
    ----------
    source : str, Path, bytes or PIL.Image.Image
        The image source.

    Returns
    -------
    str
        For example ``"photos/1.jpg"`` or ``"an image of 1,024 bytes"``.
    """
    if isinstance(source, bytes):
        return f"an image of {len(source):,} bytes"
    if isinstance(source, Image.Image):
        return f"an image in memory ({source.width} x {source.height}, mode {source.mode})"
    return path_text(source)


def thumbnail(image: Image.Image, side: int = 96) -> Image.Image:
    """Shrink an image to fit a square, keeping its proportions.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode; left untouched.
    side : int, default=96
        Side of the square in pixels. Smaller images are not enlarged.

    Returns
    -------
    PIL.Image.Image
        RGB, neither side longer than `side`.
    """
    small = _to_rgb(image).copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


@dataclass(frozen=True)
class ImageFolder:
    """The images below a folder, sorted by id.

    Attributes
    ----------
    root : Path
        The folder, absolute.
    paths : tuple of Path, length n
        The files, relative to `root`.
    ids : tuple of str, length n
        The same with forward slashes, as UTF-8 text: unique, and equal on every machine.
    labels : tuple of str, length n, or None
        Name of the folder that holds each image, when the folders look like classes (two names at least,
        and no image directly in `root`). For scoring only.
    """

    root: Path
    paths: tuple[Path, ...]
    ids: tuple[str, ...]
    labels: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.paths)


def list_images(folder: str | Path) -> ImageFolder:
    """Find the images below a folder.

    Every level is searched. Names decide (`IMAGE_SUFFIXES`, in any case), no file is opened. Hidden files and
    folders are skipped; links are followed, except one that leads back to a folder it is in.

    Parameters
    ----------
    folder : str or Path
        The folder to search.

    Returns
    -------
    ImageFolder
        At least one image.

    Raises
    ------
    ImageError
        If the folder is missing, is a file, cannot be listed, or holds no image.
    """
    root = Path(folder)
    try:
        mode = root.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise ImageError(f"{path_text(root)} does not exist; give a folder that holds images.") from error
    except OSError as error:  # no permission, or a link without an end
        raise _cannot_list(root, error) from error
    if not stat.S_ISDIR(mode):
        raise ImageError(f"{path_text(root)} is a file, not a folder; give the folder that holds the images.")
    root = root.absolute()
    found = sorted((path_text(path), path) for path in _walk(root, Path(), ()))
    if not found:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ImageError(f"{path_text(folder)} holds no image; images are files that end in {known}.")
    ids, paths = zip(*found, strict=True)
    return ImageFolder(root, paths, ids, _class_labels(paths))


def path_text(path: str | Path) -> str:
    r"""Write a path with forward slashes as text that can be stored.

    Parameters
    ----------
    path : str or Path
        Any path; names on disk may be bytes that are not UTF-8.

    Returns
    -------
    str
        Valid UTF-8; foreign bytes appear as ``\xNN``.
    """
    return Path(path).as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


# --- decoding -------------------------------------------------------------------------------------------


@cache
def _known_formats() -> tuple[str, ...]:
    """Tell which of our formats this Pillow was built with: it refuses to look for any other."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _decode(image: Image.Image, name: str, shorter_side: int | None = None) -> Image.Image:
    """Check the size that the header declares, then decode, turn upright and convert."""
    _check_size(image, name)
    if shorter_side is not None:
        # Twice the size wanted: the reduced JPEG is then still above the resolution that resizing needs.
        image.draft(None, (2 * shorter_side, 2 * shorter_side))
    image.load()
    return _to_rgb(_upright(image))


def _regular(path: Path) -> Path:
    """Refuse a pipe, which would be waited for, and a device, which may never end."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ImageError(f"{path_text(path)} is a pipe or a device, not an image; leave it out.")
    return path


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if max(width, height) > MAX_SIDE:
        raise ImageError(
            f"{name} is {width:,} x {height:,} pixels and no side may exceed {MAX_SIDE:,}; "
            "crop it or leave it out."
        )
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} is {width:,} x {height:,} pixels, more than the {MAX_PIXELS // 10**6} megapixels "
            "that are decoded; shrink it or leave it out."
        )


def _why_unreadable(name: str, error: Exception) -> str:
    """Turn what Pillow or the system raised into a sentence with a remedy."""
    if isinstance(error, FileNotFoundError):
        return f"{name} does not exist; check the path."
    if isinstance(error, IsADirectoryError):
        return f"{name} is a folder, not an image; use list_images for folders."
    if isinstance(error, PermissionError):
        return f"{name} may not be read; change its permissions or leave it out."
    if isinstance(error, Image.DecompressionBombError):
        limit = MAX_PIXELS // 10**6
        return (
            f"{name} declares more than the {limit} megapixels that are decoded; shrink it or leave it out."
        )
    if isinstance(error, UnidentifiedImageError):
        return f"{name} is not an image that can be read (JPEG, PNG, WebP, ...); replace it or leave it out."
    detail = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return f"{name} is truncated or damaged ({detail}); replace it or leave it out."


def _upright(image: Image.Image) -> Image.Image:
    """Apply the orientation tag of cameras. A damaged tag does not make the picture unusable."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    except Exception:  # noqa: BLE001 - whatever is wrong with the EXIF block, the pixels are fine
        logger.debug("the EXIF block of %s cannot be read; its orientation is ignored", image)
        return image
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_grey(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """Reduce deep grey to 8 bits: 16 bits have a white point, other modes are stretched to their range."""
    grey = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = (0.0, 65535.0) if image.mode.startswith("I;16") else (grey.min(), grey.max())
    scaled = (grey - low) / max(high - low, np.finfo(np.float32).tiny) * 255
    return Image.fromarray(np.rint(scaled).astype(np.uint8)).convert("RGB")


# --- listing --------------------------------------------------------------------------------------------


def _walk(root: Path, inside: Path, ancestors: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the images below ``root / inside``, relative to `root`."""
    here = (root / inside).resolve()
    if here in ancestors:
        logger.warning("%s leads back to %s and is not followed", path_text(root / inside), path_text(here))
        return
    for entry in _entries(root / inside):
        if entry.name.startswith("."):
            continue
        if _is(entry.is_dir):
            yield from _walk(root, inside / entry.name, (*ancestors, here))
        elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES and _is(entry.is_file):
            yield inside / entry.name


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise _cannot_list(folder, error) from error


def _cannot_list(folder: Path, error: OSError) -> ImageError:
    return ImageError(
        f"{path_text(folder)} cannot be listed ({error.strerror}); change its permissions or move it away."
    )


def _is(test: Callable[[], bool]) -> bool:
    """Ask an entry what it is; a link that points at itself is nothing."""
    try:
        return test()
    except OSError:
        return False


def _class_labels(paths: tuple[Path, ...]) -> tuple[str, ...] | None:
    """Take the parent folders for classes when there are two names at least and no image beside them."""
    names = tuple(path_text(path.parent.name) if path.parent.name else "" for path in paths)
    classes, beside = set(names) - {""}, names.count("")
    if len(classes) >= 2 and beside:
        stray = path_text(paths[names.index("")])
        warnings.warn(
            f"{beside} of {len(names)} images lie beside the folders, {stray} for one, so the folders "
            "are not taken for classes; move them if they should be.",
            HoldfastWarning,
            stacklevel=3,
        )
    return names if len(classes) >= 2 and not beside else None
