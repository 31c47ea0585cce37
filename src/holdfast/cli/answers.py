"""What a finished taxonomy can be asked: where new items belong, and how good its clusters are."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast._validation import check_float
from holdfast.cli.options import DEFAULT_ENCODER
from holdfast.cli.sources import Collection, check_table, embed_images, read_table
from holdfast.exceptions import InputError
from holdfast.io import TABLE_SUFFIXES
from holdfast.io.paths import what_is
from holdfast.taxonomy import AssignmentTable, TaxonomyFolder, open_taxonomy

if TYPE_CHECKING:
    from holdfast.cli.screen import Watch
    from holdfast.embedding import Embedder
    from holdfast.io import Embeddings

__all__ = ["assign", "evaluate"]


def assign(
    folder: Path,
    source: Path,
    watch: Watch,
    *,
    encoder: str | None = None,
    device: str = "auto",
    beside: Path | None = None,
    min_confidence: float | None = None,
    level: int = 0,
) -> tuple[AssignmentTable, Collection]:
    """Assign items to the clusters of a taxonomy.

    Parameters
    ----------
    folder : Path
        The taxonomy.
    source : Path
        A table of embeddings, or a folder of images.
    watch : callable
        Told of the progress.
    encoder : str, optional
        Name or folder of the model that embeds images; by default the one that the taxonomy was made with.
    device : str, default="auto"
        Where the encoder and the model run.
    beside : Path, optional
        The file that the answer goes to: a large table needs room in its folder, see `read_table`.
    min_confidence : float, optional
        Items that the model is less sure of are left without a cluster; by default as it was fitted.
    level : int, default=0
        How fine the clusters are, see `predict`; the confidence is that of the fitted ones.

    Returns
    -------
    table : AssignmentTable
        One row an item.
    collection : Collection
        The items.

    Raises
    ------
    InputError
        If the taxonomy or the source cannot be read, the vectors come from another encoder, this machine has
        no such device, `min_confidence` is not between 0 and 1, or the model has no such level.
    """
    from holdfast.training.batches import resolve_device

    if min_confidence is not None:
        check_float("min_confidence", min_confidence, 0, 1)
    taxonomy = open_taxonomy(folder)
    are_images = _is_folder_of_images(source)
    run = taxonomy.read_run()
    place = resolve_device(device)
    if are_images:
        embedder = _same_embedder(folder, run, encoder, device)
        collection = embed_images(source, embedder, watch)
    else:
        collection = read_table(source, beside)
        _check_same_space(folder, run, collection)
    model = taxonomy.load_model()
    model.module_.to(place)
    if min_confidence is not None and "min_confidence" in model.get_params(deep=False):
        model.set_params(min_confidence=min_confidence)  # a lower one than the fit's gives more answers
    table = AssignmentTable.predicted(model, collection.emb)
    if level != 0:
        table = replace(table, cluster=model.regroup(collection.emb.X, table.cluster, level))
    return table.abstaining_below(min_confidence or 0.0), collection


def evaluate(folder: Path, table: Path | None = None) -> dict[str, Any]:
    """Score a taxonomy: against labels where there are any, and by the vectors alone.

    Parameters
    ----------
    folder : Path
        The taxonomy.
    table : Path, optional
        Embeddings with labels to predict and score; by default the collection that was fitted, with the
        labels that came with it, if any.

    Returns
    -------
    dict
        ``n``, ``n_clusters``, ``sizes`` (by cluster), ``confidence`` (mean), ``scores`` (acc, nmi, ari and
        purity; None without labels), ``silhouette`` (value, low, high) of these rows, and ``start`` and
        ``evidence`` of the fit.

    Raises
    ------
    InputError
        If the folder or the table cannot be read, or the table has no labels.
    """
    from holdfast.metrics import sampled_silhouette, score

    taxonomy = open_taxonomy(folder)
    run = taxonomy.read_run()
    emb, assigned = _fitted(taxonomy) if table is None else _predicted(taxonomy, run, table)
    sizes = np.bincount(assigned.cluster[assigned.cluster >= 0], minlength=run["n_clusters"])
    return {
        "taxonomy": str(folder),
        "scored": str(table) if table else run["source"],
        "n": len(emb),
        "n_clusters": run["n_clusters"],
        "sizes": {str(cluster): size for cluster, size in enumerate(sizes.tolist())},
        "confidence": float(assigned.confidence.mean(dtype=np.float64)),
        "scores": None if emb.labels is None else score(emb.labels, assigned.cluster),
        "silhouette": sampled_silhouette(emb.X, assigned.cluster, random_state=0)._asdict(),
        "start": run["start"],
        "evidence": run["evidence"],
    }


def _is_folder_of_images(source: Path) -> bool:
    """Tell images from a table, and refuse what is neither before a model is loaded."""
    with suppress(OSError):  # the table's own check says what is wrong
        kind = what_is(source)
        if kind == "nothing":
            raise InputError(f"{source} does not exist: check the path.")
        if kind == "folder" and source.suffix.lower() not in TABLE_SUFFIXES:
            return True
    check_table(source)
    return False


def _fitted(taxonomy: TaxonomyFolder) -> tuple[Embeddings, AssignmentTable]:
    """Return the collection and its clusters as they were stored."""
    emb, assigned = taxonomy.load_collection(), taxonomy.load_assignments()
    if not np.array_equal(emb.ids, assigned.ids):
        raise InputError(
            f"{taxonomy.root} has vectors and assignments of different items: run the fit again."
        )
    return emb, assigned


def _predicted(
    taxonomy: TaxonomyFolder, run: dict[str, Any], table: Path
) -> tuple[Embeddings, AssignmentTable]:
    """Read a labelled table and predict its clusters."""
    collection = read_table(table)
    if collection.emb.labels is None:
        raise InputError(f"{table} has no labels to score against: add a column label, or leave it out.")
    _check_same_space(taxonomy.root, run, collection)
    return collection.emb, AssignmentTable.predicted(taxonomy.load_model(), collection.emb)


def _same_embedder(folder: Path, run: dict[str, Any], encoder: str | None, device: str) -> Embedder:
    """Load the encoder of a taxonomy, and make sure that it is the same one."""
    from holdfast.embedding import Embedder

    recipe = run["encoder_recipe"]
    if recipe is None:
        raise InputError(
            f"{folder} was fitted on vectors of an unknown encoder: give a table of embeddings, not images."
        )
    name = encoder or run["encoder"] or DEFAULT_ENCODER
    embedder = Embedder.from_pretrained(name, device=device)
    if embedder.recipe != recipe:
        raise InputError(
            f"{name} (recipe {embedder.recipe}) is not the encoder that {folder} was made with (recipe "
            f"{recipe}): name that one with --encoder."
        )
    return embedder


def _check_same_space(folder: Path, run: dict[str, Any], collection: Collection) -> None:
    """Refuse vectors that cannot be compared with those of the taxonomy."""
    emb, recipe = collection.emb, run["encoder_recipe"]
    if emb.X.shape[1] != run["d"]:
        raise InputError(
            f"{collection.source} has vectors of width {emb.X.shape[1]} and {folder} was fitted on width "
            f"{run['d']}: embed the items with the encoder of the taxonomy."
        )
    if emb.encoder is not None and recipe is not None and emb.encoder != recipe:
        raise InputError(
            f"{collection.source} was embedded with another encoder (recipe {emb.encoder}) than {folder} "
            f"(recipe {recipe}): embed the items with the same one."
        )
