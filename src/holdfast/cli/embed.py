"""``holdfast embed``: from a folder of images to a table of embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from holdfast.cli.options import DEFAULT_ENCODER, Device, Encoder
from holdfast.cli.screen import Screen, printable
from holdfast.cli.task import Task

__all__ = ["Embed"]


@dataclass(frozen=True, kw_only=True)
class Embed(Task):
    """Turn a folder of images into a table of embeddings, one row per image.

    Broken images are listed beside the table. If the command is interrupted, the same command goes on where
    it stopped.
    """

    name: ClassVar[str] = "embed"
    example: ClassVar[str] = "holdfast embed photos/ -o emb.parquet"
    interrupted: ClassVar[str] = (
        "Interrupted: no table was written; the same command goes on from the images embedded so far."
    )

    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The images; every level is searched.")]
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="TABLE", help="The table: .parquet, .npz, .npy or .csv.")
    ]
    encoder: Encoder = DEFAULT_ENCODER
    device: Device = "auto"

    def run(self, screen: Screen) -> None:
        """Embed and show."""
        from holdfast.images import list_images
        from holdfast.io import check_table_target

        check_table_target(self.out)  # neither a wrong name nor a folder without images
        list_images(self.folder)  # should wait for the model to load
        from holdfast.cli.sources import embed_images
        from holdfast.embedding import Embedder, quarantine_path

        with screen.progress() as watch:
            embedder = Embedder.from_pretrained(self.encoder, device=self.device)
            found = embed_images(self.folder, embedder, watch, self.out)
        emb, aside = found.emb, found.quarantined
        if screen.as_json:
            quarantined = [{"path": item.path, "reason": item.reason} for item in aside]
            shape = {"n": len(emb), "d": emb.X.shape[1], "encoder": emb.encoder}
            screen.document({"table": self.out, **shape, "quarantined": quarantined})
            return
        if aside:
            screen.line(f"Images set aside: {len(aside):,}. {printable(quarantine_path(self.out))} says why.")
        screen.line(f"{len(emb):,} images, vectors of width {emb.X.shape[1]}:")
        screen.line(str(self.out))
