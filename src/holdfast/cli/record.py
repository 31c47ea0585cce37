"""What `run.json` says of a fit, and what the report repeats of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import __version__
from holdfast.cli.fitting import Fitting
from holdfast.cli.sources import Collection

if TYPE_CHECKING:
    from holdfast.report import Report

__all__ = ["Clock", "Target", "describe", "scores_of", "shown_in_report", "versions_of"]


@dataclass(frozen=True)
class Target:
    """Where the taxonomy goes, and the command that asked for it."""

    folder: Path
    command: str
    overwrite: bool = False


@dataclass
class Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a ``with`` block."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begin, 3)


def describe(
    collection: Collection, fitting: Fitting, model: Any, target: Target, clock: Clock
) -> dict[str, Any]:
    """Collect what `run.json` says, as far as it is known before the report is made."""
    from holdfast.report.compare import start_of

    emb, count = collection.emb, getattr(model, "cluster_count_", None)
    return {
        "command": target.command,
        "started": clock.started,
        "source": collection.source,
        "pictures": collection.pictures,
        "encoder": collection.encoder,
        "encoder_recipe": emb.encoder,
        "n": len(emb),
        "d": emb.X.shape[1],
        "method": fitting.method,
        "seed": fitting.seed,
        "device": str(fitting.chosen_device()),
        "parameters": {name: v for name, v in model.get_params(deep=False).items() if name != "checkpoint"},
        "n_clusters": model.n_clusters_,
        "n_clusters_asked": fitting.n_clusters,
        "cluster_count": None if count is None else asdict(count),
        "levels": {str(level): clusters for level, clusters in model.levels_.items()},
        "start": start_of(model) or "first",
        "evidence": model.evidence_,
        "members": getattr(model, "members_", None),
        "abstained": int((model.labels_ < 0).sum()),
        "n_iter": model.n_iter_,
        "converged": model.converged_,
        "quarantined": [{"path": item.path, "reason": item.reason} for item in collection.quarantined],
        "seconds": dict(clock.seconds),
    }


def shown_in_report(run: Mapping[str, Any]) -> dict[str, Any]:
    """Choose what the report says of a run; the estimator tells the rest itself."""
    stages = ("read", "embed", "fit", "quality")
    seconds = {stage: run["seconds"][stage] for stage in stages if stage in run["seconds"]}
    quarantined = run["quarantined"]
    return {
        "source": run["source"],
        "date": run["started"],
        "seconds": sum(seconds.values()),
        "command": run["command"],
        "encoder": run["encoder"],
        "encoder recipe": run["encoder_recipe"],
        "device": run["device"],
        "number of clusters": (run["cluster_count"] or {}).get("message"),
        "seconds by stage": ", ".join(f"{stage} {value:.1f}" for stage, value in seconds.items()),
        "animation": run.get("animation"),
        "images set aside": f"{len(quarantined)}, see run.json" if quarantined else None,
    }


def scores_of(report: Report) -> dict[str, dict[str, float]] | None:
    """Return what the labels say of the start and the result, where there are labels."""
    if report.agreement is None:
        return None
    by_name = {scores.name.partition(" ")[0]: scores for scores in report.agreement.scores}
    return {
        name: {"acc": s.acc, "nmi": s.nmi, "ari": s.ari, "purity": s.purity} for name, s in by_name.items()
    }


def versions_of(report: Report) -> dict[str, str]:
    """Return the versions that the report names, ours first."""
    return {"holdfast": __version__} | {fact.name: fact.value for fact in report.recipe.versions}
