"""How many clusters: what each criterion says, what was made of it, and the curves behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from holdfast._wording import count
from holdfast.report.history import finite_number
from holdfast.report.plots import round_ticks, svg

__all__ = ["Counting", "Criterion", "count_ticks", "counting_of", "picks", "tally"]

_ABBREVIATED = {"bic", "mdl", "aic", "icl"}
_TOGETHER = "all"
_MEANINGS = {
    "communities": "Numbers that many resolutions of the neighbour graph lead to, natural ones above all.",
    "merging": "Where small groups, merged along the graph, and k-means find the same.",
    "density": "Dense regions at many radii, the closest of them merged.",
    "mixture": "Components of a Gaussian mixture that started with fifty.",
    "stability": "Whether the same clusters come back when a fifth of the items is missing.",
    "separation": "How far items are from the next cluster, compared with their own.",
}
_PICKS = ("pick", "n_clusters", "count")
"""Under which names a criterion with more to say gives its pick."""


@dataclass(frozen=True)
class Criterion:
    """One criterion: the number it picks, if it picks one, and its values by number of clusters."""

    name: str
    pick: float | None
    curve: tuple[tuple[float, float], ...] = ()
    meaning: str | None = None


@dataclass(frozen=True)
class Counting:
    """The estimate, its interval, how far the criteria agree (in [0, 1]), and what each of them says."""

    n_clusters: int
    low: int
    high: int
    agreement: float
    message: str
    criteria: tuple[Criterion, ...]
    levels: tuple[int, ...] = ()

    @property
    def curves(self) -> tuple[Criterion, ...]:
        """The criteria that have a curve."""
        return tuple(criterion for criterion in self.criteria if len(criterion.curve) > 1)

    @property
    def explained(self) -> tuple[Criterion, ...]:
        """The criteria that people may want to be told about."""
        return tuple(criterion for criterion in self.criteria if criterion.meaning is not None)

    @property
    def picking(self) -> tuple[Criterion, ...]:
        """The criteria that pick a number."""
        return tuple(criterion for criterion in self.criteria if criterion.pick is not None)


def counting_of(found: Any, levels: Iterable[int] = ()) -> Counting | None:
    """Collect what is shown of an estimate; None where the number was given.

    Parameters
    ----------
    found : ClusterCount or None
        `evidence` maps each criterion to its pick, or to a mapping that has one; what is neither is left out.
        `curves`, its own or in the evidence, maps criteria to ``{"counts": [...], "values": [...]}``.
    levels : iterable of int
        Numbers of clusters that the fit has answers for, ascending.
    """
    if found is None:
        return None
    evidence: Mapping[str, Any] = getattr(found, "evidence", None) or {}
    curves = getattr(found, "curves", None) or evidence.get("curves") or {}
    names = dict.fromkeys([*(name for name in evidence if name != "curves"), *curves])
    criteria = [
        Criterion(
            _worded(str(name)), _pick(evidence.get(name)), _curve(curves.get(name)), _MEANINGS.get(str(name))
        )
        for name in sorted(names, key=lambda name: name != _TOGETHER)
    ]
    said = tuple(c for c in criteria if c.pick is not None or len(c.curve) > 1)
    numbers = int(found.n_clusters), int(found.low), int(found.high)
    return Counting(*numbers, float(found.agreement), str(found.message), said, tuple(levels))


def picks(counting: Counting) -> Markup:
    """Draw what each criterion picks as a point on a logarithmic axis, with the answer and its interval."""
    width, left, right, pitch, top = 640, 170, 30, 32, 26
    rows = counting.picking
    floor = top + pitch * max(len(rows), 1)
    numbers = [
        counting.n_clusters,
        counting.low,
        counting.high,
        *(r.pick for r in rows if r.pick is not None),
    ]
    x_of = _log_scale(min(numbers), max(numbers), left, width - right)
    x, low, high = (x_of(n) for n in (counting.n_clusters, counting.low, counting.high))
    parts = [
        _band(low - 4, high + 4, top, floor),
        f'<line class="answer" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{floor}"/>',
        f'<g class="head"><text class="x" x="{x:.1f}" y="{top - 10}">{counting.n_clusters}</text></g>',
    ]
    parts += (
        _row(row, x_of(row.pick or 1), top + pitch * (i + 0.5), left, width - right)
        for i, row in enumerate(rows)
    )
    parts += (
        f'<text class="x" x="{x_of(tick):.1f}" y="{floor + 20}">{tick:,}</text>'
        for tick in count_ticks(min(numbers), max(numbers))
    )
    said = ", ".join(f"{row.name} {row.pick:g}" for row in rows)
    label = f"Numbers of clusters by criterion: {said}; the answer is {counting.n_clusters}"
    return svg(width, floor + 28, label, parts, css="plot counting")


def tally(criterion: Criterion, counting: Counting) -> Markup:
    """Draw the values of one criterion by number of clusters; the line is the answer, the ring its pick."""
    width, left, right, top, floor = 320, 54, 10, 12, 144
    values = [y for _, y in criterion.curve]
    low, high = min(values), max(values)
    if not high > low:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    xs = [x for x, _ in criterion.curve]
    x_of = _log_scale(min(*xs, counting.low), max(*xs, counting.high), left, width - right)

    def y_of(value: float) -> float:
        return floor - (floor - top) * (value - low) / (high - low)

    a, b = x_of(counting.low) - 3, x_of(counting.high) + 3
    parts = [_band(a, b, top, floor)]
    for tick in (t for t in round_ticks(low, high, 4) if low <= t <= high):
        y = y_of(tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="y" x="{left - 6}" y="{y + 3.5:.1f}">{tick:,.10g}</text>')
    x = x_of(counting.n_clusters)
    parts.append(f'<line class="answer" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{floor}"/>')
    trail = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in criterion.curve)
    parts.append(f'<polyline points="{trail}"/>')
    if (pick := criterion.pick) is not None:  # a rounded number, where the curve is of any
        x, y = min(criterion.curve, key=lambda point: abs(point[0] - pick))
        parts.append(f'<circle class="mark" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="5"/>')
    parts += (
        f'<text class="x" x="{x_of(tick):.1f}" y="{floor + 17}">{tick:,}</text>'
        for tick in count_ticks(min(xs), max(xs), most=5)
    )
    label = f"{criterion.name} by number of clusters, between {min(xs):g} and {max(xs):g}"
    return svg(width, 170, label, parts, css="plot curve tally")


def count_ticks(low: float, high: float, most: int = 8) -> list[int]:
    """Return numbers of clusters to write below a logarithmic axis: 1, 2 and 5 times powers of ten."""
    powers = range(max(0, math.floor(math.log10(max(low, 1)))), math.ceil(math.log10(max(high, 1))) + 1)
    ticks = [m * 10**power for power in powers for m in (1, 2, 5)]
    inside = [tick for tick in ticks if low <= tick <= high]
    if len(inside) < 2:  # a narrow range: every number, or its ends
        whole = range(math.ceil(low), math.floor(high) + 1)
        inside = list(whole) if len(whole) <= most else [whole[0], whole[-1]]
    while len(inside) > most:
        inside = inside[::2]
    return inside


def _band(low: float, high: float, top: float, floor: float) -> str:
    return (
        f'<rect class="band" x="{low:.1f}" y="{top}" width="{high - low:.1f}" height="{floor - top}" rx="4"/>'
    )


def _row(row: Criterion, x: float, y: float, left: float, right: float) -> str:
    told = f"{row.name}: {count(round(row.pick or 0), 'cluster')}"
    beyond = x > right - 20
    return (
        f'<g class="row"><title>{escape(told)}</title>'
        f'<line class="rail" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
        f'<text class="y" x="{left - 14}" y="{y + 4:.1f}">{escape(row.name)}</text>'
        f'<circle cx="{x:.1f}" cy="{y}" r="6"/>'
        f'<text class="x" x="{x + (-19 if beyond else 19):.1f}" y="{y + 4.5:.1f}">{row.pick:g}</text></g>'
    )


def _log_scale(low: float, high: float, left: float, right: float) -> Callable[[float], float]:
    """Return where a number stands; the ends are kept off the borders, and one number alone in the middle."""
    a, b = math.log(max(low, 1)), math.log(max(high, 1))
    pad = 0.08 * (b - a) or 1.0
    return lambda number: left + (right - left) * (math.log(max(number, 1)) - a + pad) / (b - a + 2 * pad)


def _worded(name: str) -> str:
    if name == _TOGETHER:
        return "all together"
    return name.upper() if name in _ABBREVIATED else name.replace("_", " ")


def _pick(said: Any) -> float | None:
    """Return the number that a criterion picks, in whatever form it says so."""
    if isinstance(said, Mapping):
        said = next((said[name] for name in _PICKS if name in said), None)
    return finite_number(said)


def _curve(said: Any) -> tuple[tuple[float, float], ...]:
    """Return the finite points of a curve, by rising number of clusters."""
    if not isinstance(said, Mapping):
        return ()
    counts, values = (_listed(said.get(name)) for name in ("counts", "values"))
    pairs = [(finite_number(n), finite_number(value)) for n, value in zip(counts, values, strict=False)]
    return tuple(sorted((n, value) for n, value in pairs if n is not None and n >= 1 and value is not None))


def _listed(values: Any) -> Sequence[Any]:
    return list(values) if isinstance(values, Iterable) and not isinstance(values, str) else []
