"""The results of ``benchmarks.mixture`` as Markdown: against EM from the truth, and from start to start."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from benchmarks.tables import markdown

TITLES = {
    "em": "EM from the true parameters",
    "ours": "**DirichletGMM**",
    "ours_gradients": "its gradients alone, 10,000 steps",
    "bayesian": "BayesianGaussianMixture",
    "document_2000": "the document's loop, 2,000 steps",
    "document_10000": "the document's loop, 10,000 steps",
}


def mixture_tables(records: list[dict]) -> str:
    """Two tables: ten draws of the data, and ten starts on one draw."""
    return "\n\n".join(
        [
            "### Ten draws of the data, one start each",
            _draws_table([record for record in records if record["start"] == 0]),
            "### Ten starts on the first draw",
            _starts_table([record for record in records if record["data_seed"] == 0]),
        ]
    )


def _by_method(records: Iterable[dict]) -> dict[str, list[dict]]:
    groups: dict[str, list[dict]] = defaultdict(list)
    for record in records:
        groups[record["method"]].append(record)
    return {method: groups[method] for method in TITLES if method in groups}


def _draws_table(records: list[dict]) -> str:
    best = {record["data_seed"]: record for record in records if record["method"] == "em"}
    rows = []
    for method, found in _by_method(records).items():
        gaps = [
            _worst([_gap(record, best, metric) for record in found], digits)
            for metric, digits in (("log_likelihood", 4), ("ari", 3))
        ]
        nan = [record for record in found if record["nan"]]
        seconds = [record["seconds"] for record in found]
        rows.append(
            [
                TITLES[method], str(len(found)), _counts(record["count"] for record in found),
                _counts(record.get("raw_count") for record in found), *gaps, _nan(nan, len(found)),
                f"{np.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})",
                f"{np.median([record['steps'] for record in found]):,.0f}",
            ]
        )  # fmt: skip
    head = [
        "method", "draws", "components", "of them before joining",
        "log-likelihood a row over EM's: median (worst)", "ARI over EM's: median (worst)", "NaN",
        "CPU seconds: median (span)", "steps, median",
    ]  # fmt: skip
    return markdown(head, rows)


def _gap(record: dict, best: dict[int, dict], metric: str) -> float:
    value = record[metric]
    return float("nan") if value is None else value - best[record["data_seed"]][metric]


def _worst(gaps: list[float], digits: int) -> str:
    known = [gap for gap in gaps if not np.isnan(gap)]
    return f"{np.median(known):+.{digits}f} ({min(known):+.{digits}f})" if known else "-"


def _counts(counts: Iterable[int | None]) -> str:
    """How often each number of components was found: ``4 (9), 5 (1)``."""
    found = Counter("none" if count is None else str(count) for count in counts)
    ordered = sorted(found.items(), key=lambda item: (len(item[0]), item[0]))
    return ", ".join(f"{count} ({often})" for count, often in ordered)


def _nan(records: list[dict], n: int) -> str:
    first = [record["first_nan"] for record in records if record.get("first_nan") is not None]
    since = f", first at step {min(first):,}-{max(first):,}" if first else ""
    return f"{len(records)} of {n}{since}"


def _starts_table(records: list[dict]) -> str:
    rows = []
    for method, found in _by_method(records).items():
        if len(found) > 1:
            counts = _counts(record["count"] for record in found)
            likelihoods = [r["log_likelihood"] for r in found if r["log_likelihood"] is not None]
            spread = f"{max(likelihoods) - min(likelihoods):.4f}" if likelihoods else "-"
            rows.append([TITLES[method], str(len(found)), counts, *_largest_differences(found), spread])
    head = [
        "method", "starts", "components", "largest difference of weights", "of means", "of scales",
        "of log-likelihoods a row",
    ]  # fmt: skip
    return markdown(head, rows)


def _largest_differences(found: list[dict]) -> list[str]:
    """Over the starts, of components sorted by their means; only where all have equally many."""
    if len({record["count"] for record in found}) != 1 or found[0]["count"] is None:
        return ["-", "-", "-"]
    arrays = ([record["found"][name] for record in found] for name in ("weights", "means", "scales"))
    return [f"{np.ptp(np.array(array), axis=0).max():.4f}" for array in arrays]
