"""DensityMLP on the sets of ``benchmarks.quality``, its K unknown, beside the knee rule and k-means told K.

``python -m benchmarks.density run`` appends one line a fit to ``results/density.jsonl``; a fit that is there
is not repeated. ``scale`` does it for made-up rows, each in a process of its own. ``table`` prints Markdown.
Noise is wrong in ACC, and one more cluster in NMI and ARI.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import holdfast as hf
from benchmarks.datasets import Dataset, datasets
from benchmarks.machine import PeakMemory, describe
from benchmarks.synthetic import embedding_like
from benchmarks.tables import markdown, read_records
from holdfast.cluster._rivals import Asked, rival
from holdfast.metrics import ari, clustering_accuracy, nmi

RESULTS = Path(__file__).parent / "results" / "density.jsonl"
SIZES = (10_000, 100_000)
_UNSEEN = 0.2


def scores(y: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    known = np.maximum(labels, -1)
    return {"acc": clustering_accuracy(y, known), "nmi": nmi(y, known), "ari": ari(y, known)}


def run_density(data: Dataset, seed: int, **parameters: object) -> dict:
    begun = time.perf_counter()
    model = hf.DensityMLP(random_state=seed, **parameters).fit(data.X)
    seconds = round(time.perf_counter() - begun, 1)
    count = model.cluster_count_
    return {
        "seconds": seconds,
        **scores(data.y, model.labels_),
        "density": scores(data.y, model.density_labels_),
        "k": model.n_clusters_,
        "interval": None if count is None else [count.low, count.high],
        "noise": model.n_noise_ / len(data.X),
        "cuts": len(model.merged_into_),
        "held_back": model.held_back_accuracy_,
        **unseen(data, seed, **parameters),
    }


def unseen(data: Dataset, seed: int, **parameters: object) -> dict:
    """Fit on four rows in five; score the fifth, and the four, against the truth."""
    left_out = np.random.default_rng(seed).random(len(data.X)) < _UNSEEN
    model = hf.DensityMLP(random_state=seed, **parameters).fit(data.X[~left_out])
    return {
        "unseen_acc": clustering_accuracy(data.y[left_out], model.predict(data.X[left_out])),
        "seen_acc": clustering_accuracy(data.y[~left_out], model.labels_),
    }


def run_knee(data: Dataset, _seed: int) -> dict:
    found = rival("dbscan").partition(data.X, Asked(data.n_classes))
    labels = found.labels
    return {**scores(data.y, labels), "k": int(labels.max()) + 1, "noise": float((labels < 0).mean())}


def run_kmeans(data: Dataset, seed: int) -> dict:
    return {**scores(data.y, rival("kmeans").partition(data.X, Asked(data.n_classes, seed)).labels)}


METHODS: dict[str, Callable[[Dataset, int], dict]] = {
    "DensityMLP": run_density,
    "DensityMLP, propagate": lambda data, seed: run_density(data, seed, noise="propagate"),
    "DensityMLP, HDBSCAN": lambda data, seed: run_density(data, seed, density="hdbscan"),
    "DensityMLP, told K": lambda data, seed: run_density(data, seed, n_clusters=data.n_classes),
    "knee": run_knee,
    "k-means, told K": run_kmeans,
}


def run(names: list[str] | None, methods: list[str], seeds: range) -> None:
    done = {(r["set"], r["method"], r["seed"]) for r in read_records(RESULTS)}
    for data in datasets(names):
        for method in methods:
            for seed in seeds if method != "knee" else range(1):
                if (data.name, method, seed) not in done:
                    append(fitted(data, method, seed))


def fitted(data: Dataset, method: str, seed: int) -> dict:
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = METHODS[method](data, seed)
    seconds = round(time.perf_counter() - begun, 1)
    about = {"set": data.name, "method": method, "seed": seed, "true_k": data.n_classes}
    return {**about, "seconds": seconds, **found}


def scale(n: int, density: str) -> dict:
    """Fit made-up rows of 768 columns and 100 classes; the peak is what the fit adds to the rows."""
    X, y = embedding_like(n)
    begun = time.perf_counter()
    with PeakMemory() as memory:
        model = hf.DensityMLP(density=density, random_state=0).fit(X)
    seconds = time.perf_counter() - begun
    return {
        "set": f"{n:,} x 768", "method": density, "seed": 0, "true_k": 100, "k": model.n_clusters_,
        **scores(y, model.labels_), "noise": model.n_noise_ / n, "recall": model.neighbour_recall_,
        "held_back": model.held_back_accuracy_, "seconds": round(seconds, 1),
        "peak_mb": round(memory.megabytes),
    }  # fmt: skip


def append(record: dict) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(record) + "\n")


def tables() -> str:
    records = read_records(RESULTS)
    made_up = [r for r in records if "peak_mb" in r]
    real = [r for r in records if "peak_mb" not in r]
    return "\n\n".join([describe(), _quality(real), _cost(made_up)])


def _quality(records: list[dict]) -> str:
    head = [
        "set",
        "method",
        "K (true)",
        "interval",
        "noise",
        "density ACC",
        "ACC / NMI / ARI",
        "held back",
        "unseen ACC",
    ]
    names = dict.fromkeys(r["set"] for r in records)
    rows = [
        [name, method, *_cells(found)]
        for name in names
        for method in METHODS
        if (found := [r for r in records if (r["set"], r["method"]) == (name, method)])
    ]
    rows += [
        ["mean", method, *_cells(found)[:1], "", *_cells(found)[2:]]
        for method in METHODS
        if (found := [r for r in records if r["method"] == method])
    ]
    return markdown(head, rows)


def _cells(found: list[dict]) -> list[str]:
    def mean(get: Callable[[dict], float | None]) -> str:
        values = [get(r) for r in found]
        known = [v for v in values if v is not None]
        return f"{np.mean(known):.3f}" if known else ""

    counts = sorted(r["k"] for r in found if "k" in r)
    one_set = len({r["set"] for r in found}) == 1
    close = np.mean([abs(r["k"] / r["true_k"] - 1) <= 0.2 for r in found]) if counts else None
    k = f"{counts[0]}-{counts[-1]} ({found[0]['true_k']})" if counts and one_set else ""
    if counts and not one_set:
        k = f"{close:.0%} within 20 %"
    spans = [r["interval"] for r in found if r.get("interval")]
    span = f"{min(s[0] for s in spans)}-{max(s[1] for s in spans)}" if spans else ""
    three = " / ".join(mean(lambda r, m=metric: r[m]) for metric in ("acc", "nmi", "ari"))
    return [
        k, span, mean(lambda r: r.get("noise")), mean(lambda r: r.get("density", {}).get("acc")), three,
        mean(lambda r: r.get("held_back")), mean(lambda r: r.get("unseen_acc")),
    ]  # fmt: skip


def _cost(records: list[dict]) -> str:
    head = ["rows", "density", "K (true)", "noise", "ACC", "held back", "recall", "seconds", "peak MB"]
    rows = [
        [r["set"], r["method"], f"{r['k']} ({r['true_k']})", f"{r['noise']:.2f}", f"{r['acc']:.3f}",
         f"{r['held_back']:.3f}", f"{r['recall']:.3f}", f"{r['seconds']:.0f}", f"{r['peak_mb']:.0f}"]
        for r in records
    ]  # fmt: skip
    return markdown(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "scale", "one", "table"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    if asked.what == "run":
        run(asked.names or None, asked.methods, range(asked.seeds))
    elif asked.what == "scale":
        for size in asked.names or [str(size) for size in SIZES]:
            subprocess.run([sys.executable, "-m", "benchmarks.density", "one", size], check=True)
    elif asked.what == "one":
        append(scale(int(asked.names[0]), "dbscan"))
    else:
        print(tables())


if __name__ == "__main__":
    main()
