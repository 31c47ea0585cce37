"""One run of deep embedded clustering, from checked rows to a result: no estimator, no files."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from holdfast.cluster._stages import Corruption, Denoising, FollowStart, Joint
from holdfast.cluster._start import Start, find_neighbours, graph_start, kmeans_start, published_kmeans_start
from holdfast.evidence import evidence
from holdfast.exceptions import InputError, TrainingError
from holdfast.functional.assignment import calibrated_temperature, cosine_similarity
from holdfast.functional.geometry import LIFT_UP_TO, mean_row, principal_directions, root_mean_square
from holdfast.graph import Neighbours, jaccard_graph, random_walk
from holdfast.nn import Assignment, Autoencoder, Clusterer, Encoder, Preparation, Projection
from holdfast.training import ConvergenceMonitor, LoopResult, Stage, run_epochs
from holdfast.training.batches import Rows, map_blocks, resolve_device

__all__ = ["DecConfig", "DecResult", "continue_dec", "empty_module", "fit_dec"]

_LATENT = 128  # widest latent of the projection
_FAR_BEHIND = 0.05  # in evidence: training does not make up for more
# How far the mean of max q stands from uniform to certain when training starts. Where q is nearly uniform,
# as in a latent that is not calibrated, the target is noise and training merges clusters.
_START_CONFIDENCE = 0.7


@dataclass(frozen=True)
class DecConfig:
    """The parameters of :class:`holdfast.DEC`, resolved: no "auto", no random state object."""

    n_clusters: int
    init: str
    encoder: str
    hidden_dims: tuple[int, ...]
    noise: str
    noise_level: float
    pretrain_epochs: int
    max_epochs: int
    target_update_interval: int
    batch_size: int
    tol: float
    alpha: float
    assignment: Assignment
    neighbour_weight: float
    learning_rate: float
    n_init: int
    select: str
    device: str
    seed: int


@dataclass(frozen=True, eq=False)
class DecResult:
    """What a run learned.

    Attributes
    ----------
    module : Clusterer
        In its final state.
    start : str
        Name of the start it grew from.
    start_labels : ndarray of shape (n,)
        The partition the joint training began with.
    evidence : dict of str to float
        Scores of each start made, by name, of the partition begun with (``"start"``), and of the
        ``"result"``.
    training : LoopResult
        How the joint training went.
    """

    module: Clusterer
    start: str
    start_labels: np.ndarray
    evidence: dict[str, float]
    training: LoopResult


class _Run:
    """The rows of one run and what its stages share."""

    def __init__(self, X: np.ndarray, config: DecConfig, module: Clusterer | None = None) -> None:
        self.config = config
        self.X = X
        mean = mean_row(X) if module is None else module.prepare.mean.cpu().numpy()
        scale = root_mean_square(X, mean)
        if scale == 0:
            raise InputError(
                f"all {len(X)} rows are equal, so there is nothing to tell apart; "
                "check how the embeddings were made."
            )
        self.mean, self.scale = mean, scale
        self.rows = Rows(X, resolve_device(config.device) if module is None else module.device)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.corrupt = Corruption(config.noise, config.noise_level, self.generator)
        self.neighbours: Neighbours = find_neighbours(X, mean, scale, config.n_clusters)

    @cached_property
    def graph(self) -> sparse.csr_matrix:
        """The Jaccard graph of the rows."""
        return jaccard_graph(self.neighbours)

    def train(
        self, stage: Stage, monitor: ConvergenceMonitor, max_epochs: int, keep: str = "best"
    ) -> LoopResult:
        """Put one stage through the loop."""
        rate, parameters = self.config.learning_rate, list(stage.module.parameters())
        return run_epochs(
            stage,
            lambda factor: torch.optim.Adam(parameters, lr=rate * factor),
            monitor,
            max_epochs=max_epochs,
            batch_size=self.config.batch_size,
            generator=self.generator,
            keep="last" if keep == "last" else "best",
        )


def fit_dec(X: np.ndarray, config: DecConfig) -> DecResult:
    """Cluster rows: encoder, starts; from each a warm start and joint training; the evidence decides.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Finite rows, at least ``config.n_clusters`` of them.
    config : DecConfig

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
    untrained = _build(run)
    if isinstance(untrained.encoder, Autoencoder):
        run.train(Denoising(untrained, run.rows, run.corrupt), ConvergenceMonitor(), config.pretrain_epochs)
        _check_latent(run, untrained)
    starts = _find_starts(run, untrained)
    made = {start.name: start.evidence.value for start in starts}
    before = run.generator.get_state()
    results = []
    for start in starts:
        if start.evidence.value < starts[0].evidence.value - _FAR_BEHIND:
            continue
        run.generator.set_state(before)  # so that "auto" is exactly the better of the two
        results.append(_train_from(run, copy.deepcopy(untrained), start, made))
    return max(results, key=_standing)


def _standing(result: DecResult) -> float:
    """Count the evidence before training as much as after: training gains some whether it is right or not."""
    return result.evidence[result.start] + result.evidence["result"]


def _train_from(run: _Run, module: Clusterer, start: Start, made: dict[str, float]) -> DecResult:
    _warm_start(run, module, start)
    labels = _answers(run, module)
    training = _join(run, module, run.config.max_epochs)
    scores = {"start": _score(run, labels), "result": _score(run, _calibrate(run, module))}
    return DecResult(module, start.name, labels, {**made, **scores}, training)


