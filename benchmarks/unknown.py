"""Quality with the number of clusters unknown: ours beside what others use, on real sets and what they yield.

``python -m benchmarks.unknown run`` appends one line a fit to ``results/unknown.jsonl``; a fit that is there
is not repeated. A set on which a fit took over half a minute has one seed. ``table`` prints Markdown. EVoC
and UMAP are no dependencies of ours: ``pip install evoc umap-learn`` into an environment of their own, and
run the module with its interpreter. A method that this environment lacks is named and skipped.

Nobody is told K but "k-means, told K", and no setting looks at a label. EVoC has its defaults. HDBSCAN has
scikit-learn's defaults with a smallest cluster of 5 (its default) and of 15 rows. UMAP has the settings of
its manual for clustering (30 neighbours, 10 columns), and HDBSCAN after it the manual's for 70,000 digits in
proportion: a smallest cluster of a 140th of the rows, at least 5, and 10 samples; and once HDBSCAN's default.
BayesianGaussianMixture has 50 components, at most 300 iterations, otherwise defaults; full covariances see
32 principal directions of rows of over 64 columns. Its K is the number of components that win rows, so
that 50 on IN50 is its ceiling and no finding. Where a method cannot take cosines, rows of more than 16
columns have length one. Noise is wrong in ACC, and one more cluster in NMI and ARI; K does not count it.
Seconds are CPU seconds of all threads, without imports and compiling.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA
from sklearn.mixture import BayesianGaussianMixture

import holdfast as hf
from benchmarks.datasets import Dataset, datasets
from benchmarks.derived import derived_sets
from benchmarks.machine import describe
from benchmarks.peers import cpu_seconds, directions, is_narrow, umap_rows
from benchmarks.synthetic import embedding_like
from benchmarks.tables import read_records
from benchmarks.unknown_tables import unknown_tables
from holdfast.graph import kmeans
from holdfast.metrics import NOISE, score

RESULTS = Path(__file__).parent / "results" / "unknown.jsonl"
SLOW = 30  # seconds, above which one seed has to do
_MOST_COMPONENTS, _MOST_STEPS = 50, 300
_WIDE, _PCA = 64, 32
_FEW, _MANY = 1_000, 4_200  # UMAP takes another way above 4,096 rows
_WARM_COLUMNS, _WARM_CLASSES = 64, 10


@dataclass(frozen=True)
class Found:
    """A partition, the interval for its number of clusters if the method gives one, and more to note."""

    labels: np.ndarray
    interval: tuple[int, int] | None = None
    notes: dict[str, object] = field(default_factory=dict)
    seconds_before: float = 0.0  # that a fit before this one has spent on what both need


def run_evoc(data: Dataset, seed: int) -> Found:
    from evoc import EVoC

    return Found(EVoC(random_state=seed).fit_predict(data.X))


def run_hdbscan(smallest: int) -> Callable[[Dataset, int], Found]:
    def run(data: Dataset, _seed: int) -> Found:
        how = "auto" if is_narrow(data) else "brute"  # the same answer; trees are slow in many columns
        model = HDBSCAN(min_cluster_size=smallest, algorithm=how, copy=True)
        return Found(model.fit_predict(directions(data)))

    return run


def run_umap_hdbscan(data: Dataset, seed: int) -> Found:
    smallest = max(5, len(data.X) // 140)  # UMAP's manual: 500 of 70,000 rows, with 10 samples
    return _after_umap(data, seed, HDBSCAN(smallest, min_samples=min(10, smallest), copy=True))


def run_umap_hdbscan_default(data: Dataset, seed: int) -> Found:
    return _after_umap(data, seed, HDBSCAN(copy=True))


_embedded: dict[tuple[str, int], tuple[np.ndarray, float]] = {}


def _after_umap(data: Dataset, seed: int, model: HDBSCAN) -> Found:
    """Cluster UMAP's rows, which both settings of HDBSCAN share."""
    seconds_before = 0.0
    if (data.name, seed) in _embedded:
        rows, seconds_before = _embedded[data.name, seed]
    else:
        started = cpu_seconds()
        rows = umap_rows(data, seed)
        _embedded[data.name, seed] = rows, cpu_seconds() - started
    return Found(model.fit_predict(rows), seconds_before=seconds_before)


def run_bayesian(covariance: str) -> Callable[[Dataset, int], Found]:
    def run(data: Dataset, seed: int) -> Found:
        rows = directions(data)
        if covariance == "full" and rows.shape[1] > _WIDE:
            rows = PCA(_PCA, random_state=seed).fit_transform(rows)
        rows = rows / np.sqrt(
            rows.var(axis=0).mean()
        )  # so that its floor under variances is small beside them
        model = BayesianGaussianMixture(
            n_components=_MOST_COMPONENTS, covariance_type=covariance, max_iter=_MOST_STEPS, random_state=seed
        )
        return Found(model.fit_predict(rows), notes={"converged": bool(model.converged_)})

    return run


def run_kmeans(data: Dataset, seed: int) -> Found:
    return Found(kmeans(directions(data), data.n_classes, n_init=20, seed=seed))


