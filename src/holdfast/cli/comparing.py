"""From a table to a comparison: every method with every seed, one process after another, then the scores.

Nothing here knows a terminal, so all of it can be called from Python and from tests.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from holdfast._choices import METHODS, RIVALS
from holdfast._validation import check_float, check_int
from holdfast.cli.flow import silent
from holdfast.cli.sources import check_table, read_table
from holdfast.cli.trials import Answer, Question, ask
from holdfast.exceptions import InputError, ParameterError
from holdfast.io import Embeddings
from holdfast.io.atomic import atomic_folder, output_error, write_json, write_text
from holdfast.report.comparison import MethodComparison, MethodInfo, Trial, as_csv, as_document, rank

if TYPE_CHECKING:
    from holdfast.cli.screen import Watch
    from holdfast.graph import Neighbours

__all__ = ["ALL_METHODS", "FILES", "FLOOR", "Comparing", "compare_table", "parse_methods", "saving_to"]

ALL_METHODS = (*RIVALS, *METHODS)
FLOOR = ("kmeans", "kmeans-l2")
"""They are part of every comparison: a method that does not beat them is not worth its time."""

FILES = {"json": "comparison.json", "csv": "comparison.csv", "html": "comparison.html"}
"""What a comparison leaves in its folder."""


@dataclass(frozen=True)
class Comparing:
    """How to compare: the options of the command.

    Raises
    ------
    ParameterError
        If one of them is out of its domain.
    """

    n_clusters: int | Literal["auto"] = "auto"
    methods: tuple[str, ...] = ALL_METHODS
    n_seeds: int = 3
    eps: float | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        check_int("seeds", self.n_seeds, 1, 1000)
        if self.eps is not None:
            check_float("eps", self.eps, 0, 2, low_open=True)
        for name in self.methods:
            if name not in ALL_METHODS:
                known = ", ".join(ALL_METHODS)
                raise ParameterError(f"methods must be among {known}, and {name!r} is none of them.")

    @property
    def names(self) -> tuple[str, ...]:
        """The methods to run, each once, the floor first."""
        return tuple(dict.fromkeys((*FLOOR, *self.methods)))


def parse_methods(text: str) -> tuple[str, ...]:
    """Read a list of methods: names with commas between them, or ``all``."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return ALL_METHODS if names in {(), ("all",)} else names


@contextmanager
def saving_to(folder: Path | None) -> Iterator[Path | None]:
    """Give a temporary folder that becomes `folder` at the end; a target that cannot be is refused at once.

    An earlier comparison there is replaced. Without `folder`, there is nothing to save.

    Raises
    ------
    OutputError
        If the folder holds anything else, or cannot be written.
    """
    if folder is None:
        yield None
        return
    with atomic_folder(folder, owned=FILES.values()) as temporary:
        yield temporary


def compare_table(
    table: Path, asked: Comparing, out: Path | None = None, watch: Watch = silent, command: str | None = None
) -> MethodComparison:
    """Run methods of clustering on one table and put what they gave side by side.

    Parameters
    ----------
    table : Path
        A .parquet, .npz, .npy or .csv file.
    asked : Comparing
        Which methods, how many clusters and seeds.
    out : Path, optional
        A folder for the comparison as JSON, CSV and HTML. It is tried before the work begins and filled only
        when all is done.
    watch : callable, optional
        Told of the progress.
    command : str, optional
        The command line, for the record.

    Returns
    -------
    MethodComparison

    Raises
    ------
    InputError
        If the table or a parameter cannot be used. A method that fails is a row of the result instead.
    OutputError
        If `out` or the rows, which the processes share in the folder for temporary files, cannot be written.
    """
    from holdfast.report.comparison_page import render_comparison
    from holdfast.training.batches import resolve_device

    check_table(table)
    device = str(resolve_device(asked.device))
    with saving_to(out) as folder:
        watch("read", 0, 0)
        emb = read_table(table).emb
        comparison = _compare(table, emb, asked, watch, {"command": command, "device": device})
        if folder is not None:
            write_json(folder / FILES["json"], as_document(comparison))
            write_text(folder / FILES["csv"], as_csv(comparison))
            write_text(folder / FILES["html"], render_comparison(comparison))
    return comparison


def _compare(
    table: Path, emb: Embeddings, asked: Comparing, watch: Watch, facts: Mapping[str, Any]
) -> MethodComparison:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    n_clusters, message = _n_clusters(table, emb.X, asked, watch)
    with tempfile.TemporaryDirectory(prefix="holdfast-compare-") as work:
        course = _Course(emb, n_clusters, asked, Path(work))
        trials = course.run(watch)
    n_labels = None if emb.labels is None else len(np.unique(emb.labels))
    return MethodComparison(
        source=str(table),
        n=len(emb),
        d=emb.X.shape[1],
        n_labels=n_labels,
        n_clusters=n_clusters,
        count_message=message,
        seeds=tuple(range(asked.n_seeds)),
        standings=rank([_info(name) for name in asked.names], trials, len(emb), n_labels),
        trials=trials,
        facts={**facts, "started": started, "eps_asked": asked.eps, "threads": course.threads, **_machine()},
    )


def _n_clusters(table: Path, X: np.ndarray, asked: Comparing, watch: Watch) -> tuple[int, str | None]:
    """Return the number of clusters, and how it was estimated if it was; the labels are not asked."""
    from holdfast.cluster import estimate_n_clusters
    from holdfast.functional.geometry import mean_row, root_mean_square

    least = 2 if asked.n_clusters == "auto" else asked.n_clusters
    if len(X) < least:
        raise InputError(f"{table} has {len(X):,} rows for {least:,} clusters: give at least as many rows.")
    if root_mean_square(X, mean_row(X)) == 0:
        raise InputError(f"{table}: all {len(X):,} rows are equal, so there is nothing to compare.")
    if asked.n_clusters != "auto":
        return asked.n_clusters, None
    watch("count", 0, 0)
    count = estimate_n_clusters(X, random_state=0)
    if count.n_clusters < 2:
        raise InputError(f"{table} seems to have one cluster only: give the number with --n-clusters.")
    return count.n_clusters, count.message


