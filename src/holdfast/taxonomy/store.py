"""The taxonomy folder: what a fit leaves behind, whole or not at all.

::

    products/
    ├── run.json                    what was asked, seen and decided
    ├── report.html
    ├── mixture.gif                 of a mixture: how it found its components
    ├── versions/1/                 the model
    ├── assignments/1.parquet       id, cluster, confidence
    └── vectors/part-00001.parquet  the collection, with labels and paths where they are known

A run that is still embedding keeps its finished parts in ``.embedding/``, and a long fit its checkpoint in
``.training/``, so that they can be resumed. Both may stand beside an earlier taxonomy that is to be replaced.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from holdfast.exceptions import InputError, ModelFileError, OutputError
from holdfast.io import Embeddings, write_embeddings
from holdfast.io.atomic import atomic_folder, jsonable, output_error, target_path, where_it_went, write_json
from holdfast.io.paths import what_is
from holdfast.io.scratch import scratch_folder
from holdfast.io.tensors import document_sum
from holdfast.taxonomy.assignments import AssignmentTable, read_assignments, write_assignments
from holdfast.taxonomy.vectors import precision, read_parts, shape_of_parts

__all__ = [
    "TRAINING_FOLDER",
    "WORK_FOLDER",
    "TaxonomyFolder",
    "check_target",
    "create_taxonomy",
    "is_taxonomy",
    "open_taxonomy",
]

WORK_FOLDER = ".embedding"
"""Where a run keeps what it has embedded until the taxonomy is complete."""

TRAINING_FOLDER = ".training"
"""Where a fit keeps its checkpoint until the taxonomy is complete."""

_RUN, _REPORT, _ANIMATION = "run.json", "report.html", "mixture.gif"
_LAYOUT = (_RUN, _REPORT, _ANIMATION, "versions", "assignments", "vectors")
_UNFINISHED = (WORK_FOLDER, TRAINING_FOLDER)
_FORMAT, _SCHEMA_VERSION = "holdfast taxonomy", 1
_CURRENT = 1  # the only version there is until taxonomies can be updated

_LARGEST = 1 << 24  # clusters, or columns: beyond it a number is a mistake
_ABSENT = object()
_KEYS: dict[str, type | tuple[type, ...]] = {
    "cluster_count": (dict, NoneType),
    "command": str,
    "d": int,
    "device": str,
    "encoder": (str, NoneType),
    "encoder_recipe": (str, NoneType),
    "evidence": dict,
    "n_clusters": int,
    "quarantined": list,
    "seconds": dict,
    "source": str,
    "start": str,
    "started": str,
}
"""What the commands read in `run.json`; the rest is for people."""


@dataclass(frozen=True)
class TaxonomyFolder:
    """A taxonomy folder, complete or being filled.

    Parameters
    ----------
    root : Path
        The folder.
    """

    root: Path

    @property
    def report_path(self) -> Path:
        """Where the report is."""
        return self.root / _REPORT

    @property
    def animation_path(self) -> Path:
        """Where the animation of a mixture is, if there is one."""
        return self.root / _ANIMATION

    def write_fit(self, model: Any, emb: Embeddings) -> AssignmentTable:
        """Write a fitted estimator, the rows it was fitted on, and their clusters.

        Parameters
        ----------
        model : fitted estimator
            Its `labels_` belong to the rows of `emb`.
        emb : Embeddings of n rows
            Stored in half precision where that is precise enough.

        Returns
        -------
        AssignmentTable
            What was stored. The clusters are those of the fit, in full precision: for these ids they are
            the truth, even where a prediction from the stored vectors would differ.
        """
        from holdfast.persistence import save  # torch takes a second to import: not for every message

        assignments = AssignmentTable.fitted(model, emb)
        save(model, self._model_path)
        write_assignments(assignments, self._assignments_path)
        write_embeddings(emb, self._vectors_path / "part-00001.parquet", dtype=precision(emb.X))
        return assignments

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Write down what was asked, seen and decided."""
        whole = jsonable({**run, "format": _FORMAT, "schema_version": _SCHEMA_VERSION})
        write_json(self.root / _RUN, {**whole, "sha256": document_sum(whole)})

    def read_run(self) -> dict[str, Any]:
        """Return what `write_run` wrote.

        Raises
        ------
        ModelFileError
            If it is missing, damaged, incomplete, foreign, or written by a newer holdfast.
        """
        path = self.root / _RUN
        run = _read_json(path)
        if run.get("format") != _FORMAT:
            raise ModelFileError(f"{path} was not written by holdfast: give one that fit or run wrote.")
        if run.get("schema_version") != _SCHEMA_VERSION:
            raise ModelFileError(
                f"{path} has schema version {run.get('schema_version')!r}, this holdfast reads "
                f"{_SCHEMA_VERSION}: upgrade holdfast."
            )
        for key, kinds in _KEYS.items():
            if not isinstance(run.get(key, _ABSENT), kinds):
                found = f"{run[key]!r:.40}" if key in run else "missing"
                raise _damaged(path, f"its {key!r} is {found}")
        _check_values(path, run)
        return run

    def load_model(self) -> Any:
        """Return the fitted estimator.

        Raises
        ------
        ModelFileError
            If its files are missing, damaged, or written by a newer holdfast.
        """
        from holdfast.persistence import load

        return load(self._model_path)

    def load_assignments(self) -> AssignmentTable:
        """Return the clusters of the items that were fitted.

        Raises
        ------
        ModelFileError
            If the table is missing or damaged.
        """
        return read_assignments(self._assignments_path)

    def load_embeddings(self, *, mmap_dir: str | os.PathLike[str] | None = None) -> Embeddings:
        """Return the collection: the vectors as they were stored, in the order of the assignments.

        Parameters
        ----------
        mmap_dir : path-like, optional
            A folder for a collection that may be larger than the memory: see `holdfast.read_embeddings`.

        Raises
        ------
        ModelFileError
            If a part is missing or damaged.
        OutputError
            If `mmap_dir` cannot be written to.
        """
        parts = self._parts()
        if not parts:
            raise ModelFileError(f"{self._vectors_path} holds no vectors: restore it or run the fit again.")
        try:
            return read_parts(parts, mmap_dir)
        except InputError as error:
            raise _damaged(self._vectors_path, error) from error

    def load_collection(self) -> Embeddings:
        """Return the collection; a large one as a memory map of a file beside the folder.

        Raises
        ------
        ModelFileError
            If a part is missing or damaged.
        """
        return self.load_embeddings(
            mmap_dir=scratch_folder(self.vectors_shape(), [self.root.parent, self.root])
        )

    def vectors_shape(self) -> tuple[int, int] | None:
        """Return rows and columns of the collection by a look at its files; None if they are damaged."""
        return shape_of_parts(self._parts())

    def _parts(self) -> list[Path]:
        return sorted(self._vectors_path.glob("part-*.parquet"))

    @property
    def _model_path(self) -> Path:
        return self.root / "versions" / str(_CURRENT)

    @property
    def _assignments_path(self) -> Path:
        return self.root / "assignments" / f"{_CURRENT}.parquet"

    @property
    def _vectors_path(self) -> Path:
        return self.root / "vectors"


