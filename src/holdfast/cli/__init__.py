"""The command line: parse, call the library, print a table or JSON.

``main`` is the console script; ``app`` is the Typer application behind it.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from holdfast.cli.application import app

__all__ = ["app", "main"]


def main() -> NoReturn:
    """Run the command that the process was called with, and exit with its code.

    0: done; 1: the work failed; 2: what was given cannot be used; 130: interrupted; 141: nobody reads what it
    prints any more.
    """
    signal.signal(signal.SIGTERM, _leave)
    try:
        from holdfast.cli.application import app
        from holdfast.cli.pipes import flush, leave_with_the_reader

        leave_with_the_reader()
        try:
            app(prog_name="holdfast")
        finally:
            flush()
    except KeyboardInterrupt:  # before or after the command itself, which has its own sentence for it
        sys.exit(130)
    sys.exit(0)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Let a polite kill unwind the stack, so that temporary files are removed."""
    sys.exit(128 + number)


def __getattr__(name: str) -> Any:
    if name == "app":  # typer is loaded when a command runs, not when the library is imported
        from holdfast.cli.application import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
