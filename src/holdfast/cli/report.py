"""``holdfast report``: the report of a taxonomy, made anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from holdfast.cli.options import Taxonomy
from holdfast.cli.screen import Screen
from holdfast.cli.task import Task

__all__ = ["RenderReport"]


@dataclass(frozen=True, kw_only=True)
class RenderReport(Task):
    """Make the report of a taxonomy anew, from what its folder holds."""

    name: ClassVar[str] = "report"
    example: ClassVar[str] = "holdfast report products/"

    taxonomy: Taxonomy
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Another place than OUT/report.html.", show_default=False
        ),
    ] = None

    def run(self, screen: Screen) -> None:
        """Render and show where."""
        from holdfast.cli.flow import render_again

        path, report = render_again(self.taxonomy, self.out)
        if screen.as_json:
            screen.document({"report": path, "title": report.headline.title})
        else:
            screen.line(str(path))
