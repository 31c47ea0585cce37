"""``holdfast fit``: from a table of embeddings to a taxonomy and a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from holdfast.cli.options import FitTask
from holdfast.cli.present import show_outcome
from holdfast.cli.screen import Screen

__all__ = ["Fit"]


@dataclass(frozen=True, kw_only=True)
class Fit(FitTask):
    """Cluster a table of embeddings, and leave a taxonomy folder with a report.

    The table has a vector in every row: a list in a column `embedding` (Parquet), an array `X` (NumPy), or a
    list like [0.1, 0.2] in a quoted column `embeddings` (CSV). Columns `id`, `label` and `path` may stand
    beside it. Labels are used for scoring only. If a long fit of the methods dec and idec is interrupted, the
    same command goes on where it stopped.
    """

    name: ClassVar[str] = "fit"
    example: ClassVar[str] = "holdfast fit emb.parquet --n-clusters 100 -o products/"

    table: Annotated[Path, typer.Argument(metavar="TABLE", help="Embeddings: .parquet, .npz, .npy or .csv.")]

    def run(self, screen: Screen) -> None:
        """Fit and show."""
        from holdfast.cli.flow import fit_table

        with self.tracking(), screen.progress() as watch:
            outcome = fit_table(self.table, self.fitting(), self.target(), watch)
        show_outcome(screen, outcome)
