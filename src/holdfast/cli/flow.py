"""From a collection to a taxonomy folder: embed, fit, write, report. The commands only parse and print.

Nothing here knows a terminal, so all of it can be called from Python and from tests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from holdfast import __version__
from holdfast._choices import DEC_CHOICES, METHODS
from holdfast._validation import check_choice, check_int
from holdfast.cli.sources import (
    Collection,
    check_table,
    embed_resumably,
    load_digits,
    pictures_of,
    read_table,
)
from holdfast.exceptions import InputError, ParameterError
from holdfast.taxonomy import TRAINING_FOLDER, WORK_FOLDER, check_target, create_taxonomy, open_taxonomy

if TYPE_CHECKING:
    from holdfast.cli.screen import Watch
    from holdfast.report import Report

__all__ = [
    "Fitting",
    "Outcome",
    "Target",
    "fit_digits",
    "fit_images",
    "fit_table",
    "render_again",
    "silent",
]


@dataclass(frozen=True)
class Fitting:
    """How to cluster: the options of `run`, `fit` and `demo`, as an estimator takes them."""

    n_clusters: int | Literal["auto"] = "auto"
    method: str = "dec"
    init: str = "auto"
    seed: int = 0
    device: str = "auto"
    subsample: int | Literal["auto"] | None = "auto"

    def estimator(self) -> Any:
        """Build the estimator, unfitted.

        Raises
        ------
        ParameterError
            If there is no such method, start, seed or device.
        """
        import holdfast

        name = METHODS[check_choice("method", self.method, tuple(METHODS))]
        # Constructors check nothing, and the images are embedded before the fit would.
        check_choice("init", self.init, DEC_CHOICES["init"])
        check_int("seed", self.seed, 0, 2**32 - 1)
        self.chosen_device()
        return getattr(holdfast, name)(
            n_clusters=self.n_clusters,
            init=self.init,
            subsample=self.subsample,
            device=self.device,
            random_state=self.seed,
        )

    def chosen_device(self) -> Any:
        """Return the torch device that the work will run on.

        Raises
        ------
        ParameterError
            If this machine has no such device.
        """
        from holdfast.training.batches import resolve_device

        return resolve_device(self.device)


@dataclass(frozen=True)
class Target:
    """Where the taxonomy goes, and the command that asked for it."""

    folder: Path
    command: str
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a fit left behind: the folder, the report as data, and what `run.json` says."""

    folder: Path
    report: Report
    run: Mapping[str, Any]

    @property
    def report_path(self) -> Path:
        """The report as a file."""
        return self.folder / "report.html"


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


def silent(stage: str, done: int, total: int) -> None:
    """Watch the progress and say nothing."""


def fit_table(table: Path, fitting: Fitting, target: Target, watch: Watch = silent) -> Outcome:
    """Cluster a table of embeddings and leave a taxonomy folder.

    Whatever interrupts a long fit, calling this again goes on from a checkpoint that waits in the target.

    Parameters
    ----------
    table : Path
        A .parquet, .npz, .npy or .csv file.
    fitting : Fitting
        How.
    target : Target
        Where to. It is tried before the work begins and replaced only when all is done.
    watch : callable, optional
        Told of the progress.

    Raises
    ------
    InputError
        If the table or a parameter cannot be used.
    OutputError
        If the folder cannot be written.
    """
    # A table can take minutes to read: what is wrong from the start is said before.
    check_target(target.folder, overwrite=target.overwrite)
    check_table(table)
    fitting.estimator()
    clock = Clock()
    with clock.stage("read"):
        collection = read_table(table, target.folder)
    return _fit_and_write(collection, fitting, target, watch, clock)


def fit_images(
    folder: Path, encoder: str, fitting: Fitting, target: Target, watch: Watch = silent
) -> Outcome:
    """Embed a folder of images, cluster it and leave a taxonomy folder.

    Whatever interrupts it, calling it again does only what is missing: finished vectors wait in the target,
    and so does the checkpoint of a long fit.

    Parameters
    ----------
    folder : Path
        The images.
    encoder : str
        Name or folder of the model that embeds them.
    fitting : Fitting
        How to cluster.
    target : Target
        Where to.
    watch : callable, optional
        Told of the progress.

    Raises
    ------
    InputError
        If the folder, the encoder or a parameter cannot be used.
    OutputError
        If the target cannot be written.
    MissingDependencyError
        If transformers is not installed.
    """
    from holdfast.embedding import Embedder
    from holdfast.images import list_images

    check_target(target.folder, overwrite=target.overwrite)
    # What is wrong from the start should be said before the model is loaded and the images embedded.
    _check_enough(folder, len(list_images(folder)), fitting)
    fitting.estimator()
    clock = Clock()
    with clock.stage("embed"):
        embedder = Embedder.from_pretrained(encoder, device=fitting.device)
        collection = embed_resumably(folder, embedder, watch, target.folder / WORK_FOLDER)
    return _fit_and_write(collection, fitting, target, watch, clock)


