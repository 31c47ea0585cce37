"""A diagnosis as a listing to read and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from holdfast.cli.screen import Screen, printable

if TYPE_CHECKING:
    from holdfast.doctor import Diagnosis, Finding

__all__ = ["show_diagnosis"]

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def show_diagnosis(screen: Screen, diagnosis: Diagnosis) -> None:
    """Show what was examined, every finding with its remedy, and the verdict."""
    if screen.as_json:
        screen.document(_document(diagnosis))
        return
    screen.line(f"{printable(diagnosis.path)}: {_subject(diagnosis)}")
    if diagnosis.findings:
        screen.line("")
        screen.show(_listing(diagnosis.findings))
    screen.line(_verdict(diagnosis))


def _document(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "path": diagnosis.path,
        "kind": diagnosis.kind,
        "usable": diagnosis.usable,
        "healthy": diagnosis.healthy,
        "findings": [vars(finding) for finding in diagnosis.findings],
        "facts": diagnosis.facts,
    }


def _listing(findings: tuple[Finding, ...]) -> Table:
    """Put levels in a narrow column, and beside each what was seen and what to do."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in findings:
        grid.add_row(Text(finding.level, _STYLES[finding.level]), Text(finding.code, "bold"))
        grid.add_row("", Text(printable(finding.what)))
        grid.add_row("", Text("Remedy: ", "green").append(printable(finding.remedy), "default"))
        grid.add_row("", "")
    return grid


def _verdict(diagnosis: Diagnosis) -> str:
    """Say in a sentence whether it can be used."""
    levels = Counter(finding.level for finding in diagnosis.findings)
    if not diagnosis.findings:
        return "Healthy: nothing was found that stands in the way."
    counts = ", ".join(f"{n} {level}{'' if n == 1 else 's'}" for level, n in levels.items())
    if diagnosis.healthy:
        return f"Healthy: nothing stands in the way ({counts})."
    return f"{'Can be used' if diagnosis.usable else 'Cannot be used as it is'} ({counts})."


def _subject(diagnosis: Diagnosis) -> str:
    """Say what was examined, with its size."""
    facts = diagnosis.facts
    if diagnosis.kind == "table":
        return _table(facts) if facts else "a table"
    if diagnosis.kind == "unknown":
        return "a folder"
    name = "a taxonomy" if diagnosis.kind == "taxonomy" else f"a model ({facts.get('estimator', 'unknown')})"
    return (
        f"{name} of {facts['items']:,} items in {facts['n_clusters']:,} clusters"
        if "items" in facts
        else name
    )


def _table(facts: Mapping[str, Any]) -> str:
    n_classes = facts["classes"]
    classes = "" if n_classes is None else f", {n_classes:,} class{'' if n_classes == 1 else 'es'}"
    sampled = facts["sampled_rows"]
    sample = f"; judged on a sample of {sampled:,}" if sampled < facts["usable_rows"] else ""
    return f"{facts['rows']:,} rows of width {facts['width']:,} ({facts['dtype']}{classes}){sample}"
