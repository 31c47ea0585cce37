"""The document's mixture: four Gaussians of one dimension in 19,000 draws, and fifty components to find them.

``python -m benchmarks.mixture run`` appends one line a fit to ``results/mixture.jsonl``; a fit that is there
is not repeated. ``table`` prints Markdown. JAX is no dependency of ours: ``pip install jax`` into an
environment of its own, and run the module with its interpreter. A method that this environment lacks is named
and skipped.

Ten draws of the data, one start each; and ten starts on the first draw (three of scikit-learn's, which is
slow). Everything is compared with EM started at the true parameters, on the same draw. Log-likelihoods are
those of the plain mixture at each method's weights, means and scales, in float64. Ours is counted as it is.
The others are helped: components are one where their means lie within half the smaller scale and their
scales within a quarter (the heaviest leads, the rest join it or lead in turn), labels are those of the joined
ones, and only what weighs a hundredth or more is counted. The process is held to one core; seconds are CPU
seconds, without imports and compiling.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

import holdfast as hf
from benchmarks.machine import describe
from benchmarks.mixture_tables import mixture_tables
from benchmarks.tables import read_records
from holdfast.metrics import ari

RESULTS = Path(__file__).parent / "results" / "mixture.jsonl"
WEIGHTS, MEANS, SCALES = np.array([2, 10, 1, 6]), np.array([-2.0, -5, 3, 8]), np.array([1.1, 2, 1, 1.5])
N_COMPONENTS, N_SEEDS = 50, 10
_JOIN_MEANS, _JOIN_SCALES, _COUNTS = 0.5, 1.25, 0.01


@dataclass(frozen=True)
class Mixture:
    """Weights, means and scales, each (k,)."""

    weights: np.ndarray
    means: np.ndarray
    scales: np.ndarray

    def log_joint(self, x: np.ndarray) -> np.ndarray:
        """Log of weight times density, (n, k)."""
        with np.errstate(divide="ignore", under="ignore"):
            return np.log(self.weights) + norm.logpdf(x[:, None], self.means, self.scales)

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite([self.weights, self.means, self.scales]).all())


Fitted = tuple[Mixture, dict[str, object]]  # and what there is to note


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The data (19000,), and which Gaussian each comes from."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(4), 1000 * WEIGHTS)
    return rng.normal(MEANS[y], SCALES[y]), y


def fit_em(x: np.ndarray, _start: int) -> Fitted:
    """EM from the true parameters."""
    model = GaussianMixture(
        4, tol=1e-8, max_iter=10_000, weights_init=WEIGHTS / WEIGHTS.sum(),
        means_init=MEANS[:, None], precisions_init=SCALES[:, None, None] ** -2.0,
    ).fit(x[:, None])  # fmt: skip
    return of_model(model), {"steps": int(model.n_iter_), "converged": bool(model.converged_)}


def fit_bayesian(x: np.ndarray, start: int) -> Fitted:
    model = BayesianGaussianMixture(n_components=N_COMPONENTS, max_iter=20_000, random_state=start)
    model.fit(x[:, None])
    return of_model(model), {"steps": int(model.n_iter_), "converged": bool(model.converged_)}


def fit_document(n_steps: int) -> Callable[[np.ndarray, int], Fitted]:
    def fit(x: np.ndarray, start: int) -> Fitted:
        from benchmarks.document_loop import compiled
        from benchmarks.document_loop import fit as climb

        found, first_nan = climb(x, start, n_steps)
        notes = {"steps": n_steps, "first_nan": first_nan, "compile_seconds": round(compiled(len(x))[1], 2)}
        return Mixture(**found), notes

    return fit


def fit_ours(x: np.ndarray, start: int) -> Fitted:
    model = hf.DirichletGMM(N_COMPONENTS, learning_rate=0.05, random_state=start).fit(x[:, None])
    return of_model(model), {"steps": int(model.n_iter_)}


def fit_gradients_alone(x: np.ndarray, start: int) -> Fitted:
    """Ours without merging, and without an end: as many steps as the document takes."""
    import torch

    from holdfast.cluster._sticks import plus_plus_start
    from holdfast.nn.mixture import StickBreaking

    config = hf.DirichletGMM(N_COMPONENTS, learning_rate=0.05)._config(1)
    rows = torch.from_numpy((x - x.mean()) / x.std()).float()[:, None]
    module = StickBreaking(plus_plus_start(rows, config, start), config.concentration)
    optimiser = torch.optim.Adam(module.parameters(), lr=config.learning_rate)
    generator = torch.Generator().manual_seed(start)
    for _ in range(10_000):
        batch = torch.randint(len(rows), (config.batch_size,), generator=generator)
        loss = -module.log_prob(rows[batch]).mean() - module.log_prior() / len(rows)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    end = module.mixture()
    means, scales = (end.means.numpy()[:, 0], end.covariance.sqrt().numpy()[:, 0])
    return Mixture(end.weights.numpy(), means * x.std() + x.mean(), scales * x.std()), {"steps": 10_000}


def of_model(model: object) -> Mixture:
    """What scikit-learn's mixtures and ours have in common."""
    scales = np.sqrt(np.asarray(model.covariances_, np.float64)).ravel()
    weights, means = (np.asarray(a, np.float64).ravel() for a in (model.weights_, model.means_))
    return Mixture(weights, means, np.broadcast_to(scales, means.shape))


