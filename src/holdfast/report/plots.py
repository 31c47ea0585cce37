"""Plots as inline SVG: pure functions from values to markup, coloured by the page's style sheet.

Written by hand rather than drawn by a plotting library: text stays text, light and dark are one file,
and every mark can be hovered, followed and read aloud.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from markupsafe import Markup, escape

from holdfast.report.palette import colour
from holdfast.report.tree import Answered, ClusterMap, Comparison, Curve, Evidence, Expected, MapPoint, Trust
from holdfast.report.trust import rounded

__all__ = [
    "Bar",
    "answering",
    "columns",
    "curve",
    "expectations",
    "levels",
    "matrix",
    "round_ticks",
    "scatter",
    "spark",
    "svg",
]

Scale = Callable[[float], float]
Place = tuple[float, float]

_ROUNDS, _PAIRS = 60, 20_000_000  # of pushing names apart: with 2,000 of them, a round takes half a second
_EQUAL = 1e-6  # values that differ by less are drawn as equal
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 8, 12, 26  # margins of an axis plot


@dataclass(frozen=True)
class Bar:
    """One column: the cluster it belongs to, its value, its colour, and the words shown on hover."""

    number: int
    value: float
    colour: str
    tip: str


def columns(bars: Sequence[Bar], label: str, *, top: float | None = None, percent: bool = False) -> Markup:
    """Draw columns in the given order, each a link to its cluster.

    Parameters
    ----------
    bars : sequence of Bar
    label : str
        What a reader who does not see the plot is told.
    top : float, optional
        Upper end of the axis; the largest value by default.
    percent : bool
        Write the axis in percent.
    """
    pitch = 36 if len(bars) <= 16 else 22 if len(bars) <= 40 else 13
    width, height = max(440, _LEFT + _RIGHT + pitch * len(bars)), 220
    ticks = round_ticks(0, top or max((bar.value for bar in bars), default=1) or 1)
    span = max(top or 0, ticks[-1], max((bar.value for bar in bars), default=0))
    pitch_x = (width - _LEFT - _RIGHT) / max(len(bars), 1)
    floor, room = height - _BOTTOM, height - _BOTTOM - _TOP
    parts = [_grid(ticks, lambda v: floor - room * v / span, width, percent)]
    every = 1 if pitch_x >= 20 else 2
    for i, bar in enumerate(bars):
        x, tall = _LEFT + i * pitch_x, room * bar.value / span
        parts.append(
            f'<a href="#c{bar.number}" aria-label="{escape(bar.tip)}"><title>{escape(bar.tip)}</title>'
            f'<rect class="hit" x="{x:.1f}" y="{_TOP}" width="{pitch_x:.1f}" height="{room + _BOTTOM}"/>'
            f'<rect x="{x + pitch_x * 0.12:.1f}" y="{floor - tall:.1f}" width="{pitch_x * 0.76:.1f}" '
            f'height="{max(tall, 0.8):.1f}" rx="2" fill="{bar.colour}"/>'
        )
        if i % every == 0:
            parts.append(f'<text class="x" x="{x + pitch_x / 2:.1f}" y="{height - 9}">{bar.number}</text>')
        parts.append("</a>")
    return svg(width, height, label, parts, css="plot columns", wide=width > 640, role="group")


def curve(signal: Curve) -> Markup:
    """Draw one signal over the epochs; gaps stay gaps."""
    width, height = 320, 170
    present = [value for value in signal.values if value is not None]
    low, high = (0.0 if signal.is_share else min(present)), max(present)
    if not high > low:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    ticks = [t for t in round_ticks(low, high, 4) if low <= t <= high]
    first, last = min(signal.epochs), max(signal.epochs)
    across, floor = width - _LEFT - _RIGHT - 4, height - _BOTTOM

    def x_of(epoch: float) -> float:
        return _LEFT + 2 + across * (epoch - first) / ((last - first) or 1)

    def y_of(value: float) -> float:
        return floor - (floor - _TOP) * (value - low) / (high - low)

    marks = [_line(run, x_of, y_of) for run in _runs(signal)]
    end = max(i for i, value in enumerate(signal.values) if value is not None)
    marks.append(
        f'<circle class="end" cx="{x_of(signal.epochs[end]):.1f}" cy="{y_of(present[-1]):.1f}" r="3"/>'
    )
    if signal.mark is not None and (value := signal.values[signal.mark]) is not None:
        place = f'cx="{x_of(signal.epochs[signal.mark]):.1f}" cy="{y_of(value):.1f}"'
        marks.append(
            f'<circle class="mark" {place} r="5"><title>returned: epoch '
            f"{signal.epochs[signal.mark]:g}</title></circle>"
        )
    axis = f'<text class="x start" x="{_LEFT}" y="{height - 9}">epoch {first:g}</text>'
    axis += f'<text class="x end" x="{width - _RIGHT}" y="{height - 9}">{last:g}</text>'
    label = f"{signal.title}: from {present[0]:.4g} to {present[-1]:.4g} over {len(signal.epochs)} epochs"
    return svg(
        width, height, label, [_grid(ticks, y_of, width, signal.is_share), *marks, axis], css="plot curve"
    )


def expectations(clusters: Sequence[Expected]) -> Markup:
    """Draw what is expected of each cluster with its interval, in the given order; the weak are ringed."""
    pitch = 36 if len(clusters) <= 16 else 22 if len(clusters) <= 40 else 13
    width, height = max(440, _LEFT + _RIGHT + pitch * len(clusters)), 220
    ticks = round_ticks(min(0.9, *(cluster.low for cluster in clusters)), 1.0)
    floor, step = height - _BOTTOM, (width - _LEFT - _RIGHT) / len(clusters)

    def y_of(share: float) -> float:
        return floor - (floor - _TOP) * (share - ticks[0]) / (ticks[-1] - ticks[0])

    parts = [_grid(ticks, y_of, width, percent=True)]
    for i, cluster in enumerate(clusters):
        x, y = _LEFT + (i + 0.5) * step, y_of(cluster.purity)
        tip = (
            f"Cluster {cluster.number}: {100 * cluster.purity:.0f} % expected right, between "
            f"{100 * cluster.low:.0f} and {100 * cluster.high:.0f} %, of {cluster.size:,} items"
        )
        name = f'<text class="x" x="{x:.1f}" y="{height - 9}">{cluster.number}</text>'
        css = ' class="weak"' if cluster.is_weak else ""
        room = f'x="{x - step / 2:.1f}" y="{_TOP}" width="{step:.1f}" height="{height - _TOP}"'
        parts.append(
            f'<a href="#c{cluster.number}" aria-label="{tip}"{css}>'
            f"<title>{tip}</title>"
            f'<rect class="hit" {room}/>'
            f'<line class="span" x1="{x:.1f}" x2="{x:.1f}" y1="{y_of(cluster.high):.1f}" '
            f'y2="{y_of(cluster.low):.1f}" stroke="{colour(cluster.number or 0)}"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{min(5.0, 0.4 * step):.1f}" '
            f'fill="{colour(cluster.number or 0)}"/>{name if step >= 20 or i % 2 == 0 else ""}</a>'
        )
    label = "Share of each cluster that is expected to be right, with its interval, the weakest first"
    return svg(width, height, label, parts, css="plot columns expectations", wide=width > 640, role="group")


def answering(trust: Trust) -> Markup:
    """Draw how many of the items kept are expected to be right, from all kept (left) to the surest only."""
    width, height = 440, 220
    ticks = round_ticks(min(0.9, trust.curve[0].purity), 1.0)
    floor, across = height - _BOTTOM, width - _LEFT - _RIGHT - 8

    def x_of(share: float) -> float:
        return _LEFT + 4 + across * (1 - share)

    def y_of(share: float) -> float:
        return floor - (floor - _TOP) * (share - ticks[0]) / (ticks[-1] - ticks[0])

    parts = [_grid(ticks, y_of, width, percent=True)]
    parts.append(_line([(point.coverage, point.purity) for point in trust.curve], x_of, y_of))
    parts += (
        _step(step, x_of(step.coverage), y_of(step.purity), is_advised=step == trust.advice)
        for step in trust.steps
    )
    parts += (
        f'<text class="x" x="{x_of(kept):.1f}" y="{height - 9}">{text}</text>'
        for kept, text in ((0.95, "all kept"), (0.75, "75 %"), (0.5, "50 %"), (0.25, "25 %"))
    )
    label = "Share expected to be right among the items kept, from all kept to only the surest"
    return svg(width, height, label, parts, css="plot answering")


def _step(step: Answered, x: float, y: float, *, is_advised: bool) -> str:
    tip = (
        f"confidence at least {rounded(step.threshold)}: {100 * step.coverage:.0f} % kept, "
        f"{100 * step.purity:.0f} % of these expected right"
    )
    name = f'<text class="x" x="{x:.1f}" y="{y + 18:.1f}">{rounded(step.threshold)}</text>'
    return (
        f'<g class="{"advised" if is_advised else "step"}"><title>{tip}</title>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{5 if is_advised else 3}"/>{name if is_advised else ""}</g>'
    )


def levels(evidence: Sequence[Evidence]) -> Markup:
    """Draw scores as points on one scale, which need not begin at zero: they are close to each other."""
    width, pitch, left, right = 560, 34, 150, 70
    values = [item.value for item in evidence]
    spread, size = max(values) - min(values), max(abs(value) for value in values) or 1.0
    pad = 0.12 * spread if spread > _EQUAL * size else 0.05 * size
    ticks = round_ticks(min(values) - pad, max(values) + pad, 3)
    height, span = pitch * len(evidence) + _BOTTOM, ticks[-1] - ticks[0]

    def x_of(value: float) -> float:
        return left + (width - left - right) * (value - ticks[0]) / span

    parts = []
    for tick in ticks:
        x = x_of(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - _BOTTOM}"/>')
        parts.append(f'<text class="x" x="{x:.1f}" y="{height - 9}">{tick:.6g}</text>')
    for i, item in enumerate(evidence):
        y, x = pitch * (i + 0.5), x_of(item.value)
        parts.append(
            f'<g class="{item.role}">'
            f'<text class="y" x="{left - 14}" y="{y + 4:.1f}">{escape(item.name)}</text>'
            f'<line x1="{left}" x2="{x:.1f}" y1="{y}" y2="{y}"/><circle cx="{x:.1f}" cy="{y}" r="6"/>'
            f'<text class="value" x="{width - right + 14}" y="{y + 4:.1f}">{item.value:.4g}</text></g>'
        )
    label = "Evidence: " + ", ".join(f"{item.name} {item.value:.4g}" for item in evidence)
    return svg(width, height, label, parts, css="plot levels")


def spark(histogram: Sequence[int], label: str) -> Markup:
    """Draw ten small columns, confidence 0 at the left and 1 at the right."""
    most = max(histogram) or 1
    rects = (
        f'<rect class="{"low" if i < len(histogram) / 2 else "high"}" x="{i * 10 + 1}" '
        f'y="{30 - max(28 * count / most, 0.6 if count else 0):.1f}" width="8" '
        f'height="{max(28 * count / most, 0.6 if count else 0):.1f}"/>'
        for i, count in enumerate(histogram)
    )
    base = f'<line class="base" x1="0" x2="{10 * len(histogram)}" y1="30.5" y2="30.5"/>'
    return svg(10 * len(histogram), 31, label, [*rects, base], css="spark")


def scatter(plan: ClusterMap) -> Markup:
    """Draw the map: one group of points a cluster, its number at the median of its points."""
    width, edge = 1000, 24
    ys = [point.y for point in plan.points]
    height = max(320.0, (max(ys) - min(ys)) * (width - 2 * edge) + 2 * edge)
    middle = (max(ys) + min(ys)) / 2

    def at(point: MapPoint) -> Place:
        return edge + point.x * (width - 2 * edge), height / 2 - (point.y - middle) * (width - 2 * edge)

    groups: dict[int, list[MapPoint]] = {}
    for point in plan.points:
        groups.setdefault(point.cluster, []).append(point)
    radius = 3.4 if len(plan.points) > 800 else 5
    dots = [_dots(number, groups[number], at, radius) for number in sorted(groups)]
    many = len(groups) > 40
    named = [number for number in sorted(groups) if number >= 0]
    places = _apart(
        [_anchor([at(p) for p in groups[number]]) for number in named], *((30, 17) if many else (36, 24))
    )
    names = [
        f'<text data-c="{n}" x="{x:.0f}" y="{y:.0f}">{n}</text>'
        for n, (x, y) in zip(named, places, strict=True)
    ]
    label = f"{plan.method} map of {len(plan.points):,} items, coloured by cluster"
    css = "map many" if many else "map"
    return svg(width, round(height), label, [*dots, f'<g class="names">{"".join(names)}</g>'], css=css)


def matrix(comparison: Comparison) -> Markup:
    """Draw the table of moves: rows are start clusters, columns clusters of the result."""
    cell = 26 if len(comparison.columns) <= 20 else 16
    left, top = 50, 42
    width, height = left + cell * len(comparison.columns) + 6, top + cell * len(comparison.rows) + 6
    parts = [
        f'<text class="x" x="{left + cell * (j + 0.5)}" y="{top - 7}">{_name(c)}</text>'
        for j, c in enumerate(comparison.columns)
    ]
    parts.append(
        f'<text class="x" x="{left + cell * len(comparison.columns) / 2}" y="13">cluster of the result</text>'
    )
    for i, (source, counts) in enumerate(zip(comparison.rows, comparison.matrix, strict=True)):
        y = top + i * cell
        parts.append(f'<text class="y" x="{left - 7}" y="{y + cell * 0.65:.1f}">{_name(source)}</text>')
        for j, (target, count) in enumerate(zip(comparison.columns, counts, strict=True)):
            depth = 0.12 + 0.88 * math.sqrt(count / sum(counts)) if count else 0
            parts.append(
                f'<rect class="{"stay" if target == source else "move"}" x="{left + j * cell}" y="{y}" '
                f'width="{cell - 2}" height="{cell - 2}" rx="3" style="--o:{depth:.3f}">'
                f"<title>{count:,} items: start {_name(source)}, result {_name(target)}</title></rect>"
            )
    label = "Table of moves: rows are start clusters, columns clusters of the result, darker is more"
    return svg(width, height, label, parts, css="plot matrix", natural=True)


def _name(number: int | None) -> str:
    return "new" if number is None else "none" if number < 0 else str(number)


def _dots(
    number: int,
    points: Iterable[MapPoint],
    at: Callable[[MapPoint], Place],
    radius: float,
) -> str:
    dots = []
    for point in points:
        x, y = at(point)
        tile = "" if point.tile is None else f' data-t="{point.tile}"'
        dots.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" data-i="{escape(point.id)}" '
            f'data-q="{point.confidence:.2f}"{tile}/>'
        )
    return f'<g class="dots" data-c="{number}" fill="{colour(number)}">{"".join(dots)}</g>'


def _anchor(places: Sequence[Place]) -> Place:
    """Return the point nearest to the median: the median of two far groups would lie in nowhere."""
    x, y = median(p[0] for p in places), median(p[1] for p in places)
    return min(places, key=lambda p: (p[0] - x) ** 2 + (p[1] - y) ** 2)


def _apart(places: Sequence[Place], width: float, height: float) -> list[Place]:
    """Push boxes of one size apart until none overlap, or for a while: in a crowd, a little is enough."""
    centre = np.array(places, dtype=float).reshape(-1, 2)
    centre += np.random.default_rng(0).normal(0, 0.01, centre.shape)  # equal places need a direction to part
    box = np.array([width, height])
    for _ in range(min(_ROUNDS, max(4, _PAIRS // len(centre) ** 2)) if len(centre) else 0):
        gap = centre[:, None] - centre[None]
        overlap = np.clip(box - np.abs(gap), 0, None)
        both = (overlap > 0).all(axis=2)
        np.fill_diagonal(both, False)
        if not both.any():
            break
        sideways = overlap[..., 0] / width < overlap[..., 1] / height  # along the axis that needs less
        axis = np.stack([sideways, ~sideways], axis=2) & both[..., None]
        centre += (0.25 * overlap * np.sign(gap) * axis).sum(axis=1)
    return [(float(x), float(y)) for x, y in centre]


def _runs(signal: Curve) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for epoch, value in zip(signal.epochs, signal.values, strict=True):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((epoch, value))
    return [run for run in runs if run]


def _line(run: Sequence[tuple[float, float]], x_of: Scale, y_of: Scale) -> str:
    points = " ".join(f"{x_of(e):.1f},{y_of(v):.1f}" for e, v in run)
    return f'<polyline points="{points}"/>'


def _grid(ticks: Sequence[float], y_of: Scale, width: float, percent: bool) -> str:
    lines = []
    for tick in ticks:
        y = y_of(tick)
        text = f"{100 * tick:g} %" if percent else f"{tick:,.10g}"
        lines.append(f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="y" x="{_LEFT - 6}" y="{y + 3.5:.1f}">{text}</text>')
    return "".join(lines)


def round_ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Return round numbers that cover the range: steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def svg(
    width: float,
    height: float,
    label: str,
    parts: Iterable[str],
    *,
    css: str,
    wide: bool = False,
    natural: bool = False,
    role: str = "img",
) -> Markup:
    """Put marks into a picture of that size; `label` is what a reader who does not see it is told."""
    style = f' style="min-width:{min(width, 1300) * 0.72:.0f}px"' if wide else ""
    style = f' style="width:{width * 1.15:.0f}px"' if natural else style
    box = f'viewBox="0 0 {width:g} {height:g}"'
    head = f'<svg class="{css}" {box} role="{role}" aria-label="{escape(label)}"{style}>'
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704  # every text above went through escape
