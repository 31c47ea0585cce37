"""What a path leads to, asked once and without waiting for what is no file."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Kind", "arrow_file", "real_path", "what_is"]

Kind = Literal["nothing", "file", "folder", "pipe or a device"]


def what_is(path: str | os.PathLike[str]) -> Kind:
    """Tell what a path leads to, following links.

    Opening a pipe waits for somebody to write to it, and a device may never end: neither is a file here.

    Raises
    ------
    OSError
        If the system will not say: no permission, or links that lead round in a circle.
    """
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        return "nothing"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "pipe or a device"


def arrow_file(path: Path, mode: Literal["rb", "wb"]) -> pa.NativeFile:
    """Open a file for pyarrow, which takes some names for addresses and refuses those that are no UTF-8."""
    import pyarrow as pa

    return pa.OSFile(os.fsencode(path), mode)


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path behind all links, whether or not there is anything.

    Raises
    ------
    OSError
        If its links lead round in a circle.
    """
    real = Path(os.path.realpath(path))
    if real.is_symlink():  # what realpath leaves a link has no end
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))
    return real
