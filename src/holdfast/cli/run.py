"""``holdfast run``: from a folder of images to a taxonomy and a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from holdfast.cli.options import DEFAULT_ENCODER, Encoder, FitTask
from holdfast.cli.present import show_outcome
from holdfast.cli.screen import Screen

__all__ = ["Run"]


@dataclass(frozen=True, kw_only=True)
class Run(FitTask):
    """Embed a folder of images, cluster it, and leave a taxonomy folder with a report.

    Class folders, with no image beside them, become labels for scoring only. Broken images are set aside and
    named. If the command is interrupted, the same command goes on from the images embedded so far, and the
    methods dec and idec from the training so far.
    """

    name: ClassVar[str] = "run"
    example: ClassVar[str] = "holdfast run photos/ -o products/"
    interrupted: ClassVar[str] = (
        "Interrupted: no taxonomy was written; the same command goes on from the images embedded so far."
    )

    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The images; every level is searched.")]
    encoder: Encoder = DEFAULT_ENCODER

    def run(self, screen: Screen) -> None:
        """Embed, fit and show."""
        from holdfast.cli.flow import fit_images

        with self.tracking(), screen.progress() as watch:
            outcome = fit_images(self.folder, self.encoder, self.fitting(), self.target(), watch)
        show_outcome(screen, outcome)
