"""``holdfast assign``: where items belong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from holdfast.cli.options import Device, Taxonomy
from holdfast.cli.present import abstention, show_assignments
from holdfast.cli.screen import Screen
from holdfast.cli.task import Task

__all__ = ["Assign"]


@dataclass(frozen=True, kw_only=True)
class Assign(Task):
    """Assign new items to the clusters of a taxonomy; nothing is trained and nothing changes.

    Prints a table of id, cluster and confidence, or CSV into a pipe.
    """

    name: ClassVar[str] = "assign"
    example: ClassVar[str] = "holdfast assign products/ new.parquet -o assigned.csv"

    taxonomy: Taxonomy
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="A table of embeddings, or a folder of images.")
    ]
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="TABLE", help="Write to this .parquet or .csv.")
    ] = None
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder", metavar="NAME|FOLDER", help="For images; default: the taxonomy's own encoder."
        ),
    ] = None
    min_confidence: Annotated[
        float | None,
        typer.Option(
            "--min-confidence",
            metavar="X",
            help="Leave items that the model is less sure of than this, 0 to 1, without a cluster (-1); "
            "default: as it was fitted.",
        ),
    ] = None
    level: Annotated[
        int,
        typer.Option(
            "--level",
            metavar="N",
            help="How fine: 0 are the clusters as they were fitted, -1 half as many, 1 twice as many, "
            "and so on as far as the fit goes (it says so, and run.json).",
        ),
    ] = 0
    device: Device = "auto"

    def run(self, screen: Screen) -> None:
        """Predict and show."""
        from holdfast.cli.answers import assign
        from holdfast.taxonomy import check_assignment_target, write_assignments

        if self.out is not None:
            check_assignment_target(self.out)
        with screen.progress() as watch:
            table, found = assign(
                self.taxonomy,
                self.source,
                watch,
                encoder=self.encoder,
                device=self.device,
                beside=self.out,
                min_confidence=self.min_confidence,
                level=self.level,
            )
        abstained = int(table.abstained.sum())
        if self.out is None:
            show_assignments(screen, table)
            return
        write_assignments(table, self.out)
        if screen.as_json:
            screen.document(
                {
                    "table": self.out,
                    "n": len(table),
                    "abstained": abstained,
                    "quarantined": len(found.quarantined),
                }
            )
        else:
            screen.line(f"{len(table):,} items assigned{abstention(abstained)}:")
            screen.line(str(self.out))
