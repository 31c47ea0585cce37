"""One run of deep embedded clustering, from checked rows to a result: no estimator, no files."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from holdfast.cluster._module import DecConfig, build_module
from holdfast.cluster._sample import refuse_equal_rows
from holdfast.cluster._stages import Corruption, Denoising, FollowStart, Joint, JointOptions
from holdfast.cluster._start import (
    Judge,
    Start,
    find_neighbours,
    graph_start,
    kmeans_start,
    published_kmeans_start,
)
from holdfast.evidence import Evidence, evidence
from holdfast.exceptions import InputError, TrainingError
from holdfast.functional.assignment import calibrated_temperature, cosine_similarity
from holdfast.functional.geometry import mean_row, root_mean_square
from holdfast.graph import Neighbours, jaccard_graph, random_walk
from holdfast.nn import Autoencoder, Clusterer
from holdfast.training import ConvergenceMonitor, LoopResult, Stage, run_epochs
from holdfast.training.batches import Rows, map_blocks
from holdfast.training.checkpoint import Checkpoint, Record
from holdfast.training.precision import computing

__all__ = ["DecResult", "check_spread", "continue_dec", "fit_dec", "refine"]

_FAR_BEHIND = 0.05  # in evidence: training does not make up for more
_PATIENT_STEPS, _LEAST_PATIENCE, _MOST_PATIENCE = 400, 3, 10
_LONGEST = 1e18  # squares of longer rows are beyond single precision
_HOPELESS = 0.1  # a few restarts this far behind: the rest will not come near enough
# How far the mean of max q stands from uniform to certain when training starts. Where q is nearly uniform,
# as in a latent that is not calibrated, the target is noise and training merges clusters.
_START_CONFIDENCE = 0.7


@dataclass(frozen=True, eq=False)
class DecResult:
    """What a run learned.

    Attributes
    ----------
    module : Clusterer
        In its final state.
    start : str
        Name of the start it grew from.
    begun : dict of str to Tensor
        State of the module when joint training began.
    evidence : dict of str to float
        Scores of each start made, by name, of the partition begun with (``"start"``), and of the
        ``"result"``.
    training : LoopResult
        How the joint training went.
    recall : float
        Of the neighbours that all evidence stands on.
    """

    module: Clusterer
    start: str
    begun: dict[str, Tensor]
    evidence: dict[str, float]
    training: LoopResult
    recall: float


class _Run:
    """The rows of one run and what its stages share."""

    def __init__(
        self, X: np.ndarray, config: DecConfig, module: Clusterer | None = None, judge: Judge | None = None
    ) -> None:
        self.config = config
        self.X = X
        mean = mean_row(X) if module is None else module.prepare.mean.cpu().numpy()
        self.mean, self.scale = mean, check_spread(X, config, mean)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.corrupt = Corruption(config.noise, config.noise_level, self.generator)
        self._rows: Rows | None = None
        self._judge = judge
        self.expected: Callable[[np.ndarray], float] | None = None

    @cached_property
    def neighbours(self) -> Neighbours:
        """Nearest neighbours of the rows as they are, which no training changes."""
        return find_neighbours(self.X, self.mean, self.scale, self.config.n_clusters)

    @cached_property
    def graph(self) -> sparse.csr_matrix:
        """The Jaccard graph of the rows."""
        return jaccard_graph(self.neighbours)

    @cached_property
    def walk(self) -> sparse.csr_matrix | None:
        """The random walk on the graph, where a neighbour term asks for it."""
        return random_walk(self.graph) if self.config.neighbour_weight else None

    def judge(self, labels: np.ndarray) -> Evidence:
        """Score labels (n,) without labels."""
        if self._judge is not None:
            return self._judge(labels)
        return evidence(labels, self.neighbours, self.config.n_clusters)

    def rows_for(self, module: Clusterer) -> Rows:
        """Return the rows as the stages of any module see them: prepared, held if there is room."""
        if self._rows is None:  # training changes no preparation
            self._rows = Rows(self.X, module.device, module.prepare).hold()
        return self._rows

    def train(
        self, stage: Stage, monitor: ConvergenceMonitor, max_epochs: int,
        record: Record | None, keep: str = "best",
    ) -> LoopResult:  # fmt: skip
        """Put one stage through the loop."""
        rate, parameters = self.config.learning_rate, list(stage.module.parameters())
        with computing(self.config.precision, parameters[0].device):
            return run_epochs(
                stage,
                lambda factor: torch.optim.Adam(parameters, lr=rate * factor, fused=True),
                monitor,
                max_epochs=max_epochs,
                batch_size=self.config.batch_size,
                generator=self.generator,
                keep="last" if keep == "last" else "best",
                record=record,
            )


def check_spread(X: np.ndarray, config: DecConfig, mean: np.ndarray | None = None) -> float:
    """Refuse rows that are all equal, or so long that single precision cannot tell their length.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    config : DecConfig
        Its ``subsample`` is a number exactly where rows were left out.
    mean : ndarray of shape (d,), optional
        What rows are looked at from; their mean by default.

    Returns
    -------
    float
        Root mean square of the centred entries.

    Raises
    ------
    InputError
    """
    scale = root_mean_square(X, mean_row(X) if mean is None else mean)
    refuse_equal_rows(len(X), scale, is_sample=config.subsample is not None)  # as a fit resolves it
    if not scale * math.sqrt(X.shape[1]) < _LONGEST:
        raise InputError(f"X has rows of a length beyond {_LONGEST:.0e}; divide all values by {scale:.0e}.")
    return scale


def fit_dec(X: np.ndarray, config: DecConfig, checkpoint: Checkpoint | None = None) -> DecResult:
    """Cluster rows: encoder, starts; from each a warm start and joint training; the evidence decides.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Finite rows, at least ``config.n_clusters`` of them; all are trained on.
    config : DecConfig
    checkpoint : Checkpoint, optional
        Where the run is kept, to go on from if it is killed.

    Returns
    -------
    DecResult

    Raises
    ------
    InputError
        If all rows are equal.
    TrainingError
        If pretraining diverges.
    """
    run = _Run(X, config)
    untrained = _module_for(run)
    _pretrain(run, untrained, checkpoint)
    starts = _resumable_starts(run, untrained, checkpoint)
    made = {start.name: start.evidence.value for start in starts}
    before = run.generator.get_state()
    results = []
    for start in starts:
        if start.evidence.value < starts[0].evidence.value - _FAR_BEHIND:
            continue
        run.generator.set_state(before)  # so that "auto" is exactly the better of the two
        record = None if checkpoint is None else checkpoint.record(start.name)
        results.append(_train_from(run, copy.deepcopy(untrained), start, made, record))
    return max(results, key=_standing)


def _standing(result: DecResult) -> float:
    """Count the evidence before training as much as after: training gains some whether it is right or not."""
    return result.evidence[result.start] + result.evidence["result"]


def _pretrain(run: _Run, module: Clusterer, checkpoint: Checkpoint | None) -> None:
    """Have an autoencoder restore rows before it clusters any."""
    if not isinstance(module.encoder, Autoencoder):
        return
    record = None if checkpoint is None else checkpoint.record("pretraining")
    stage = Denoising(module, run.rows_for(module), run.corrupt)
    run.train(stage, ConvergenceMonitor(), run.config.pretrain_epochs, record)
    if not bool(torch.isfinite(map_blocks(module.latent, run.rows_for(module))).all()):
        rate = run.config.learning_rate
        raise TrainingError(f"pretraining diverged, its latent is not finite; lower learning_rate={rate:g}.")


def _train_from(
    run: _Run, module: Clusterer, start: Start, made: dict[str, float], record: Record | None
) -> DecResult:
    rows = run.rows_for(module)
    _warm_start(run, module, rows, start, record)
    begun = copy.deepcopy(module.state_dict())
    scores = {"start": run.judge(_answers(module, rows)).value}
    training = _join(run, module, rows, run.config.max_epochs, record)
    scores["result"] = run.judge(_calibrate(run, module, rows)).value
    return DecResult(module, start.name, begun, {**made, **scores}, training, run.neighbours.recall)


def refine(
    X: np.ndarray,
    config: DecConfig,
    start: Start,
    neighbours: Neighbours,
    judge: Judge,
    expected: Callable[[np.ndarray], float] | None = None,
) -> tuple[DecResult, np.ndarray]:
    """Teach a new module one partition and train it on from there; the judge picks the state that is kept.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    config : DecConfig
    start : Start
    neighbours : Neighbours
        Of the rows, at most as many as are meaningful; for the neighbour term and the calibration.
    judge : callable
        Scores labels (n,); the start's evidence is its score too.
    expected : callable, optional
        Share of labels (n,) that is expected to be right, for the calibration; without it, the share of
        neighbours that agree, which is more.

    Returns
    -------
    result : DecResult
    labels : ndarray of shape (n,), int64
        What the module answers.
    """
    run = _Run(X, config, judge=judge)
    run.neighbours = neighbours
    run.expected = expected
    result = _train_from(run, _module_for(run), start, {start.name: start.evidence.value}, None)
    return result, _answers(result.module, run.rows_for(result.module))


def continue_dec(X: np.ndarray, config: DecConfig, module: Clusterer) -> LoopResult:
    """Train an existing module, in place, for ``config.max_epochs`` on new rows (n, d).

    Its calibration stays: neighbours within a few rows say nothing of how often clusters are right.
    """
    run = _Run(X, config, module)
    return _join(run, module, run.rows_for(module), config.max_epochs, None)


def _module_for(run: _Run) -> Clusterer:
    return build_module(run.X, run.mean, run.scale, run.config, run.generator)


def _resumable_starts(run: _Run, module: Clusterer, checkpoint: Checkpoint | None) -> list[Start]:
    """Take neighbours and starts from a checkpoint where it has them; else make them, and keep them there."""
    found = None if checkpoint is None else checkpoint.read("starts")
    if found is None:
        starts = _find_starts(run, module)
        if checkpoint is not None:
            arrays = {"indices": run.neighbours.indices, "similarities": run.neighbours.similarities}
            labels = {f"labels.{start.name}": start.labels for start in starts}
            checkpoint.owe("starts", arrays | labels, run.neighbours.recall)
        return starts
    arrays, recall = found
    run.neighbours = Neighbours(arrays["indices"], arrays["similarities"], recall)
    labels = {name.removeprefix("labels."): arrays[name] for name in arrays if name.startswith("labels.")}
    starts = [Start(name, some, run.judge(some)) for name, some in labels.items()]
    return sorted(starts, key=lambda start: start.evidence, reverse=True)


def _find_starts(run: _Run, module: Clusterer) -> list[Start]:
    """Make the starts asked for, best first; k-means for Student-t assignment in the latent, as published."""
    config, starts = run.config, []
    if config.init in ("graph", "auto"):
        starts.append(graph_start(run.graph, run.judge, config.n_clusters, seed=config.seed))
    if config.init in ("kmeans", "auto"):
        asked = {"n_init": config.n_init, "seed": config.seed}
        if config.assignment == "student":
            Z = np.asarray(map_blocks(module.latent, run.rows_for(module)))
            starts.append(published_kmeans_start(Z, run.judge, config.n_clusters, **asked))
        else:
            ahead = starts[0].evidence.value - _HOPELESS if starts else -np.inf
            starts.append(kmeans_start(run.X, run.judge, config.n_clusters, **asked, worthwhile=ahead))
    return sorted(starts, key=lambda start: start.evidence, reverse=True)


def _warm_start(run: _Run, module: Clusterer, rows: Rows, start: Start, record: Record | None) -> None:
    """Place the centres, calibrate the temperature, and teach the model the start's labels."""
    z = map_blocks(module.latent, rows, on=module.device)
    module.place_centres(z, torch.from_numpy(start.labels).to(module.device))
    if module.assignment == "student":
        return
    with torch.no_grad():
        cosines = cosine_similarity(z, module.centres)
        uniform = 1 / len(module.centres)
        confidence = uniform + _START_CONFIDENCE * (1 - uniform)
        module.temperature.fill_(calibrated_temperature(cosines, confidence))
    corrupt = run.corrupt.for_rows(module.prepare)
    _follow(run, FollowStart(module, rows, start, run.judge, corrupt), start, record)
    if run.judge(_answers(module, rows)).value < start.evidence.value:
        # Learning through noise smooths the start, mostly for the better; where not, learn it as it is.
        plain = FollowStart(module, rows, start, run.judge, replace(corrupt, level=0.0))
        _follow(run, plain, start, record)


