"""Embeddings in NumPy's own files. Nothing in them is unpickled, and no header is believed unchecked."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from holdfast.exceptions import TableError
from holdfast.io._columns import find_column, vector_column
from holdfast.io._stored import Stored
from holdfast.io.embeddings import Embeddings
from holdfast.io.mapped import gather, row_blocks
from holdfast.io.raw import Columns, Reading

__all__ = ["npy_shape", "read_npy", "read_npz", "write_npy", "write_npz"]

_ROWS = 8192  # in a block
_MAGIC = {b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"PK\x05\x06": "npz", b"": "empty"}
_BOMB_RATIO, _BOMB_BYTES = 100, 1 << 28  # numbers shrink to a third; to a hundredth only if nearly all repeat


class _Header(NamedTuple):
    """What an array's header declares."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype


def read_npy(path: Path, how: Reading) -> Columns:
    """Read an array of shape (n, d), or of pictures (n, ...), as rows."""
    with path.open("rb") as stream:
        if _kind(stream) == "npz":
            raise TableError("is an archive of arrays and no .npy file: rename it to .npz.")
        header = _checked_header(stream, path.stat().st_size)
        X = _rows(_read_array(stream)) if how.mmap_dir is None else _mapped(path, header, how.mmap_dir)
    return Columns(X, dtype=header.dtype)


def npy_shape(path: Path) -> tuple[int, int]:
    """Return how many rows and columns a file holds, by its header."""
    with path.open("rb") as stream:
        n, *rest = _checked_header(stream, path.stat().st_size).shape
    return n, math.prod(rest)


def write_npy(_emb: Embeddings, X: Stored, path: Path) -> None:
    """Write the vectors alone."""
    with path.open("wb") as stream:
        _write_vectors(X, stream)


def read_npz(path: Path, _how: Reading) -> Columns:
    """Read ``X`` and, where they are there, ``ids``, ``labels`` or ``y``, ``paths`` and ``encoder``."""
    with path.open("rb") as stream:
        if _kind(stream) == "npy":
            raise TableError("is a single array and no .npz archive: rename it to .npy.")
        with zipfile.ZipFile(stream) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            members = dict(zip(names, archive.infolist(), strict=True))
            _check_directory(archive, stream)
            X = _rows(_member(archive, members[vector_column(names, "name them 'X'")]))
            beside = {
                role: _member(archive, members[name])
                for role in ("ids", "labels", "paths", "encoder")
                if (name := find_column(role, names)) is not None
            }
    return Columns(
        X,
        ids=beside.get("ids"),
        labels=beside.get("labels"),
        paths=beside.get("paths"),
        encoder=_encoder(beside.get("encoder")),
    )


def write_npz(emb: Embeddings, X: Stored, path: Path) -> None:
    """Write ``X``, ``ids`` and what there is of ``labels``, ``paths`` and ``encoder``."""
    optional = {"ids": emb.ids, "labels": emb.labels, "paths": emb.paths, "encoder": emb.encoder}
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        with archive.open("X.npy", "w", force_zip64=True) as stream:
            _write_vectors(X, stream)
        for name, value in optional.items():
            if value is not None:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                    npy.write_array(stream, np.asarray(value), allow_pickle=False)


def _write_vectors(X: Stored, stream: IO[bytes]) -> None:
    """Write one array, a block at a time."""
    header = {"descr": npy.dtype_to_descr(X.dtype), "fortran_order": False, "shape": X.shape}
    npy.write_array_header_1_0(stream, header)
    for _, block in X.blocks(_ROWS):
        stream.write(block.data)


def _kind(stream: IO[bytes]) -> str:
    """Tell an array from an archive by the first bytes, and either from anything else."""
    first = stream.read(6)
    stream.seek(0)
    kind = next((kind for magic, kind in _MAGIC.items() if magic and first.startswith(magic)), "other")
    if not first:
        raise TableError("is damaged or no NumPy file (No data left in file): write it again.")
    if kind == "other":
        raise _no_plain_array()
    return kind


def _checked_header(stream: IO[bytes], size: int) -> _Header:
    """Read an array's header and compare what it declares with what is there, before any of it is made."""
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    header = _Header(*read(stream))
    if header.dtype.hasobject:
        raise _no_plain_array()
    declared = math.prod(header.shape) * header.dtype.itemsize
    there = size - stream.tell()
    if declared != there or min(header.shape, default=0) < 0:
        raise ValueError(f"its header declares {declared:,} bytes of values and there are {there:,}")
    stream.seek(0)
    return header


def _read_array(stream: IO[bytes]) -> npt.NDArray:
    """Read one array whose header was checked."""
    return np.asarray(npy.read_array(stream, allow_pickle=False))


def _check_directory(archive: zipfile.ZipFile, stream: IO[bytes]) -> None:
    """Refuse a list of members that was changed: it has no checksum, but names and number stand twice."""
    stream.seek(-22 - len(archive.comment), os.SEEK_END)
    n_members = int.from_bytes(stream.read(12)[10:], "little")
    if n_members not in (len(archive.infolist()), 0xFFFF):  # that is "look elsewhere", for very many
        raise zipfile.BadZipFile(f"it should list {n_members} arrays and lists {len(archive.infolist())}")
    for member in archive.infolist():
        archive.open(member).close()


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray:
    """Read an array of an archive to its very end, where zip compares the checksum."""
    if member.file_size > max(_BOMB_BYTES, _BOMB_RATIO * member.compress_size):
        raise TableError(
            f"holds {member.filename!r} of {member.file_size:,} bytes in {member.compress_size:,}, which is "
            "hardly data: save it without compression if it is."
        )
    with archive.open(member) as stream:
        _checked_header(stream, member.file_size)
        array = _read_array(stream)
        stream.read(1)
    return array


def _mapped(path: Path, header: _Header, mmap_dir: str | os.PathLike[str]) -> npt.NDArray[np.floating]:
    """Map a file of rows in place; copy any other array's rows into a file that can be mapped."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if len(header.shape) == 2 and not header.fortran_order and header.dtype in (np.float16, np.float32):
        return array  # type: ignore[no-any-return]  # as numpy's own stubs have it
    X = _rows(array)
    return gather(row_blocks(X), len(X), mmap_dir) if X.ndim == 2 else X


def _rows(X: npt.NDArray) -> npt.NDArray:
    """Flatten pictures to rows; 8-bit pixels and any other numbers are welcome."""
    X = np.atleast_1d(X)
    return X.reshape(len(X), math.prod(X.shape[1:])) if X.ndim > 2 else X


def _encoder(stored: Any) -> str | None:
    """Return the recipe, which is one text."""
    if stored is None:
        return None
    if stored.size != 1:
        raise TableError(f"encoder has {stored.size} values: give one text.")
    return str(stored.item())


def _no_plain_array() -> TableError:
    return TableError(
        "holds Python objects or no array at all: save plain arrays of numbers or texts instead."
    )