@dataclass(eq=False)
class _Rows:
    """Rows that methods are run on: the whole table, or a sample of it."""

    X: np.ndarray
    labels: np.ndarray | None
    path: Path
    n_clusters: int

    def __post_init__(self) -> None:
        try:
            np.save(self.path, np.ascontiguousarray(self.X), allow_pickle=False)
        except OSError as error:
            raise output_error(f"{self.path.parent.parent}, where TMPDIR points,", error) from error

    @cached_property
    def neighbours(self) -> Neighbours:
        """What the evidence is measured with."""
        from holdfast.cluster._rivals import measuring_neighbours

        return measuring_neighbours(self.X, self.n_clusters)


@dataclass(eq=False)
class _Course:
    """All runs of a comparison, one after another."""

    emb: Embeddings
    n_clusters: int
    asked: Comparing
    work: Path
    threads: int | None = None
    _samples: dict[int, _Rows] = field(default_factory=dict)

    def run(self, watch: Watch) -> tuple[Trial, ...]:
        """Run every method with every seed."""
        plan = [(name, self._seeds(name)) for name in self.asked.names]
        total = sum(len(seeds) for _, seeds in plan)
        trials: list[Trial] = []
        for name, seeds in plan:
            done = len(trials)
            for seed in seeds:
                watch(_info(name).title, len(trials), total)
                trial, is_final = self._try(name, seed)
                trials.append(trial)
                if is_final and len(trials) == done + 1:
                    total -= len(seeds) - 1
                    break  # what was killed at once need not bring down the machine again
        return tuple(trials)

    def _seeds(self, name: str) -> range:
        return range(1 if _info(name).is_deterministic else self.asked.n_seeds)

    def _try(self, name: str, seed: int) -> tuple[Trial, bool]:
        rows = self._rows(name)
        asked = self.asked
        question = Question(str(rows.path), name, self.n_clusters, seed, asked.eps, asked.device)
        with tempfile.TemporaryDirectory(dir=self.work) as exchange:
            answer = ask(question, Path(exchange))
        self.threads = self.threads or answer.threads
        return _score(question, answer, rows), answer.is_final

    def _rows(self, name: str) -> _Rows:
        """Return the rows that a method can be given."""
        from holdfast.cluster._rivals import rival, sample_rows

        n = min(len(self.emb), rival(name).most_rows or len(self.emb))
        if n not in self._samples:
            index = slice(None) if n == len(self.emb) else sample_rows(len(self.emb), n)
            labels = None if self.emb.labels is None else self.emb.labels[index]
            self._samples[n] = _Rows(self.emb.X[index], labels, self.work / f"{n}.npy", self.n_clusters)
        return self._samples[n]


def _score(question: Question, answer: Answer, rows: _Rows) -> Trial:
    """Turn an answer into a line of the comparison; only here the labels are looked at."""
    method, seed, n_rows = question.method, question.seed, len(rows.X)
    if answer.labels is None:
        return Trial(method, seed, n_rows, answer.reason)
    sizes = np.bincount(answer.labels[answer.labels >= 0])
    return Trial(
        method,
        seed,
        n_rows,
        figures=_figures(answer, rows),
        cpu_seconds=answer.cpu_seconds,
        sizes=tuple(sorted(sizes[sizes > 0].tolist(), reverse=True)),
        digest=_digest(answer.labels),
        settings=answer.settings,
        warnings=answer.warnings,
    )


def _figures(answer: Answer, rows: _Rows) -> dict[str, float]:
    from holdfast.evidence import evidence
    from holdfast.metrics import score

    labels = np.asarray(answer.labels)
    found = len(np.unique(labels[labels >= 0]))
    # More clusters than asked for are no merit: the entropy is measured against the most they could have.
    value = evidence(_compact(labels), rows.neighbours, max(found, rows.n_clusters)).value
    scores = {} if rows.labels is None else score(rows.labels, labels)
    figures: dict[str, float | None] = {
        **scores,
        "evidence": value,
        "n_clusters": found,
        "noise": float((labels < 0).mean()),
        "seconds": answer.seconds,
        "memory_mb": answer.memory_mb,
    }
    return {key: number for key, number in figures.items() if number is not None}


def _compact(labels: np.ndarray) -> np.ndarray:
    """Renumber the clusters from 0 in the order in which they appear, and leave noise at -1."""
    labels = np.maximum(labels, -1)
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    first = np.where(labels[first] < 0, -1, first)  # noise comes first
    rank = np.argsort(np.argsort(first)) - (labels.min() < 0)
    return np.asarray(rank[codes], dtype=np.int64)


def _digest(labels: np.ndarray) -> str:
    return hashlib.sha256(_compact(labels).astype("<i8").tobytes()).hexdigest()


def _info(name: str) -> MethodInfo:
    from holdfast.cluster._rivals import rival

    method, title = rival(name), RIVALS.get(name) or METHODS[name]
    role: Literal["floor", "ours", "rival"] = (
        "floor" if name in FLOOR else "ours" if name in METHODS else "rival"
    )
    return MethodInfo(name, title, role, method.is_deterministic, method.finds_count)


def _machine() -> dict[str, Any]:
    from holdfast.report.recipe import versions

    return {"cpus": os.cpu_count(), "system": platform.platform(), "versions": versions()}
