"""Quality with the number of clusters known: consensus and DEC beside k-means and Louvain on the same rows.

``python -m benchmarks.quality run`` appends one line a fit to ``results/quality.jsonl``. A fit that is there
already is not repeated: delete the file, or its lines, after a change of the code. ``python -m
benchmarks.quality table`` prints the tables in Markdown.
True labels score the results and do nothing else; "k-means" is the better of raw and L2-normalised rows
*by those labels*, which flatters it.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

import holdfast as hf
from benchmarks.datasets import PIXELS, Dataset, datasets
from benchmarks.machine import PeakMemory, describe
from benchmarks.tables import quality_tables, read_records
from holdfast.cluster._start import find_neighbours
from holdfast.evidence import evidence
from holdfast.functional.geometry import mean_row, root_mean_square
from holdfast.graph import Neighbours, communities_at, jaccard_graph, kmeans, unit_rows
from holdfast.metrics import score

RESULTS = Path(__file__).parent / "results" / "quality.jsonl"
Labels = dict[str, np.ndarray]


def run_kmeans(data: Dataset, seed: int) -> Labels:
    rows = {"kmeans_raw": data.X, "kmeans_l2": unit_rows(data.X)}
    return {name: kmeans(X, data.n_classes, n_init=20, seed=seed) for name, X in rows.items()}


def run_louvain(data: Dataset, seed: int) -> Labels:
    graph = jaccard_graph(neighbours_of(data))
    return {"louvain": communities_at(graph, data.n_classes, orders=(1000 * seed,))[0]}


def run_dec(**parameters: object) -> Callable[[Dataset, int], Labels]:
    def run(data: Dataset, seed: int) -> Labels:
        model = hf.DEC(data.n_classes, random_state=seed, **parameters).fit(data.X)
        name = f"dec_{parameters['init']}"
        return {name: model.labels_, f"{name}_start": model.start_labels_}

    return run


def run_idec(data: Dataset, seed: int) -> Labels:
    return {"idec": hf.IDEC(data.n_classes, random_state=seed).fit(data.X).labels_}


def run_consensus(**parameters: object) -> Callable[[Dataset, int], Labels]:
    def run(data: Dataset, seed: int) -> Labels:
        model = hf.ConsensusClustering(data.n_classes, random_state=seed, **parameters).fit(data.X)
        name = "consensus" if not parameters else "consensus_" + "_".join(map(str, parameters.values()))
        return {name: model.labels_, f"{name}_start": model.start_labels_}

    return run


def run_published(data: Dataset, seed: int) -> Labels:
    model = hf.DEC.as_published(data.n_classes, random_state=seed).fit(data.X)
    return {"published": model.labels_, "published_start": model.start_labels_}


METHODS: dict[str, Callable[[Dataset, int], Labels]] = {
    "kmeans": run_kmeans,
    "louvain": run_louvain,
    "dec_kmeans": run_dec(init="kmeans"),
    "dec_graph": run_dec(init="graph"),
    "dec_auto": run_dec(init="auto"),
    "idec": run_idec,
    "published": run_published,
    "consensus": run_consensus(),
    "consensus_fast": run_consensus(preset="fast"),
}


def neighbours_of(data: Dataset) -> Neighbours:
    """The neighbours that the evidence is measured with, as a fit would find them."""
    mean = mean_row(data.X)
    return find_neighbours(data.X, mean, root_mean_square(data.X, mean), data.n_classes)


def run(names: list[str] | None, methods: list[str], seeds: range) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    for data in datasets(names):
        neighbours = neighbours_of(data)
        for method in methods:
            for seed in seeds:
                if (data.name, method, seed) in {
                    (r["set"], r["method"], r["seed"]) for r in read_records(RESULTS)
                }:
                    continue
                record = measure(data, method, seed, neighbours)
                took = f"{record.pop('seconds'):.1f} s"
                del record["peak_mb"]  # several of these processes may run at once: see cost.py
                with RESULTS.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                best = {name: round(100 * s["acc"], 1) for name, s in record["scores"].items()}
                print(data.name, method, seed, best, took, flush=True)


def measure(data: Dataset, method: str, seed: int, neighbours: Neighbours) -> dict:
    with PeakMemory() as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        partitions = METHODS[method](data, seed)
        seconds = time.perf_counter() - started
    scores = {
        name: {**score(data.y, labels), "evidence": evidence(labels, neighbours, data.n_classes).value}
        for name, labels in partitions.items()
    }
    return {
        "set": data.name, "method": method, "seed": seed, "n": len(data.X), "d": data.X.shape[1],
        "k": data.n_classes, "scores": scores, "seconds": seconds, "peak_mb": memory.megabytes,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.what == "run":
        run(arguments.sets, arguments.methods, range(arguments.seeds))
    else:
        print(describe(), quality_tables(read_records(RESULTS), PIXELS), sep="\n\n")


if __name__ == "__main__":
    main()
