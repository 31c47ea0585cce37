"""Which checks are made of what. A new check is a function in one of the lists that are asked here."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from holdfast._wording import count
from holdfast.doctor.drift import DRIFT_CHECKS, Pair
from holdfast.doctor.findings import Diagnosis, Finding, from_sentence
from holdfast.doctor.fitted import RESULT_CHECKS
from holdfast.doctor.folders import Parts, is_taxonomy_like, read_model_folder, read_taxonomy
from holdfast.doctor.geometry import GEOMETRY_CHECKS
from holdfast.doctor.labels import LABEL_CHECKS
from holdfast.doctor.specimen import Specimen
from holdfast.doctor.values import VALUE_CHECKS, duplicate_ids, few_rows, half_precision, not_finite
from holdfast.exceptions import InputError
from holdfast.io import table_shape
from holdfast.io.scratch import scratch_folder
from holdfast.io.tables import read_raw

__all__ = ["examine"]

Watch = Callable[[str, int, int], None]
T = TypeVar("T")

_ENOUGH_ROWS = 50


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # a damaged number may be as large as they get
def examine(
    path: str | os.PathLike[str], table: str | os.PathLike[str] | None = None, watch: Watch | None = None
) -> Diagnosis:
    """Explain a table of embeddings, a saved model or a taxonomy folder.

    Of large tables, what costs more than one pass is judged on a random sample of 5,000 rows.

    Parameters
    ----------
    path : path-like
        A .parquet, .npz, .npy or .csv table, a folder that :func:`holdfast.save` wrote, or a taxonomy.
    table : path-like, optional
        For a model or a taxonomy: a table to compare with what it was fitted on.
    watch : callable, optional
        Told of the progress: what is looked at, checks made and checks in all.

    Returns
    -------
    Diagnosis
        Damage is a finding, not an exception.

    Raises
    ------
    InputError
        If there is nothing at a path, or a table is given with a table.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/emb.npy", np.full((60, 3), np.nan))
    ...     [finding.code for finding in examine(f"{folder}/emb.npy").findings]
    ['not-finite']
    """
    source = Path(path)
    for given in (source, *([] if table is None else [Path(table)])):
        if not given.exists():
            raise InputError(f"{given} does not exist: check the path.")
    tell = watch or (lambda _stage, _done, _total: None)
    if not source.is_dir():
        if table is not None:
            raise InputError(f"{source} is a file: a second table is compared with a model or a taxonomy.")
        return _examine_table(source, tell)
    tell("read", 0, 0)
    try:
        return _examine_folder(source, table, tell)
    except OSError as error:  # the parts have their own sentences; this is about the folder itself
        sentence = InputError(f"{source} cannot be read ({error.strerror or error}): check its permissions.")
        return Diagnosis.of(str(source), "unknown", [from_sentence("unreadable", sentence)], {})


def _examine_table(path: Path, tell: Watch) -> Diagnosis:
    tell("read", 0, 0)
    try:
        specimen, encoder = _read(path)
    except InputError as error:
        return Diagnosis.of(str(path), "table", [from_sentence("unreadable", error)], {})
    findings = _ask([*VALUE_CHECKS, *GEOMETRY_CHECKS], specimen, tell, "examine")
    if specimen.labels is not None:
        findings += _ask(LABEL_CHECKS, specimen, tell, "labels")
    return Diagnosis.of(str(path), "table", findings, {**_table_facts(specimen), "encoder": encoder})


def _examine_folder(folder: Path, table: str | os.PathLike[str] | None, tell: Watch) -> Diagnosis:
    if is_taxonomy_like(folder):
        return _examine_parts(folder, "taxonomy", read_taxonomy(folder), table, tell)
    if (folder / "manifest.json").exists():
        return _examine_parts(folder, "model", read_model_folder(folder), table, tell)
    return Diagnosis.of(str(folder), "unknown", [_no_folder_of_ours(folder)], {})


def _examine_parts(
    path: Path, kind: str, parts: Parts, table: str | os.PathLike[str] | None, tell: Watch
) -> Diagnosis:
    """Examine a model with what a run left around it."""
    findings, facts = list(parts.findings), dict(parts.facts)
    if parts.result is not None:
        findings += _ask(RESULT_CHECKS, parts.result, tell, "result")
    if parts.collection is not None:
        ours = [check for check in VALUE_CHECKS if check not in (few_rows, half_precision)]
        findings += _ask([*ours, *GEOMETRY_CHECKS], parts.collection, tell, "vectors")
        if parts.collection.labels is not None:
            findings += _ask(LABEL_CHECKS, parts.collection, tell, "labels")
        facts |= {"vectors": _table_facts(parts.collection)}
    if table is not None:
        found, seen = _compare(Path(table), parts, tell)
        findings, facts = [*findings, *found], facts | {"table": seen}
    return Diagnosis.of(str(path), kind, findings, facts)


def _compare(table: Path, parts: Parts, tell: Watch) -> tuple[list[Finding], dict[str, Any]]:
    """Set a table against what was fitted."""
    try:
        specimen, encoder = _read(table)
    except InputError as error:
        return [from_sentence("unreadable-table", error)], {"path": str(table)}
    width = specimen.width if parts.width is None else parts.width
    pair = Pair(specimen, width, parts.collection, encoder, parts.encoder)
    findings = _ask([not_finite, duplicate_ids], specimen, tell, "table")
    findings += _ask(DRIFT_CHECKS, pair, tell, "compare")
    return findings, {"path": str(table), "rows": len(specimen), "width": specimen.width, "encoder": encoder}


def _read(path: Path) -> tuple[Specimen, str | None]:
    """Read a table with its faults; a large one into a memory map."""
    raw = read_raw(path, mmap_dir=scratch_folder(table_shape(path), [path.parent]))
    return Specimen(raw.X, raw.ids, raw.labels, raw.paths, raw.dtype), raw.encoder


def _ask(
    checks: Sequence[Callable[[T], Finding | None]], subject: T, tell: Watch, stage: str
) -> list[Finding]:
    """Make the checks, one after the other."""
    findings = []
    for done, check in enumerate(checks):
        tell(stage, done, len(checks))
        findings.append(check(subject))
    return [finding for finding in findings if finding is not None]


def _table_facts(table: Specimen) -> dict[str, Any]:
    """Repeat what was measured, for whoever wants the numbers."""
    norms = table.survey.norms[table.usable]
    facts: dict[str, Any] = {
        "rows": len(table),
        "width": table.width,
        "dtype": str(table.dtype),
        "usable_rows": len(table.usable),
        "classes": None if table.labels is None else len(table.classes[0]),
        "sampled_rows": len(table.rows),
        "median_length": round(float(np.median(norms)), 6) if norms.size else None,
    }
    if len(table.distinct) >= _ENOUGH_ROWS:
        dimension = table.intrinsic_dimension
        facts |= {
            "mean_cosine": round(table.mean_cosine, 4),
            "principal_share": round(table.principal_share, 4),
            "intrinsic_dimension": round(dimension, 2) if math.isfinite(dimension) else None,
        }
    if len(table.many) >= _ENOUGH_ROWS:
        facts["structure"] = round(table.structure, 4)
    return facts


def _no_folder_of_ours(folder: Path) -> Finding:
    """Say what a folder without our files may be."""
    from holdfast.taxonomy import TRAINING_FOLDER, WORK_FOLDER

    again = "Give the same command again: it does only what is missing."
    if (folder / TRAINING_FOLDER).is_dir():
        what = "This run has not finished training; it holds a checkpoint and no result."
        return Finding("unfinished-run", "error", what, again)
    if (folder / WORK_FOLDER).is_dir():
        parts = len(list((folder / WORK_FOLDER).rglob("part-*")))
        return Finding(
            "unfinished-run", "error",
            f"This run has not finished embedding; it holds {count(parts, 'part')} of vectors and no result.",
            again,
        )  # fmt: skip
    return Finding(
        "not-ours", "error",
        "This folder holds neither a taxonomy (run.json) nor a model (manifest.json).",
        "Give a folder that run, fit, demo or holdfast.save wrote; for images, holdfast embed makes a table.",
    )  # fmt: skip
