"""Results as Markdown tables."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

Scores = dict[str, list[dict]]  # method -> one score dict a seed

_COLUMNS = {
    "kmeans": "k-means", "louvain": "Louvain at K", "pick": "evidence's pick",
    "consensus": "**consensus**", "consensus_fast": "consensus, fast",
    "dec_kmeans": "DEC, init=kmeans", "dec_graph": "DEC, init=graph", "dec_auto": "DEC, init=auto",
    "idec": "IDEC", "published": "DEC as published",
}  # fmt: skip


def read_records(path: Path) -> list[dict]:
    """Read what a benchmark has measured so far: a JSON object a line."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def quality_tables(records: list[dict], pixels: Iterable[str]) -> str:
    """All tables of the quality benchmark."""
    sets = {name: _by_method(records, name) for name in dict.fromkeys(r["set"] for r in records)}
    return "\n\n".join(
        [
            "### ACC, mean ± standard deviation over seeds, percent",
            _score_table(sets, lambda scores: _mean_std(scores, "acc")),
            "### Gain in ACC points",
            _gain_table(sets, set(pixels)),
            "### NMI / ARI, mean over seeds, percent",
            _score_table(sets, _nmi_ari),
        ]
    )


def _by_method(records: list[dict], name: str) -> Scores:
    scores: Scores = defaultdict(list)
    partitions: dict[int, dict[str, dict]] = defaultdict(dict)
    for record in (r for r in records if r["set"] == name):
        for partition, score in record["scores"].items():
            scores[partition].append(score)
            partitions[record["seed"]][partition] = score
    better = max(("kmeans_raw", "kmeans_l2"), key=lambda method: _mean(scores[method], "acc"))
    scores["kmeans"] = scores[better]
    scores["pick"] = [_pick(found) for found in partitions.values() if "louvain" in found]
    return scores


def _pick(found: dict[str, dict]) -> dict:
    """The partition of most evidence among k-means on raw and on L2 rows and Louvain, one seed."""
    return max(
        (found[name] for name in ("kmeans_raw", "kmeans_l2", "louvain")), key=lambda score: score["evidence"]
    )


def _mean(scores: list[dict], metric: str) -> float:
    return float(100 * np.mean([score[metric] for score in scores])) if scores else float("nan")


def _mean_std(scores: list[dict], metric: str) -> str:
    if not scores:
        return "-"
    spread = 100 * np.std([score[metric] for score in scores], ddof=min(1, len(scores) - 1))
    few = "" if len(scores) >= 5 else f" ({len(scores)})"
    return f"{_mean(scores, metric):.1f} ± {spread:.1f}{few}"


def _nmi_ari(scores: list[dict]) -> str:
    return f"{_mean(scores, 'nmi'):.1f} / {_mean(scores, 'ari'):.1f}" if scores else "-"


def _score_table(sets: dict[str, Scores], cell: Callable[[list[dict]], str]) -> str:
    methods = [m for m in _COLUMNS if any(scores.get(m) for scores in sets.values())]
    rows = [[name, *(cell(scores.get(m, [])) for m in methods)] for name, scores in sets.items()]
    return markdown(["set", *(_COLUMNS[m] for m in methods)], rows)


def _gain_table(sets: dict[str, Scores], pixels: set[str]) -> str:
    comparisons = {
        "consensus over k-means": ("consensus", "kmeans"),
        "consensus over Louvain": ("consensus", "louvain"),
        "consensus over the evidence's pick": ("consensus", "pick"),
        "consensus over DEC auto": ("consensus", "dec_auto"),
        "fast consensus over k-means": ("consensus_fast", "kmeans"),
        "DEC from k-means over its own start": ("dec_kmeans", "dec_kmeans_start"),
        "DEC from the graph over its own start": ("dec_graph", "dec_graph_start"),
        "DEC auto over k-means": ("dec_auto", "kmeans"),
        "DEC auto over the evidence's pick": ("dec_auto", "pick"),
        "DEC auto over Louvain": ("dec_auto", "louvain"),
        "IDEC over k-means": ("idec", "kmeans"),
        "IDEC over DEC auto": ("idec", "dec_auto"),
        "evidence's pick over k-means": ("pick", "kmeans"),
        "DEC as published over its own start": ("published", "published_start"),
        "DEC as published over k-means": ("published", "kmeans"),
    }
    rows = []
    for title, (ours, theirs) in comparisons.items():
        gains = {n: _mean(s[ours], "acc") - _mean(s[theirs], "acc") for n, s in sets.items() if s.get(ours)}
        if gains:
            worst = min(gains, key=lambda name: gains[name])
            without = np.mean([gain for name, gain in gains.items() if name not in pixels] or [np.nan])
            rows.append(
                [
                    title,
                    f"{np.mean(list(gains.values())):+.1f}",
                    f"{np.median(list(gains.values())):+.1f}",
                    f"{without:+.1f}",
                    f"{gains[worst]:+.1f} ({worst})",
                ]
            )
    return markdown(["", "mean", "median", "mean without pixel sets", "worst set"], rows)


def cost_table(records: list[dict]) -> str:
    """Seconds, and in brackets peak MB above what was resident before, of one fit."""
    cells: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for record in records:
        cells[record["set"], record["method"]].append(record)
    methods = list(dict.fromkeys(r["method"] for r in records))
    shapes = {r["set"]: f"{r['n']:,} x {r['d']}, K {r['k']}" for r in records}
    rows = [
        [name, shape, *(_cost(cells.get((name, method), [])) for method in methods)]
        for name, shape in shapes.items()
    ]
    return markdown(["set", "shape", *methods], rows)


def _cost(found: list[dict]) -> str:
    if not found:
        return "-"
    seconds = np.median([record["seconds"] for record in found])
    return f"{seconds:.1f} ({max(record['peak_mb'] for record in found):.0f})"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
