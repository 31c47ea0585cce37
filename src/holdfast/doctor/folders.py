"""Reading a model or a taxonomy part by part, so that damage in one is a finding and not the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from holdfast._wording import count
from holdfast.doctor.findings import Finding, from_sentence
from holdfast.doctor.fitted import Result
from holdfast.doctor.specimen import Specimen
from holdfast.exceptions import InputError
from holdfast.io import Embeddings
from holdfast.io.tensors import load_tensors
from holdfast.persistence import load
from holdfast.taxonomy import AssignmentTable, TaxonomyFolder

__all__ = ["Parts", "is_taxonomy_like", "read_model_folder", "read_taxonomy"]

T = TypeVar("T")

_AGAIN = "Restore the folder, or run the fit again."


@dataclass(frozen=True, eq=False)
class Parts:
    """What could be read of a folder.

    Attributes
    ----------
    findings : list of Finding
        What could not, and what does not fit together.
    result : Result or None
    collection : Specimen or None
        The stored vectors.
    width : int or None
        Columns that the model was fitted on.
    encoder : str or None
        The recipe of the vectors.
    facts : dict
    """

    findings: list[Finding]
    result: Result | None = None
    collection: Specimen | None = None
    width: int | None = None
    encoder: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def is_taxonomy_like(folder: Path) -> bool:
    """Tell whether a folder is, or was, a taxonomy."""
    return (folder / "run.json").exists() or (
        (folder / "versions").is_dir() and (folder / "vectors").is_dir()
    )


def read_model_folder(folder: Path) -> Parts:
    """Read what :func:`holdfast.save` wrote."""
    findings: list[Finding] = []
    model = _try(lambda: load(folder), "damaged-model", findings)
    if model is None:
        return Parts(findings)
    libraries = load_tensors(folder)[1].get("libraries") or {}
    result = Result(
        labels=np.asarray(model.labels_),
        n_clusters=int(model.n_clusters_),
        converged=getattr(model, "converged_", None),
        n_iter=getattr(model, "n_iter_", None),
        start=str(getattr(model, "start_", "")),
        evidence=_numbers(getattr(model, "evidence_", None)),
        libraries=libraries,
        model=model,
    )
    width = int(model.n_features_in_)
    facts = {"estimator": type(model).__name__, "width": width, **_result_facts(result)}
    return Parts(findings, result, width=width, facts=facts)


def read_taxonomy(folder: Path) -> Parts:
    """Read what a fit left behind."""
    findings: list[Finding] = []
    taxonomy = TaxonomyFolder(folder)
    run = _try(taxonomy.read_run, "damaged-run", findings) or {}
    model = _try(taxonomy.load_model, "damaged-model", findings, _AGAIN)
    assigned = _try(lambda: _assignments(taxonomy), "damaged-assignments", findings)
    emb = _try(taxonomy.load_collection, "damaged-vectors", findings)
    findings += _disagreements(taxonomy, run, assigned, emb)
    fitting = emb is not None and assigned is not None and np.array_equal(emb.ids, assigned.ids)
    result = None if assigned is None else _result(run, model, assigned, emb if fitting else None)
    width = run.get("d") or (None if emb is None else emb.X.shape[1])
    collection = None if emb is None else Specimen(emb.X, emb.ids, emb.labels, emb.paths)
    facts = {
        "command": run.get("command"),
        "source": run.get("source"),
        "started": run.get("started"),
        **({} if result is None else _result_facts(result)),
    }
    return Parts(findings, result, collection, width, run.get("encoder_recipe"), facts)


def _result(run: Mapping[str, Any], model: Any, assigned: AssignmentTable, emb: Embeddings | None) -> Result:
    """Put together what the checks ask for."""
    used = int(assigned.cluster.max(initial=-1)) + 1
    return Result(
        labels=np.asarray(assigned.cluster),
        n_clusters=max(int(run.get("n_clusters") or 0), used),
        confidence=assigned.confidence,
        converged=run.get("converged"),
        n_iter=n_iter if isinstance(n_iter := run.get("n_iter"), int) else None,
        start=str(run.get("start", "")),
        evidence=_numbers(run.get("evidence")),
        libraries=versions if isinstance(versions := run.get("versions"), dict) else {},
        quarantined=len(run.get("quarantined") or []),
        model=model,
        X=None if emb is None else emb.X,
        ids=assigned.ids,
    )


def _disagreements(
    taxonomy: TaxonomyFolder, run: Mapping[str, Any], assigned: AssignmentTable | None, emb: Embeddings | None
) -> list[Finding]:
    """Find parts that are there and do not belong together, or that are missed by people only."""
    findings = []
    if assigned is not None and emb is not None and not np.array_equal(emb.ids, assigned.ids):
        both = f"{count(len(emb), 'item')} and the assignments of {count(len(assigned), 'item')}"
        what = f"The vectors are of {both}, and they are not the same ones in the same order."
        findings.append(Finding("different-items", "error", what, _AGAIN))
    if assigned is not None and run.get("n", len(assigned)) != len(assigned):
        what = f"run.json speaks of {run['n']} items and the assignments hold {len(assigned):,}."
        findings.append(Finding("other-count", "warning", what, _AGAIN))
    if not taxonomy.report_path.exists():
        what, remedy = "report.html is missing.", "Make it anew with holdfast report."
        findings.append(Finding("missing-report", "note", what, remedy))
    return findings


def _result_facts(result: Result) -> dict[str, Any]:
    sizes = result.sizes
    confidence = result.confidence
    return {
        "items": len(result.labels),
        "n_clusters": result.n_clusters,
        "smallest": int(sizes.min(initial=len(result.labels))),
        "largest": int(sizes.max(initial=0)),
        "noise": int((result.labels < 0).sum()),
        "mean_confidence": None if confidence is None else round(float(confidence.mean()), 4),
        "start": result.start or None,
        "evidence": dict(result.evidence),
        "converged": result.converged,
    }


def _numbers(evidence: Any) -> dict[str, float]:
    """Keep what is a number: JSON has null where there was none."""
    if not isinstance(evidence, Mapping):
        return {}
    return {str(k): float(v) for k, v in evidence.items() if isinstance(v, int | float) and v == v}


def _assignments(taxonomy: TaxonomyFolder) -> AssignmentTable:
    """Read the clusters, and make sure that they are some: there are no more of them than items."""
    table = taxonomy.load_assignments()
    cluster = np.asarray(table.cluster)
    if cluster.dtype.kind not in "iu" or not len(cluster) or int(cluster.max()) >= len(cluster):
        raise InputError(
            f"The assignments of {taxonomy.root} are no numbers of clusters: restore the folder."
        )
    return table


def _try(read: Callable[[], T], code: str, findings: list[Finding], remedy: str | None = None) -> T | None:
    """Read a part, or note what is wrong with it, with another remedy where the error's own does not fit."""
    try:
        return read()
    except InputError as error:
        found = from_sentence(code, error)
        findings.append(found if remedy is None else replace(found, remedy=remedy))
        return None
