"""What each kind of member and each step of a consensus adds, K known.

``python -m benchmarks.ablation run`` appends one line a set and seed to ``results/ablation.jsonl``: members
are made once, and vote in every combination. ``table`` prints Markdown.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.datasets import Dataset, datasets
from benchmarks.machine import describe
from benchmarks.tables import markdown, read_records
from holdfast import ConsensusClustering
from holdfast._choices import MEMBER_KINDS
from holdfast.cluster._members import Member
from holdfast.cluster._votes import Panel
from holdfast.metrics import clustering_accuracy

RESULTS = Path(__file__).parent / "results" / "ablation.jsonl"
KINDS = {"k-means": "kmeans", "graph": "graph", "linkage": "linkage", "TEMI": "temi", "DEC": "dec"}


class _Watched(ConsensusClustering):
    """The estimator, which lets us look at what voted."""

    def _describe(self, consensus, order) -> None:
        super()._describe(consensus, order)
        self.consensus_found = consensus
        self.order_found = order


def measure(data: Dataset, seed: int) -> dict:
    model = _Watched(data.n_classes, random_state=seed).fit(data.X)
    consensus, y = model.consensus_found, data.y[model.order_found]
    members = consensus.panel.members

    def settled(chosen: list[Member]) -> float:
        panel = Panel(chosen, consensus.graph, data.n_classes)
        return clustering_accuracy(y, panel.settle(consensus.pairs).labels)

    scores = {"all kinds": clustering_accuracy(y, consensus.labels)}
    for title in KINDS:
        scores[f"without {title}"] = settled([m for m in members if m.kind != title])
        scores[f"{title} alone"] = settled([m for m in members if m.kind == title])
        own = [clustering_accuracy(y, m.labels) for m in members if m.kind == title]
        scores[f"{title}, mean member"] = float(np.mean(own))
    best = members[int(consensus.panel.scores.argmax())]
    scores |= {
        "best member by score": clustering_accuracy(y, best.labels),
        "best member by true labels": max(clustering_accuracy(y, m.labels) for m in members),
        "learned by the head": clustering_accuracy(data.y, model.start_labels_),
        "trained on (the result)": clustering_accuracy(data.y, model.labels_),
    }
    return {"set": data.name, "seed": seed, "kinds": list(MEMBER_KINDS), "acc": scores}


def table() -> str:
    records = read_records(RESULTS)
    names = list(dict.fromkeys(record["set"] for record in records))
    rows = []
    for title in records[0]["acc"]:
        means = [100 * np.mean([r["acc"][title] for r in records if r["set"] == name]) for name in names]
        rows.append([title, *(f"{mean:.1f}" for mean in means), f"{np.mean(means):.1f}"])
    return markdown(["ACC %", *names, "mean"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.what == "table":
        print(describe(), table(), sep="\n\n")
        return
    done = {(record["set"], record["seed"]) for record in read_records(RESULTS)}
    for data in datasets(arguments.sets):
        for seed in range(arguments.seeds):
            if (data.name, seed) not in done:
                with RESULTS.open("a") as file:
                    file.write(json.dumps(measure(data, seed)) + "\n")
                print(data.name, seed, flush=True)


if __name__ == "__main__":
    main()
