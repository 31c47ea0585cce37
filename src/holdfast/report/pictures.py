"""Thumbnails inside a byte budget: every picture once, as small as the number of them demands."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from holdfast.exceptions import HoldfastError
from holdfast.images import open_image, thumbnail
from holdfast.report.tree import Picture, Sheet

__all__ = ["Album", "ImageOf", "make_album", "make_sheet"]

ImageOf = Callable[[int], "Image.Image | None"]

logger = logging.getLogger(__name__)

BUDGET = 3_900_000  # bytes of all thumbnails; base64 makes it 5.2 MB of the file
_SHEET_BUDGET = 900_000
_LADDER = ((96, 82), (96, 72), (80, 74), (72, 70), (64, 68), (56, 62), (48, 55))  # side, JPEG quality
_TINY = 32  # pixels; below this PNG is smaller than JPEG's own tables, and exact
_PROBE = 40  # pictures that are encoded to learn how many bytes the rest will take


@dataclass(frozen=True)
class Album:
    """The encoded pictures, where each row's picture stands, and how many could not be had."""

    pictures: tuple[Picture, ...]
    position: dict[int, int]
    missing: int


def make_album(rows: Sequence[int], image_of: ImageOf | None, budget: int = BUDGET) -> Album:
    """Encode the pictures of the rows, each row once, the first rows first if the budget ends.

    Parameters
    ----------
    rows : sequence of int
        Rows wanted, most important first; repeats are ignored.
    image_of : callable or None
        Row -> image, or None where the row has no picture. A file that cannot be read counts as missing.
    budget : int
        Upper bound of the bytes of all pictures together.
    """
    wanted = list(dict.fromkeys(int(row) for row in rows))
    if image_of is None or not wanted:
        return Album((), {}, 0)
    side, quality = _choose_size(wanted, image_of, budget)
    pictures: list[Picture] = []
    position: dict[int, int] = {}
    spent = missing = 0
    for row in wanted:
        image = _open(image_of, row)
        if image is None:
            missing += 1
            continue
        picture = _encode(image, side, quality)
        if spent + len(picture.data) > budget:
            break
        spent += len(picture.data)
        position[row] = len(pictures)
        pictures.append(picture)
    return Album(tuple(pictures), position, missing)


def make_sheet(rows: Sequence[int], image_of: ImageOf | None) -> tuple[Sheet | None, dict[int, int]]:
    """Lay the centre squares of the rows' pictures side by side; return the sheet and each row's tile."""
    if image_of is None:
        return None, {}
    side = next((s for s in (48, 40, 32) if len(rows) * s * s <= 3_300_000), 24)
    columns = max(1, math.isqrt(max(len(rows) - 1, 0)) + 1)
    canvas = Image.new("RGB", (columns * side, -(-len(rows) // columns) * side), (128, 128, 128))
    tiles: dict[int, int] = {}
    for row in rows:
        image = _open(image_of, int(row))
        if image is not None:
            at = divmod(len(tiles), columns)
            canvas.paste(_square(image, side), (at[1] * side, at[0] * side))
            tiles[int(row)] = len(tiles)
    if not tiles:
        return None, {}
    used = canvas.crop((0, 0, canvas.width, -(-len(tiles) // columns) * side))
    return Sheet(_jpeg_within(used, _SHEET_BUDGET), columns, side), tiles


def _choose_size(rows: list[int], image_of: ImageOf, budget: int) -> tuple[int, int]:
    step = max(1, len(rows) // _PROBE)
    probe = [image for row in rows[::step] if (image := _open(image_of, row)) is not None]
    small = [thumbnail(image, _LADDER[0][0]) for image in probe]
    for side, quality in _LADDER:
        mean = sum(len(_encode(image, side, quality).data) for image in small) / max(len(small), 1)
        if mean * len(rows) * 1.1 <= budget:
            return side, quality
    return _LADDER[-1]


def _open(image_of: ImageOf, row: int) -> Image.Image | None:
    try:
        image = image_of(row)
        return None if image is None else open_image(image)
    except (HoldfastError, OSError) as error:  # a picture gone since the run must not cost the report
        logger.warning("no picture for row %d: %s", row, error)
        return None


def _square(image: Image.Image, side: int) -> Image.Image:
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    centre = (left, top, left + edge, top + edge)
    return image.resize((side, side), Image.Resampling.BICUBIC, box=centre, reducing_gap=3.0)


def _encode(image: Image.Image, side: int, quality: int) -> Picture:
    small = thumbnail(image, side)
    if max(small.size) <= _TINY:
        return Picture("image/png", _bytes(small, "PNG", optimize=True), *small.size)
    data = _bytes(small, "JPEG", quality=quality, optimize=True)
    return Picture("image/jpeg", data, *small.size)


def _jpeg_within(image: Image.Image, budget: int) -> Picture:
    for quality in (76, 66, 56, 46, 36, 25):
        data = _bytes(image, "JPEG", quality=quality, optimize=True)
        if len(data) <= budget:
            break
    return Picture("image/jpeg", data, *image.size)


def _bytes(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
