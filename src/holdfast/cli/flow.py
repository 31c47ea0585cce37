"""From a collection to a taxonomy folder: embed, fit, write, report. The commands only parse and print.

Nothing here knows a terminal, so all of it can be called from Python and from tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli.expected import as_document, from_document, predicted
from holdfast.cli.fitting import Fitting
from holdfast.cli.moving import animation_name, write_animation_of
from holdfast.cli.record import Clock, Target, describe, scores_of, shown_in_report, versions_of
from holdfast.cli.sources import (
    Collection,
    check_table,
    embed_resumably,
    load_bells,
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
    "fit_bells",
    "fit_digits",
    "fit_images",
    "fit_table",
    "render_again",
    "silent",
]


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

    @property
    def animation_path(self) -> Path | None:
        """The moving picture of a mixture, where there is one."""
        name = self.run.get("animation")
        return None if name is None else self.folder / str(name)


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


def fit_bells(fitting: Fitting, target: Target, watch: Watch = silent) -> Outcome:
    """Find the bells of a known mixture, which are drawn here, and leave a taxonomy folder.

    Parameters
    ----------
    fitting : Fitting
        How; its seed is also that of the draws.
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
    return _fit_and_write(load_bells(fitting.seed), fitting, target, watch, Clock())


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
    quality = from_document(run.get("quality"))
    shown = shown_in_report(run)
    if out is not None or not taxonomy.animation_path.is_file():
        shown["animation"] = None  # a page elsewhere has nothing beside it
    report = build_report(model, emb, image_of=image_of, run=shown, quality=quality)
    return write_report(report, out or taxonomy.report_path), report


def _fit_and_write(
    collection: Collection, fitting: Fitting, target: Target, watch: Watch, clock: Clock
) -> Outcome:
    """Do what every source has in common."""
    from holdfast.report import build_report, write_report

    with clock.stage("fit"):
        model = _fit(collection, fitting, target.folder / TRAINING_FOLDER, watch)
    watch("quality", 0, 0)
    with clock.stage("quality"):
        quality = predicted(model, collection.emb.X)
    watch("report", 0, 0)
    with create_taxonomy(target.folder, overwrite=target.overwrite) as taxonomy:
        with clock.stage("write"):
            taxonomy.write_fit(model, collection.emb)
        run = describe(collection, fitting, model, target, clock)
        with clock.stage("report"):
            run["animation"] = animation_name(model, taxonomy)
            image_of = pictures_of(collection.emb, collection.pictures)
            shown = shown_in_report(run)
            report = build_report(model, collection.emb, image_of=image_of, run=shown, quality=quality)
            write_report(report, taxonomy.report_path)
            write_animation_of(report, taxonomy)
        run["quality"] = as_document(report.trust)
        run |= {"seconds": clock.seconds, "scores": scores_of(report), "versions": versions_of(report)}
        taxonomy.write_run(run)
    return Outcome(target.folder, report, run)


def _fit(collection: Collection, fitting: Fitting, checkpoint: Path, watch: Watch) -> Any:
    """Fit on the vectors alone; the labels stay where they are.

    The checkpoint of a long fit stays until the taxonomy replaces the folder that it is in.
    """
    from holdfast.training import report_to
    from holdfast.training.checkpoint import kept

    model = fitting.estimator()
    if "checkpoint" in model.get_params(deep=False):
        model.set_params(checkpoint=checkpoint)
    _check_enough(collection.source, len(collection.emb), fitting)
    watch("start", 0, 0)
    try:
        with kept(), report_to(lambda stage, done, total, _signals: watch(stage, done, total)):
            model.fit(collection.emb.X)
    except ParameterError:
        raise
    except InputError as error:
        raise InputError(f"{collection.source}: {error}") from error
    if "checkpoint" in model.get_params(deep=False):
        model.set_params(checkpoint=None)  # a path of this machine is nothing for a record
    return model


def _check_enough(source: str | Path, n_items: int, fitting: Fitting) -> None:
    """Refuse a collection that is too small to be clustered as asked."""
    wanted = 2 if fitting.n_clusters == "auto" else fitting.n_clusters
    if n_items < max(wanted, 2):
        has = "only 1 item" if n_items == 1 else f"{n_items} items"
        asked = f", fewer than the {wanted} clusters asked for" if wanted > 2 else ""
        raise InputError(f"{source} has {has}{asked}: give at least {max(wanted, 2)}.")
