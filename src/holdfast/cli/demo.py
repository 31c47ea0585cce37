"""``holdfast demo``: a report of real images, or of a mixture, from what is installed already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from holdfast.cli.options import FitTask
from holdfast.cli.present import show_bells, show_outcome
from holdfast.cli.screen import Screen
from holdfast.cli.usage import FLAG
from holdfast.exceptions import ParameterError

if TYPE_CHECKING:
    from holdfast.cli.fitting import Fitting

__all__ = ["Demo"]


@dataclass(frozen=True, kw_only=True)
class Demo(FitTask):
    """Cluster 1,797 handwritten digits without their labels, and show how well that went.

    The images come with scikit-learn, so nothing is downloaded. With --mixture the demo draws 19,000 numbers
    from four overlapping bells instead, finds how many there are by the method dirichlet, and shows in a
    moving picture how. A demo replaces an earlier one.
    """

    name: ClassVar[str] = "demo"
    example: ClassVar[str] = "holdfast demo -o demo/"

    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="The taxonomy folder to make.")] = (
        Path("holdfast-demo")
    )
    n_clusters: Annotated[
        str, typer.Option("--n-clusters", metavar="K|auto", help="Number of clusters; there are ten digits.")
    ] = "10"
    mixture: Annotated[
        bool,
        typer.Option("--mixture", metavar=FLAG, help="Find the bells of a mixture, and watch it happen."),
    ] = False

    def run(self, screen: Screen) -> None:
        """Fit and show."""
        if self.mixture:
            self._find_bells(screen)
        else:
            self._group_digits(screen)

    def fitting(self) -> Fitting:
        """Return the options as the library takes them; for the mixture, those that are left of them."""
        from holdfast.cli.fitting import Fitting

        if not self.mixture:
            return super().fitting()
        return Fitting(method="dirichlet", seed=self.seed, device=self.device)

    def _group_digits(self, screen: Screen) -> None:
        from holdfast.cli.flow import fit_digits

        target = self.target(overwrite=_is_demo(self.out))
        with self.tracking(), screen.progress() as watch:
            outcome = fit_digits(self.fitting(), target, watch)
        show_outcome(screen, outcome)

    def _find_bells(self, screen: Screen) -> None:
        from holdfast.cli.flow import fit_bells

        self._refuse_what_has_no_meaning()
        target = self.target(overwrite=_is_demo(self.out))
        with self.tracking(), screen.progress() as watch:
            outcome = fit_bells(self.fitting(), target, watch)
        show_bells(screen, outcome)

    def _refuse_what_has_no_meaning(self) -> None:
        """Refuse options of other demos: what is to be found is what the mixture is about."""
        for name in _NOT_OF_A_MIXTURE:
            if getattr(self, name) != getattr(type(self), name):
                flag = "--" + name.replace("_", "-")
                raise ParameterError(f"{flag} means nothing with --mixture: leave one of the two out.")


_NOT_OF_A_MIXTURE = ("n_clusters", "method", "fast", "min_confidence", "init", "subsample")


def _is_demo(folder: Path) -> bool:
    """Tell whether an earlier demo is there, which nobody will miss."""
    from holdfast.taxonomy import TaxonomyFolder, is_taxonomy

    if not is_taxonomy(folder):
        return False
    return str(TaxonomyFolder(folder).read_run().get("command", "")).startswith("holdfast demo")
