"""Folders of tensors: ``tensors.safetensors`` beside a versioned ``manifest.json``; loading runs no code."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from holdfast.exceptions import ModelFileError, OutputError, ParameterError
from holdfast.io.atomic import atomic_folder, jsonable, where_it_went, write_json
from holdfast.io.paths import what_is

__all__ = [
    "MODEL_FILES",
    "SCHEMA_VERSION",
    "document_sum",
    "library_versions",
    "load_tensors",
    "save_tensors",
]

SCHEMA_VERSION = 1
"""The version of the layout below. Raise it when a reader of the old one would misread the new one."""

_TENSORS, _MANIFEST = "tensors.safetensors", "manifest.json"
MODEL_FILES = (_MANIFEST, _TENSORS)

_RESERVED = ("format", "schema_version", "libraries", "tensors", "sha256")
_LIBRARIES = ("holdfast", "numpy", "scipy", "scikit-learn", "torch", "safetensors")


def save_tensors(
    folder: str | os.PathLike[str], tensors: Mapping[str, npt.NDArray], manifest: Mapping[str, Any]
) -> None:
    """Write tensors and what is to be known about them to a folder, atomically.

    Parameters
    ----------
    folder : path-like
        The folder to make. An existing one is replaced if it holds nothing but an earlier save.
    tensors : mapping of str to ndarray
        Arrays of numbers or booleans, of any shape.
    manifest : mapping
        Whatever JSON can hold; numbers that are not finite become null. The keys ``format``,
        ``schema_version``, ``libraries``, ``tensors`` and ``sha256`` are ours.

    Raises
    ------
    ParameterError
        If a tensor is no array of numbers, or the manifest uses a reserved key.
    OutputError
        If the folder cannot be written.
    """
    reserved = sorted(set(_RESERVED) & set(manifest))
    if reserved:
        raise ParameterError(f"manifest must not use the reserved key {reserved[0]!r}.")
    arrays = {name: _plain(name, array) for name, array in tensors.items()}
    with atomic_folder(folder, owned=MODEL_FILES) as temporary:
        try:
            (temporary / _TENSORS).write_bytes(save(arrays))
        except SafetensorError as error:
            raise OutputError(
                f"Cannot write {folder} ({error}): give a folder on a disk with room."
            ) from error
        document = jsonable(manifest) | {
            "format": "holdfast",
            "schema_version": SCHEMA_VERSION,
            "libraries": library_versions(),
            "tensors": {name: _layout(array) for name, array in arrays.items()},
        }
        sums = {"tensors": _file_sum(temporary / _TENSORS), "manifest": document_sum(document)}
        write_json(temporary / _MANIFEST, document | {"sha256": sums})


def load_tensors(folder: str | os.PathLike[str]) -> tuple[dict[str, npt.NDArray], dict[str, Any]]:
    """Read a folder that `save_tensors` wrote, after checking that it is whole and unchanged.

    Parameters
    ----------
    folder : path-like
        The folder.

    Returns
    -------
    tensors : dict of str to ndarray
        The arrays, as they were saved.
    manifest : dict
        The manifest, with the keys that `save_tensors` added.

    Raises
    ------
    ModelFileError
        If the folder is missing, foreign, written by a newer holdfast, truncated or changed.
    """
    source = Path(folder)
    manifest = _read_manifest(source)
    _check_document(source, manifest)
    tensors = _read_tensors(source / _TENSORS, manifest["sha256"].get("tensors"))
    if {name: _layout(array) for name, array in tensors.items()} != manifest.get("tensors"):
        raise _damaged(source / _TENSORS, "its tensors are not those that the manifest lists")
    return tensors, manifest


def _read_tensors(path: Path, expected_sum: object) -> dict[str, npt.NDArray]:
    """Read the tensor file if its checksum is the expected one."""
    try:
        _check_file(path)
        content = path.read_bytes()
        actual_sum = hashlib.sha256(content).hexdigest()
        tensors = load(content) if actual_sum == expected_sum else None
    except FileNotFoundError as error:
        raise _damaged(path, "it is missing") from error
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    except (SafetensorError, KeyError, ValueError, MemoryError) as error:  # KeyError: a type unknown to NumPy
        raise _damaged(path, str(error)) from error
    if tensors is None:
        raise _damaged(path, "its checksum differs from the manifest's")
    return dict(tensors)


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest as a JSON object."""
    path = folder / _MANIFEST
    try:
        _check_file(path)
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelFileError(
            where_it_went(folder) or f"{folder} is no model folder ({_MANIFEST} is missing): check the path."
        ) from error
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"it is no JSON, {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != "holdfast":
        raise ModelFileError(f"{path} was not written by holdfast: give a folder that it saved.")
    return manifest


def _check_file(path: Path) -> None:
    """Refuse what would be waited for, for ever."""
    if what_is(path) == "pipe or a device":
        raise OSError("it is a pipe or a device")


def _check_document(folder: Path, manifest: dict[str, Any]) -> None:
    """Check the schema version first (a newer one may have other rules), then the manifest's own checksum."""
    path = folder / _MANIFEST
    schema = manifest.get("schema_version")
    if type(schema) is not int or schema < 1:
        raise _damaged(path, f"its schema_version is {schema!r}")
    if schema > SCHEMA_VERSION:
        raise ModelFileError(
            f"{path} has schema version {schema}, this holdfast reads {SCHEMA_VERSION}: upgrade holdfast."
        )
    sums = manifest.get("sha256")
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    if not isinstance(sums, dict) or sums.get("manifest") != document_sum(rest):
        raise _damaged(path, "it was changed after it was saved")


def _damaged(path: Path, reason: str) -> ModelFileError:
    """Say that a file of the folder cannot be trusted."""
    return ModelFileError(
        f"{path} is damaged ({reason.rstrip('.')}): restore the folder or save the model again."
    )


def _plain(name: str, array: npt.NDArray) -> npt.NDArray:
    """Return an array as the file can hold it: numbers, contiguous, in this machine's byte order."""
    plain = np.asarray(array, order="C")
    if plain.dtype.kind not in "fiub":
        raise ParameterError(
            f"Tensor {name!r} holds {plain.dtype} values: put anything but numbers in the manifest."
        )
    return plain.astype(plain.dtype.newbyteorder("="), copy=False)


def _layout(array: npt.NDArray) -> dict[str, Any]:
    """Describe an array in the manifest."""
    return {"dtype": array.dtype.name, "shape": list(array.shape)}


def library_versions() -> dict[str, str]:
    """Return the versions that made the file, for whoever has to explain a difference later."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a source tree on the path, not installed
            continue
    return found


def _file_sum(path: Path) -> str:
    """Return a file's SHA-256, reading it in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def document_sum(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a JSON document, whatever its spacing."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
