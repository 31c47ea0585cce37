"""The mixture drawn: the film's last frame and its numbers, the loss, the weights, and the choice by BIC.

What moves is moved by ``mixture.js``, which draws every frame as `still` draws the last one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from holdfast.report.mixture import Film, Ground, Mixture, gaps
from holdfast.report.palette import NO_CLUSTER, colour
from holdfast.report.plots import Bar, columns, round_ticks, svg

__all__ = [
    "MANY",
    "Canvas",
    "bic",
    "canvas_of",
    "component_colour",
    "density",
    "descent",
    "ellipse",
    "has_descent",
    "packed",
    "reach",
    "still",
    "weights",
]

Floats = npt.NDArray[np.float64]

WIDTH = 1000.0
MANY = 16
"""More clusters than this are drawn with a lighter hand."""
_EDGE = (14.0, 36.0, 44.0)  # above, below and beside a histogram
_POINTS = 160  # of a density, in the window
_REACH, _CORNERS = 4.0, 64  # standard deviations of a component on either side, and points of its curve
_DIGITS = 4


@dataclass(frozen=True)
class Canvas:
    """How places become pixels: ``x0 + sx * x`` and ``y0 + sy * y``."""

    width: float
    height: float
    x0: float
    sx: float
    y0: float
    sy: float

    def at(self, x: npt.NDArray | float, y: npt.NDArray | float) -> tuple[npt.NDArray, npt.NDArray]:
        """Return pixels for places."""
        return self.x0 + self.sx * np.asarray(x), self.y0 + self.sy * np.asarray(y)


def canvas_of(mixture: Mixture) -> Canvas:
    """Choose the scale: a histogram fills the picture, a cloud keeps its proportions."""
    ground, film = mixture.ground, mixture.film
    (low, high), top = ground.window[0], _EDGE[0]
    if film.n_dimensions == 1:
        height, beside = 420.0, _EDGE[2]
        xs = np.linspace(low, high, _POINTS)
        peak = max(float(density(film, film.n_frames - 1, xs).sum(axis=0).max()), *ground.density.tolist())
        sx = (WIDTH - 2 * beside) / (high - low)
        floor = height - _EDGE[1]
        return Canvas(WIDTH, height, beside - sx * low, sx, floor, -(floor - top) / (1.1 * peak))
    (y_low, y_high) = ground.window[1]
    scale = min(WIDTH / (high - low), 640.0 / (y_high - y_low))
    height = max(380.0, scale * (y_high - y_low))
    middle, centre = (low + high) / 2, (y_low + y_high) / 2
    return Canvas(WIDTH, height, WIDTH / 2 - scale * middle, scale, height / 2 + scale * centre, -scale)


def density(film: Film, frame: int, xs: Floats) -> Floats:
    """Return the weighted density (k, len(xs)) of every component of a one-dimensional frame."""
    means, variances = film.means[frame], film.covariances[frame]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.exp(-0.5 * (xs - means) ** 2 / variances) / np.sqrt(2 * math.pi * variances)
    return np.where(film.weights[frame][:, None] > 0, film.weights[frame][:, None] * found, 0.0)


def reach(film: Film, j: int, frame: int, ground: Ground) -> Floats:
    """Return where a one-dimensional component is drawn: as far as it can be seen, within the window."""
    (low, high), mean = ground.window[0], float(film.means[frame, j, 0])
    far = _REACH * math.sqrt(film.covariances[frame, j, 0])
    return np.linspace(min(max(mean - far, low), high), max(min(mean + far, high), low), _CORNERS)


def component_colour(film: Film, component: int) -> str:
    """Return the colour of the cluster in which a component ends."""
    heir = int(film.heirs[component])
    return colour(heir) if heir >= 0 else NO_CLUSTER


def ellipse(covariance: Sequence[float]) -> tuple[float, float, float]:
    """Return the two standard deviations of a covariance (xx, xy, yy), and the angle of the first one."""
    xx, xy, yy = covariance
    half, root = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    return math.sqrt(half + root), math.sqrt(max(half - root, 0.0)), 0.5 * math.atan2(2 * xy, xx - yy)


def still(mixture: Mixture) -> Markup:
    """Draw the last frame: what is seen without a script, and what the player begins from."""
    film, canvas = mixture.film, canvas_of(mixture)
    last = film.n_frames - 1
    narrow = film.n_dimensions == 1
    ground = _histogram(mixture.ground, canvas) if narrow else _cloud(mixture.ground, canvas)
    order = np.argsort(film.clusters >= 0, kind="stable").tolist()  # what stays lies on top
    marks = [_mark(film, j, last, canvas, mixture.ground) for j in order]
    whole = f'<path class="whole" d="{_whole(film, last, canvas, mixture.ground)}"/>' if narrow else ""
    names = [_name(film, j, last, canvas) for j in np.flatnonzero(film.clusters >= 0).tolist()]
    kind = (
        "Histogram of the items, and the density of each component"
        if narrow
        else (
            "Items in the first two principal directions, and each component as an ellipse of two deviations"
        )
    )
    label = f"{kind}: {len(names)} components at the end, {len(film.clusters)} at the start"
    parts = [ground, *marks, whole, f'<g class="names">{"".join(names)}</g>']
    css = f"film {'narrow' if narrow else 'wide'}{' many' if film.n_clusters > MANY else ''}"
    return svg(canvas.width, round(canvas.height), label, parts, css=css)


def packed(mixture: Mixture) -> Markup:
    """Write the film as JSON, four digits a number; it holds numbers only, and no text from outside."""
    film, canvas = mixture.film, canvas_of(mixture)
    k = len(film.clusters)
    document = {
        "p": film.n_dimensions,
        "k": k,
        "canvas": [_short(v) for v in (canvas.x0, canvas.sx, canvas.y0, canvas.sy)],
        "window": [_short(v, 6) for v in mixture.ground.window[0]],
        "steps": film.steps.tolist(),
        "merge": [int(phase == "merge") for phase in film.phases],
        "ends": film.ends.tolist(),
        "own": film.clusters.tolist(),
        "colours": [component_colour(film, j) for j in range(k)],
        "grey": NO_CLUSTER,
        "full": _short(film.full_weight),
        "w": [_numbers(frame) for frame in film.weights],
        "m": [_numbers(frame) for frame in film.means],
        "v": [_numbers(frame) for frame in film.covariances],
    }
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - numbers and our own colours


def descent(film: Film) -> Markup:
    """Draw the loss of every frame as its gap to the best one, on a logarithmic axis."""
    values = gaps(film.losses)
    marks = [i for i in _marked(film.n_frames) if np.isfinite(values[i])]
    names = {i: f"{film.steps[i]:,}" for i in marks}
    starts = [i for i, (a, b) in enumerate(pairwise(film.phases), start=1) if a != b and b == "merge"]
    band = (min(starts), film.n_frames - 1) if starts else None
    points = [(float(i), float(v)) for i, v in enumerate(values) if np.isfinite(v)]
    label = f"Loss as gap to the best, frame by frame, from {points[0][1]:.3g} to the best"
    return _log_plot(points, names, label, band=band, ring=min(points, key=lambda p: p[1]), axis="step")


def has_descent(mixture: Mixture) -> bool:
    """Tell whether there is a loss to draw."""
    return bool(np.isfinite(gaps(mixture.film.losses)).sum() > 1)


def bic(mixture: Mixture) -> Markup:
    """Draw the BIC of every number of components tried, as its gap to the best; the chosen one is ringed."""
    values = gaps([trial.bic for trial in mixture.trials])
    points = [(float(t.n_components), float(v)) for t, v in zip(mixture.trials, values, strict=True)]
    chosen = next((p for p in points if p[0] == len(mixture.weights)), None)
    wanted = np.unique(np.linspace(0, len(points) - 1, 7).round().astype(int)).tolist()
    names = {int(points[i][0]): f"{points[i][0]:g}" for i in wanted}
    best = min(points, key=lambda p: p[1])
    label = f"BIC by number of components, as gap to the best, which {best[0]:g} components have"
    return _log_plot(points, names, label, ring=chosen, dots=True, axis="components")


def weights(mixture: Mixture) -> Markup:
    """Draw the weights of the components that were found, the largest first."""
    order = sorted(enumerate(mixture.weights), key=lambda pair: (-pair[1], pair[0]))
    bars = [Bar(c, w, colour(c), f"Cluster {c}: weight {w:.3f}") for c, w in order]
    return columns(bars, "Weight of each component, the largest first", percent=True)


def _log_plot(
    points: Sequence[tuple[float, float]],
    names: dict[int, str],
    label: str,
    *,
    axis: str,
    band: tuple[int, int] | None = None,
    ring: tuple[float, float] | None = None,
    dots: bool = False,
) -> Markup:
    """Draw positive values on a logarithmic axis; the lowest line is the best one itself."""
    width, height, left, right, top, floor = 440, 230, 54, 22, 12, 196
    first, last = min(p[0] for p in points), max(p[0] for p in points)
    low, high = (math.log10(f(p[1] for p in points)) for f in (min, max))
    across, span = (width - left - right) / ((last - first) or 1), (high - low) or 1.0

    def x_of(x: float) -> float:
        return left + across * (x - first)

    def y_of(value: float) -> float:
        return floor - (floor - top) * (math.log10(value) - low) / span

    parts = [_decades(low, high, y_of, left, width - right)]
    if band is not None:
        x, end = x_of(band[0] - 0.5), x_of(band[1])
        parts.append(
            f'<rect class="band" x="{x:.1f}" y="{top}" width="{end - x:.1f}" height="{floor - top}"/>'
        )
        parts.append(f'<text class="x end" x="{end - 4:.1f}" y="{top + 13}">merging</text>')
    trail = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
    parts.append(f'<polyline points="{trail}"/>')
    if dots:
        parts += (f'<circle class="dot" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="2.2"/>' for x, y in points)
    if ring is not None:
        parts.append(f'<circle class="mark" cx="{x_of(ring[0]):.1f}" cy="{y_of(ring[1]):.1f}" r="6"/>')
    parts += (
        f'<text class="x" x="{x_of(i):.1f}" y="{floor + 16}">{escape(t)}</text>' for i, t in names.items()
    )
    parts.append(f'<text class="x" x="{(left + width - right) / 2}" y="{height - 3}">{escape(axis)}</text>')
    if not dots:
        parts.append(
            f'<line class="head" x1="{x_of(last):.1f}" x2="{x_of(last):.1f}" y1="{top}" y2="{floor}"/>'
        )
    box = f' data-left="{left}" data-across="{across:.4f}"'
    drawn = svg(width, height, label, parts, css=f"plot curve gap{' descent' if not dots else ''}")
    return Markup(str(drawn).replace("<svg", f"<svg{box}", 1))  # noqa: S704 - numbers only


def _decades(low: float, high: float, y_of: Callable[[float], float], left: float, right: float) -> str:
    """Draw lines at powers of ten, few enough to read, and one for the best at the bottom."""
    powers = list(range(math.ceil(low + 0.08 * (high - low)), math.floor(high) + 1))
    powers = powers[:: max(1, math.ceil(len(powers) / 6))]
    rows = [(y_of(10.0**p), f"{10.0**p:,.10g}" if -4 < p < 5 else f"1e{p}") for p in powers]
    rows.append((y_of(10.0**low), "best"))
    return "".join(
        f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="y" x="{left - 6}" y="{y + 3.5:.1f}">{text}</text>'
        for y, text in rows
    )


def _marked(n_frames: int) -> list[int]:
    """Choose the frames whose steps are written below the axis."""
    return [int(i) for i in np.unique(np.linspace(0, n_frames - 1, 5).round())]


def _mark(film: Film, j: int, frame: int, canvas: Canvas, ground: Ground) -> str:
    """Draw one component; one that is no more has no shape, and the script gives it one while it lives."""
    d = _shape(film, j, frame, canvas, ground) if film.weights[frame, j] > 0 else ""
    css = "own" if film.clusters[j] >= 0 else "gone"
    return f'<path class="{css}" data-j="{j}" style="--c:{component_colour(film, j)}" d="{d}"/>'


def _shape(film: Film, j: int, frame: int, canvas: Canvas, ground: Ground) -> str:
    if film.n_dimensions == 1:
        xs = reach(film, j, frame, ground)
        x, y = canvas.at(xs, density(film, frame, xs)[j])
        floor = [canvas.y0]  # no line runs along it: fifty of them would hide what is small
        return _trail(np.concatenate([x[:1], x, x[-1:]]), np.concatenate([floor, y, floor]))
    first, second, angle = ellipse(film.covariances[frame, j].tolist())
    wide, narrow = 2 * canvas.sx * first, 2 * canvas.sx * second
    here = canvas.at(*film.means[frame, j].tolist())
    left, top = float(here[0]), float(here[1])
    across, up = math.cos(-angle) * wide, math.sin(-angle) * wide  # pixels grow downwards
    arc = f"A{wide:.1f} {narrow:.1f} {math.degrees(-angle):.1f} 1 1 "
    ends = f"{left - across:.1f} {top - up:.1f}", f"{left + across:.1f} {top + up:.1f}"
    return f"M{ends[0]}{arc}{ends[1]}{arc}{ends[0]}Z"


def _whole(film: Film, frame: int, canvas: Canvas, ground: Ground) -> str:
    xs = np.linspace(*ground.window[0], _POINTS)
    return _trail(*canvas.at(xs, density(film, frame, xs).sum(axis=0)))


def _name(film: Film, j: int, frame: int, canvas: Canvas) -> str:
    """Write the number of a cluster on top of its density, or in the middle of its ellipse."""
    mean = film.means[frame, j]
    if film.n_dimensions == 1:
        x, y = canvas.at(mean[0], density(film, frame, mean)[j, 0])
        y = y - 12
    else:
        x, y = canvas.at(mean[0], mean[1])
    return f'<text data-j="{j}" x="{x:.1f}" y="{y:.1f}">{film.clusters[j]}</text>'


def _histogram(ground: Ground, canvas: Canvas) -> str:
    left, tops = canvas.at(ground.edges[:-1], ground.density)
    wide = canvas.sx * np.diff(ground.edges) - 1
    bars = "".join(
        f"M{x:.1f} {canvas.y0:.1f}V{y:.1f}h{w:.1f}V{canvas.y0:.1f}Z"
        for x, y, w in zip(left, tops, wide, strict=True)
        if y < canvas.y0 - 0.05
    )
    ticks = _axis_ticks(*ground.window[0])
    words = "".join(
        f'<text class="x" x="{canvas.at(t, 0)[0]:.1f}" y="{canvas.y0 + 18:.1f}">{t:g}</text>' for t in ticks
    )
    ends = [canvas.at(edge, 0)[0] for edge in ground.window[0]]
    base = f'<line class="base" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{canvas.y0}" y2="{canvas.y0}"/>'
    return f'<path class="bars" d="{bars}"/>{base}{words}'


def _axis_ticks(low: float, high: float) -> list[float]:
    return [tick for tick in round_ticks(low, high, 9) if low <= tick <= high]


def _cloud(ground: Ground, canvas: Canvas) -> str:
    groups = []
    x, y = canvas.at(ground.places[:, 0], ground.places[:, 1])
    for number in np.unique(ground.clusters).tolist():
        rows = np.flatnonzero(ground.clusters == number)
        # A line of no length with a round end is a dot, at a fifth of the bytes of a circle.
        dots = "".join(f"M{x[i]:.1f} {y[i]:.1f}h0" for i in rows)
        groups.append(f'<path class="dots" style="--c:{colour(number)}" d="{dots}"/>')
    return "".join(groups)


def _trail(x: Floats, y: Floats) -> str:
    points = zip(x.tolist(), y.tolist(), strict=True)
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)


def _numbers(values: Floats) -> list[float | int]:
    return [_short(value) for value in values.ravel().tolist()]


def _short(value: float, digits: int = _DIGITS) -> float | int:
    """Round to a few digits; a whole number is written as one."""
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
