"""``holdfast doctor``: what is wrong with a table, a model or a run, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from holdfast.cli.screen import Screen
from holdfast.cli.task import Task
from holdfast.exceptions import InputError

__all__ = ["Doctor"]


@dataclass(frozen=True, kw_only=True)
class Doctor(Task):
    """Explain a table of embeddings, a saved model or a taxonomy: what was found, and what to do about it.

    An error means that it cannot be used as it is, a warning that results will suffer; a note is good to
    know. Of large tables, what costs more than one pass is judged on a random sample. Nothing is changed. The
    exit code is 2 if there is an error, else 0.
    """

    name: ClassVar[str] = "doctor"
    example: ClassVar[str] = "holdfast doctor emb.parquet"

    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A table of embeddings, a model folder or a taxonomy.")
    ]
    table: Annotated[
        Path | None,
        typer.Argument(
            metavar="TABLE",
            help="With a model or a taxonomy: a table to compare with what it was fitted on.",
            show_default=False,
        ),
    ] = None

    def run(self, screen: Screen) -> None:
        """Examine and show."""
        from holdfast.cli.findings import show_diagnosis
        from holdfast.doctor import examine

        with screen.progress() as watch:
            diagnosis = examine(self.path, self.table, watch)
        show_diagnosis(screen, diagnosis)
        if not diagnosis.usable:
            raise InputError(f"{self.path} cannot be used as it is: see the findings.")
