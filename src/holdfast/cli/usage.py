"""Help pages as people know them: ``fit [OPTIONS] TABLE``, and no type beside a flag that takes no value.

Newer Typers write ``{TABLE}``, and ``<bool>`` after every flag.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["FLAG", "PlainCommand", "PlainGroup"]

FLAG = ""
"""The metavar of an option without a value."""


class _Plain:
    """What commands and the group of them have in common."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Name the arguments without the braces that mean required."""
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [piece.strip("{}") for piece in pieces]

    def get_help_option(self, ctx: Any) -> Any:
        """Treat ``--help`` like every other flag."""
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.metavar = FLAG
        return option


class PlainCommand(_Plain, TyperCommand):
    """One command."""


class PlainGroup(_Plain, TyperGroup):
    """The commands together."""
