"""Colours for clusters: distinct for ten, still apart for a hundred, readable on light and on dark paper."""

from __future__ import annotations

import math
from functools import cache

__all__ = ["NO_CLUSTER", "colour"]

NO_CLUSTER = "#8a8f98"

_GOLDEN_ANGLE = 137.50776  # successive hues fall into the largest gap left
_FIRST_HUE = 255.0
_RINGS = ((0.64, 0.150), (0.74, 0.120), (0.54, 0.140))  # OKLCH lightness and chroma, taken in turn


@cache
def colour(number: int) -> str:
    """Return the colour of a cluster number as #rrggbb; it depends on no other number."""
    if number < 0:
        return NO_CLUSTER
    lightness, chroma = _RINGS[number % len(_RINGS)]
    return _hex(lightness, chroma, math.radians(_FIRST_HUE + number * _GOLDEN_ANGLE))


def _hex(lightness: float, chroma: float, hue: float) -> str:
    """Convert OKLCH to sRGB (Ottosson 2020), clipped to what a screen can show."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(channel)):02x}" for channel in linear)


def _gamma(channel: float) -> float:
    channel = min(max(channel, 0.0), 1.0)
    return 12.92 * channel if channel <= 0.0031308 else 1.055 * channel ** (1 / 2.4) - 0.055
