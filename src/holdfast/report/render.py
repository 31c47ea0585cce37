"""From the report tree to one HTML file that asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from holdfast.io.atomic import write_text
from holdfast.report import counts, mixture_plots, plots
from holdfast.report.headline import start_name, start_phrase
from holdfast.report.palette import colour
from holdfast.report.tree import Cluster, Picture, Report
from holdfast.report.trust import rounded
from holdfast.report.voting import KINDS

__all__ = ["asset", "render_report", "storable", "templates", "write_report"]


def write_report(report: Report, path: str | os.PathLike[str]) -> Path:
    """Write the report as one self-contained HTML file, atomically.

    Parameters
    ----------
    report : Report
    path : path-like
        The file to make or replace.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        If the file cannot be written there.
    """
    write_text(path, render_report(report))
    return Path(path)


def render_report(report: Report) -> str:
    """Return the report as one HTML document.

    Every id, label and path is escaped, and the page's own policy forbids any request and any script but
    the one it carries (by hash), so that a hostile file name stays a file name.
    """
    script, style = asset("report.js"), asset("report.css")
    if report.mixture is not None or report.counting is not None:
        script, style = script + asset("mixture.js"), style + asset("mixture.css")
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            style=Markup(style),  # noqa: S704  # our own file
            script=Markup(script),  # noqa: S704  # our own file
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            by_size=sorted(report.clusters, key=lambda cluster: (-cluster.size, cluster.number)),
            by_confidence=sorted(report.clusters, key=lambda cluster: (cluster.confidence, cluster.number)),
            compositions={c.number: c.composition for c in report.clusters if c.composition},
            seen=set(),
            plots=plots,
            mixing=mixture_plots,
            counts=counts,
        )
    )
    return storable(html)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return templates(
        percent=_percent,
        decimal=lambda value, digits=2: f"{value:.{digits}f}",
        colour=colour,
        duration=_duration,
        start=start_name,
        from_start=start_phrase,
        data_uri=_data_uri,
        brief=_brief,
        threshold=rounded,
        kind=lambda name: KINDS.get(name, ""),
        words=_search_words,
    )


def templates(**filters: Callable[..., Any]) -> Environment:
    """Return what all our pages are made with: every text escaped, no gap left unnoticed."""
    environment = Environment(
        loader=PackageLoader("holdfast.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=lambda number: f"{number:,}", **filters)
    return environment


def storable(html: str) -> str:
    """Write out what no file can hold: a file name that is no UTF-8 comes as lone surrogates."""
    return html.encode("utf-8", "backslashreplace").decode("utf-8")


def asset(name: str) -> str:
    """Return one of our own style sheets or scripts."""
    return (resources.files("holdfast.report") / "templates" / name).read_text("utf-8")


def _data_uri(picture: Picture) -> str:
    return f"data:{picture.mime};base64,{base64.b64encode(picture.data).decode()}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if 0 < share < 0.0995 else f"{100 * share:.0f} %"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _brief(name: str, length: int = 11) -> str:
    """Shorten an id for a caption: the last part of a path without its suffix, its middle left out."""
    last = PurePosixPath(name).stem or name
    return last if len(last) <= length else f"{last[: length // 2]}…{last[-(length // 2 - 1) :]}"


def _search_words(cluster: Cluster) -> str:
    """Collect what the search box looks through: the number, the label, the ids that are shown."""
    shown = (member.id for member in (*cluster.typical, *cluster.uncertain))
    label = cluster.composition.label if cluster.composition else ""
    return " ".join((f"cluster {cluster.number}", label, *shown)).lower()
