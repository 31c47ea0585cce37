"""``holdfast evaluate``: how good the clusters are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from holdfast.cli.options import Taxonomy
from holdfast.cli.present import show_evaluation
from holdfast.cli.screen import Screen
from holdfast.cli.task import Task

__all__ = ["Evaluate"]


@dataclass(frozen=True, kw_only=True)
class Evaluate(Task):
    """Score a taxonomy against labels (ACC, NMI, ARI, purity), and by its vectors alone.

    Without a table, the collection that was fitted is scored, with the labels that came with it. With one,
    its rows are predicted first.
    """

    name: ClassVar[str] = "evaluate"
    example: ClassVar[str] = "holdfast evaluate products/ held_out.parquet"

    taxonomy: Taxonomy
    table: Annotated[
        Path | None,
        typer.Argument(
            metavar="TABLE",
            help="Embeddings with labels; without it, the collection that was fitted.",
            show_default=False,
        ),
    ] = None

    def run(self, screen: Screen) -> None:
        """Score and show."""
        from holdfast.cli.answers import evaluate

        show_evaluation(screen, evaluate(self.taxonomy, self.table))