def _follow(run: _Run, stage: FollowStart, start: Start, record: Record | None) -> None:
    monitor = ConvergenceMonitor(tol=1e-3, patience=5, enough=start.evidence.value)
    run.train(stage, monitor, run.config.pretrain_epochs, record and record.part(stage.name))


def _join(run: _Run, module: Clusterer, rows: Rows, max_epochs: int, record: Record | None) -> LoopResult:
    config = run.config
    options = JointOptions(config.neighbour_weight, config.target_update_interval, config.gamma)
    corrupt = run.corrupt.for_rows(module.prepare)
    joint = Joint(module, rows, run.judge, run.walk, options, corrupt)
    monitor = ConvergenceMonitor(tol=config.tol, patience=_patience(len(rows), config.batch_size))
    return run.train(joint, monitor, max_epochs, record and record.part(joint.name), config.select)


def _patience(n_rows: int, batch_size: int) -> int:
    """Epochs without progress that are borne: an epoch of many rows is many steps."""
    steps = math.ceil(n_rows / batch_size)
    return int(np.clip(math.ceil(_PATIENT_STEPS / steps), _LEAST_PATIENCE, _MOST_PATIENCE))


@torch.no_grad()
def _calibrate(run: _Run, module: Clusterer, rows: Rows) -> np.ndarray:
    """Make the model as sure, on average, as it is expected to be right; return its labels (n,)."""
    logits = map_blocks(module.score, rows)
    labels = logits.argmax(1).numpy()
    if run.expected is not None:
        share = run.expected(labels)
    else:
        share = float((labels[run.neighbours.indices] == labels[:, None]).mean())
    module.calibration.fill_(calibrated_temperature(logits, share))
    return labels


def _answers(module: Clusterer, rows: Rows) -> np.ndarray:
    return np.asarray(map_blocks(lambda x: module.score(x).argmax(1), rows))
