"""Speed as ratios within one run: an epoch and `predict` against bare matrix products of the same shapes.

``python -m benchmarks.speed epoch`` and ``... assign`` print Markdown. CPU seconds of one thread; what is
compared takes turns, so that a busy neighbour slows both.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

import holdfast as hf
from benchmarks.machine import describe
from benchmarks.synthetic import embedding_like
from benchmarks.tables import markdown
from holdfast.cluster._recipe import _find_starts, _module_for, _Run, _warm_start
from holdfast.cluster._stages import Joint, JointOptions
from holdfast.training.batches import shuffled
from holdfast.training.loop import _epoch

N, D, K, BATCH = 20_000, 768, 100, 256
PAIRS = 7
Shape = tuple[int, int, int]  # rows, columns in, columns out


def seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def in_turns(ours: Callable[[], object], bare: Callable[[], object]) -> tuple[float, float, list[float]]:
    """Median seconds of both, and the ratio bare / ours of every pair."""
    ours(), bare()
    pairs = [(seconds(ours), seconds(bare)) for _ in range(PAIRS)]
    ratios = sorted(b / a for a, b in pairs)
    return float(np.median([a for a, _ in pairs])), float(np.median([b for _, b in pairs])), ratios


def products(layers: list[Shape], *, backward: bool) -> Callable[[], None]:
    """The bare products of one batch: layers forward, gradients of weights, and of inputs but the first."""
    made = []
    for number, (n, d_in, d_out) in enumerate(layers):
        x, w, g = torch.randn(n, d_in), torch.randn(d_out, d_in), torch.randn(n, d_out)
        made.append((x, w.T))
        if backward:
            made.append((g.T, x))
            if number:
                made.append((g, w))

    def run() -> None:
        for a, b in made:
            torch.mm(a, b)

    return run


def joint_stage(X: np.ndarray, estimator: hf.DEC) -> tuple[Joint, Callable[[], object]]:
    """A joint stage at its start, and a function that trains it for one epoch."""
    config = estimator._config(K)
    run = _Run(X, config)
    module = _module_for(run)
    rows = run.rows_for(module)
    (start,) = _find_starts(run, module)
    _warm_start(run, module, rows, start, None)
    options = JointOptions(config.neighbour_weight, 1, config.gamma)
    stage = Joint(module, rows, run.judge, run.walk, options, run.corrupt.for_rows(module.prepare))
    stage.assess()
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-4, fused=True)
    return stage, lambda: _epoch(stage, optimiser, shuffled(N, BATCH, run.generator))


def epoch() -> str:
    """One pass of joint training, with and without judging its result, against its products alone."""
    X, _ = embedding_like(N, D, K)
    short = {"init": "kmeans", "n_init": 1, "pretrain_epochs": 1, "random_state": 0, "hidden_dims": (256, 32)}
    encode, decode = [(BATCH, D, 256), (BATCH, 256, 32)], [(BATCH, 32, 256), (BATCH, 256, D)]
    reduced = [(BATCH, 128, 128), (BATCH, 128, 256), (BATCH, 256, 128), (BATCH, 128, K)]
    cases = {
        "DEC, autoencoder 768-256-32": (hf.DEC(K, encoder="autoencoder", **short), [*encode, (BATCH, 32, K)]),
        "IDEC, autoencoder 768-256-32": (
            hf.IDEC(K, encoder="autoencoder", **short),
            [*encode, (BATCH, 32, K), *decode],
        ),
        "DEC as it is by default, 128-256-128": (hf.DEC(K, **short), reduced),
    }
    lines = []
    for name, (estimator, layers) in cases.items():
        stage, train = joint_stage(X, estimator)
        bare = products(layers, backward=True)
        ours, theirs, ratios = in_turns(train, lambda bare=bare: [bare() for _ in range(-(-N // BATCH))])
        judged = np.median([seconds(stage.assess) for _ in range(3)])
        flops = 2 * N * sum((3 if i else 2) * a * b for i, (_, a, b) in enumerate(layers))
        lines.append(
            [
                name, f"{ours:.3f}", f"{flops / ours / 1e9:.0f}", f"{flops / theirs / 1e9:.0f}",
                f"{np.median(ratios):.0%} ({ratios[0]:.0%} to {ratios[-1]:.0%})", f"{judged:.3f}",
            ]
        )  # fmt: skip
    head = ["joint training", "s an epoch", "GFLOP/s", "bare products", "share", "judging, s"]
    return markdown(head, lines)


def assign() -> str:
    """`predict` and `assign_rows` against the products of the same shapes."""
    X, _ = embedding_like(N, D, K)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = hf.DEC(K, init="kmeans", n_init=1, max_epochs=1, pretrain_epochs=1, random_state=0).fit(X)
    layers = [(BATCH, D, 128), (BATCH, 128, 128), (BATCH, 128, 256), (BATCH, 256, 128), (BATCH, 128, K)]
    bare = products(layers, backward=False)
    lines = []
    for name, rows, ask in (
        ("predict, float32", X, model.predict),
        ("predict, float16", X.astype(np.float16), model.predict),
        ("assign_rows, float32", X, model.assign_rows),
    ):
        ours, _, ratios = in_turns(
            lambda ask=ask, rows=rows: ask(rows), lambda: [bare() for _ in range(-(-N // BATCH))]
        )
        lines.append(
            [name, f"{N / ours:,.0f}", f"{np.median(ratios):.0%} ({ratios[0]:.0%} to {ratios[-1]:.0%})"]
        )
    return markdown(["", "vectors a second", "share of the products' rate"], lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(describe())
    for name in sys.argv[1:] or ["epoch", "assign"]:
        print({"epoch": epoch, "assign": assign}[name](), end="\n\n")
