"""Where the vectors of a table go that is larger than memory should be: a choice for commands."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

__all__ = ["LARGE", "scratch_folder"]

LARGE = 1 << 30
"""Bytes of float32 vectors from which a table is mapped rather than held in memory: one GiB."""


def scratch_folder(
    shape: tuple[int, int] | None, candidates: Iterable[str | os.PathLike[str]]
) -> Path | None:
    """Choose a folder for the vectors of a large table.

    Parameters
    ----------
    shape : tuple of int or None
        Its rows and columns; None if they are not known.
    candidates : iterable of path-like
        Folders in order of preference; of one that is not there yet, the nearest above it that is. The
        system's folder for temporary files is tried last, for it may be in memory.

    Returns
    -------
    Path or None
        For `read_embeddings`. None for a small table, and where no folder has room: it is then read into
        memory.
    """
    if shape is None or shape[0] * shape[1] * 4 <= LARGE:
        return None
    folders = (_nearest(Path(folder)) for folder in (*candidates, tempfile.gettempdir()))
    return next((folder for folder in folders if _has_room(folder, shape[0] * shape[1] * 4)), None)


def _nearest(folder: Path) -> Path:
    """Return the folder, or the lowest one above it that exists."""
    folder = Path(os.path.realpath(folder))
    return next((above for above in (folder, *folder.parents) if above.is_dir()), folder)


def _has_room(folder: Path, n_bytes: int) -> bool:
    """Try whether a file of that size could be written."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return shutil.disk_usage(folder).free > n_bytes
    except OSError:
        return False
