"""A folder of images to a table of embeddings: resumable, with broken files set aside."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from holdfast.embedding.base import Progress
from holdfast.embedding.embedder import Embedder
from holdfast.embedding.parts import PartWriter, file_key, parts_folder, read_parts, remove_parts
from holdfast.embedding.stream import EncodedBatch
from holdfast.exceptions import ImageError
from holdfast.images import ImageFolder, list_images, path_text
from holdfast.io import Embeddings, check_table_target, write_embeddings
from holdfast.io.atomic import write_text

__all__ = ["FolderEmbedding", "Quarantined", "embed_folder", "quarantine_path"]

logger = logging.getLogger(__name__)

_MOST_NAMED = 5  # set-aside images that the message names beside the first


@dataclass(frozen=True)
class Quarantined:
    """An image that was set aside.

    Attributes
    ----------
    path : str
        The file, relative to the folder that was embedded.
    reason : str
        Why it could not be used, and what to do.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class FolderEmbedding:
    """What became of a folder of images.

    Attributes
    ----------
    embeddings : Embeddings
        The good images in the order of their ids. `ids` are paths relative to the folder, `paths` absolute
        ones, both with forward slashes; `labels` are the class folders where there are any; `encoder` is the
        recipe of the embedder.
    quarantined : list of Quarantined
        The broken ones, in the same order.
    """

    embeddings: Embeddings
    quarantined: list[Quarantined]


def embed_folder(
    embedder: Embedder,
    folder: str | Path,
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> FolderEmbedding:
    """Embed the images below a folder.

    With `out` the work can be interrupted at any time: what is finished is kept in ``<out>.parts/`` and a
    second call does the rest. The parts are removed when the whole table has been written.

    Parameters
    ----------
    embedder : Embedder
        The encoder.
    folder : str or Path
        Searched at every level; see `list_images`.
    out : str or Path, optional
        Table to write (.parquet, .npz, .npy or .csv). Broken images are listed beside it in
        ``<out stem>.quarantine.csv``, which exists only if there are any.
    progress : callable, optional
        Called with the number of images dealt with and the number in all, earlier calls included.

    Returns
    -------
    FolderEmbedding
        The table and the images that were set aside.

    Raises
    ------
    ImageError
        If the folder is missing or holds no image, or all of its images are broken.
    OutputError
        If `out` cannot be written; this is tried before the work begins.
    """
    listing = list_images(folder)
    target = None if out is None else Path(out)
    if target is not None:
        check_table_target(target)
    parts = None if target is None else parts_folder(target)
    with PartWriter(parts, embedder.recipe) as writer:
        run = _Run.start(listing, embedder.dim)
        run.recall(read_parts(parts, embedder.recipe) if parts else ())
        _embed_rest(run, embedder, writer, progress)
    result = run.result(embedder.recipe)
    if target is not None and parts is not None:
        _write(result, target)
        remove_parts(parts)
    return result


def quarantine_path(out: str | Path) -> Path:
    """Return where the broken images of a run towards `out` are listed.

    Parameters
    ----------
    out : str or Path
        The table of embeddings, ``photos.parquet`` for one.

    Returns
    -------
    Path
        ``photos.quarantine.csv`` beside it.
    """
    return Path(out).with_suffix(".quarantine.csv")


@dataclass(frozen=True)
class _Run:
    """The state of one call: which images are done, and which have failed."""

    listing: ImageFolder
    keys: dict[int, str]  # row -> state of its file; absent if the file has gone
    X: npt.NDArray[np.float32]  # (n, d); rows that are not done mean nothing
    done: npt.NDArray[np.bool_]  # (n,)
    failures: dict[int, str]  # row -> why it was set aside

    @classmethod
    def start(cls, listing: ImageFolder, dim: int) -> _Run:
        n = len(listing)
        keys = {row: key for row in range(n) if (key := file_key(listing, row)) is not None}
        return cls(listing, keys, np.empty((n, dim), np.float32), np.zeros(n, bool), {})

    def recall(self, parts: Iterable[Embeddings]) -> None:
        """Take over what earlier runs have finished, of files that have not changed since."""
        row_of = {key: row for row, key in self.keys.items()}
        for part in parts:
            found = [(row_of[key], place) for place, key in enumerate(part.ids.tolist()) if key in row_of]
            for row, place in found:
                self.X[row] = part.X[place]
                self.done[row] = True

    def record(self, rows: npt.NDArray[np.intp], batch: EncodedBatch) -> None:
        """Take over a batch whose image ``i`` is our image ``rows[i]``."""
        good = rows[batch.rows]
        self.X[good] = batch.vectors
        self.done[good] = True
        for at, error in batch.failures.items():
            self.failures[int(rows[at])] = str(error)
            logger.info("set aside: %s", error)

    def result(self, recipe: str) -> FolderEmbedding:
        """Put the table together; at least one image must have become a vector."""
        quarantined = [
            Quarantined(self.listing.ids[row], reason) for row, reason in sorted(self.failures.items())
        ]
        n = len(self.listing)
        if not self.done.any():
            root = path_text(self.listing.root)
            raise ImageError(f"None of the {n:,} images in {root} can be used: {quarantined[0].reason}")
        if quarantined:
            logger.warning("%d of %d images were set aside: %s", len(quarantined), n, _named(quarantined))
        rows = np.flatnonzero(self.done)
        ids, labels = self.listing.ids, self.listing.labels
        embeddings = Embeddings(
            ids=np.array([ids[row] for row in rows]),
            X=self.X if len(rows) == n else self.X[rows],
            labels=None if labels is None else np.array([labels[row] for row in rows]),
            paths=np.array([path_text(self.listing.root / self.listing.paths[row]) for row in rows]),
            encoder=recipe,
        )
        return FolderEmbedding(embeddings, quarantined)


def _named(quarantined: list[Quarantined]) -> str:
    """Give the reason of the first image and the names of some others."""
    others = [item.path for item in quarantined[1:]]
    if not others:
        return quarantined[0].reason
    more = f" and {len(others) - _MOST_NAMED:,} more" if len(others) > _MOST_NAMED else ""
    return f"{quarantined[0].reason} Also: {', '.join(others[:_MOST_NAMED])}{more}."


def _embed_rest(run: _Run, embedder: Embedder, writer: PartWriter, progress: Progress | None) -> None:
    """Embed what is not done yet."""
    n = len(run.listing)
    rows = np.flatnonzero(~run.done)
    finished = n - len(rows)
    if progress is not None:
        progress(finished, n)
    for batch in embedder.stream([run.listing.root / run.listing.paths[row] for row in rows]):
        run.record(rows, batch)
        lasting = [at for at, row in enumerate(rows[batch.rows]) if row in run.keys]
        writer.add([run.keys[rows[batch.rows[at]]] for at in lasting], batch.vectors[lasting])
        finished += batch.n_images
        if progress is not None:
            progress(finished, n)


def _write(result: FolderEmbedding, out: Path) -> None:
    """Write the list of broken images, then the table: once there is a table, its list is right."""
    quarantine = quarantine_path(out)
    if result.quarantined:
        rows = StringIO(newline="")
        table = csv.writer(rows, lineterminator="\n")
        table.writerow(["path", "reason"])
        table.writerows([item.path, item.reason] for item in result.quarantined)
        write_text(quarantine, rows.getvalue())
    else:
        quarantine.unlink(missing_ok=True)  # of an earlier run
    write_embeddings(result.embeddings, out)
