"""Finished parts of a long run: what makes `embed_folder` resumable.

The vectors of a run collect in ``<out>.parts/`` as small Parquet tables, each written atomically, so that a
killed process loses at most the last half minute. A row is known by its file's relative path, size and
modification time, and a table by the recipe of its encoder: a changed file or another model is done again.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from holdfast.exceptions import InputError
from holdfast.images import ImageFolder
from holdfast.io import Embeddings, read_embeddings, write_embeddings
from holdfast.io.atomic import output_error

__all__ = ["PartWriter", "file_key", "parts_folder", "read_parts", "remove_parts"]

logger = logging.getLogger(__name__)

PART_SECONDS = 30.0
"""A part is written at least this often: what a killed run has to do again."""

PART_ROWS = 8192
"""... and never holds more rows than this: what a fast encoder keeps in memory."""


def parts_folder(out: Path) -> Path:
    """Return the folder that holds the parts of a run towards `out`."""
    return out.with_name(out.name + ".parts")


def file_key(folder: ImageFolder, row: int) -> str | None:
    """Name the state of one file.

    Parameters
    ----------
    folder : ImageFolder
        The listing.
    row : int
        The number of the file in it.

    Returns
    -------
    str or None
        Size in bytes, modification time in nanoseconds and id; None if the file has gone since it was listed.
    """
    try:
        state = (folder.root / folder.paths[row]).stat()
    except OSError:
        return None
    return f"{state.st_size}:{state.st_mtime_ns}:{folder.ids[row]}"


def read_parts(folder: Path, recipe: str) -> Iterator[Embeddings]:
    """Read what earlier runs have finished.

    Parameters
    ----------
    folder : Path
        The parts' folder; it may be missing.
    recipe : str
        Parts of other recipes are ignored, and so are damaged ones.

    Yields
    ------
    Embeddings
        One part; its `ids` are values of `file_key`.
    """
    for path in _part_files(folder):
        try:
            part = read_embeddings(path)
        except InputError as error:
            logger.warning("a part of an earlier run is ignored: %s", error)
            continue
        if part.encoder == recipe:
            yield part


def remove_parts(folder: Path) -> None:
    """Delete the parts' folder, if it is there, once the whole table is safe."""
    shutil.rmtree(folder, ignore_errors=True)


class PartWriter:
    """Collects vectors and writes them as a part every `PART_SECONDS` or `PART_ROWS`.

    A context manager: whatever ends the run, Ctrl-C included, what is finished is written.

    Parameters
    ----------
    folder : Path or None
        The parts' folder, made here; None keeps nothing.
    recipe : str
        Fingerprint of the encoder.

    Raises
    ------
    OutputError
        If the folder cannot be made.
    """

    def __init__(self, folder: Path | None, recipe: str) -> None:
        self._folder = folder
        self._recipe = recipe
        self._pending: dict[str, npt.NDArray[np.float32]] = {}
        self._next = 1
        self._written = time.monotonic()
        if folder is not None:
            _make(folder)
            self._next += max((_number(path) for path in _part_files(folder)), default=0)

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
        if self._folder is not None:
            with suppress(OSError):
                self._folder.rmdir()  # only if no part was written

    def add(self, keys: Sequence[str], vectors: npt.NDArray[np.float32]) -> None:
        """Take finished vectors of shape (b, d) by their keys; write a part if one is due."""
        if self._folder is None:
            return
        self._pending.update(zip(keys, vectors, strict=True))
        if len(self._pending) >= PART_ROWS or time.monotonic() - self._written >= PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is pending as one part."""
        if self._folder is None or not self._pending:
            return
        keys, vectors = np.array(list(self._pending)), np.stack(list(self._pending.values()))
        part = Embeddings(keys, vectors, encoder=self._recipe)
        write_embeddings(part, self._folder / f"part-{self._next:06d}.parquet")
        self._next += 1
        self._pending.clear()
        self._written = time.monotonic()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error


def _part_files(folder: Path) -> list[Path]:
    """List the finished parts in order; temporaries of a killed process have other names."""
    return sorted(folder.glob("part-[0-9]*.parquet"), key=_number)


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("part-")
    return int(digits) if digits.isdecimal() else 0
