"""Deep embedded clustering, started well and guarded against ending worse than it started."""

from __future__ import annotations

import copy
import warnings
from dataclasses import asdict, fields, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.utils import check_random_state

from holdfast._choices import DEC_CHOICES
from holdfast._validation import check_choice, check_float, check_int
from holdfast.cluster._base import BaseClusterer, canonical_order
from holdfast.cluster._count import ClusterCount, estimate_n_clusters
from holdfast.cluster._recipe import DecConfig, DecResult, continue_dec, empty_module, fit_dec
from holdfast.cluster._sample import sample_size, training_rows
from holdfast.exceptions import HoldfastWarning, InputError, NotConvergedWarning, ParameterError
from holdfast.io.tensors import library_versions
from holdfast.training.batches import digest, resolve_device
from holdfast.training.checkpoint import Checkpoint
from holdfast.training.threads import within_cpus

__all__ = ["DEC"]


class DEC(BaseClusterer):
    r"""Deep Embedded Clustering that keeps the best state it has seen, by evidence that needs no labels.

    The method of [1]_ (soft assignment, a sharpened target over the whole data set, joint training of
    encoder and centres) with three changes that make it work on embeddings: the latent is compared by
    cosine at a calibrated temperature, so that the first soft assignment means something; a neighbour
    term follows the Jaccard graph of the rows; and the state returned is the one with the most label-free
    evidence (:mod:`holdfast.evidence`), the start included. :meth:`as_published` leaves all three out.

    Parameters
    ----------
    n_clusters : int or "auto", default=8
        How many clusters to form; ``"auto"`` asks :func:`holdfast.estimate_n_clusters`.
    init : {"auto", "kmeans", "graph"}, default="auto"
        The start: k-means++, communities of the Jaccard neighbour graph, or both, each trained, of which
        the one with more evidence (before and after training together) is returned; a start too far
        behind is not trained.
    encoder : {"projection", "autoencoder"}, default="projection"
        A rotation that may bend, or a denoising autoencoder. Frozen embeddings lose by a bottleneck, raw
        features may gain.
    hidden_dims : tuple of int, default=(256, 32)
        Layer widths of the autoencoder, the last being its latent; the projection uses the first for its
        bending term and keeps up to 128 principal directions.
    noise : {"mask", "gaussian"}, default="mask"
        Corruption of the encoder's input in training.
    noise_level : float, default=0.3
        Share of entries masked, or standard deviation.
    pretrain_epochs : int, default=50
        Most epochs of each stage before the joint one: restoring corrupted rows (autoencoder), learning
        the start's labels (cosine assignment).
    max_epochs : int, default=100
        Most epochs of joint training.
    target_update_interval : int, default=1
        Epochs between two computations of the target distribution.
    batch_size : int, default=256
    tol : float, default=1e-3
        Training has converged when fewer than this share of the labels change between two targets.
    alpha : float, default=1.0
        Degrees of freedom of the Student-t assignment.
    assignment : {"cosine", "student"}, default="cosine"
        Softmax over cosines, or DEC's Student-t kernel on the latent as it is; with the latter the start
        is sought in the latent, as published.
    neighbour_weight : float, default=1.0
        Weight of the neighbour term; 0 leaves it out.
    learning_rate : float, default=1e-3
        Of Adam.
    n_init : int, default=20
        Restarts of k-means++ on each view of the rows; the evidence picks one (with Student-t assignment
        the inertia, as published).
    select : {"evidence", "last"}, default="evidence"
        Which state the fit returns.
    subsample : int, "auto" or None, default="auto"
        Rows trained on, a random sample, where there are more; every row is then assigned. ``"auto"`` takes
        50,000, or 100 for each cluster where that is more, and fewer of rows so wide that these would take
        more than two gigabytes; None trains on all.
    precision : {"float32", "relaxed"}, default="float32"
        Of the matrix products in training. ``"relaxed"`` lets torch take them from a faster library, if they
        turn out as exact on this machine.
    checkpoint : path-like or None, default=None
        A folder where a long fit is kept, twice a minute. A fit of the same rows and parameters that finds
        one there goes on from it, to the same result (to the last bit with as many threads); it is removed
        when the fit is complete. Needs an integer as ``random_state``.
    device : str, default="auto"
        ``"auto"`` is CUDA where there is one, else the CPU.
    random_state : int, RandomState or None, default=None
        Fixes every draw; on one machine and thread count an int gives the same model to the last bit.

    Attributes
    ----------
    labels_ : ndarray of shape (n,), int64
        Cluster of each row, 0 the largest; equal to ``predict(X)``.
    probabilities_ : ndarray of shape (n,), float32
        How sure the model is of each: ``predict_proba(X).max(axis=1)``.
    cluster_centers_ : ndarray of shape (k, d_z), float32
        Centres in the latent of :meth:`transform`; of length one for cosine assignment.
    n_clusters_ : int
        k.
    cluster_count_ : ClusterCount or None
        The estimate that ``n_clusters="auto"`` followed.
    n_iter_ : int
        Epochs of joint training.
    converged_ : bool
        Whether a stopping rule was met before ``max_epochs``.
    history_ : list of dict
        One an epoch of joint training: loss terms, evidence, share of labels changed, verdict.
    start_ : {"kmeans", "graph"}
        The start that was used.
    start_labels_ : ndarray of shape (n,), int64
        The partition that joint training began with, in the numbers of the result: the start as the model
        had learned it.
    evidence_ : dict of str to float
        Evidence of each start made, of the model once it had learned the one used (``"start"``), and of
        the ``"result"``, which is at least that. Where a model cannot express a start (rows of very few
        columns), a warning says how much it lost.
    neighbour_recall_ : float
        Share of true nearest neighbours among those that the evidence was measured with; estimated above
        10,000 rows, where they are found along leading directions first.
    n_features_in_ : int
        d.

    References
    ----------
    .. [1] Xie, Girshick and Farhadi, "Unsupervised deep embedding for clustering analysis", ICML 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> import holdfast as hf
    >>> X, _ = load_digits(return_X_y=True)
    >>> model = hf.DEC(n_clusters=10, random_state=0).fit(X)
    >>> model.predict_proba(X).shape
    (1797, 10)
    """

    def __init__(
        self,
        n_clusters: int | Literal["auto"] = 8,
        *,
        init: Literal["auto", "kmeans", "graph"] = "auto",
        encoder: Literal["projection", "autoencoder"] = "projection",
        hidden_dims: tuple[int, ...] = (256, 32),
        noise: Literal["mask", "gaussian"] = "mask",
        noise_level: float = 0.3,
        pretrain_epochs: int = 50,
        max_epochs: int = 100,
        target_update_interval: int = 1,
        batch_size: int = 256,
        tol: float = 1e-3,
        alpha: float = 1.0,
        assignment: Literal["cosine", "student"] = "cosine",
        neighbour_weight: float = 1.0,
        learning_rate: float = 1e-3,
        n_init: int = 20,
        select: Literal["evidence", "last"] = "evidence",
        subsample: int | Literal["auto"] | None = "auto",
        precision: Literal["float32", "relaxed"] = "float32",
        checkpoint: str | Path | None = None,
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.encoder = encoder
        self.hidden_dims = hidden_dims
        self.noise = noise
        self.noise_level = noise_level
        self.pretrain_epochs = pretrain_epochs
        self.max_epochs = max_epochs
        self.target_update_interval = target_update_interval
        self.batch_size = batch_size
        self.tol = tol
        self.alpha = alpha
        self.assignment = assignment
        self.neighbour_weight = neighbour_weight
        self.learning_rate = learning_rate
        self.n_init = n_init
        self.select = select
        self.subsample = subsample
        self.precision = precision
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state

    @classmethod
    def as_published(cls, n_clusters: int = 8, **overrides: Any) -> Self:
        """Build the recipe of the paper, for comparison.

        An autoencoder d-500-500-2000-10 with 20 % masking noise, k-means in its latent, Student-t
        assignment, no neighbour term, and the last state as the result. All layers are pretrained at once
        and by Adam (the paper: layer by layer, by stochastic gradient descent).
        """
        recipe: dict[str, Any] = {
            "init": "kmeans",
            "encoder": "autoencoder",
            "hidden_dims": (500, 500, 2000, 10),
            "noise_level": 0.2,
            "assignment": "student",
            "neighbour_weight": 0.0,
            "select": "last",
        }
        return cls(n_clusters, **{**recipe, **overrides})

    def partial_fit(self, X: Any, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Train one epoch on the rows of ``X``, from the present state; unfitted, the same as ``fit``.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : ignored

        Returns
        -------
        self
            ``labels_`` are those of the rows just given, ``start_labels_`` what they were before; cluster
            numbers keep their meaning.
        """
        if not hasattr(self, "module_"):
            return self.fit(X)
        rows = self._check_rows(X, reset=False)
        config = replace(self._config(self.n_clusters_), max_epochs=1, select="last")
        self.start_labels_ = self._answer(rows)
        if len(rows) > 1:
            with within_cpus():
                size = sample_size(config.subsample, self.n_clusters_, rows.shape)
                training = continue_dec(training_rows(rows, size, config.seed), config, self.module_)
            self.n_iter_ += training.n_iter
            self.history_ = [*self.history_, *training.history]
        self.labels_, self.probabilities_ = self._answers(rows)
        self.cluster_centers_ = self.module_.unit_centres().numpy()
        return self

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Offer the fitted state for :func:`holdfast.save`: arrays by name, and plain values."""
        tensors = {f"module.{name}": value.cpu().numpy() for name, value in self.module_.state_dict().items()}
        tensors |= {name.rstrip("_"): getattr(self, name) for name in _ARRAY_STATE}
        values = {name: getattr(self, name) for name in _PLAIN_STATE}
        count = asdict(self.cluster_count_) if self.cluster_count_ else None
        return tensors, {"state": values, "cluster_count": count, "n_features_in": self.n_features_in_}

    def set_state(self, tensors: dict[str, np.ndarray], manifest: dict[str, Any]) -> None:
        """Take the state that :meth:`get_state` offered; for :func:`holdfast.load`."""
        prefix = "module."
        weights = {
            name.removeprefix(prefix): torch.from_numpy(value)
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
        config, n_features = self._config(len(weights["centres"]), seed=0), int(manifest["n_features_in"])
        self.module_ = empty_module(config, weights, n_features)
        for name in _ARRAY_STATE:
            setattr(self, name, tensors[name.rstrip("_")])
        for name in _PLAIN_STATE:
            setattr(self, name, manifest["state"][name])
        count = manifest["cluster_count"]
        self.cluster_count_ = ClusterCount(**count) if count else None
        self.n_features_in_ = n_features
        self.n_clusters_ = len(self.module_.centres)
        self.cluster_centers_ = self.module_.unit_centres().numpy()

    def _fit_rows(self, X: np.ndarray) -> None:
        self._config(1 if self.n_clusters == "auto" else self.n_clusters, seed=0)  # before the long work
        count = estimate_n_clusters(X, random_state=self.random_state) if self.n_clusters == "auto" else None
        self.cluster_count_ = count
        config = self._config(self.n_clusters if count is None else count.n_clusters)
        if len(X) < config.n_clusters:
            raise InputError(
                f"n_samples={len(X)} should be >= n_clusters={config.n_clusters}; "
                "give more rows or ask for fewer clusters."
            )
        size = sample_size(config.subsample, config.n_clusters, X.shape)
        config = replace(config, subsample=size if size < len(X) else None)
        rows = training_rows(X, size, config.seed)
        checkpoint = self._open_checkpoint(rows, config)
        self._take(fit_dec(rows, config, checkpoint), X)
        if checkpoint is not None:
            checkpoint.complete()

    def _open_checkpoint(self, rows: np.ndarray, config: DecConfig) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        if not isinstance(self.random_state, Integral):
            raise ParameterError("checkpoint needs an integer as random_state: another seed is another fit.")
        fit = {**asdict(config), "rows": digest(rows), "estimator": type(self).__name__}
        fit |= {"device": str(resolve_device(config.device)), "libraries": library_versions()}
        return Checkpoint(self.checkpoint, fit)

    def _config(self, n_clusters: Any, seed: int | None = None) -> DecConfig:
        """Check every parameter and, where no seed is given, draw one from the random state."""
        check_int("n_clusters", n_clusters, 1)
        for name, choices in DEC_CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        for name in ("neighbour_weight", "alpha", "learning_rate"):
            check_float(
                name, getattr(self, name), 0, np.inf, low_open=name != "neighbour_weight", high_open=True
            )
        check_float("noise_level", self.noise_level, 0, 1, high_open=True)
        check_float("tol", self.tol, 0, 1)
        for name in ("pretrain_epochs", "max_epochs"):
            check_int(name, getattr(self, name), 0)
        for name in ("target_update_interval", "batch_size", "n_init"):
            check_int(name, getattr(self, name), 1)
        if self.subsample not in (None, "auto"):
            check_int("subsample", self.subsample, 2 if self.n_clusters == "auto" else max(n_clusters, 2))
        if not isinstance(self.hidden_dims, tuple | list) or not self.hidden_dims:
            raise ParameterError(f"hidden_dims must be a tuple of layer widths, not {self.hidden_dims!r}.")
        for width in self.hidden_dims:
            check_int("hidden_dims", width, 1)
        given = {
            field.name: _plain(getattr(self, field.name))
            for field in fields(DecConfig)
            if field.name not in {"seed", "gamma"}
        }
        if seed is None:
            seed = int(_random(self.random_state).randint(2**31 - 1))
        given |= {
            "n_clusters": int(n_clusters),
            "hidden_dims": tuple(int(width) for width in self.hidden_dims),
        }
        return DecConfig(**given, gamma=self._gamma(), seed=seed)

    def _gamma(self) -> float | None:
        """Weight of the clustering loss beside a reconstruction; None where nothing is reconstructed."""
        return None

    def _take(self, result: DecResult, X: np.ndarray) -> None:
        """Give the clusters their canonical numbers and set every fitted attribute."""
        module, training = result.module, result.training
        self.module_ = module
        begun = copy.deepcopy(module)
        begun.load_state_dict(result.begun)
        found, earlier = self._answer_by([module, begun], X).T
        order = canonical_order(found, module.unit_centres().numpy())
        module.reorder(torch.from_numpy(order))
        self.start_ = result.start
        self.labels_, self.probabilities_ = self._answers(X)
        self.start_labels_ = np.argsort(order)[earlier]
        self.cluster_centers_ = module.unit_centres().numpy()
        self.neighbour_recall_ = result.recall
        self.n_clusters_ = len(order)
        self.n_iter_ = training.n_iter
        self.converged_ = training.converged
        self.history_ = training.history
        self.evidence_ = result.evidence
        self._warn(result)

    def _warn(self, result: DecResult) -> None:
        """Say what the user should know of a fit that ended early or could not hold its start."""
        training, lost = result.training, result.evidence[result.start] - result.evidence["result"]
        name = type(self).__name__
        if not training.converged and self.max_epochs > 0:
            trouble = training.history[-1]["reason"] or "with labels still changing; raise max_epochs or tol"
            message = f"{name} stopped after {training.n_iter} of max_epochs={self.max_epochs}, {trouble}."
            warnings.warn(message, NotConvergedWarning, stacklevel=5)
        if lost > _NOTABLE and self.select == "evidence":
            message = (
                f"{name} could not hold all of its {result.start} start, which had {lost:.3f} more evidence; "
                "raise pretrain_epochs or hidden_dims[0]."
            )
            warnings.warn(message, HoldfastWarning, stacklevel=5)
        if (used := len(np.unique(self.labels_))) < self.n_clusters_:
            message = f"only {used} of {self.n_clusters_} clusters have members; ask for fewer clusters."
            warnings.warn(message, HoldfastWarning, stacklevel=5)


def _plain(value: Any) -> Any:
    """Turn NumPy's numbers, which a grid search may bring, into Python's, which torch insists on."""
    return value.item() if isinstance(value, np.generic) else value


def _random(state: Any) -> np.random.RandomState:
    try:
        random: np.random.RandomState = check_random_state(state)
    except ValueError as error:
        raise ParameterError(
            f"random_state must be None, an integer from 0 to 2**32 - 1 or a RandomState, not {state!r}."
        ) from error
    return random


_NOTABLE = 0.002  # evidence that a model may lose against its start without a word
_ARRAY_STATE = ("labels_", "probabilities_", "start_labels_")
_PLAIN_STATE = ("neighbour_recall_", "start_", "n_iter_", "converged_", "history_", "evidence_")
