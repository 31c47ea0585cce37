"""What a command shows: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from holdfast.exceptions import HoldfastWarning

__all__ = ["Screen", "Watch", "printable"]

Watch = Callable[[str, int, int], None]
"""Called with a stage's name, the steps done and the steps in all; 0 in all where that is not known."""


class Screen:
    """Where a command shows its result and its progress.

    Parameters
    ----------
    as_json : bool
        Print JSON only, and draw no progress.
    debug : bool
        Show the whole log and every warning.
    """

    def __init__(self, *, as_json: bool, debug: bool) -> None:
        self.as_json = as_json
        self.debug = debug
        self._out = Console(highlight=False)
        self._err = Console(stderr=True, highlight=False)

    @property
    def is_terminal(self) -> bool:
        """Whether somebody reads the result as it appears."""
        return self._out.is_terminal

    def show(self, *parts: RenderableType) -> None:
        """Print tables and texts."""
        for part in parts:
            self._out.print(part, markup=False)

    def line(self, text: str) -> None:
        """Print one line as it is, whatever its length."""
        typer.echo(text if _is_storable(text) else os.fsencode(text))

    def document(self, content: Any) -> None:
        """Print one JSON object."""
        from holdfast.io.atomic import jsonable

        text = json.dumps(jsonable(content), indent=2, ensure_ascii=False)
        # A file name that is no UTF-8 comes as lone surrogates, for which JSON has the same escapes.
        typer.echo(text if _is_storable(text) else text.encode("utf-8", "backslashreplace"))

    def note(self, text: str) -> None:
        """Say something beside the result."""
        self._err.print(printable(text), markup=False, style="dim", soft_wrap=True)

    @contextmanager
    def progress(self) -> Iterator[Watch]:
        """Give a callback that draws a bar, on a terminal only; it vanishes at the end."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
        )
        silent = self.as_json or not self._err.is_terminal
        with Progress(*columns, console=self._err, transient=True, disable=silent) as bars:
            yield _Bar(bars)

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Pass on what the library logs and warns of, each as one line."""
        handler = _Notes(self.note)
        log = logging.getLogger("holdfast")
        level = log.level
        log.addHandler(handler)
        log.setLevel(logging.DEBUG if self.debug else logging.WARNING)
        try:
            with warnings.catch_warnings():
                if not self.debug:
                    warnings.simplefilter("ignore")
                    warnings.simplefilter("always", HoldfastWarning)
                    warnings.showwarning = lambda message, *_args, **_more: self.note(f"Note: {message}")
                yield
        finally:
            log.removeHandler(handler)
            log.setLevel(level)


class _Bar:
    """One bar for one stage after another; a new one each time, as a bar cannot forget its total."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._stage = ""
        self._bar = self._start("starting", 0)  # the libraries take their time

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._bars.remove_task(self._bar)
            self._stage, self._bar = stage, self._start(stage, total)
        count = f"{done:,}/{total:,}" if total else ""
        self._bars.update(self._bar, completed=done, count=count)

    def _start(self, stage: str, total: int) -> TaskID:
        return self._bars.add_task(stage, total=total or None, count="")


class _Notes(logging.Handler):
    """Hands log records on as text."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "Note" if record.levelno >= logging.WARNING else record.name
        self._note(f"{prefix}: {record.getMessage()}")


def _is_storable(text: str) -> bool:
    """Tell whether a text can be written; the name of a file need not be, and goes out as its bytes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def printable(text: object) -> str:
    r"""Write a text so that a terminal shows it and does not obey it.

    File names may hold escape sequences, and bytes that are no UTF-8; both appear as ``\xNN`` or ``\uNNNN``.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text)
    )
