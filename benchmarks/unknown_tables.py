"""The results of ``benchmarks.unknown`` as Markdown: what it comes to, and every set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np

from benchmarks.datasets import NAMES
from benchmarks.tables import markdown

Groups = dict[tuple[str, str], list[dict]]  # (set, method) -> one record a seed

TITLES = {
    "kmeans": "k-means, told K",
    "evoc": "EVoC",
    "hdbscan_5": "HDBSCAN, 5",
    "hdbscan_15": "HDBSCAN, 15",
    "umap_hdbscan": "UMAP + HDBSCAN, n/140",
    "umap_hdbscan_5": "UMAP + HDBSCAN, 5",
    "bayesian_diag": "Bayesian mixture, diagonal",
    "bayesian_full": "Bayesian mixture, full",
    "published": "DeepDPM, published",
    "consensus": "**consensus, auto**",
    "dec": "DEC, auto",
    "dirichlet": "DirichletGMM",
    "density": "DensityMLP",
}
_TOLD = ("kmeans",)

# Ronen, Finder and Freifeld, "DeepDPM: Deep Clustering With an Unknown Number of Clusters", CVPR 2022,
# arXiv 2203.14309: all 70,000 rows of MNIST after UMAP (we: 10,000 of them); MoCo rows of ImageNet-50.
_PUBLISHED = {"n2d_mnist": (10, 0.98, 0.94, 0.95), "IN50": (55, 0.66, 0.77, 0.54)}


def unknown_tables(records: list[dict]) -> str:
    """The summary over the ten sets, over the rest, and each measure set by set."""
    groups = _by_set_and_method([*records, *_published(records)])
    ten = [name for name in NAMES if any(key[0] == name for key in groups)]
    rest = sorted({name for name, _ in groups} - set(NAMES))
    methods = [method for method in TITLES if any(key[1] == method for key in groups)]
    parts = [
        f"### Summary of {title}\n\n{_summary(groups, sets, methods)}"
        for title, sets in (("the ten sets", ten), ("skewed sets and parts of sets", rest))
        if sets
    ]
    cells = {
        "K found (its interval), and the share of noise": _count,
        "ACC, percent": _accuracy,
        "NMI / ARI, percent": _nmi_ari,
        "CPU seconds of a fit, median": _seconds,
    }
    parts += [f"### {title}\n\n{_table(groups, ten + rest, methods, cell)}" for title, cell in cells.items()]
    return "\n\n".join(parts)


def _published(records: list[dict]) -> list[dict]:
    """DeepDPM's rows, as records, for the sets that are there."""
    true = {record["set"]: record for record in records}
    return [
        {
            **{key: true[name][key] for key in ("set", "n", "d", "k")},
            "method": "published", "clusters": k, "acc": acc, "nmi": nmi, "ari": ari,
        }
        for name, (k, acc, nmi, ari) in _PUBLISHED.items() if name in true
    ]  # fmt: skip


def _by_set_and_method(records: Iterable[dict]) -> Groups:
    groups: Groups = defaultdict(list)
    for record in records:
        groups[record["set"], record["method"]].append(record)
    return groups


def _summary(groups: Groups, sets: list[str], methods: list[str]) -> str:
    """Each set weighs the same, however many seeds it has."""
    rows = []
    for method in methods:
        found = [groups[name, method] for name in sets if (name, method) in groups]
        if found:
            shares = [_share(found, _within(0.2)), _share(found, _within(0.1))]
            if method in _TOLD:
                shares = ["told", "told"]
            width = np.median([_median_width(records) for records in found])
            held = "-" if np.isnan(width) else _share(found, _holds)
            means = [f"{_mean_of_means(found, metric):.1f}" for metric in ("acc", "nmi", "ari")]
            wide = "-" if np.isnan(width) else f"{width:.2f}"
            rows.append([TITLES[method], str(len(found)), *shares, held, wide, *means])
    head = [
        "method", "sets", "K within 20 %", "K within 10 %", "true K in the interval", "high / low, median",
        "ACC, mean", "NMI, mean", "ARI, mean",
    ]  # fmt: skip
    return markdown(head, rows)


def _share(found: list[list[dict]], holds: Callable[[dict], bool]) -> str:
    return f"{100 * np.mean([np.mean([holds(record) for record in records]) for records in found]):.0f} %"


def _within(tolerance: float) -> Callable[[dict], bool]:
    return lambda record: abs(record["clusters"] - record["k"]) <= tolerance * record["k"] + 1e-9


def _holds(record: dict) -> bool:
    low, high = record["interval"]
    return low <= record["k"] <= high


def _median_width(records: list[dict]) -> float:
    intervals = [record.get("interval") for record in records]
    return float("nan") if None in intervals else float(np.median([high / low for low, high in intervals]))


def _mean_of_means(found: list[list[dict]], metric: str) -> float:
    return float(100 * np.mean([np.mean([record[metric] for record in records]) for records in found]))


def _table(groups: Groups, sets: list[str], methods: list[str], cell: Callable[[list[dict]], str]) -> str:
    some = {name: records[0] for (name, _), records in groups.items()}
    rows = [
        [
            name,
            f"{some[name]['n']:,} x {some[name]['d']}, K {some[name]['k']}",
            *(cell(groups[name, method]) if (name, method) in groups else "-" for method in methods),
        ]
        for name in sets
    ]
    return markdown(["set", "shape", *(TITLES[method] for method in methods)], rows)


def _count(found: list[dict]) -> str:
    text = _span([record["clusters"] for record in found])
    if found[0].get("interval"):
        lows, highs = zip(*(record["interval"] for record in found), strict=True)
        text += f" ({round(np.median(lows))}-{round(np.median(highs))})"
    noise = 100 * np.mean([record.get("noise", 0) for record in found])
    return f"{text}, {noise:.0f} %" if noise >= 0.5 else text


def _span(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low}-{high}"


def _accuracy(found: list[dict]) -> str:
    values = [100 * record["acc"] for record in found]
    return (
        f"{np.mean(values):.1f}"
        if len(values) == 1
        else f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"
    )


def _nmi_ari(found: list[dict]) -> str:
    return " / ".join(
        f"{100 * np.mean([record[metric] for record in found]):.1f}" for metric in ("nmi", "ari")
    )


def _seconds(found: list[dict]) -> str:
    if "seconds" not in found[0]:
        return "-"
    return f"{np.median([record['seconds'] for record in found]):.1f}"
