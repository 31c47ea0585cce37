"""How far the predicted quality can be trusted: ``holdfast.predict_quality`` beside what true labels say.

``python -m benchmarks.trust run`` appends one line a partition to ``results/trust.jsonl``; what is there
already is not repeated. ``python -m benchmarks.trust table`` prints the tables in Markdown. True labels score
the predictions and do nothing else here, but the handful of constants in ``holdfast.quality`` was fitted to
these sets and 22 others, so this is how the shipped figures do on known ground; what they do on unknown
ground, each source left out in turn, stands in the docstring of that module.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from sklearn.cluster import MiniBatchKMeans, SpectralClustering

import holdfast as hf
from benchmarks.datasets import Dataset, datasets
from benchmarks.machine import describe
from benchmarks.tables import markdown, read_records
from holdfast.cluster._rivals import Asked, measuring_neighbours, rival
from holdfast.graph import communities_at, jaccard_graph, kmeans, unit_rows
from holdfast.metrics import clustering_accuracy, purity

RESULTS = Path(__file__).parent / "results" / "trust.jsonl"
Estimator = Callable[[Dataset], np.ndarray]


def run_kmeans(n_init: int, seed: int, *, unit: bool) -> Estimator:
    def run(data: Dataset) -> np.ndarray:
        return kmeans(unit_rows(data.X) if unit else data.X, data.n_classes, n_init=n_init, seed=seed)

    return run


def run_minibatch(data: Dataset) -> np.ndarray:
    return MiniBatchKMeans(data.n_classes, n_init=1, random_state=0).fit_predict(unit_rows(data.X))


def run_louvain(seed: int) -> Estimator:
    def run(data: Dataset) -> np.ndarray:
        graph = jaccard_graph(measuring_neighbours(data.X, data.n_classes))
        return communities_at(graph, data.n_classes, orders=(1000 * seed,))[0]

    return run


def run_spectral(data: Dataset) -> np.ndarray:
    graph = jaccard_graph(measuring_neighbours(data.X, data.n_classes)).astype(np.float64)
    model = SpectralClustering(
        data.n_classes, affinity="precomputed", assign_labels="cluster_qr", random_state=0
    )
    return model.fit_predict(graph)


def run_gmm(data: Dataset) -> np.ndarray:
    return rival("gmm").partition(data.X, Asked(data.n_classes)).labels


def run_dec(data: Dataset) -> np.ndarray:
    return hf.DEC(data.n_classes, random_state=0).fit(data.X).labels_


def run_consensus(preset: str) -> Estimator:
    def run(data: Dataset) -> np.ndarray:
        return hf.ConsensusClustering(data.n_classes, preset=preset, random_state=0).fit(data.X).labels_

    return run


ESTIMATORS: dict[str, Estimator] = {
    **{f"kmeans_raw_1_{seed}": run_kmeans(1, seed, unit=False) for seed in (0, 1)},
    **{f"kmeans_l2_1_{seed}": run_kmeans(1, seed, unit=True) for seed in (0, 1)},
    "kmeans_raw_20": run_kmeans(20, 0, unit=False),
    "kmeans_l2_20": run_kmeans(20, 0, unit=True),
    "minibatch": run_minibatch,
    "louvain_0": run_louvain(0),
    "louvain_1": run_louvain(1),
    "spectral": run_spectral,
    "gmm": run_gmm,
    "dec_auto": run_dec,
    "consensus": run_consensus("full"),
    "consensus_fast": run_consensus("fast"),
}


def run(names: list[str] | None, estimators: list[str]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    for data in datasets(names):
        done = {(record["set"], record["estimator"]) for record in read_records(RESULTS)}
        for estimator in estimators:
            if (data.name, estimator) in done:
                continue
            record = measure(data, estimator)
            with RESULTS.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(data.name, estimator, *(record[key] for key in ("purity", "low", "high", "acc", "seconds")))


def measure(data: Dataset, estimator: str) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = ESTIMATORS[estimator](data)
    begun = time.perf_counter()
    found = hf.predict_quality(data.X, labels)
    seconds = time.perf_counter() - begun
    clusters = {
        "predicted": found.cluster_purity, "low": found.cluster_low, "high": found.cluster_high,
        "true": _purities(data.y, labels),
    }  # fmt: skip
    return {
        "set": data.name, "estimator": estimator, "n": len(data.X), "k": data.n_classes,
        "purity": round(found.purity, 4), "low": round(found.low, 4), "high": round(found.high, 4),
        "acc": round(clustering_accuracy(data.y, labels), 4), "true": round(purity(data.y, labels), 4),
        "seconds": round(seconds, 2),
        "clusters": {name: np.round(values, 4).tolist() for name, values in clusters.items()},
    }  # fmt: skip


def _purities(y: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """True purity (k,) of each cluster."""
    counts = np.zeros((labels.max() + 1, len(np.unique(y))))
    np.add.at(counts, (labels, np.unique(y, return_inverse=True)[1]), 1)
    return counts.max(axis=1) / np.maximum(counts.sum(axis=1), 1)


def table(records: list[dict]) -> str:
    """Rank correlations and coverage over all partitions, and set by set."""
    sets = {
        name: [r for r in records if r["set"] == name] for name in dict.fromkeys(r["set"] for r in records)
    }
    rows = [[name, *_line(found)] for name, found in sets.items()]
    within = [np.mean([_rank(found, key) for found in sets.values()]) for key in ("acc", "true")]
    over_all = ["**all partitions**", *_line(records)]
    mean = ["**mean within a set**", "", *(f"{value:.2f}" for value in within), *[""] * 6]
    return markdown(
        [
            "set", "partitions", "rank correlation with ACC", "with true purity", "predicted", "true purity",
            "interval covers", "clusters: rank correlation", "clusters: interval covers", "seconds",
        ],
        [*rows, over_all, mean],
    )  # fmt: skip


def _line(records: list[dict]) -> list[str]:
    predicted, low, high, true = _clusters(records)
    return [
        str(len(records)),
        f"{_rank(records, 'acc'):.2f}",
        f"{_rank(records, 'true'):.2f}",
        f"{100 * np.mean([r['purity'] for r in records]):.0f} %",
        f"{100 * np.mean([r['true'] for r in records]):.0f} %",
        f"{100 * np.mean([r['low'] <= r['true'] <= r['high'] for r in records]):.0f} %",
        f"{spearmanr(predicted, true).statistic:.2f}",
        f"{100 * np.mean((low <= true) & (true <= high)):.0f} %",
        f"{np.median([r['seconds'] for r in records]):.1f}",
    ]


def _rank(records: list[dict], truth: str) -> float:
    return float(spearmanr([r["purity"] for r in records], [r[truth] for r in records]).statistic)


def _clusters(records: list[dict]) -> list[np.ndarray]:
    """Predicted purity, its bounds and the true purity of every cluster of every partition."""
    names = ("predicted", "low", "high", "true")
    return [np.concatenate([r["clusters"][name] for r in records]) for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--estimators", nargs="*", default=list(ESTIMATORS))
    arguments = parser.parse_args()
    if arguments.what == "run":
        run(arguments.sets, arguments.estimators)
    else:
        print(describe(), table(read_records(RESULTS)), sep="\n\n")


if __name__ == "__main__":
    main()
