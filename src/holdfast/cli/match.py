"""``holdfast match``: which cluster of one run became which of another."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from rich.table import Table
from rich.text import Text

from holdfast.cli.screen import Screen, printable
from holdfast.cli.task import Task

if TYPE_CHECKING:
    from holdfast.taxonomy.bridge import RunBridge, Span

__all__ = ["Match"]

_MOST_LINES = 50


@dataclass(frozen=True, kw_only=True)
class Match(Task):
    """Match the clusters of two runs one to one, so that as many shared items as possible keep their cluster.

    OLD and NEW are taxonomy folders, or tables with columns id and cluster as holdfast assign -o writes them.
    Shares are of the items that are in both; items in no cluster (-1) are never matched.

    Kinds: "same" shares 90 % of both sides. "grown" and "shrunk" hold at least half of their partner, among
    more or fewer items. "merged from" holds at least half of each of several old clusters. "split from" comes
    at least by half from an old cluster that has another such part (both of 25 % or more of it) or that did
    not stay together. "new" has no such origin, and an old cluster is "gone" if nothing continues it.
    """

    name: ClassVar[str] = "match"
    example: ClassVar[str] = "holdfast match last_week/ today/ -o bridge.csv"

    old: Annotated[Path, typer.Argument(metavar="OLD", help="The earlier run: a taxonomy or a table.")]
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The later run: a taxonomy or a table.")]
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="TABLE", help="Write the bridge to this .parquet or .csv."),
    ] = None

    def run(self, screen: Screen) -> None:
        """Match and show."""
        from holdfast.taxonomy import check_assignment_target
        from holdfast.taxonomy.bridge import match_runs, write_bridge

        if self.out is not None:
            check_assignment_target(self.out)
        with screen.progress() as watch:
            watch("match", 0, 0)
            found = match_runs(self.old, self.new)
        if self.out is not None:
            write_bridge(found, self.out)
        if screen.as_json:
            screen.document(_document(self, found))
            return
        screen.show(_table(self, found))
        for line in _summary(found):
            screen.line(line)
        if self.out is not None:
            screen.line(str(self.out))


def _document(task: Match, found: RunBridge) -> dict[str, Any]:
    summary = asdict(found)
    spans = summary.pop("spans")
    return {"old": task.old, "new": task.new, "table": task.out, **summary, "clusters": spans}


def _table(task: Match, found: RunBridge) -> Table:
    """List the new clusters, and the old ones that are gone."""
    title = f"{printable(task.old)} -> {printable(task.new)}"
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in ("new", "old", "shared", "of old", "of new", "Jaccard"):
        table.add_column(heading, justify="right")
    table.add_column("kind", overflow="fold")
    for span in found.spans[:_MOST_LINES]:
        table.add_row(*_cells(span))
    if len(found.spans) > _MOST_LINES:
        table.caption = f"{len(found.spans) - _MOST_LINES:,} more: write all of them with -o bridge.csv."
    return table


def _cells(span: Span) -> list[Text]:
    ends = ["-" if name is None else printable(name) for name in (span.new, span.old)]
    numbers = ["", "", "", ""]
    if span.shared:
        shares = (f"{share:.1%}" for share in (span.share_old, span.share_new))
        numbers = [f"{span.shared:,}", *shares, f"{span.jaccard:.2f}"]
    return [Text(cell) for cell in (*ends, *numbers, printable(span.story))]


def _summary(found: RunBridge) -> list[str]:
    """Say how much of the old run lives on."""
    once = f"only in the old run: {found.n_only_old:,}, only in the new: {found.n_only_new:,}"
    alone = f"{len(found.unmatched_old):,} old, {len(found.unmatched_new):,} new"
    lines = [
        f"Items in both: {found.n_both:,} ({once}).",
        f"{found.kept:.1%} of them keep their cluster under this bridge; ARI {found.ari:.3f}.",
        f"Clusters: {found.n_clusters_old:,} -> {found.n_clusters_new:,}; without a partner: {alone}.",
    ]
    if found.n_noise_old or found.n_noise_new:
        lines.append(f"Items in no cluster: {found.n_noise_old:,} -> {found.n_noise_new:,}.")
    return lines
