"""A command is a frozen dataclass: its fields are the options, its ``run`` is the work.

This module turns such a class into a Typer command and its outcome into an exit code. It is the only place
that does either.
"""

from __future__ import annotations

import inspect
import shlex
import sys
import traceback
from abc import ABC, abstractmethod
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo

from holdfast.cli.screen import Screen, printable
from holdfast.cli.usage import FLAG, PlainCommand
from holdfast.exceptions import HoldfastError, InputError, MissingDependencyError, OutputError

__all__ = ["BAD_INPUT", "FAILED", "INTERRUPTED", "Task", "command_line", "register"]

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
_USERS_TO_MEND = (InputError, OutputError, MissingDependencyError)
_NOT_PART_OF_THE_WORK = {"as_json", "debug"}


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One command with its options."""

    name: ClassVar[str]
    example: ClassVar[str]
    interrupted: ClassVar[str] = "Interrupted: nothing was written."

    as_json: Annotated[
        bool, typer.Option("--json", metavar=FLAG, help="Print one JSON object instead of a table.")
    ] = False
    debug: Annotated[
        bool, typer.Option("--debug", metavar=FLAG, help="Show the log, and the traceback of an error.")
    ] = False

    @abstractmethod
    def run(self, screen: Screen) -> None:
        """Do the work and show the result."""

    def interruption(self) -> str:
        """Say what Ctrl-C has left behind."""
        return self.interrupted


def register(app: typer.Typer, task: type[Task]) -> None:
    """Make a command of a task: its options from the fields, its help from the docstring and the example."""

    def command(**options: Any) -> None:
        code = _perform(task(**options))
        if code:
            raise typer.Exit(code)

    command.__signature__ = inspect.Signature(_parameters(task))  # type: ignore[attr-defined]
    command.__annotations__ = {}
    epilog = f"Example: {task.example}"
    app.command(task.name, cls=PlainCommand, help=_paragraphs(task), epilog=epilog)(command)


def command_line(task: Task) -> str:
    """Write the command that repeats a task; options that have their defaults are left out."""
    hints = _hints(type(task))
    arguments, options = [], []
    for field in _ordered_fields(type(task)):
        value = getattr(task, field.name)
        if field.name in _NOT_PART_OF_THE_WORK or value is None:
            continue
        if isinstance(get_args(hints[field.name])[-1], ArgumentInfo):
            arguments.append(str(value))
        elif value != field.default:
            flag = "--" + field.name.replace("_", "-")
            options += [flag] if value is True else [flag, str(value)]
    return shlex.join(["holdfast", task.name, *arguments, *options])


def _perform(task: Task) -> int:
    """Run a task; return the exit code after saying in one sentence what went wrong."""
    screen = Screen(as_json=task.as_json, debug=task.debug)
    try:
        with screen.hearing():
            task.run(screen)
    except KeyboardInterrupt:
        return _fail(task, task.interruption(), INTERRUPTED)
    except _USERS_TO_MEND as error:
        return _fail(task, str(error), BAD_INPUT)
    except HoldfastError as error:
        return _fail(task, str(error), FAILED)
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence for users, a traceback for us
        reason = str(error).partition("\n")[0].rstrip(".") or "no message"
        hint = "see above" if task.debug else "run it again with --debug to see where"
        return _fail(task, f"The work failed ({type(error).__name__}: {reason}): {hint}.", FAILED)
    return 0


def _fail(task: Task, sentence: str, code: int) -> int:
    if task.debug:
        traceback.print_exc(file=sys.stderr)
    typer.echo(f"holdfast {task.name}: {printable(sentence)}", err=True)
    return code


def _parameters(task: type[Task]) -> list[inspect.Parameter]:
    """Describe the fields to Typer."""
    hints = _hints(task)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in _ordered_fields(task)
    ]


def _ordered_fields(task: type[Task]) -> list[Field[Any]]:
    """Return the options in the order of the help: the task's own first, those that all tasks share last."""
    by_class = [vars(cls).get("__annotations__", {}) for cls in task.__mro__]
    farthest_first = reversed(list(enumerate(by_class)))
    order = {name: (depth, place) for depth, own in farthest_first for place, name in enumerate(own)}
    return sorted(fields(task), key=lambda field: order[field.name])


def _paragraphs(task: type[Task]) -> str:
    """Return the docstring with one line a paragraph: Typer keeps the line breaks of the source."""
    return "\n\n".join(" ".join(part.split()) for part in (inspect.getdoc(task) or "").split("\n\n"))


def _hints(task: type[Task]) -> dict[str, Any]:
    hints = get_type_hints(task, include_extras=True)
    return {name: hint for name, hint in hints.items() if get_origin(hint) is Annotated}
