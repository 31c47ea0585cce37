"""The options that several commands share, described once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from holdfast._choices import DEC_CHOICES, DEFAULT_METHOD, METHODS
from holdfast.cli.task import Task, command_line
from holdfast.cli.usage import FLAG
from holdfast.exceptions import ParameterError

if TYPE_CHECKING:
    from holdfast.cli.fitting import Fitting
    from holdfast.cli.record import Target

__all__ = [
    "DEFAULT_ENCODER",
    "Device",
    "Encoder",
    "FitTask",
    "MinConfidence",
    "Overwrite",
    "Taxonomy",
    "parse_n_clusters",
    "parse_subsample",
]

DEFAULT_ENCODER = "facebook/dinov2-base"

Taxonomy = Annotated[
    Path, typer.Argument(metavar="OUT", help="A taxonomy folder that run, fit or demo wrote.")
]
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="NAME", help="cpu, cuda, cuda:1 or auto, which takes CUDA where there is one."
    ),
]
Encoder = Annotated[
    str,
    typer.Option(
        "--encoder",
        metavar="NAME|FOLDER",
        help="Model on the Hugging Face hub, or a folder that holds one (needs no network).",
    ),
]
MinConfidence = Annotated[
    float,
    typer.Option(
        "--min-confidence",
        metavar="X",
        help="Leave items that the model is less sure of than this, 0 to 1, without a cluster (-1).",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", metavar=FLAG, help="Replace an earlier taxonomy, once the new one is complete."
    ),
]


@dataclass(frozen=True, kw_only=True)
class FitTask(Task):
    """What every command that fits can be told."""

    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="The taxonomy folder to make.")]
    n_clusters: Annotated[
        str,
        typer.Option("--n-clusters", metavar="K|auto", help="Number of clusters; auto lets the data decide."),
    ] = "auto"
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME",
            help=f"One of {', '.join(METHODS)}: a vote of many partitions, deep embedded clustering "
            "(idec keeps rows restorable), or, with numbers of clusters of their own, a Gaussian mixture and "
            "dense regions learnt by a network.",
        ),
    ] = DEFAULT_METHOD
    fast: Annotated[
        bool, typer.Option("--fast", metavar=FLAG, help="For consensus: fewer partitions, in less time.")
    ] = False
    min_confidence: MinConfidence = 0.0
    init: Annotated[
        str,
        typer.Option(
            "--init",
            metavar="|".join(DEC_CHOICES["init"]),
            help="For dec and idec: first guess, from k-means or a neighbour graph; auto keeps the better.",
        ),
    ] = "auto"
    subsample: Annotated[
        str,
        typer.Option(
            "--subsample",
            metavar="N|all|auto",
            help="Rows to train on; all are assigned. auto: 50,000, or 100 a cluster where that is more.",
        ),
    ] = "auto"
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", help="Fixes every random draw, so that a fit can be repeated."),
    ] = 0
    device: Device = "auto"
    overwrite: Overwrite = False
    log_dir: Annotated[
        Path | None,
        typer.Option(
            "--log-dir", metavar="DIR", help="Write every epoch for TensorBoard, to a new folder below DIR."
        ),
    ] = None

    def fitting(self) -> Fitting:
        """Return the options as the library takes them."""
        from holdfast.cli.fitting import Fitting

        return Fitting(
            n_clusters=parse_n_clusters(self.n_clusters),
            method=self.method,
            init=self.init,
            seed=self.seed,
            device=self.device,
            subsample=parse_subsample(self.subsample),
            min_confidence=self.min_confidence,
            fast=self.fast,
        )

    @contextmanager
    def tracking(self) -> Iterator[None]:
        """Have the fit inside the ``with`` block tracked as a new run, named by the taxonomy and the time."""
        if self.log_dir is None:
            yield
            return
        from holdfast.training import report_to
        from holdfast.training.trackers import TensorBoardTracker

        run = self.log_dir / f"{self.out.resolve().name}-{time.strftime('%Y%m%d-%H%M%S')}"
        params = self.fitting().estimator().get_params()
        with TensorBoardTracker(run, params=params) as tracker, report_to(tracker):
            yield

    def target(self, *, overwrite: bool = False) -> Target:
        """Return where the taxonomy goes."""
        from holdfast.cli.record import Target

        return Target(self.out, command_line(self), self.overwrite or overwrite)

    def interruption(self) -> str:
        """Say what Ctrl-C has left behind."""
        from holdfast.taxonomy import TRAINING_FOLDER

        if not (self.out / TRAINING_FOLDER).is_dir():
            return self.interrupted
        return "Interrupted: no taxonomy was written; the same command goes on from the training so far."


def parse_n_clusters(text: str) -> int | Literal["auto"]:
    """Read the value of ``--n-clusters``.

    Raises
    ------
    ParameterError
        If it is neither ``auto`` nor a whole number of at least 2.
    """
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 2:
        raise ParameterError(f"--n-clusters must be auto or a whole number of at least 2, not {text!r}.")
    return int(text)


def parse_subsample(text: str) -> int | Literal["auto"] | None:
    """Read the value of ``--subsample``; None stands for all rows.

    Raises
    ------
    ParameterError
        If it is none of ``auto``, ``all`` and a whole number of at least 2.
    """
    if text in ("auto", "all"):
        return "auto" if text == "auto" else None
    if not text.isdecimal() or int(text) < 2:
        raise ParameterError(f"--subsample must be auto, all or a whole number of at least 2, not {text!r}.")
    return int(text)
