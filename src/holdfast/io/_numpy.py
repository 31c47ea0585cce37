"""Embeddings in NumPy's own files. Nothing in them is unpickled."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.exceptions import TableError
from holdfast.io._columns import find_column, vector_column
from holdfast.io.embeddings import Embeddings, row_ids

__all__ = ["read_npy", "read_npz", "write_npy", "write_npz"]


def read_npy(path: Path) -> Embeddings:
    """Read an array of shape (n, d), or of pictures (n, ...), as rows with their numbers for ids."""
    with _damage_as_table_errors():
        X = np.load(path, allow_pickle=False)
        if not isinstance(X, np.ndarray):
            X.close()
            raise TableError("is an archive of arrays and no .npy file: rename it to .npz.")
        X = _rows(X)
    return Embeddings(ids=row_ids(len(X)), X=X)


def write_npy(_emb: Embeddings, X: npt.NDArray, path: Path) -> None:
    """Write the vectors alone."""
    with path.open("wb") as stream:  # given a name, numpy would add a suffix to one it does not know (.NPY)
        np.save(stream, X, allow_pickle=False)


def read_npz(path: Path) -> Embeddings:
    """Read ``X`` and, where they are there, ``ids``, ``labels`` or ``y``, ``paths`` and ``encoder``."""
    with _damage_as_table_errors():
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise TableError("is a single array and no .npz archive: rename it to .npy.")
        with archive:
            X = _rows(archive[vector_column(archive.files, "name them 'X'")])
            beside = {role: _member(archive, role) for role in ("ids", "labels", "paths", "encoder")}
    ids, encoder = beside["ids"], beside["encoder"]
    return Embeddings(
        ids=row_ids(len(X)) if ids is None else ids,
        X=X,
        labels=beside["labels"],
        paths=beside["paths"],
        encoder=None if encoder is None else str(encoder),
    )


def write_npz(emb: Embeddings, X: npt.NDArray, path: Path) -> None:
    """Write ``X``, ``ids`` and what there is of ``labels``, ``paths`` and ``encoder``."""
    optional = {"labels": emb.labels, "paths": emb.paths, "encoder": emb.encoder}
    present = {name: np.asarray(value) for name, value in optional.items() if value is not None}
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, X=X, ids=emb.ids, **present)


def _member(archive: Any, role: str) -> npt.NDArray | None:
    """Return the array that plays `role`, if the archive has one."""
    name = find_column(role, archive.files)
    return None if name is None else archive[name]


def _rows(X: npt.NDArray) -> npt.NDArray:
    """Flatten pictures to rows; 8-bit pixels and any other numbers are welcome."""
    X = np.atleast_1d(X)
    return X.reshape(len(X), math.prod(X.shape[1:])) if X.ndim > 2 else X


@contextmanager
def _damage_as_table_errors() -> Iterator[None]:
    """Turn what numpy and zipfile raise about foreign or damaged files into sentences."""
    try:
        yield
    except TableError:
        raise
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, NotImplementedError) as error:
        if "pickle" in str(error):  # numpy's words for an array of Python objects, or for no array at all
            sentence = (
                "holds Python objects or no array at all: save plain arrays of numbers or texts instead."
            )
        else:
            sentence = f"is damaged or no NumPy file ({str(error).rstrip('.')}): write it again."
        raise TableError(sentence) from error