def fit_digits(fitting: Fitting, target: Target, watch: Watch = silent) -> Outcome:
    """Cluster the handwritten digits of scikit-learn, which need no download, and leave a taxonomy folder.

    Parameters
    ----------
    fitting : Fitting
        How.
    target : Target
        Where to.
    watch : callable, optional
        Told of the progress.

    Raises
    ------
    OutputError
        If the target cannot be written.
    """
    check_target(target.folder, overwrite=target.overwrite)
    return _fit_and_write(load_digits(), fitting, target, watch, Clock())


def render_again(folder: Path, out: Path | None = None) -> tuple[Path, Report]:
    """Build the report of a taxonomy folder anew, from what the folder holds.

    Parameters
    ----------
    folder : Path
        The taxonomy.
    out : Path, optional
        Another place than the folder's own ``report.html``.

    Returns
    -------
    path : Path
        The report.
    report : Report
        The same as data.

    Raises
    ------
    InputError
        If the folder is none of ours, or damaged.
    OutputError
        If the report cannot be written.
    """
    from holdfast.report import build_report, write_report

    taxonomy = open_taxonomy(folder)
    run, emb, model = taxonomy.read_run(), taxonomy.load_collection(), taxonomy.load_model()
    image_of = pictures_of(emb, run.get("pictures"))
    report = build_report(model, emb, image_of=image_of, run=_shown_in_report(run))
    return write_report(report, out or taxonomy.report_path), report


def _fit_and_write(
    collection: Collection, fitting: Fitting, target: Target, watch: Watch, clock: Clock
) -> Outcome:
    """Do what every source has in common."""
    from holdfast.report import build_report, write_report

    with clock.stage("fit"):
        model = _fit(collection, fitting, target.folder / TRAINING_FOLDER, watch)
    watch("report", 0, 0)
    with create_taxonomy(target.folder, overwrite=target.overwrite) as taxonomy:
        with clock.stage("write"):
            taxonomy.write_fit(model, collection.emb)
        run = _describe(collection, fitting, model, target, clock)
        with clock.stage("report"):
            image_of = pictures_of(collection.emb, collection.pictures)
            report = build_report(model, collection.emb, image_of=image_of, run=_shown_in_report(run))
            write_report(report, taxonomy.report_path)
        run |= {"seconds": clock.seconds, "scores": _scores(report), "versions": _versions(report)}
        taxonomy.write_run(run)
    return Outcome(target.folder, report, run)


def _fit(collection: Collection, fitting: Fitting, checkpoint: Path, watch: Watch) -> Any:
    """Fit on the vectors alone; the labels stay where they are.

    The checkpoint of a long fit stays until the taxonomy replaces the folder that it is in.
    """
    from holdfast.training import report_to
    from holdfast.training.checkpoint import kept

    model = fitting.estimator().set_params(checkpoint=checkpoint)
    _check_enough(collection.source, len(collection.emb), fitting)
    watch("start", 0, 0)
    try:
        with kept(), report_to(lambda stage, done, total, _signals: watch(stage, done, total)):
            model.fit(collection.emb.X)
    except ParameterError:
        raise
    except InputError as error:
        raise InputError(f"{collection.source}: {error}") from error
    return model.set_params(checkpoint=None)  # a path of this machine is nothing for a record


def _check_enough(source: str | Path, n_items: int, fitting: Fitting) -> None:
    """Refuse a collection that is too small to be clustered as asked."""
    wanted = 2 if fitting.n_clusters == "auto" else fitting.n_clusters
    if n_items < max(wanted, 2):
        has = "only 1 item" if n_items == 1 else f"{n_items} items"
        asked = f", fewer than the {wanted} clusters asked for" if wanted > 2 else ""
        raise InputError(f"{source} has {has}{asked}: give at least {max(wanted, 2)}.")


def _describe(
    collection: Collection, fitting: Fitting, model: Any, target: Target, clock: Clock
) -> dict[str, Any]:
    """Collect what `run.json` says, as far as it is known before the report is made."""
    emb = collection.emb
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
        "cluster_count": None if model.cluster_count_ is None else asdict(model.cluster_count_),
        "start": model.start_,
        "evidence": model.evidence_,
        "n_iter": model.n_iter_,
        "converged": model.converged_,
        "quarantined": [{"path": item.path, "reason": item.reason} for item in collection.quarantined],
        "seconds": dict(clock.seconds),
    }


def _shown_in_report(run: Mapping[str, Any]) -> dict[str, Any]:
    """Choose what the report says of a run; the estimator tells the rest itself."""
    stages = ("read", "embed", "fit")
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
        "images set aside": f"{len(quarantined)}, see run.json" if quarantined else None,
    }


def _scores(report: Report) -> dict[str, dict[str, float]] | None:
    """Return what the labels say of the start and the result, where there are labels."""
    if report.agreement is None:
        return None
    by_name = {scores.name.partition(" ")[0]: scores for scores in report.agreement.scores}
    return {
        name: {"acc": s.acc, "nmi": s.nmi, "ari": s.ari, "purity": s.purity} for name, s in by_name.items()
    }


def _versions(report: Report) -> dict[str, str]:
    return {"holdfast": __version__} | {fact.name: fact.value for fact in report.recipe.versions}
