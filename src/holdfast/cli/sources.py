"""What commands cluster: a table, a folder of images, or the handwritten digits, each as one collection."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from holdfast.exceptions import InputError
from holdfast.io import Embeddings, check_table_source, read_embeddings, table_shape
from holdfast.io.paths import what_is
from holdfast.io.scratch import scratch_folder

if TYPE_CHECKING:
    from PIL import Image

    from holdfast.cli.screen import Watch
    from holdfast.embedding import Embedder, Quarantined

__all__ = [
    "Collection",
    "check_table",
    "embed_images",
    "embed_resumably",
    "load_bells",
    "load_digits",
    "pictures_of",
    "read_table",
]

FROM_PATHS, FROM_DIGITS = "paths", "digits"
_DIGIT_SIDE = 64  # pixels: eight times the original, so that a digit is seen in the report


@dataclass(frozen=True, eq=False)
class Collection:
    """Embeddings and where they come from.

    Attributes
    ----------
    emb : Embeddings
        The items.
    source : str
        The file or folder, as the user named it.
    pictures : str or None
        Where the items' pictures are: ``"paths"``, ``"digits"`` or nowhere; see `pictures_of`.
    encoder : str or None
        The name of the encoder that holdfast ran, if it did.
    quarantined : tuple of Quarantined
        Images that were set aside.
    """

    emb: Embeddings
    source: str
    pictures: str | None = None
    encoder: str | None = None
    quarantined: tuple[Quarantined, ...] = ()


def read_table(path: Path, beside: Path | None = None) -> Collection:
    """Read a table of embeddings; a large one into a memory map.

    Parameters
    ----------
    path : Path
    beside : Path, optional
        What the command writes: the vectors of a large table are kept in the same folder meanwhile, or else
        in the table's own.

    Raises
    ------
    InputError
        If it is missing, a folder, or no such table.
    """
    check_table(path)
    folders = [place.parent for place in (beside, path) if place is not None]
    emb = read_embeddings(path, mmap_dir=scratch_folder(table_shape(path), folders))
    return Collection(emb, str(path), pictures=None if emb.paths is None else FROM_PATHS)


def check_table(path: Path) -> None:
    """Refuse a table that cannot be opened, before there is other work.

    Raises
    ------
    InputError
        If it is missing, a folder, or of an unknown suffix.
    """
    if _is_folder(path):
        raise InputError(f"{path} is a folder: give a table of embeddings, or use holdfast run for images.")
    check_table_source(path)


def _is_folder(path: Path) -> bool:
    with suppress(OSError):  # what cannot be looked at is no folder that could be mistaken for a table
        return what_is(path) == "folder"
    return False


def load_digits() -> Collection:
    """Return the 1,797 handwritten digits that scikit-learn carries; their labels are for scoring only."""
    from sklearn import datasets

    digits = datasets.load_digits()
    emb = Embeddings(
        ids=np.array([f"digit-{row:04d}" for row in range(len(digits.data))]),
        X=(digits.data / 16).astype(np.float32),
        labels=digits.target,
    )
    return Collection(emb, "the handwritten digits of scikit-learn", pictures=FROM_DIGITS)


def load_bells(seed: int) -> Collection:
    """Draw the mixture of four bells; which one each draw is from is for scoring only."""
    from holdfast.cluster._specimen import BELLS, draw_bells

    X, y = draw_bells(seed)
    names = np.array([f"bell at {bell.location:g}" for bell in BELLS])
    ids = np.array([f"draw-{row:05d}" for row in range(len(X))])
    return Collection(Embeddings(ids, X, labels=names[y]), f"{len(X):,} draws from a mixture of four bells")


def embed_images(folder: Path, embedder: Embedder, watch: Watch, out: Path | None = None) -> Collection:
    """Embed a folder of images; with `out`, into a table, resumably.

    Raises
    ------
    InputError
        If the folder is missing or holds no usable image.
    OutputError
        If `out` cannot be written.
    """
    from holdfast.embedding import embed_folder

    found = embed_folder(embedder, folder, out=out, progress=lambda done, n: watch("embed", done, n))
    return Collection(found.embeddings, str(folder), FROM_PATHS, embedder.name, tuple(found.quarantined))


def embed_resumably(folder: Path, embedder: Embedder, watch: Watch, work: Path) -> Collection:
    """Embed a folder of images so that whatever kills the command, the next one only does the rest.

    Finished vectors stay in `work` even when all are done: the fit is still to come, and may be killed too.

    Parameters
    ----------
    folder : Path
        The images.
    embedder : Embedder
    watch : callable
        Told of the progress.
    work : Path
        A folder of our own; it goes when the taxonomy that it is in is complete.

    Raises
    ------
    InputError
        If the folder is missing or holds no usable image.
    OutputError
        If `work` cannot be written.
    """
    table = work / "table.parquet"
    ours = [work] if work.parent.exists() else [work, work.parent]
    try:
        collection = embed_images(folder, embedder, watch, table)
        _turn_into_parts(collection.emb, folder, table)
    finally:
        for empty in ours:
            with suppress(OSError):
                empty.rmdir()  # only if there was nothing to keep
    return collection


def pictures_of(emb: Embeddings, pictures: str | None) -> Callable[[int], Image.Image | None] | None:
    """Return a function from row to picture.

    Parameters
    ----------
    emb : Embeddings of n rows
    pictures : {"paths", "digits"} or None
        Where they are: in the files that `emb.paths` names, or in scikit-learn's digits, row by row.
    """
    if pictures == FROM_PATHS and emb.paths is not None:
        return _files(emb.paths.tolist())
    return _digits() if pictures == FROM_DIGITS else None


def _files(paths: list[str]) -> Callable[[int], Image.Image | None]:
    from holdfast.images import open_image

    return lambda row: open_image(paths[row], shorter_side=96)


def _digits() -> Callable[[int], Image.Image | None]:
    from PIL import Image
    from sklearn import datasets

    ink = datasets.load_digits().images

    def image_of(row: int) -> Image.Image:
        grey = Image.fromarray(np.uint8(255 - ink[row] * (255 / 16)))
        return grey.resize((_DIGIT_SIDE, _DIGIT_SIDE), Image.Resampling.BICUBIC).convert("RGB")

    return image_of


def _turn_into_parts(emb: Embeddings, folder: Path, table: Path) -> None:
    """Put a finished table back into the parts that a second call of `embed_folder` starts from."""
    from holdfast.embedding.parts import PART_ROWS, PartWriter, file_key, parts_folder
    from holdfast.images import list_images

    listing = list_images(folder)
    row_of = {name: row for row, name in enumerate(listing.ids)}
    keys = [file_key(listing, row_of[name]) if name in row_of else None for name in emb.ids.tolist()]
    rows = np.array([row for row, key in enumerate(keys) if key is not None], dtype=np.intp)
    with PartWriter(parts_folder(table), emb.encoder or "") as writer:
        for start in range(0, len(rows), PART_ROWS):
            some = rows[start : start + PART_ROWS]
            writer.add([str(keys[row]) for row in some], emb.X[some])
    table.unlink()
