"""Numbers as people write them: one place for reports and for the doctor."""

from __future__ import annotations

__all__ = ["count", "percent"]


def count(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 row``, ``2 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """Write a share in percent, never rounding something to nothing or to everything."""
    if 0 < share < 0.001:
        return "less than 0.1 %"
    if 0.999 < share < 1:
        return "more than 99.9 %"
    return f"{100 * share:.1f} %" if share < 0.1 or 0.9 < share < 1 else f"{100 * share:.0f} %"
