"""What a fit would be sorry to lose, kept in a folder, so that one that was killed can go on."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.exceptions import ModelFileError, OutputError
from holdfast.io.atomic import write_json
from holdfast.io.tensors import load_tensors, save_tensors

__all__ = ["Checkpoint", "Record", "kept"]

logger = logging.getLogger(__name__)

_NAME, _FORMAT = "fit.json", "holdfast checkpoint"
_LEFTOVERS = (".tmp-", ".old-")

EVERY = 30.0
"""Seconds between two writes. They cost some hundredths of a second each; what is lost is at most this."""

_kept: ContextVar[bool] = ContextVar("kept", default=False)


@contextmanager
def kept() -> Iterator[None]:
    """Let fits inside the ``with`` block leave their checkpoints when they are complete.

    For who has still to write down what they found, and may be killed meanwhile: the same fit, given the same
    folder, is then soon at the same result. The folder is theirs to remove.
    """
    before = _kept.set(True)
    try:
        yield
    finally:
        _kept.reset(before)


class Checkpoint:
    """A folder of records, each written whole or not at all, of one fit and of no other.

    Parameters
    ----------
    folder : path-like
        Made with the first record. It must be used by one process at a time.
    fit : mapping
        What makes the fit what it is: parameters and a digest of the rows, as JSON holds them. Records of
        another fit are not read, and are replaced.
    every : float, optional
        Seconds between two writes; thirty by default.

    Raises
    ------
    OutputError
        If the folder is a file, or holds anything and is not the folder of a checkpoint.
    """

    def __init__(self, folder: str | Path, fit: Mapping[str, Any], every: float | None = None) -> None:
        self._folder = Path(folder)
        self._fit = json.loads(json.dumps(fit))
        self._key = hashlib.sha256(json.dumps(self._fit, sort_keys=True).encode()).hexdigest()
        self._every = EVERY if every is None else every
        self._written = time.monotonic()
        self._owed: dict[str, tuple[Mapping[str, np.ndarray], Any]] = {}
        self._claim()

    def record(self, name: str) -> Record:
        """Return the record of that name, whether it was written yet or not."""
        return Record(self, name)

    def complete(self) -> None:
        """Remove everything, for the fit is done; see :func:`kept`."""
        if not _kept.get():
            self.discard()

    def discard(self) -> None:
        """Remove everything that a checkpoint wrote: it is of no use any more.

        What says whose the folder is goes last, so that a kill leaves a folder that is still known for ours.
        """
        for entry in self._entries():
            if entry.name != _NAME and _is_ours(entry):
                _remove(entry)
        with suppress(OSError):
            (self._folder / _NAME).unlink(missing_ok=True)
            self._folder.rmdir()

    def read(self, name: str) -> tuple[dict[str, np.ndarray], Any] | None:
        """Return what was last written under a name; None where nothing of this fit is whole."""
        place = self._place(name)
        if not place.exists():
            return None
        try:
            tensors, manifest = load_tensors(place)
        except ModelFileError as error:
            logger.warning("%s; the fit begins anew.", str(error).partition(":")[0])
            return None
        return (tensors, json.loads(manifest["values"])) if manifest.get("fit") == self._key else None

    def owe(self, name: str, tensors: Mapping[str, np.ndarray], values: Any) -> None:
        """Write a record that will not change any more, now or with the next one whose time has come.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        self._owed[name] = (tensors, values)
        if self.is_due():
            self._settle()

    def write(self, name: str, tensors: Mapping[str, np.ndarray], values: Any, *, now: bool = False) -> bool:
        """Write a record if its time has come, or now; tell whether it was.

        Raises
        ------
        OutputError
            If it cannot be written; what was written before stays as it was.
        """
        if not now and not self.is_due():
            return False
        self._settle()
        self._save(name, tensors, values)
        return True

    def _settle(self) -> None:
        """Write what is owed."""
        while self._owed:
            name = next(iter(self._owed))
            self._save(name, *self._owed[name])
            del self._owed[name]

    def _save(self, name: str, tensors: Mapping[str, np.ndarray], values: Any) -> None:
        if not (self._folder / _NAME).exists():
            write_json(self._folder / _NAME, {"format": _FORMAT, "fit": self._fit})
        # As a text, because JSON in a manifest has no infinities and no NaN.
        save_tensors(self._place(name), tensors, {"fit": self._key, "values": json.dumps(values)})
        self._written = time.monotonic()

    def is_due(self) -> bool:
        """Tell whether the next write will happen."""
        return time.monotonic() - self._written >= self._every

    def _place(self, name: str) -> Path:
        return self._folder / name.replace(" ", "-")

    def _claim(self) -> None:
        """Make sure that the folder is ours and of this fit, and free of what a killed process left."""
        if self._folder.exists() and not self._folder.is_dir():
            raise OutputError(f"{self._folder} is a file: give the checkpoint a folder of its own.")
        written = self._read_name()
        for entry in self._entries():
            if written is None and not _is_first_writing(entry):
                raise OutputError(
                    f"{self._folder} holds {entry.name!r}: give the checkpoint a folder of its own."
                )
        for entry in self._entries():
            if entry.name.startswith(_LEFTOVERS):
                _remove(entry)
        if written not in (None, self._fit):
            logger.warning("%s holds the checkpoint of another fit; this one begins anew.", self._folder)
            self.discard()

    def _entries(self) -> list[Path]:
        return sorted(self._folder.iterdir()) if self._folder.exists() else []

    def _read_name(self) -> Any:
        """Return what fit the folder belongs to; None where it says nothing."""
        try:
            document = json.loads((self._folder / _NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        is_ours = isinstance(document, dict) and document.get("format") == _FORMAT
        return document.get("fit") if is_ours else None


def _is_ours(entry: Path) -> bool:
    """Tell whether a checkpoint wrote this: a record, or what a killed process left of one."""
    return (entry / "manifest.json").is_file() or entry.name.startswith(_LEFTOVERS)


def _is_first_writing(entry: Path) -> bool:
    """Tell whether this is what is left where a process was killed before the folder had its name."""
    return entry.name.startswith(".tmp-") and entry.name.endswith(_NAME)


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


class Record:
    """One name in a checkpoint.

    Parameters
    ----------
    checkpoint : Checkpoint
    name : str
    """

    def __init__(self, checkpoint: Checkpoint, name: str) -> None:
        self._checkpoint = checkpoint
        self._name = name

    def part(self, name: str) -> Record:
        """Return the record of a part of this one's work."""
        return Record(self._checkpoint, f"{self._name}, {name}")

    def is_due(self) -> bool:
        """Tell whether the next write will happen."""
        return self._checkpoint.is_due()

    def read(self) -> tuple[dict[str, np.ndarray], Any] | None:
        """Return what was last written; see :meth:`Checkpoint.read`."""
        return self._checkpoint.read(self._name)

    def write(self, tensors: Mapping[str, np.ndarray], values: Any) -> bool:
        """Write if it is time; see :meth:`Checkpoint.write`."""
        return self._checkpoint.write(self._name, tensors, values)
