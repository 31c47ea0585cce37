"""``holdfast demo``: a report of real images, from what is installed already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from holdfast.cli.options import FitTask
from holdfast.cli.present import show_outcome
from holdfast.cli.screen import Screen

__all__ = ["Demo"]


@dataclass(frozen=True, kw_only=True)
class Demo(FitTask):
    """Cluster 1,797 handwritten digits without their labels, and show how well that went.

    The images come with scikit-learn, so nothing is downloaded. A demo replaces an earlier one.
    """

    name: ClassVar[str] = "demo"
    example: ClassVar[str] = "holdfast demo -o demo/"

    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="The taxonomy folder to make.")] = (
        Path("holdfast-demo")
    )
    n_clusters: Annotated[
        str, typer.Option("--n-clusters", metavar="K|auto", help="Number of clusters; there are ten digits.")
    ] = "10"

    def run(self, screen: Screen) -> None:
        """Fit and show."""
        from holdfast.cli.flow import fit_digits

        target = self.target(overwrite=_is_demo(self.out))
        with self.tracking(), screen.progress() as watch:
            outcome = fit_digits(self.fitting(), target, watch)
        show_outcome(screen, outcome)


def _is_demo(folder: Path) -> bool:
    """Tell whether an earlier demo is there, which nobody will miss."""
    from holdfast.taxonomy import TaxonomyFolder, is_taxonomy

    if not is_taxonomy(folder):
        return False
    return str(TaxonomyFolder(folder).read_run().get("command", "")).startswith("holdfast demo")
