"""The film of a mixture as a GIF, for where no page can be shown; drawn with Pillow alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageDraw, ImageFont

from holdfast.io.atomic import atomic_file
from holdfast.report.mixture import Film, Mixture
from holdfast.report.mixture_plots import MANY, Canvas, canvas_of, component_colour, density, ellipse, reach
from holdfast.report.palette import NO_CLUSTER, colour

__all__ = ["MOST_BYTES", "MOST_FRAMES", "draw_frames", "write_animation"]

Places = npt.NDArray[np.float64]

MOST_FRAMES = 100
MOST_BYTES = 2_000_000

_TRIAL = 12  # frames that tell how large each is
_WIDTH, _WIDTH_OF_CLOUD = 760, 600  # pixels: what changes everywhere takes more room
_POINTS = 1_000  # of a cloud
_FINE = 2  # drawn that many times larger, and shrunk: smooth edges
_HEAD, _FOOT = 44, 22  # pixels above and below the picture
_HOLD, _FIRST, _EACH = 3000, 600, 80  # milliseconds
_COLOURS = 128
_TINT = 36  # of 255
_SWATCH = 24  # pixels of a colour that the palette is not to forget
_PAPER, _INK, _SOFT, _LINE, _BARS = "#ffffff", "#1d2326", "#5f6b70", "#e3e1da", "#d9dcdd"
_ACCENT, _WARN = "#0b6e69", "#b4541a"


def write_animation(mixture: Mixture, path: str | os.PathLike[str]) -> Path:
    """Write the film as a GIF of at most two megabytes that runs for ever, atomically.

    Parameters
    ----------
    mixture : Mixture
        With at least two frames.
    path : path-like
        The file to make or replace.

    Raises
    ------
    OutputError
        If the file cannot be written there.
    """
    shades = _shades(mixture.film)
    with atomic_file(path) as temporary:
        size = _save(list(draw_frames(mixture, _TRIAL)), temporary, shades)
        # Frames that are nearer to each other take less room each, so that there is some for a few more.
        frames = min(MOST_FRAMES, int(1.2 * _TRIAL * MOST_BYTES / size))
        while (size := _save(list(draw_frames(mixture, frames)), temporary, shades)) > MOST_BYTES:
            frames = max(2, int(0.8 * frames * MOST_BYTES / size))
    return Path(path)


def draw_frames(mixture: Mixture, most: int = MOST_FRAMES) -> Iterator[Image.Image]:
    """Draw at most that many frames of the film, the last one always among them."""
    film = mixture.film
    canvas = _scaled(canvas_of(mixture), _WIDTH if film.n_dimensions == 1 else _WIDTH_OF_CLOUD)
    base = _base(mixture, canvas)
    for frame in np.unique(np.linspace(0, film.n_frames - 1, most).round().astype(int)).tolist():
        picture = base.copy()
        _draw_frame(picture, mixture, canvas, frame)
        yield picture.reduce(_FINE)


def _shades(film: Film) -> list[str]:
    """Return the colours that matter: they are to come out as they are elsewhere in the report."""
    return [*(colour(number) for number in range(min(len(set(film.heirs.tolist())), 24))), _ACCENT, _WARN]


def _save(frames: list[Image.Image], path: Path, shades: list[str]) -> int:
    """Write pictures with one palette, so that nothing flickers; return the bytes they take."""
    some = frames[:: max(1, len(frames) // 6)] + frames[-1:]
    sheet = Image.new("RGB", (some[0].width, some[0].height * len(some) + _SWATCH * len(shades)), _PAPER)
    for i, picture in enumerate(some):
        sheet.paste(picture, (0, i * picture.height))
    for i, shade in enumerate(shades):
        sheet.paste(shade, (0, sheet.height - _SWATCH * (i + 1), sheet.width, sheet.height - _SWATCH * i))
    palette = _with_white(sheet.quantize(_COLOURS, dither=Image.Dither.NONE))
    flat = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in frames]
    times = [_FIRST, *[_EACH] * (len(flat) - 2), _HOLD][: len(flat)]
    with path.open("wb") as file:
        flat[0].save(
            file, "GIF", save_all=True, append_images=flat[1:], duration=times, loop=0, optimize=True
        )
    return path.stat().st_size


def _with_white(picture: Image.Image) -> Image.Image:
    """Make the palest colour of a palette the white of the paper, which averaging has made grey."""
    shades = np.array(picture.getpalette()).reshape(-1, 3)
    shades[shades.sum(axis=1).argmax()] = 255
    picture.putpalette(shades.ravel().tolist())
    return picture


def _scaled(canvas: Canvas, width: int) -> Canvas:
    """Return the same scale for the pixels that are drawn."""
    zoom = width * _FINE / canvas.width
    return Canvas(
        width=width * _FINE,
        height=round(canvas.height * zoom / 2) * 2,
        x0=canvas.x0 * zoom,
        sx=canvas.sx * zoom,
        y0=canvas.y0 * zoom + _HEAD * _FINE,
        sy=canvas.sy * zoom,
    )


def _base(mixture: Mixture, canvas: Canvas) -> Image.Image:
    """Draw what no frame changes: the items."""
    height = int(canvas.height) + (_HEAD + _FOOT) * _FINE
    picture = Image.new("RGB", (int(canvas.width), height), _PAPER)
    draw, ground = ImageDraw.Draw(picture), mixture.ground
    if mixture.film.n_dimensions == 1:
        left, tops = canvas.at(ground.edges, np.append(ground.density, 0))
        for a, b, y in zip(left[:-1], left[1:], tops, strict=False):
            draw.rectangle((a, min(y, canvas.y0), b - _FINE, canvas.y0), fill=_BARS)
        draw.line((left[0], canvas.y0, left[-1], canvas.y0), fill=_LINE, width=_FINE)
        return picture
    every = max(1, -(-len(ground.places) // _POINTS))
    x, y = canvas.at(ground.places[::every, 0], ground.places[::every, 1])
    size = 1.6 * _FINE
    for a, b, number in zip(x.tolist(), y.tolist(), ground.clusters[::every].tolist(), strict=True):
        draw.ellipse((a - size, b - size, a + size, b + size), fill=_mixed(colour(number), 0.42))
    return picture


def _draw_frame(picture: Image.Image, mixture: Mixture, canvas: Canvas, frame: int) -> None:
    draw, film = ImageDraw.Draw(picture), mixture.film
    fade = max(3, film.n_frames // 25)
    draw.rectangle((0, 0, picture.width, _HEAD * _FINE - 1), fill=_PAPER)
    for j in np.argsort(film.clusters >= 0, kind="stable").tolist():
        last_one = film.ends[j] - 1
        gone = (frame - last_one) / min(fade, max(film.n_frames - 1 - last_one, 1))
        if film.ends[j] and gone < 1:
            outline = _outline(mixture, canvas, j, min(frame, last_one), max(0.0, gone))
            _draw_component(picture, film, j, outline, (min(frame, last_one), max(0.0, gone)))
    if film.n_dimensions == 1:
        xs = np.linspace(*mixture.ground.window[0], 240)
        _line(draw, np.stack(canvas.at(xs, density(film, frame, xs).sum(axis=0)), axis=1), _INK, 1.3)
    for j in np.flatnonzero(film.clusters >= 0).tolist():
        if film.weights[frame, j] > 0.5 * film.weights[-1, j]:
            _draw_name(draw, film, canvas, j, frame)
    _draw_words(draw, film, frame, picture.size)


def _outline(mixture: Mixture, canvas: Canvas, j: int, frame: int, gone: float) -> Places:
    """Return the pixels (m, 2) around one component as it is in a frame, sunk as far as it is gone."""
    film = mixture.film
    if film.n_dimensions == 1:
        xs = reach(film, j, frame, mixture.ground)
        return np.stack(canvas.at(xs, (1 - gone) * density(film, frame, xs)[j]), axis=1)
    turn = np.linspace(0, 2 * np.pi, 64)
    first, second, angle = ellipse(film.covariances[frame, j].tolist())
    u, v = 2 * first * np.cos(turn), 2 * second * np.sin(turn)
    x, y = film.means[frame, j]
    across, up = u * np.cos(angle) - v * np.sin(angle), u * np.sin(angle) + v * np.cos(angle)
    return np.stack(canvas.at(x + across, y + up), axis=1)


def _draw_component(
    picture: Image.Image, film: Film, j: int, outline: Places, when: tuple[int, float]
) -> None:
    """Draw one component as it is in a frame, or as it was in its last one, so far gone (0 to 1)."""
    frame, gone = when
    weight = float(film.weights[frame, j]) * (1 - gone)
    strength = min(1.0, 0.12 + 0.88 * (weight / film.full_weight) ** 0.5) * (1 - gone)
    shade = NO_CLUSTER if gone else component_colour(film, j)
    stays, is_crowded = bool(film.clusters[j] >= 0), film.n_clusters > MANY
    if stays:
        _tint(picture, outline, shade, strength * (0.4 if is_crowded else 1.0))
    wide = 1.2 if not stays else 1.6 if is_crowded else 2.4
    _line(ImageDraw.Draw(picture), outline, _mixed(shade, strength), wide)


def _tint(picture: Image.Image, outline: Places, shade: str, strength: float) -> None:
    """Lay a thin colour over the inside of an outline."""
    low = np.clip(np.floor(outline.min(axis=0)), 0, picture.size).astype(int)
    high = np.clip(np.ceil(outline.max(axis=0)) + 1, 0, picture.size).astype(int)
    if (high > low).all():
        mask = Image.new("L", tuple((high - low).tolist()))
        inside = [(float(a), float(b)) for a, b in outline - low]
        ImageDraw.Draw(mask).polygon(inside, fill=round(_TINT * strength))
        picture.paste(shade, (*low.tolist(), *high.tolist()), mask)


def _draw_name(draw: ImageDraw.ImageDraw, film: Film, canvas: Canvas, j: int, frame: int) -> None:
    mean = film.means[frame, j]
    height = density(film, frame, mean)[j, 0] if film.n_dimensions == 1 else mean[1]
    x, y = canvas.at(mean[0], height)
    up = 11 * _FINE if film.n_dimensions == 1 else 0
    place = (float(x), float(y) - up)
    draw.text(
        place,
        str(film.clusters[j]),
        _INK,
        _font(11 if film.n_clusters > MANY else 16),
        "mm",
        stroke_width=2 * _FINE,
        stroke_fill=_PAPER,
    )


def _draw_words(draw: ImageDraw.ImageDraw, film: Film, frame: int, size: tuple[int, int]) -> None:
    """Write where the film is, and draw how far it has come."""
    alive = int((film.weights[frame] > 0).sum())
    word = "merging components" if film.phases[frame] == "merge" else "gradient"
    edge, y = 16 * _FINE, 23 * _FINE
    draw.text((edge, y), f"step {film.steps[frame]:,}", _INK, _font(17), "lm")
    draw.text((size[0] // 2, y), word, _WARN if film.phases[frame] == "merge" else _ACCENT, _font(15), "mm")
    draw.text((size[0] - edge, y), f"{alive} component{'' if alive == 1 else 's'}", _INK, _font(17), "rm")
    floor, across = size[1] - 8 * _FINE, size[0] - 2 * edge
    draw.line((edge, floor, edge + across, floor), fill=_LINE, width=3 * _FINE)
    done = edge + across * frame / max(film.n_frames - 1, 1)
    draw.line((edge, floor, done, floor), fill=_ACCENT, width=3 * _FINE)


def _line(draw: ImageDraw.ImageDraw, places: Places, shade: str, wide: float) -> None:
    # Far outside there is nothing to see, and Pillow takes no places without end.
    near = [(float(a), float(b)) for a, b in np.clip(places, -9999, 9999)]
    draw.line(near, fill=shade, width=round(wide * _FINE), joint="curve")


def _mixed(shade: str, strength: float) -> str:
    """Return a colour as it looks on paper when it is that strong."""
    ink, paper = (np.array(ImageColor.getrgb(c), dtype=float) for c in (shade, _PAPER))
    return "#" + "".join(f"{round(v):02x}" for v in paper + strength * (ink - paper))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _FINE)
