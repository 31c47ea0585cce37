"""Results as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from holdfast.cli.screen import Screen, printable

if TYPE_CHECKING:
    from holdfast.cli.flow import Outcome
    from holdfast.report import Report
    from holdfast.taxonomy import AssignmentTable

__all__ = ["abstention", "show_assignments", "show_bells", "show_evaluation", "show_outcome"]

_MOST_CLUSTERS = 20
_MOST_ITEMS = 50
_SCORES = {"acc": "ACC", "nmi": "NMI", "ari": "ARI", "purity": "purity"}


def show_outcome(screen: Screen, outcome: Outcome) -> None:
    """Show what a fit found; the last line is the path of the report."""
    if screen.as_json:
        screen.document(_outcome_document(outcome))
        return
    report, run = outcome.report, outcome.run
    screen.show(_cluster_table(report))
    if run["cluster_count"] is not None:
        screen.line(run["cluster_count"]["message"])
    if len(run["levels"]) > 1:
        screen.line(_levels_line(run["levels"]))
    if report.trust is not None and report.trust.whole is not None:
        screen.line(report.trust.sentences[0])
    screen.line(f"Start: {run['start']}. Evidence without labels: {_evidence(run)}.")
    if run["scores"] is not None:
        screen.line(f"Against the labels, which the fit never saw: {_score_line(run['scores']['result'])}.")
    if run["abstained"]:
        wrong = "; against the labels these count as wrong" if run["scores"] is not None else ""
        screen.line(f"{run['n']:,} items{abstention(run['abstained'])}{wrong}.")
    if run["quarantined"]:
        reasons = printable(outcome.folder / "run.json")
        screen.line(f"Images set aside: {len(run['quarantined']):,}. {reasons} says why.")
    screen.line(f"Taxonomy in {printable(outcome.folder)}, report:")
    screen.line(str(outcome.report_path))


def _levels_line(levels: Mapping[str, int]) -> str:
    """List the levels from coarse to fine, the fitted one marked."""
    counts = [f"[{count:,}]" if level == "0" else f"{count:,}" for level, count in levels.items()]
    near = " or ".join(level for level in ("-1", "1") if level in levels)
    return f"Coarser and finer: {' < '.join(counts)} clusters; assign --level {near} gives the next ones."


def show_bells(screen: Screen, outcome: Outcome) -> None:
    """Show what was found of a known mixture beside what is true; the last line is the path of the report."""
    from holdfast.cli.bells import compared

    bells = compared(outcome.report.mixture)
    if screen.as_json:
        screen.document({**_outcome_document(outcome), "animation": outcome.animation_path, "bells": bells})
        return
    n_true, n_found = (sum(bell[key] is not None for bell in bells) for key in ("true", "found"))
    title = f"{outcome.report.summary.n_items:,} draws from {n_true} bells: {n_found} found"
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in ("cluster", "location", "true", "scale", "true", "weight", "true"):
        table.add_column(heading, justify="right", style="dim" if heading == "true" else "")
    for bell in bells:
        table.add_row(*_bell_row(bell))
    screen.show(table)
    if outcome.run["scores"] is not None:
        scores = _score_line(outcome.run["scores"]["result"])
        screen.line(f"Against the bell of each draw, which the fit never saw: {scores}.")
    if outcome.animation_path is not None:
        screen.line(f"How it was found, as a moving picture: {printable(outcome.animation_path)}")
    screen.line(f"Taxonomy in {printable(outcome.folder)}, report:")
    screen.line(str(outcome.report_path))


def _bell_row(bell: Mapping[str, Any]) -> list[str]:
    """Write one bell: what was found of it and what is true, in turn."""
    cells = ((bell[side], name) for name in ("location", "scale", "weight") for side in ("found", "true"))
    numbers = ("-" if values is None else f"{values[name]:.3f}" for values, name in cells)
    return ["none" if bell["cluster"] is None else str(bell["cluster"]), *numbers]


def abstention(n_items: int) -> str:
    """Say after a number of items how many of them were left without a cluster."""
    return f", {n_items:,} of them without a cluster" if n_items else ""


def show_assignments(screen: Screen, table: AssignmentTable) -> None:
    """Show where items belong: a table to a reader, CSV to a pipe."""
    rows = zip(table.ids.tolist(), table.cluster.tolist(), table.confidence.tolist(), strict=True)
    if screen.as_json:
        items = [{"id": i, "cluster": c, "confidence": round(q, 4)} for i, c, q in rows]
        screen.document({"n": len(table), "abstained": int(table.abstained.sum()), "items": items})
    elif screen.is_terminal:
        screen.show(_assignment_table(list(rows)))
    else:
        _write_csv(screen, table)


def show_evaluation(screen: Screen, found: Mapping[str, Any]) -> None:
    """Show the scores of a taxonomy."""
    if screen.as_json:
        screen.document(found)
        return
    table = Table(
        title=f"{found['n']:,} items of {printable(found['scored'])}", title_justify="left", box=None
    )
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in _evaluation_rows(found):
        table.add_row(name, value)
    screen.show(table)
    if found["scores"] is None:
        screen.line("No labels came with the vectors: give a table with labels for ACC, NMI, ARI and purity.")


def _outcome_document(outcome: Outcome) -> dict[str, Any]:
    report, run = outcome.report, outcome.run
    kept = (
        "n",
        "d",
        "n_clusters",
        "cluster_count",
        "levels",
        "start",
        "evidence",
        "quality",
        "abstained",
        "scores",
        "converged",
        "seconds",
        "quarantined",
    )
    return {
        "folder": outcome.folder,
        "report": outcome.report_path,
        **{name: run[name] for name in kept},
        "clusters": [
            {
                "cluster": cluster.number,
                "size": cluster.size,
                "confidence": round(cluster.confidence, 4),
                "typical": cluster.typical[0].id if cluster.typical else None,
            }
            for cluster in report.clusters
        ],
    }


def _cluster_table(report: Report) -> Table:
    """List the largest clusters."""
    table = Table(title=report.headline.title, title_justify="left", title_style="bold")
    for heading in ("cluster", "size", "share", "confidence"):
        table.add_column(heading, justify="right")
    table.add_column("most typical", overflow="fold")
    by_size = sorted(report.clusters, key=lambda cluster: (-cluster.size, cluster.number))
    for cluster in by_size[:_MOST_CLUSTERS]:
        typical = printable(cluster.typical[0].id) if cluster.typical else ""
        numbers = (
            str(cluster.number),
            f"{cluster.size:,}",
            f"{cluster.share:.1%}",
            f"{cluster.confidence:.2f}",
        )
        table.add_row(*numbers, Text(typical))
    rest = by_size[_MOST_CLUSTERS:]
    if rest:
        size = sum(cluster.size for cluster in rest)
        table.add_row(
            "...", f"{size:,}", f"{size / report.summary.n_items:.1%}", "", f"{len(rest)} more clusters"
        )
    return table


def _assignment_table(rows: list[tuple[str, int, float]]) -> Table:
    """List the first items; a terminal is no place for a million."""
    table = Table()
    table.add_column("id", overflow="fold")
    table.add_column("cluster", justify="right")
    table.add_column("confidence", justify="right")
    for name, cluster, confidence in rows[:_MOST_ITEMS]:
        table.add_row(Text(printable(name)), str(cluster), f"{confidence:.2f}")
    if len(rows) > _MOST_ITEMS:
        table.caption = f"{len(rows) - _MOST_ITEMS:,} more items: write all of them with -o table.csv."
    return table


def _write_csv(screen: Screen, table: AssignmentTable) -> None:
    import csv
    import io

    text = io.StringIO()
    # Python 3.11 and 3.12 forget to quote a carriage return alone.
    odd = any("\r" in name for name in table.ids.tolist())
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if odd else csv.QUOTE_MINIMAL)
    writer.writerow(["id", "cluster", "confidence"])
    confidence = (f"{value:.4f}" for value in table.confidence.tolist())
    writer.writerows(zip(table.ids.tolist(), table.cluster.tolist(), confidence, strict=True))
    screen.line(text.getvalue().removesuffix("\n"))


def _evaluation_rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    sizes = sorted(found["sizes"].values())
    silhouette = found["silhouette"]
    scores = [(_SCORES[name], f"{value:.3f}") for name, value in (found["scores"] or {}).items()]
    return [
        *scores,
        ("evidence of the fit", _evidence(found)),
        ("silhouette", f"{silhouette['value']:.3f} ({silhouette['low']:.3f} to {silhouette['high']:.3f})"),
        ("mean confidence", f"{found['confidence']:.2f}"),
        ("clusters", f"{found['n_clusters']:,}"),
        ("sizes", f"{sizes[0]:,} to {sizes[-1]:,}, median {sizes[len(sizes) // 2]:,}"),
    ]


def _evidence(run: Mapping[str, Any]) -> str:
    """Write the evidence from the start to the result."""
    evidence = run["evidence"]
    start = evidence.get("start", evidence.get(run["start"]))
    return (
        f"{start:.3f} -> {evidence['result']:.3f}"
        if "result" in evidence and start is not None
        else "unknown"
    )


def _score_line(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{_SCORES[name]} {value:.3f}" for name, value in scores.items())
