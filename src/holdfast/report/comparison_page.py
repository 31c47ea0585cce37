"""The comparison of methods as one HTML file that asks nobody for anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from holdfast.report.comparison import (
    SCORES,
    MethodComparison,
    Spread,
    Standing,
    as_document,
    cell,
    duration,
    verdict,
)
from holdfast.report.plots import round_ticks, svg
from holdfast.report.render import asset, storable, templates

__all__ = ["bars", "render_comparison", "tradeoff"]

_LEFT, _RIGHT, _PITCH = 150, 108, 30  # margins and height of a row of bars
_PERCENT = {"acc", "nmi", "ari", "noise"}

Box = tuple[float, float, float, float]  # left, top, right, bottom


def render_comparison(comparison: MethodComparison) -> str:
    """Return the comparison as one HTML document: no script, no request, every text escaped."""
    environment = templates(duration=duration, percent=lambda share: f"{100 * share:.1f}")
    html = environment.get_template("comparison.html.j2").render(
        comparison=comparison,
        document=as_document(comparison),
        verdict=verdict(comparison),
        style=Markup(asset("report.css") + asset("comparison.css")),  # noqa: S704  # our own files
        bars=bars,
        tradeoff=tradeoff,
        cell=cell,
        memory=any("memory_mb" in row.figures for row in comparison.standings),
    )
    return storable(html)


def bars(comparison: MethodComparison, key: str) -> Markup:
    """Draw one bar a method for one figure, in the order of the table, with the spread over the seeds."""
    rows, name = comparison.standings, comparison.columns[key]
    width, height = 600, _PITCH * len(rows) + 30
    top = max([_high(row.figures.get(key)) for row in rows] + [1e-9])
    marks = round_ticks(0, min(top * 1.02, 1) if key in _PERCENT else top * 1.02, 5)
    span = marks[-1]

    def x_of(value: float) -> float:
        return _LEFT + (width - _LEFT - _RIGHT) * max(value, 0) / span

    parts = [_upright(x_of(mark), height - 24, _tick_text(key, mark)) for mark in marks]
    parts += [_bar(row, key, _PITCH * i + 4, x_of) for i, row in enumerate(rows)]
    floor = [r.figures[key].mean for r in rows if r.info.role == "floor" and key in r.figures]
    if floor and key in {*SCORES, "evidence"}:
        x = x_of(max(floor))
        parts.append(
            f'<line class="floorline" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 24}">'
            "<title>the better k-means</title></line>"
        )
    told = ", ".join(f"{row.info.title} {cell(key, row.figures.get(key))}" for row in rows)
    return svg(width, height, f"{name}: {told}", parts, css="plot bars")


def tradeoff(comparison: MethodComparison) -> Markup:
    """Draw the leading figure against seconds on a log axis, one point a method, with both spreads."""
    key = comparison.lead
    rows = [row for row in comparison.standings if not row.failed]
    width, height, left = (
        760,
        max(420, 110 + 72 * len(comparison.standings)),
        54,
    )  # as tall as two sets of bars
    floor = height - 36
    x_of, decades = _log_axis(
        [end for row in rows for end in _ends(row.figures["seconds"])], left, width - 16
    )
    y_of, marks = _axis([row.figures[key] for row in rows], floor, 14)
    parts = [_level(left, width - 8, y_of(mark), _tick_text(key, mark)) for mark in marks]
    parts += [_upright(x_of(second), floor, _seconds_text(second), height - 18) for second in decades]
    lines = [(*map(x_of, _ends(row.figures["seconds"])), y_of(row.figures[key].mean)) for row in rows]
    if comparison.floor is not None:
        y = y_of(comparison.floor)
        parts.append(f'<line class="floorline" x1="{left}" x2="{width - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append((left, width, y))
    places = [(x_of(row.figures["seconds"].mean), y_of(row.figures[key].mean)) for row in rows]
    taken = [(begin, y - 1, end, y + 1) for begin, end, y in lines]
    names = _names([row.info.title for row in rows], places, taken, (left, 0, width, floor))
    parts += [
        _point(row, key, x_of, y_of) + name for row, name in zip(rows, names, strict=True)
    ]  # fmt: skip
    label = f"{comparison.columns[key]} against seconds: " + ", ".join(
        f"{row.info.title} {cell(key, row.figures[key])} in {duration(row.figures['seconds'].mean)}"
        for row in rows
    )
    return svg(width, height, label, parts, css="plot tradeoff")


def _bar(row: Standing, key: str, y: float, x_of: Callable[[float], float]) -> str:
    middle, tall = y + _PITCH / 2 - 4, _PITCH - 12
    spread = row.figures.get(key)
    name = f'<text class="y" x="{_LEFT - 10}" y="{middle + 4:.1f}">{escape(row.info.title)}</text>'
    if spread is None:
        said = "failed" if row.failed else "-"
        return f'<g class="none">{name}<text x="{_LEFT + 6}" y="{middle + 4:.1f}">{said}</text></g>'
    end = x_of(spread.mean)
    tip = f"{row.info.title}: {cell(key, spread)}"
    return (
        f'<g class="{row.info.role}"><title>{escape(tip)}</title>{name}'
        f'<rect x="{_LEFT}" y="{middle - tall / 2:.1f}" width="{max(end - _LEFT, 0.8):.1f}" '
        f'height="{tall}" rx="3"/>{_whisker(spread, middle, x_of)}'
        f'<text class="value" x="{600 - _RIGHT + 10}" y="{middle + 4:.1f}">{cell(key, spread)}</text></g>'
    )


def _whisker(spread: Spread, y: float, x_of: Callable[[float], float]) -> str:
    """One standard deviation to either side."""
    if not spread.std:
        return ""
    low, high = x_of(spread.mean - spread.std), x_of(spread.mean + spread.std)
    return f'<path class="err" d="M{low:.1f} {y - 4}v8m0 -4H{high:.1f}m0 -4v8"/>'


def _point(row: Standing, key: str, x_of: Callable[[float], float], y_of: Callable[[float], float]) -> str:
    quality, seconds = row.figures[key], row.figures["seconds"]
    x, y = x_of(seconds.mean), y_of(quality.mean)
    paths = ""
    if quality.std:
        paths += f"M{x:.1f} {y_of(quality.mean - quality.std):.1f}V{y_of(quality.mean + quality.std):.1f}"
    if seconds.std:
        low, high = map(x_of, _ends(seconds))
        paths += f"M{low:.1f} {y:.1f}H{high:.1f}"
    tip = f"{row.info.title}: {cell(key, quality)} in {duration(seconds.mean)}"
    error = f'<path class="err" d="{paths}"/>' if paths else ""
    return (
        f'<g class="{row.info.role}"><title>{escape(tip)}</title>{error}'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6"/></g>'
    )


def _names(
    texts: Sequence[str], places: Sequence[tuple[float, float]], taken: Sequence[Box], frame: Box
) -> list[str]:
    """Write each name beside its point, at the first side where it covers neither a mark nor a name."""
    taken = [*taken, *((x - 7, y - 7, x + 7, y + 7) for x, y in places)]
    written = []
    for text, (x, y) in zip(texts, places, strict=True):
        sides = [
            (x + shift, y + down, anchor)
            for down, turn in ((4, 1), (-12, -1), (20, -1), (-26, -1), (34, -1), (-40, -1), (48, -1))
            for shift, anchor in ((11, "start"), (-11, "end"), (0, "middle"))[::turn]
        ]
        boxes = [(_box(at, 6.8 * len(text)), at) for at in sides]
        free = [
            (box, at) for box, at in boxes if _inside(box, frame) and not any(_meet(box, t) for t in taken)
        ]
        box, (left, base, anchor) = (free or boxes)[0]
        taken.append(box)
        place = f'x="{left:.1f}" y="{base:.1f}" text-anchor="{anchor}"'
        written.append(f'<text class="name" {place}>{escape(text)}</text>')
    return written


def _box(at: tuple[float, float, str], wide: float) -> Box:
    x, y, anchor = at
    left = x - wide * {"start": 0, "middle": 0.5, "end": 1}[anchor]
    return left - 4, y - 11, left + wide + 4, y + 3


def _inside(box: Box, frame: Box) -> bool:
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _log_axis(
    seconds: Sequence[float], left: float, right: float
) -> tuple[Callable[[float], float], list[float]]:
    """Return the place of a number of seconds on a log axis around all of them, and its ticks."""
    low, high = math.log10(max(min(seconds), 1e-4)) - 0.12, math.log10(max(*seconds, 1e-3)) + 0.12

    def place(value: float) -> float:
        return left + (right - left) * (math.log10(max(value, 1e-4)) - low) / (high - low)

    steps = (1,) if high - low > 2.5 else (1, 2, 5)
    marks = [step * 10.0**power for power in range(math.floor(low), math.ceil(high)) for step in steps]
    return place, [mark for mark in marks if low <= math.log10(mark) <= high]


def _axis(
    spreads: Sequence[Spread], floor: float, top: float
) -> tuple[Callable[[float], float], list[float]]:
    """Return the height of a value on a scale that is cut to where the values are, and its ticks."""
    low = min(s.mean - (s.std or 0) for s in spreads)
    high = max(map(_high, spreads))
    pad = 0.08 * (high - low) or 0.05 * (abs(high) or 1)
    marks = round_ticks(low - pad, high + pad, 5)

    def place(value: float) -> float:
        return floor - (floor - top) * (value - marks[0]) / (marks[-1] - marks[0])

    return place, marks


def _ends(spread: Spread) -> tuple[float, float]:
    """Return the ends of a spread on a log axis, where a spread as large as the mean has no lower end."""
    std = spread.std or 0.0
    return max(spread.mean - std, spread.mean / 3), spread.mean + std


def _high(spread: Spread | None) -> float:
    return 0.0 if spread is None else spread.mean + (spread.std or 0.0)


def _upright(x: float, bottom: float, text: str, base: float | None = None) -> str:
    line = f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{bottom}"/>'
    return f'{line}<text class="x" x="{x:.1f}" y="{base or bottom + 17}">{text}</text>'


def _level(left: float, right: float, y: float, text: str) -> str:
    line = f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return f'{line}<text class="y" x="{left - 8}" y="{y + 4:.1f}">{text}</text>'


def _tick_text(key: str, value: float) -> str:
    return f"{100 * value:.6g} %" if key in _PERCENT else f"{value:.6g}"


def _seconds_text(value: float) -> str:
    return f"{value:g} s" if value < 1e4 else f"{value:,.0f} s"