def run_ours(name: str, **parameters: object) -> Callable[[Dataset, int], Found]:
    def run(data: Dataset, seed: int) -> Found:
        model = getattr(hf, name)(random_state=seed, **parameters).fit(data.X)
        count = getattr(model, "cluster_count_", None)
        interval = None if count is None else (int(count.low), int(count.high))
        notes = {} if count is None else {"agreement": float(count.agreement), "picks": plain(count.evidence)}
        return Found(np.asarray(model.labels_), interval, notes)

    return run


def plain(evidence: dict[str, object]) -> dict[str, float]:
    """What each criterion says, where it says it in one number."""
    return {name: float(value) for name, value in evidence.items() if np.ndim(value) == 0}


@dataclass(frozen=True)
class Method:
    """How a method runs, and what it needs; ``ours`` is the name that it has in holdfast."""

    run: Callable[[Dataset, int], Found]
    libraries: tuple[str, ...] = ("scikit-learn",)
    is_random: bool = True
    ours: str | None = None

    @property
    def is_there(self) -> bool:
        if self.ours is not None:
            return hasattr(hf, self.ours)
        return all(find_spec(_MODULES.get(name, name)) is not None for name in self.libraries)


_MODULES = {"umap-learn": "umap", "scikit-learn": "sklearn", "scikit-network": "sknetwork"}
_UMAP = ("umap-learn", "pynndescent", "numba", "scikit-learn")
_OURS = ("torch", "scikit-network", "scikit-learn")

METHODS = {  # the cheap ones first
    "kmeans": Method(run_kmeans),
    "evoc": Method(run_evoc, ("evoc", "numba")),
    "umap_hdbscan": Method(run_umap_hdbscan, _UMAP),
    "umap_hdbscan_5": Method(run_umap_hdbscan_default, _UMAP),
    "hdbscan_5": Method(run_hdbscan(5), is_random=False),
    "hdbscan_15": Method(run_hdbscan(15), is_random=False),
    "bayesian_full": Method(run_bayesian("full")),
    "bayesian_diag": Method(run_bayesian("diag")),
    "consensus": Method(
        run_ours("ConsensusClustering", n_clusters="auto"), _OURS, ours="ConsensusClustering"
    ),
    "dirichlet": Method(run_ours("DirichletGMM"), _OURS, ours="DirichletGMM"),
    "density": Method(run_ours("DensityMLP"), _OURS, ours="DensityMLP"),
    "dec": Method(run_ours("DEC", n_clusters="auto"), _OURS, ours="DEC"),
}


def run(names: list[str] | None, methods: list[str], n_seeds: int) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    for method in methods:
        if not METHODS[method].is_there:
            print(method, "is not to be had in this environment", flush=True)
            continue
        for data in all_sets(names):
            for seed in range(n_seeds if METHODS[method].is_random else 1):
                if not is_done(data.name, method, seed):
                    record = measure(data, method, seed)
                    with RESULTS.open("a") as file:
                        file.write(json.dumps(record) + "\n")
                    print(
                        *(record[c] for c in ("set", "method", "seed", "clusters", "acc", "seconds")),
                        flush=True,
                    )


def all_sets(names: list[str] | None) -> Iterator[Dataset]:
    """The ten sets, then those made of them."""
    return chain(datasets(names), derived_sets(names))


def is_done(name: str, method: str, seed: int) -> bool:
    found = [
        record for record in read_records(RESULTS) if (record["set"], record["method"]) == (name, method)
    ]
    return any(record["seed"] == seed or record["seconds"] > SLOW for record in found)


def measure(data: Dataset, method: str, seed: int) -> dict:
    warm_up(method, _MANY if len(data.X) >= _MANY else _FEW, min(data.X.shape[1], _WARM_COLUMNS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = cpu_seconds()
        found = METHODS[method].run(data, seed)
        seconds = cpu_seconds() - started + found.seconds_before
    labels, scores = found.labels, score(data.y, found.labels)
    return {
        "set": data.name, "method": method, "seed": seed,
        "n": len(data.X), "d": data.X.shape[1], "k": data.n_classes,
        "clusters": len(np.unique(labels[labels != NOISE])), "interval": found.interval,
        **{name: round(scores[name], 5) for name in ("acc", "nmi", "ari")},
        "noise": round(float(np.mean(labels == NOISE)), 5), "seconds": round(seconds, 3), **found.notes,
        "versions": {"holdfast": hf.__version__}
        | {name: version(name) for name in ("numpy", "scipy", *METHODS[method].libraries)},
    }  # fmt: skip


@lru_cache
def warm_up(method: str, n: int, d: int) -> None:
    """Import and compile what rows of this shape need: it is paid once a process, not once a fit."""
    if not {"numba", "torch"}.intersection(METHODS[method].libraries):
        return
    X, y = embedding_like(n if "numba" in METHODS[method].libraries else _FEW, _WARM_COLUMNS, _WARM_CLASSES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        METHODS[method].run(Dataset(f"made up, {n} x {d}", X[:, :d].copy(), y), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.what == "run":
        run(arguments.sets, arguments.methods, arguments.seeds)
    else:
        chosen = [r for r in read_records(RESULTS) if arguments.sets is None or r["set"] in arguments.sets]
        print(describe(), unknown_tables([r for r in chosen if r["method"] in arguments.methods]), sep="\n\n")


if __name__ == "__main__":
    main()