@dataclass(frozen=True)
class Method:
    """How a method runs, the libraries that it needs, and whether its near-equal components are joined."""

    fit: Callable[[np.ndarray, int], Fitted]
    libraries: tuple[str, ...] = ("scikit-learn",)
    is_helped: bool = True
    starts: int = N_SEEDS

    @property
    def is_there(self) -> bool:
        if "torch" in self.libraries:
            return hasattr(hf, "DirichletGMM")
        return all(find_spec({"scikit-learn": "sklearn"}.get(name, name)) for name in self.libraries)


METHODS = {
    "em": Method(fit_em, starts=1),
    "bayesian": Method(fit_bayesian, starts=3),
    "document_2000": Method(fit_document(2_000), ("jax", "jaxlib")),
    "document_10000": Method(fit_document(10_000), ("jax", "jaxlib"), starts=1),
    "ours": Method(fit_ours, ("torch",), is_helped=False),
    "ours_gradients": Method(fit_gradients_alone, ("torch",), starts=1),
}


def run(methods: list[str], n_draws: int) -> None:
    """The methods take turns on each draw, so that a busy neighbour slows all of them."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    RESULTS.parent.mkdir(exist_ok=True)
    for method in [method for method in methods if not METHODS[method].is_there]:
        print(method, "is not to be had in this environment", flush=True)
    methods = [method for method in methods if METHODS[method].is_there]
    for seed, start, method in order(methods, n_draws):
        if any(
            (r["method"], r["data_seed"], r["start"]) == (method, seed, start) for r in read_records(RESULTS)
        ):
            continue
        record = measure(method, seed, start)
        with RESULTS.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(*(record[c] for c in ("method", "data_seed", "start", "count", "ari", "seconds")), flush=True)


def order(methods: list[str], n_draws: int) -> Iterator[tuple[int, int, str]]:
    """Every draw once, then, if these are all, the other starts on the first."""
    yield from ((seed, 0, method) for seed in range(n_draws) for method in methods)
    for start in range(1, N_SEEDS if n_draws == N_SEEDS else 1):
        yield from ((0, start, method) for method in methods if start < METHODS[method].starts)


def measure(method: str, seed: int, start: int) -> dict:
    x, y = draw(seed)
    warm_up(method)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.process_time()
        mixture, notes = METHODS[method].fit(x, start)
        seconds = time.process_time() - began
    has_nan = not mixture.is_finite or notes.get("first_nan") is not None
    return {
        "method": method, "data_seed": seed, "start": start,
        **judged(mixture, x, y, METHODS[method].is_helped),
        "nan": has_nan, "seconds": round(seconds, 3), **notes,
        "versions": {"holdfast": hf.__version__}
        | {name: version(name) for name in ("numpy", *METHODS[method].libraries)},
    }  # fmt: skip


_warm: set[str] = set()


def warm_up(method: str) -> None:
    """Import and compile, once a process: JAX compiles for one shape, so with all rows."""
    if method in _warm:
        return
    _warm.add(method)
    if method.startswith("document"):
        from benchmarks.document_loop import compiled

        compiled(len(draw(0)[0]))
    elif "torch" in METHODS[method].libraries:
        hf.DirichletGMM(N_COMPONENTS, random_state=0).fit(draw(0)[0][::20, None])


def judged(mixture: Mixture, x: np.ndarray, y: np.ndarray, is_helped: bool) -> dict:
    if not mixture.is_finite:
        return {"count": None, "log_likelihood": None, "ari": None, "found": None}
    joint = mixture.log_joint(x)
    groups = joined(mixture) if is_helped else np.arange(len(mixture.means))
    each = np.stack([logsumexp(joint[:, groups == g], axis=1) for g in range(groups.max() + 1)], axis=1)
    found = [moments(mixture, groups == g) for g in range(groups.max() + 1)]
    kept = sorted((f for f in found if not is_helped or f[0] >= _COUNTS), key=lambda f: f[1])
    return {
        "count": len(kept),
        "raw_count": int((mixture.weights >= _COUNTS).sum()),
        "log_likelihood": float(logsumexp(joint, axis=1).mean()),
        "ari": ari(y, each.argmax(axis=1)),
        "found": {
            name: [round(f[i], 5) for f in kept] for i, name in enumerate(("weights", "means", "scales"))
        },
    }


def joined(mixture: Mixture) -> np.ndarray:
    """For every component, the number of the group that it joins: the heaviest lead."""
    groups, leaders = np.empty(len(mixture.means), dtype=int), []
    for i in np.argsort(-mixture.weights):
        for number, leader in enumerate(leaders):
            scales = mixture.scales[[i, leader]]
            apart = abs(mixture.means[i] - mixture.means[leader])
            if apart <= _JOIN_MEANS * scales.min() and scales.max() <= _JOIN_SCALES * scales.min():
                groups[i] = number
                break
        else:
            groups[i] = len(leaders)
            leaders.append(i)
    return groups


def moments(mixture: Mixture, some: np.ndarray) -> tuple[float, float, float]:
    """Weight, mean and scale of some components taken as one."""
    weights, means, scales = mixture.weights[some], mixture.means[some], mixture.scales[some]
    total = weights.sum()
    share = weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
    mean = share @ means
    return float(total), float(mean), float(np.sqrt(share @ (scales**2 + (means - mean) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--draws", type=int, default=N_SEEDS)
    arguments = parser.parse_args()
    if arguments.what == "run":
        run(arguments.methods, arguments.draws)
    else:
        print(
            describe(),
            mixture_tables([r for r in read_records(RESULTS) if r["method"] in arguments.methods]),
            sep="\n\n",
        )


if __name__ == "__main__":
    main()