def continue_dec(X: np.ndarray, config: DecConfig, module: Clusterer) -> LoopResult:
    """Train an existing module, in place, for ``config.max_epochs`` on new rows (n, d).

    Its calibration stays: neighbours within a few rows say nothing of how often clusters are right.
    """
    return _join(_Run(X, config, module), module, config.max_epochs)


def empty_module(config: DecConfig, weights: dict[str, Tensor], n_features: int) -> Clusterer:
    """Build the module that ``weights`` (its state dict) belong to, for rows of ``n_features`` columns.

    Raises
    ------
    RuntimeError
        If names or shapes do not fit together.
    KeyError
        If a weight is missing.
    """
    generator = torch.Generator()
    k, latent_dim = weights["centres"].shape
    width = n_features + 1 if config.assignment == "cosine" and n_features <= LIFT_UP_TO else n_features
    encoder: Encoder
    if config.encoder == "autoencoder":
        encoder = Autoencoder((width, *config.hidden_dims), generator)
    else:
        encoder = Projection(torch.zeros(latent_dim, width), config.hidden_dims[0], generator)
    module = Clusterer(Preparation(torch.zeros(n_features), 1.0, config.assignment), encoder, k, config.alpha)
    module.load_state_dict(weights)
    return module.to(resolve_device(config.device)).eval()


def _build(run: _Run) -> Clusterer:
    config = run.config
    prepare = Preparation(torch.from_numpy(run.mean), run.scale, config.assignment)
    encoder = _make_encoder(run, prepare)
    module = Clusterer(prepare, encoder, config.n_clusters, config.alpha)
    return module.to(resolve_device(config.device)).eval()


def _make_encoder(run: _Run, prepare: Preparation) -> Encoder:
    sample = torch.randperm(len(run.X), generator=run.generator)[:5_000].sort().values
    prepared = prepare(torch.from_numpy(np.asarray(run.X[sample.numpy()], dtype=np.float32)))
    if run.config.encoder == "autoencoder":
        return Autoencoder((prepared.shape[1], *run.config.hidden_dims), run.generator)
    directions = principal_directions(prepared, _LATENT)
    return Projection(directions, run.config.hidden_dims[0], run.generator)


def _check_latent(run: _Run, module: Clusterer) -> None:
    if not bool(torch.isfinite(map_blocks(module.encode, run.rows)).all()):
        rate = run.config.learning_rate
        raise TrainingError(f"pretraining diverged, its latent is not finite; lower learning_rate={rate:g}.")


def _find_starts(run: _Run, module: Clusterer) -> list[Start]:
    """Make the starts asked for, best first; k-means for Student-t assignment in the latent, as published."""
    config = run.config
    where = run.X if config.assignment == "cosine" else np.asarray(map_blocks(module.encode, run.rows))
    starts = []
    if config.init in ("kmeans", "auto"):
        make = published_kmeans_start if config.assignment == "student" else kmeans_start
        starts.append(make(where, run.neighbours, config.n_clusters, n_init=config.n_init, seed=config.seed))
    if config.init in ("graph", "auto"):
        starts.append(graph_start(run.graph, run.neighbours, config.n_clusters, seed=config.seed))
    return sorted(starts, key=lambda start: start.evidence, reverse=True)


def _warm_start(run: _Run, module: Clusterer, start: Start) -> None:
    """Place the centres, calibrate the temperature, and teach the model the start's labels."""
    z = map_blocks(module.encode, run.rows).to(module.device)
    module.place_centres(z, torch.from_numpy(start.labels).to(module.device))
    if module.assignment == "student":
        return
    with torch.no_grad():
        cosines = cosine_similarity(z, module.centres)
        uniform = 1 / len(module.centres)
        confidence = uniform + _START_CONFIDENCE * (1 - uniform)
        module.temperature.fill_(calibrated_temperature(cosines, confidence))
    _follow(run, module, start.labels, run.corrupt)
    if _score(run, _answers(run, module)) < start.evidence.value:
        # Learning through noise smooths the start, mostly for the better; where not, learn it as it is.
        _follow(run, module, start.labels, replace(run.corrupt, level=0.0))


def _follow(run: _Run, module: Clusterer, labels: np.ndarray, corrupt: Corruption) -> None:
    monitor = ConvergenceMonitor(tol=1e-3, patience=5)
    run.train(FollowStart(module, run.rows, labels, corrupt), monitor, run.config.pretrain_epochs)


def _join(run: _Run, module: Clusterer, max_epochs: int) -> LoopResult:
    config = run.config
    walk = random_walk(run.graph) if config.neighbour_weight else None
    joint = Joint(
        module, run.rows, run.neighbours, walk,
        neighbour_weight=config.neighbour_weight,
        update_interval=config.target_update_interval,
        corrupt=run.corrupt,
    )  # fmt: skip
    return run.train(joint, ConvergenceMonitor(tol=config.tol), max_epochs, keep=config.select)


@torch.no_grad()
def _calibrate(run: _Run, module: Clusterer) -> np.ndarray:
    """Make the model as sure, on average, as neighbours agree; return its labels (n,)."""
    logits = map_blocks(lambda x: module.logits(module.encode(x)), run.rows)
    labels = logits.argmax(1).numpy()
    agreement = float((labels[run.neighbours.indices] == labels[:, None]).mean())
    module.calibration.fill_(calibrated_temperature(logits, agreement))
    return labels


def _answers(run: _Run, module: Clusterer) -> np.ndarray:
    return np.asarray(map_blocks(module.assign, run.rows))


def _score(run: _Run, labels: np.ndarray) -> float:
    return evidence(labels, run.neighbours, run.config.n_clusters).value
