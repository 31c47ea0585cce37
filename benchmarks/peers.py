"""Quality and cost of what others use, on the sets of ``benchmarks.quality``, told K where they can be told.

``python -m benchmarks.peers run`` appends one line a fit to ``results/peers.jsonl``. A fit that is there is
not repeated, a method without chance has one seed, and so has a set on which a fit took over ten minutes.
``table`` prints Markdown. EVoC and UMAP are no dependencies of ours: ``pip install evoc umap-learn`` into an
environment of their own, and run the module with its interpreter.

Nothing is tuned by labels. Rows of more than 16 columns are scaled to length one where a method cannot take
cosines; others are taken as they are. HDBSCAN cannot be told K: its smallest cluster has a 14th of the mean
class size, as in UMAP's manual (500 of 70,000 digits), at least 5 rows. Noise is wrong in ACC, and one more
cluster in NMI and ARI. Every method runs once on made-up rows before it is measured, so that its seconds and
megabytes hold no imports and no compiling.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import resource
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np
from sklearn.cluster import HDBSCAN, AgglomerativeClustering, SpectralClustering

import holdfast as hf
from benchmarks.datasets import Dataset, datasets
from benchmarks.machine import PeakMemory, describe
from benchmarks.quality import neighbours_of, run_kmeans
from benchmarks.synthetic import embedding_like
from benchmarks.tables import markdown, read_records
from holdfast.cluster._rivals import Asked, rival
from holdfast.evidence import evidence
from holdfast.functional.geometry import LIFT_UP_TO
from holdfast.graph import communities_at, jaccard_graph, kmeans, unit_rows
from holdfast.metrics import NOISE, score

RESULTS = Path(__file__).parent / "results" / "peers.jsonl"
SLOW = 600  # seconds, above which one seed has to do
_WARM_ROWS, _WARM_COLUMNS, _WARM_CLASSES = 4_200, 64, 10  # UMAP takes another way above 4,096 rows


def run_gmm(data: Dataset, seed: int) -> np.ndarray:
    return rival("gmm").partition(data.X, Asked(data.n_classes, seed)).labels


def run_average(data: Dataset, _seed: int) -> np.ndarray:
    metric = "euclidean" if is_narrow(data) else "cosine"
    model = AgglomerativeClustering(data.n_classes, metric=metric, linkage="average")
    return model.fit_predict(data.X)


def run_ward(data: Dataset, _seed: int) -> np.ndarray:
    return AgglomerativeClustering(data.n_classes, linkage="ward").fit_predict(directions(data))


def run_evoc(data: Dataset, seed: int) -> np.ndarray:
    from evoc import EVoC

    return EVoC(approx_n_clusters=data.n_classes, random_state=seed).fit_predict(data.X)


def run_umap_hdbscan(data: Dataset, seed: int) -> np.ndarray:
    smallest = max(5, len(data.X) // (14 * data.n_classes))
    model = HDBSCAN(min_cluster_size=smallest, min_samples=min(10, smallest), copy=True)
    return model.fit_predict(umap_rows(data, seed))


def run_umap_kmeans(data: Dataset, seed: int) -> np.ndarray:
    return kmeans(umap_rows(data, seed), data.n_classes, n_init=20, seed=seed)


def run_spectral(data: Dataset, seed: int) -> np.ndarray:
    model = SpectralClustering(
        data.n_classes, affinity="nearest_neighbors", n_neighbors=15, random_state=seed
    )
    return model.fit_predict(directions(data))


def run_evidence_pick(data: Dataset, seed: int) -> np.ndarray:
    neighbours = neighbours_of(data)
    found = run_kmeans(data, seed)
    found["louvain"] = communities_at(jaccard_graph(neighbours), data.n_classes, orders=(1000 * seed,))[0]
    return max(found.values(), key=lambda labels: evidence(labels, neighbours, data.n_classes))


def is_narrow(data: Dataset) -> bool:
    return data.X.shape[1] <= LIFT_UP_TO


def directions(data: Dataset) -> np.ndarray:
    return data.X if is_narrow(data) else unit_rows(data.X)


def umap_rows(data: Dataset, seed: int) -> np.ndarray:
    """Ten columns that keep neighbours together, with the settings of UMAP's manual for clustering."""
    from umap import UMAP

    metric = "euclidean" if is_narrow(data) else "cosine"
    return UMAP(30, n_components=10, min_dist=0.0, metric=metric, random_state=seed).fit_transform(data.X)


@dataclass(frozen=True)
class Method:
    """How a method runs, what the tables call it, and the libraries that its result depends on."""

    title: str
    run: Callable[[Dataset, int], np.ndarray]
    libraries: tuple[str, ...] = ("scikit-learn",)
    is_random: bool = True


