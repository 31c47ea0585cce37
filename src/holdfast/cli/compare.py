"""``holdfast compare``: methods side by side on one table."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from holdfast._choices import METHODS, RIVALS
from holdfast.cli.options import Device, parse_n_clusters
from holdfast.cli.screen import Screen, printable
from holdfast.cli.task import Task, command_line
from holdfast.exceptions import TrainingError

if TYPE_CHECKING:
    from rich.table import Table

    from holdfast.report.comparison import MethodComparison, Standing

__all__ = ["Compare"]

_WIDE = 116  # columns that the table takes with the spreads in it


@dataclass(frozen=True, kw_only=True)
class Compare(Task):
    """Compare methods of clustering on one table of embeddings: quality, time and memory.

    Each method runs with several seeds, each run in a process of its own. k-means is always among them: what
    does not beat it is not worth its time. Labels, where the table has any, score the results; no method is
    given them. DBSCAN and HDBSCAN look at every pair of rows and get 10,000 of them at most.
    """

    name: ClassVar[str] = "compare"
    example: ClassVar[str] = "holdfast compare emb.parquet --n-clusters 100 -o comparison/"

    table: Annotated[Path, typer.Argument(metavar="TABLE", help="Embeddings: .parquet, .npz, .npy or .csv.")]
    n_clusters: Annotated[
        str,
        typer.Option("--n-clusters", metavar="K|auto", help="Number of clusters; auto lets the data decide."),
    ] = "auto"
    methods: Annotated[
        str,
        typer.Option("--methods", metavar="A,B,...", help=f"Which of {', '.join((*RIVALS, *METHODS))}."),
    ] = "all"
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", help="How many seeds each method runs with.")
    ] = 3
    eps: Annotated[
        float | None,
        typer.Option(
            "--eps",
            metavar="E",
            help="Radius of DBSCAN, a cosine distance; default: the knee of the k-distances.",
            show_default=False,
        ),
    ] = None
    device: Device = "auto"
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="A folder for comparison.json, .csv and .html.",
            show_default=False,
        ),
    ] = None

    def run(self, screen: Screen) -> None:
        """Compare and show."""
        from holdfast.cli.comparing import Comparing, compare_table, parse_methods

        k, methods = parse_n_clusters(self.n_clusters), parse_methods(self.methods)
        asked = Comparing(k, methods, self.seeds, self.eps, self.device)
        with screen.progress() as watch:
            comparison = compare_table(self.table, asked, self.out, watch, command_line(self))
        _show(screen, comparison, self.out)
        if all(row.failed for row in comparison.standings):
            raise TrainingError("Every method failed: the reasons stand beside them.")


def _show(screen: Screen, comparison: MethodComparison, out: Path | None) -> None:
    from holdfast.cli.comparing import FILES
    from holdfast.report.comparison import as_document, verdict

    page = None if out is None else out / FILES["html"]
    if screen.as_json:
        screen.document(as_document(comparison) | {"folder": out, "page": page})
        return
    width = shutil.get_terminal_size((_WIDE, 0)).columns if screen.is_terminal else _WIDE
    _show_table(screen, _table(comparison, with_spread=width >= _WIDE))
    for row in comparison.standings:
        if row.remarks:
            screen.line(f"{row.info.title}: {' '.join(row.remarks)}")
    screen.line("")
    for sentence in (*verdict(comparison), *_circumstances(comparison)):
        screen.line(sentence)
    if page is not None:
        screen.line(f"Comparison in {printable(out)}, to look at:")
        screen.line(str(page))


def _table(comparison: MethodComparison, *, with_spread: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from holdfast.report.comparison import Spread, cell

    shape = f"{comparison.n:,} rows of {printable(comparison.source)}, {comparison.n_clusters:,} clusters"
    title = Text(shape, style="bold")
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("method")
    for name in comparison.columns.values():
        table.add_column(name, justify="right", no_wrap=True)
    for place, row in enumerate(comparison.standings):
        figures = row.figures if with_spread else {k: Spread(f.mean, None) for k, f in row.figures.items()}
        cells = [cell(key, figures.get(key)) for key in comparison.columns]
        table.add_row(_title(row, comparison.n), *cells, style="bold" if place == 0 else None)
    return table


def _title(row: Standing, n: int) -> str:
    tags = [
        "floor" * (row.info.role == "floor"),
        f"{row.n_rows:,} rows" * (row.n_rows < n),
        "failed" * row.failed,
    ]
    said = ", ".join(tag for tag in tags if tag)
    return f"{row.info.title} ({said})" if said else row.info.title


def _show_table(screen: Screen, table: Table) -> None:
    """Print the table; into a pipe at its full width, which rich would cut to 80 columns."""
    if screen.is_terminal:
        screen.show(table)
        return
    from rich.console import Console

    console = Console(width=_WIDE, color_system=None)
    with console.capture() as text:
        console.print(table, markup=False)
    screen.line("\n".join(line.rstrip() for line in text.get().splitlines()))


def _circumstances(comparison: MethodComparison) -> list[str]:
    """Say how the figures came about."""
    scores = (
        "ACC, NMI and ARI in percent"
        if comparison.n_labels
        else "No labels, so the label-free evidence ranks"
    )
    spread = f"{scores}; ± is the standard deviation over the seeds; the floor is what others have to beat."
    count = f"Number of clusters: {comparison.count_message}" if comparison.count_message else ""
    threads = comparison.facts["threads"]
    process = (
        f"Each run in a process of its own with {threads} CPU thread{'s' * (threads != 1)}."
        if threads
        else ""
    )
    return [line for line in (count, spread, process) if line]