def open_taxonomy(folder: str | os.PathLike[str]) -> TaxonomyFolder:
    """Open a folder that a fit wrote.

    Parameters
    ----------
    folder : path-like

    Raises
    ------
    ModelFileError
        If it is missing, no taxonomy folder, or written by a newer holdfast.
    """
    opened = TaxonomyFolder(Path(folder))
    opened.read_run()
    return opened


def check_target(folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Refuse a folder that a taxonomy could not be written to; for the time before the long work.

    Parameters
    ----------
    folder : path-like
        The folder that is to become a taxonomy.
    overwrite : bool, default=False
        Whether an earlier taxonomy there may be replaced.

    Raises
    ------
    OutputError
        If something is there that would be lost, or nothing can be written there.
    """
    target = target_path(folder)
    try:
        _check_contents(folder, target, overwrite=overwrite)
        # The folders above may be missing too. They are tried out of sight, so that nothing is left behind.
        above = next(parent for parent in target.parents if parent.exists())
        with tempfile.TemporaryDirectory(prefix=".tmp-", dir=above) as trial:
            (Path(trial) / target.relative_to(above)).mkdir(parents=True)
    except OutputError:
        raise
    except OSError as error:
        raise output_error(folder, error) from error


@contextmanager
def create_taxonomy(folder: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[TaxonomyFolder]:
    """Give a temporary taxonomy folder to fill; on success it becomes `folder`, else it is removed.

    What was there before stays until the new one is complete.

    Parameters
    ----------
    folder : path-like
        The folder to make.
    overwrite : bool, default=False
        Whether an earlier taxonomy there may be replaced.

    Raises
    ------
    OutputError
        If something is there that would be lost, or it cannot be written.
    """
    _check_contents(folder, target_path(folder), overwrite=overwrite)
    with atomic_folder(folder, owned=(*_LAYOUT, *_UNFINISHED)) as temporary:
        yield TaxonomyFolder(temporary)


def is_taxonomy(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a folder was written by `create_taxonomy`, by whatever version of holdfast."""
    try:
        return bool(_read_json(Path(folder) / _RUN).get("format") == _FORMAT)
    except ModelFileError:
        return False


def _check_contents(folder: str | os.PathLike[str], target: Path, *, overwrite: bool) -> None:
    """Refuse to replace anything but an empty folder, an unfinished run or, when told so, a taxonomy."""
    if target.exists() and not target.is_dir():
        raise OutputError(f"{folder} is a file; give the name of a folder to write.")
    above = next(parent for parent in target.parents if parent.exists())
    if not above.is_dir():
        raise OutputError(f"Cannot write {folder} ({above} is a file): give another folder.")
    names = {entry.name for entry in target.iterdir()} if target.exists() else set()
    foreign = sorted(names - set(_UNFINISHED) - (set(_LAYOUT) if is_taxonomy(target) else set()))
    if foreign:
        raise OutputError(
            f"{folder} holds {foreign[0]!r}, which would be lost: give another folder, or empty this one."
        )
    if _RUN in names and not overwrite:
        raise OutputError(
            f"{folder} holds a taxonomy already: give another folder, or replace it with --overwrite."
        )


def _check_values(path: Path, run: Mapping[str, Any]) -> None:
    """Refuse numbers that cannot be, and a document that is not the one that was written.

    The checksum is missing from folders that an early holdfast wrote.
    """
    for key in ("seconds", "evidence"):
        for name, value in run[key].items():
            if not isinstance(value, int | float | NoneType):
                raise _damaged(path, f"its {key!r} of {name!r} is {value!r:.40}")
    for key in ("d", "n_clusters"):
        if not 1 <= run[key] <= _LARGEST:
            raise _damaged(path, f"its {key!r} is {run[key]!r:.40}")
    rest = {key: value for key, value in run.items() if key != "sha256"}
    if "sha256" in run and run["sha256"] != document_sum(rest):
        raise _damaged(path, "it was changed after it was written")


def _why_no_taxonomy(run_json: Path) -> str:
    if not run_json.parent.exists():
        return "is no taxonomy folder (it does not exist)"
    return f"is no taxonomy folder ({run_json.name} is missing)"


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        if what_is(path) == "pipe or a device":
            raise _damaged(path, "it is a pipe or a device")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelFileError(
            where_it_went(path.parent)
            or f"{path.parent} {_why_no_taxonomy(path)}: give one that fit or run wrote."
        ) from error
    except OSError as error:
        raise _damaged(path, error.strerror or error) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    if not isinstance(document, dict):
        raise _damaged(path, "it is no JSON object")
    return document


def _damaged(path: Path, reason: object) -> ModelFileError:
    """Say that a part of the folder cannot be used."""
    first_line = str(reason).partition("\n")[0].rstrip(".").removesuffix(": write it again")
    return ModelFileError(f"{path} cannot be used ({first_line}): restore it or run the fit again.")