METHODS = {  # the cheap ones first
    "gmm": Method("Gaussian mixture", run_gmm),
    "average": Method("average linkage", run_average, is_random=False),
    "ward": Method("Ward", run_ward, is_random=False),
    "evoc": Method("EVoC", run_evoc, ("evoc", "numba")),
    "umap_hdbscan": Method(
        "UMAP + HDBSCAN", run_umap_hdbscan, ("umap-learn", "pynndescent", "numba", "scikit-learn")
    ),
    "umap_kmeans": Method(
        "UMAP + k-means", run_umap_kmeans, ("umap-learn", "pynndescent", "numba", "scikit-learn")
    ),
    "evidence_pick": Method(
        "evidence's pick", run_evidence_pick, ("torch", "scikit-network", "scikit-learn")
    ),
    "spectral": Method("spectral", run_spectral),
}


def run(names: list[str] | None, methods: list[str], n_seeds: int) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    for method in methods:
        for data in datasets(names):
            for seed in range(n_seeds if METHODS[method].is_random else 1):
                if is_done(data.name, method, seed):
                    continue
                record = measure(data, method, seed)
                with RESULTS.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                print(
                    data.name, method, seed, f"{record['acc']:.3f}", f"{record['seconds']:.1f} s", flush=True
                )


def is_done(name: str, method: str, seed: int) -> bool:
    found = [
        record for record in read_records(RESULTS) if (record["set"], record["method"]) == (name, method)
    ]
    return any(record["seed"] == seed or record["seconds"] > SLOW for record in found)


def measure(data: Dataset, method: str, seed: int) -> dict:
    warm_up(method, min(len(data.X), _WARM_ROWS), min(data.X.shape[1], _WARM_COLUMNS))
    give_memory_back()
    with PeakMemory() as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = cpu_seconds()
        labels = np.asarray(METHODS[method].run(data, seed))
        seconds = cpu_seconds() - started
    scores = score(data.y, labels)
    return {
        "set": data.name, "method": method, "seed": seed,
        "n": len(data.X), "d": data.X.shape[1], "k": data.n_classes,
        **{name: scores[name] for name in ("acc", "nmi", "ari")},
        "noise": float(np.mean(labels == NOISE)), "clusters": len(np.unique(labels[labels != NOISE])),
        "seconds": round(seconds, 3), "peak_mb": round(memory.megabytes, 1),
        "versions": versions(method),
    }  # fmt: skip


def versions(method: str) -> dict[str, str]:
    libraries = {name: version(name) for name in ("numpy", "scipy", *METHODS[method].libraries)}
    return {"holdfast": hf.__version__, **libraries}  # ours need not be installed, only importable


@lru_cache
def warm_up(method: str, n: int, d: int) -> None:
    """Import and compile what rows of this shape need: it is paid once a process, not once a fit."""
    X, y = embedding_like(n, _WARM_COLUMNS, _WARM_CLASSES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        METHODS[method].run(Dataset("made up", X[:, :d].copy(), y), 0)


def give_memory_back() -> None:
    """Return what earlier fits freed, for a fit that reuses it would seem to need less."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def cpu_seconds() -> float:
    """Seconds of all threads of this process, and of the processes that it started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def tables(records: list[dict], methods: list[str]) -> str:
    """Each table: a heading, and a row a set."""
    cells = {
        "ACC, mean ± standard deviation over seeds, percent": mean_std("acc"),
        "NMI, percent": mean_std("nmi"),
        "ARI, percent": mean_std("ari"),
        "Clusters found, and the share of noise in percent": count_and_noise,
        "CPU seconds of a fit, median; in brackets its peak in MB above what was resident before": cost,
    }
    groups: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for record in records:
        groups[record["set"], record["method"]].append(record)
    return "\n\n".join(f"### {title}\n\n{table(groups, cell, methods)}" for title, cell in cells.items())


def table(
    groups: dict[tuple[str, str], list[dict]], cell: Callable[[list[dict]], str], methods: list[str]
) -> str:
    shapes = {name: f"{r['n']:,} x {r['d']}, K {r['k']}" for (name, _), (r, *_) in groups.items()}
    rows = [
        [name, shape, *(cell(groups[name, m]) if (name, m) in groups else "-" for m in methods)]
        for name, shape in shapes.items()
    ]
    return markdown(["set", "shape", *(METHODS[method].title for method in methods)], rows)


def mean_std(metric: str) -> Callable[[list[dict]], str]:
    def cell(found: list[dict]) -> str:
        values = [100 * record[metric] for record in found]
        if not METHODS[found[0]["method"]].is_random:
            return f"{values[0]:.1f}"
        few = "" if len(values) >= 5 else f" ({len(values)})"
        return f"{np.mean(values):.1f} ± {np.std(values, ddof=min(1, len(values) - 1)):.1f}{few}"

    return cell


def count_and_noise(found: list[dict]) -> str:
    counts = sorted({record["clusters"] for record in found})
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
    noise = 100 * np.mean([record["noise"] for record in found])
    return f"{span}, {noise:.0f} %" if noise else span


def cost(found: list[dict]) -> str:
    seconds = np.median([record["seconds"] for record in found])
    return f"{seconds:.1f} ({max(record['peak_mb'] for record in found):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.what == "run":
        run(arguments.sets, arguments.methods, arguments.seeds)
    else:
        chosen = [r for r in read_records(RESULTS) if arguments.sets is None or r["set"] in arguments.sets]
        print(describe(), tables(chosen, arguments.methods), sep="\n\n")


if __name__ == "__main__":
    main()
