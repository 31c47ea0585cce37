"""Methods compared on one table, as data: what each run gave, and one row a method.

::

    MethodComparison
    ├── Trial ...       one method with one seed
    └── Standing ...    one method: Spread ... over its seeds, and remarks in sentences
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import mean, stdev
from typing import Any, Literal

__all__ = [
    "FIGURES",
    "SCORES",
    "MethodComparison",
    "MethodInfo",
    "Spread",
    "Standing",
    "Trial",
    "as_csv",
    "as_document",
    "cell",
    "rank",
    "verdict",
]

SCORES = {"acc": "ACC", "nmi": "NMI", "ari": "ARI"}
"""Scores against labels, best known first."""

FIGURES = {**SCORES, "evidence": "evidence", "n_clusters": "clusters", "noise": "noise",
           "seconds": "seconds", "memory_mb": "MB"}  # fmt: skip
"""The figures of a row and what their columns are called."""

Role = Literal["floor", "ours", "rival"]


@dataclass(frozen=True)
class Trial:
    """One method with one seed, on one set of rows.

    Attributes
    ----------
    method : str
        Its name on the command line.
    seed : int
    n_rows : int
        Rows that it was given.
    reason : str or None
        Why it failed, in one sentence; the figures are None then.
    figures : mapping of str to float
        By the keys of ``FIGURES``, and purity; scores only where the table has labels.
    cpu_seconds : float or None
    sizes : tuple of int
        Cluster sizes, largest first.
    digest : str or None
        SHA-256 of the partition: equal for equal partitions, whatever the clusters are called.
    settings : mapping
        What the method decided on the way.
    warnings : tuple of str
    """

    method: str
    seed: int
    n_rows: int
    reason: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    cpu_seconds: float | None = None
    sizes: tuple[int, ...] = ()
    digest: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class MethodInfo:
    """What a reader should know of a method before its figures."""

    name: str
    title: str
    role: Role
    is_deterministic: bool = False
    finds_count: bool = False


@dataclass(frozen=True)
class Spread:
    """Mean over the seeds, and their standard deviation (n - 1), which one seed does not have."""

    mean: float
    std: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise one value a seed."""
        return cls(mean(values), stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class Standing:
    """One method's row of the table.

    Attributes
    ----------
    info : MethodInfo
    n_runs : int
        Runs that succeeded.
    n_rows : int
        Rows that it was given.
    figures : mapping of str to Spread
        By the keys of ``FIGURES``; empty if every run failed.
    remarks : tuple of str
        Sentences that belong to the row.
    """

    info: MethodInfo
    n_runs: int
    n_rows: int
    figures: Mapping[str, Spread]
    remarks: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether there is nothing to show."""
        return self.n_runs == 0


@dataclass(frozen=True)
class MethodComparison:
    """Methods compared on one table.

    Attributes
    ----------
    source : str
        The table.
    n, d : int
        Its shape.
    n_labels : int or None
        Different labels in it; they score and do nothing else.
    n_clusters : int
        Clusters asked for.
    count_message : str or None
        How that number was estimated; None where it was given.
    seeds : tuple of int
    standings : tuple of Standing
        Best first.
    trials : tuple of Trial
        In the order in which they ran.
    facts : mapping of str to str or int
        Device, threads, versions and what else is needed to do it again.
    """

    source: str
    n: int
    d: int
    n_labels: int | None
    n_clusters: int
    count_message: str | None
    seeds: tuple[int, ...]
    standings: tuple[Standing, ...]
    trials: tuple[Trial, ...]
    facts: Mapping[str, Any]

    @property
    def lead(self) -> str:
        """The figure that ranks: accuracy where there are labels, else the evidence."""
        return _lead(self.n_labels)

    @property
    def floor(self) -> float | None:
        """The better k-means by the leading figure: what a method has to beat."""
        means = [row.figures[self.lead].mean for row in self.standings if _is_floor(row)]
        return max(means, default=None)

    @property
    def columns(self) -> dict[str, str]:
        """The figures that this comparison has, with the names of their columns."""
        hidden = set() if self.n_labels else set(SCORES)
        return {key: name for key, name in FIGURES.items() if key not in hidden}


def rank(
    infos: Iterable[MethodInfo], trials: Sequence[Trial], n: int, n_labels: int | None
) -> tuple[Standing, ...]:
    """Make one row a method, best first by accuracy (without labels, by evidence), failed ones last.

    Parameters
    ----------
    infos : iterable of MethodInfo
    trials : sequence of Trial
    n : int
        Rows of the table.
    n_labels : int or None
        Different labels, if the table has any.
    """
    rows = [_standing(info, [t for t in trials if t.method == info.name], n) for info in infos]
    lead = _lead(n_labels)
    return tuple(sorted(rows, key=lambda row: -row.figures[lead].mean if row.figures else float("inf")))


def verdict(comparison: MethodComparison) -> tuple[str, ...]:
    """Say in a few sentences what came out, for people who do not read tables."""
    done = [row for row in comparison.standings if not row.failed]
    if not done:
        return ("Every method failed.",)
    sentences = [_winner(done[0], comparison), *_mismatch(comparison)]
    told = [row for row in done if not row.info.finds_count]
    if comparison.n_labels and told:
        first = max(told, key=lambda row: row.figures["evidence"].mean)
        place = "comes first as well" if first is done[0] else "would come first instead"
        sentences.append(f"By the evidence, which sees no label, {first.info.title} {place}.")
    slowest = max(done, key=lambda row: row.figures["seconds"].mean)
    quickest = min(done, key=lambda row: row.figures["seconds"].mean)
    if len(done) > 1:
        sentences.append(
            f"{quickest.info.title} takes {duration(quickest.figures['seconds'].mean)}, "
            f"{slowest.info.title} {duration(slowest.figures['seconds'].mean)}."
        )
    failed = [row.info.title for row in comparison.standings if row.failed]
    if failed:
        sentences.append(f"{' and '.join(failed)} failed: the remarks say why.")
    return tuple(sentences)


def duration(seconds: float) -> str:
    """Write seconds for people."""
    return (
        f"{seconds:.2f} s"
        if seconds < 10
        else f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
    )


def cell(key: str, spread: Spread | None) -> str:
    """Write one figure for people: scores and noise in percent, spread behind the mean."""
    if spread is None:
        return "-"
    if key in {"n_clusters", "memory_mb"}:
        return f"{spread.mean:,.0f}"
    if key == "seconds":
        return f"{spread.mean:,.{2 if spread.mean < 10 else 0}f}"
    if key == "noise":
        return f"{100 * spread.mean:.0f} %" if spread.mean >= 0.005 else "<1 %" if spread.mean else "0"
    factor, digits = (1, 3) if key == "evidence" else (100, 1)
    value = f"{factor * spread.mean:.{digits}f}"
    return value if spread.std is None else f"{value} ±{factor * spread.std:.{digits}f}"


def as_document(comparison: MethodComparison) -> dict[str, Any]:
    """Return everything as plain values, for JSON."""
    return {
        **{name: value for name, value in asdict(comparison).items() if name not in {"standings", "trials"}},
        "ranked_by": comparison.lead,
        "floor": comparison.floor,
        "table": [_document_row(row) for row in comparison.standings],
        "runs": [asdict(trial) for trial in comparison.trials],
    }


def as_csv(comparison: MethodComparison) -> str:
    """Return the table as CSV: one row a method, mean and standard deviation side by side."""
    keys = [f"{key}_{part}" for key in comparison.columns for part in ("mean", "std")]
    text = io.StringIO()
    writer = csv.DictWriter(
        text, ["method", "title", "role", "runs", "rows", *keys, "remarks"], lineterminator="\n", restval=""
    )
    writer.writeheader()
    for row in comparison.standings:
        document = _document_row(row)
        spreads = document.pop("figures")
        flat = {f"{key}_{part}": value for key, both in spreads.items() for part, value in both.items()}
        writer.writerow({**document, **flat, "remarks": " ".join(row.remarks)})
    return text.getvalue()


def _document_row(row: Standing) -> dict[str, Any]:
    return {
        "method": row.info.name,
        "title": row.info.title,
        "role": row.info.role,
        "runs": row.n_runs,
        "rows": row.n_rows,
        "figures": {key: asdict(spread) for key, spread in row.figures.items()},
        "remarks": row.remarks,
    }


def _standing(info: MethodInfo, trials: Sequence[Trial], n: int) -> Standing:
    done = [trial for trial in trials if trial.reason is None]
    keys = [key for key in FIGURES if done and all(key in trial.figures for trial in done)]
    figures = {key: Spread.of([trial.figures[key] for trial in done]) for key in keys}
    n_rows = trials[0].n_rows
    return Standing(info, len(done), n_rows, figures, tuple(_remarks(info, trials, n)))


def _remarks(info: MethodInfo, trials: Sequence[Trial], n: int) -> Iterable[str]:
    """Say what the figures do not."""
    if trials[0].n_rows < n:
        yield (
            f"On a random sample of {trials[0].n_rows:,} of the {n:,} rows, because its cost grows faster "
            "than they do."
        )
    if info.is_deterministic:
        yield "Run once, because it draws nothing at random."
    if info.finds_count:
        yield "Finds its own number of clusters."
    eps = {trial.settings.get("eps"): trial.settings for trial in trials if "eps" in trial.settings}
    for value, settings in eps.items():
        rule = "as given" if settings["eps_rule"] == "given" else "by the k-distance rule"
        yield f"eps {value:.4g}, {rule}."
    yield from _by_seed([(trial.seed, text) for trial in trials for text in trial.warnings], len(trials))
    yield from _by_seed([(trial.seed, trial.reason) for trial in trials if trial.reason], len(trials))


def _by_seed(said: Sequence[tuple[int, str]], n_trials: int) -> Iterable[str]:
    """Give each sentence once, with the seeds that it holds for unless it holds for all."""
    for text in dict.fromkeys(text for _, text in said):
        seeds = [seed for seed, other in said if other == text]
        sentence = text if text.endswith(".") else f"{text}."
        if len(seeds) == n_trials:
            yield sentence
        else:
            yield f"Seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}: {sentence}"


def _winner(best: Standing, comparison: MethodComparison) -> str:
    lead, floor = comparison.lead, comparison.floor
    name, figure = comparison.columns[lead], best.figures[lead]
    value = f"{name} {cell(lead, figure)}{' %' if lead == 'acc' else ''}"
    if best.info.role == "floor":
        return f"Nothing beats k-means here: {best.info.title} comes first ({value})."
    if floor is None:
        return f"{best.info.title} comes first ({value})."
    gap = figure.mean - floor
    if gap < 0.0005:
        return f"{best.info.title} comes first ({value}), level with the better k-means."
    above = f"{100 * gap:.1f} points" if lead == "acc" else f"{gap:.3f}"
    within = ", which is within the spread of the seeds" if gap <= _floor_spread(best, comparison) else ""
    return f"{best.info.title} comes first ({value}), {above} above the better k-means{within}."


def _mismatch(comparison: MethodComparison) -> Iterable[str]:
    n_labels, n_clusters = comparison.n_labels, comparison.n_clusters
    if n_labels and n_labels != n_clusters:
        yield f"The labels name {n_labels:,} classes and {n_clusters:,} clusters were asked for."


def _floor_spread(best: Standing, comparison: MethodComparison) -> float:
    """Return the larger of the spreads of the best method and of the floors."""
    rows = [best, *(row for row in comparison.standings if _is_floor(row))]
    return max(row.figures[comparison.lead].std or 0.0 for row in rows)


def _is_floor(row: Standing) -> bool:
    return row.info.role == "floor" and not row.failed


def _lead(n_labels: int | None) -> str:
    return "acc" if n_labels else "evidence"
