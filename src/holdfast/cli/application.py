"""The Typer application: every command, in the order in which they are met."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast import __version__
from holdfast.cli.assign import Assign
from holdfast.cli.compare import Compare
from holdfast.cli.demo import Demo
from holdfast.cli.doctor import Doctor
from holdfast.cli.embed import Embed
from holdfast.cli.evaluate import Evaluate
from holdfast.cli.fit import Fit
from holdfast.cli.match import Match
from holdfast.cli.report import RenderReport
from holdfast.cli.run import Run
from holdfast.cli.task import register
from holdfast.cli.usage import FLAG, PlainGroup

__all__ = ["COMMANDS", "app"]

COMMANDS = (Demo, Run, Embed, Fit, Assign, Match, Evaluate, Compare, RenderReport, Doctor)

app = typer.Typer(
    name="holdfast",
    cls=PlainGroup,
    help=(
        "Cluster image collections without labels; the labels hold.\n\n"
        "The result is a taxonomy folder: the model, the cluster of every item, the vectors, and report.html "
        "to look at."
    ),
    epilog="Start with: holdfast demo. Options of a command: holdfast run --help",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"holdfast {__version__}")
        raise typer.Exit


@app.callback()
def _shared(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar=FLAG,
            help="Print the version and stop.",
            is_eager=True,
            callback=_show_version,
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


for _task in COMMANDS:
    register(app, _task)
