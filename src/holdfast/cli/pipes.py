"""Output that cannot be written: a reader who left ends a command quietly, a full disk with a sentence."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

__all__ = ["READER_LEFT", "flush", "leave_with_the_reader"]

READER_LEFT = 141
"""The exit code: what a shell reports of a process that SIGPIPE has ended, 128 + 13."""

_BAD_OUTPUT = 2
_STDOUT = 1


class _Output(io.FileIO):
    """A stream that ends the process, by unwinding the stack, when it cannot be written to any more."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            # What is still buffered on the way here has to go somewhere when the process ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if isinstance(error, BrokenPipeError):
                sys.exit(READER_LEFT)
            if self.fileno() == _STDOUT:
                sys.stderr.write(f"holdfast: Cannot write standard output ({error.strerror}).\n")
            sys.exit(_BAD_OUTPUT)


def leave_with_the_reader() -> None:
    """Let the process end when standard output or error cannot be written to: ``holdfast assign ... | head``.

    The signal for it stays ignored: any socket sends it too, and it would leave temporary files behind.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper) or stream.isatty():
            continue
        stream.flush()
        text = io.TextIOWrapper(
            io.BufferedWriter(_Output(stream.fileno(), "w", closefd=False)),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, text)


def flush() -> None:
    """Write what is left: the last chance to learn that it cannot be."""
    if sys.stdout is not None:  # it was closed from the start
        sys.stdout.flush()
