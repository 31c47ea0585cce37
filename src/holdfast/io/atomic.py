"""Writes that leave the old file or the new one, never half of one.

A result is written under a temporary name in the folder of its target, forced to the disk, and renamed.
Whatever stops the work in between (an error, Ctrl-C) removes the temporary; a killed process leaves at
most a hidden ``.tmp-...`` beside the untouched target. Where a system cannot exchange two folders in one
step, a kill at the worst moment leaves the old one as ``.old-...``, and `where_it_went` says so.
"""

from __future__ import annotations

import ctypes
import glob
import json
import math
import os
import secrets
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.exceptions import HoldfastError, OutputError
from holdfast.io.paths import real_path, what_is

__all__ = [
    "atomic_file",
    "atomic_folder",
    "check_file_target",
    "jsonable",
    "output_error",
    "target_path",
    "where_it_went",
    "write_json",
    "write_text",
]

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # Linux: linux/fcntl.h, linux/fs.h


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to; on success it becomes `path`, on any exception it is removed.

    Parameters
    ----------
    path : path-like
        The file to make or replace. Missing parent folders are made. The temporary keeps the suffix.

    Raises
    ------
    OutputError
        If the file cannot be written there.

    Examples
    --------
    >>> with atomic_file("numbers.txt") as temporary:  # doctest: +SKIP
    ...     temporary.write_text("1 2 3")
    """
    target = target_path(path)
    temporary = _temporary_beside(target)
    with _os_errors_as_output_errors(path, temporary, target):
        check_file_target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_name(target)


@contextmanager
def atomic_folder(path: str | os.PathLike[str], *, owned: Collection[str] | None = None) -> Iterator[Path]:
    """Give a temporary folder to fill; on success it becomes `path`, on any exception it is removed.

    An existing folder is replaced only at the very end: the two exchange their names in one step (on systems
    without such a step, by two renames), and only then the old one is deleted. Its contents are not carried
    over.

    Parameters
    ----------
    path : path-like
        The folder to make or replace.
    owned : collection of str, optional
        The names that an existing folder may contain. Anything else in it is the user's, so the folder is
        refused rather than replaced. Without `owned`, only an empty folder is replaced.

    Raises
    ------
    OutputError
        If the folder cannot be written there, or holds files that are not ours.
    """
    target = target_path(path)
    temporary = _temporary_beside(target)
    with _os_errors_as_output_errors(path, temporary, target):
        _check_replaceable(path, target, owned or ())
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.mkdir()
            yield temporary
            _sync_tree(temporary)
            _check_replaceable(path, target, owned or ())  # the work may have taken hours
            _put_in_place(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically.

    Raises
    ------
    OutputError
        If the file cannot be written there.
    """
    with atomic_file(path) as temporary:
        # File names that are no UTF-8 come as lone surrogates; JSON has the same escapes for them.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` to `path` as JSON with sorted keys, atomically; see `jsonable` for what is accepted.

    Raises
    ------
    OutputError
        If the file cannot be written there.
    """
    write_text(path, json.dumps(jsonable(obj), indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def jsonable(obj: Any) -> Any:
    """Turn numpy values, paths, tuples and mappings into what JSON knows.

    Numbers that are not finite become None: JSON has no NaN, and readers in browsers refuse one.
    """
    if isinstance(obj, Mapping):
        return {str(key): jsonable(value) for key, value in obj.items()}
    if isinstance(obj, np.ndarray | np.generic):
        return jsonable(obj.tolist())
    if isinstance(obj, list | tuple):
        return [jsonable(value) for value in obj]
    if isinstance(obj, float) and not math.isfinite(obj):
        return None
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    return obj


def output_error(path: str | os.PathLike[str], error: OSError) -> OutputError:
    """Say in one sentence that `path` cannot be written, why, and what to do."""
    said = os.strerror(error.errno) if error.errno else error.strerror  # pyarrow's own is a long story
    reason = (said or str(error) or type(error).__name__).rstrip(".")
    return OutputError(
        f"Cannot write {path} ({reason}): give a folder that can be written to, on a disk with room."
    )


def check_file_target(path: str | os.PathLike[str]) -> None:
    """Refuse a place where no file can be written: a folder is there, or a pipe that would be replaced.

    Raises
    ------
    OutputError
        If something else than a file is there, or the system will not say.
    """
    try:
        kind = what_is(path)
    except OSError as error:
        raise output_error(path, error) from error
    if kind not in ("file", "nothing"):
        raise OutputError(f"{path} is a {kind}; give the name of a file to write.")


def target_path(path: str | os.PathLike[str]) -> Path:
    """Return the place behind all links that a result is written to.

    Raises
    ------
    OutputError
        If its links lead round in a circle.
    """
    try:
        return real_path(path)
    except OSError as error:
        raise output_error(path, error) from error


def where_it_went(folder: str | os.PathLike[str]) -> str | None:
    """Say in one sentence where the files of a missing folder are, if a kill cut its replacement short."""
    target = Path(os.path.realpath(folder))
    if os.path.lexists(target):
        return None
    retired = sorted(target.parent.glob(f".old-{'[0-9a-f]' * 8}-{glob.escape(target.name)}"))
    if not retired:
        return None
    return f"{folder} is missing because replacing it was cut short: rename {retired[0]} to get it back."


@contextmanager
def _os_errors_as_output_errors(
    path: str | os.PathLike[str], temporary: Path, target: Path
) -> Iterator[None]:
    """Translate the errors that come from writing, and only those: the body may also read other files."""
    try:
        yield
    except HoldfastError:
        raise
    except OSError as error:
        if not _concerns(error, temporary, target):
            raise
        raise output_error(path, error) from error


def _concerns(error: OSError, temporary: Path, target: Path) -> bool:
    """Tell whether an OSError is about what we write: it names our path, or a write that names none."""
    if error.errno is None:  # not from the system: Pillow's "image file is truncated" and the like
        return False
    if error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename))
    return named == target or named in target.parents or temporary in (named, *named.parents)


def _temporary_beside(target: Path, kind: str = "tmp") -> Path:
    """Name a hidden temporary in the same folder (a rename works within one disk only), suffix kept."""
    return target.with_name(f".{kind}-{secrets.token_hex(4)}-{target.name}")


def _check_replaceable(path: str | os.PathLike[str], target: Path, owned: Collection[str]) -> None:
    """Refuse a target that is a file, or a folder with anything in it that we did not write."""
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"{path} is a file; give the name of a folder to write.")
    foreign = sorted(entry.name for entry in target.iterdir() if entry.name not in owned)
    if foreign:
        raise OutputError(
            f"{path} holds {foreign[0]!r}, which would be lost: give another folder, or empty this one first."
        )


def _put_in_place(temporary: Path, target: Path) -> None:
    """Give `temporary` the name `target`; what was there is deleted once the new name is on the disk."""
    if not target.exists():
        temporary.rename(target)
        _sync_name(target)
        return
    retired = temporary if _exchange(temporary, target) else _retire(temporary, target)
    _sync_name(target)
    shutil.rmtree(retired, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders swap names in one step; False where the system or the disk has no such step."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "renameat2"):  # a C library from before 2018
        return False
    names = os.fsencode(one), os.fsencode(other)
    # Of a refusal we need no reason: the two renames work instead, or fail and say why.
    failed = libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_RENAME_EXCHANGE))
    return not failed


def _retire(temporary: Path, target: Path) -> Path:
    """Replace `target` by `temporary` in two renames; return where the old folder is."""
    retired = _temporary_beside(target, "old")
    target.rename(retired)
    try:
        temporary.rename(target)
    except BaseException:
        retired.rename(target)
        raise
    return retired


def _sync_tree(folder: Path) -> None:
    """Force every file and folder below `folder`, and itself, to the disk."""
    for entry in folder.rglob("*"):
        if not entry.is_symlink():
            _sync(entry)
    _sync(folder)


def _sync_name(target: Path) -> None:
    """Force the rename to the disk; the result is in place already, so a refusal is no failure."""
    with suppress(OSError):
        _sync(target.parent)


def _sync(path: Path) -> None:
    """Force one file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
