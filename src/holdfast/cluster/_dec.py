"""Deep embedded clustering, started well and guarded against ending worse than it started."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from holdfast._choices import DEC_CHOICES
from holdfast._validation import check_choice, check_float, check_int
from holdfast.cluster._estimate import estimate_n_clusters
from holdfast.cluster._module import DecConfig
from holdfast.cluster._recipe import fit_dec
from holdfast.cluster._sample import sample_size, training_rows
from holdfast.cluster._trained import TrainedClusterer, check_enough, drawn_seed
from holdfast.exceptions import ParameterError
from holdfast.io.tensors import library_versions
from holdfast.training.batches import digest, resolve_device
from holdfast.training.checkpoint import Checkpoint

__all__ = ["DEC"]


class DEC(TrainedClusterer):
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

    def _fit_rows(self, X: np.ndarray) -> None:
        self._config(1 if self.n_clusters == "auto" else self.n_clusters, seed=0)  # before the long work
        count = estimate_n_clusters(X, random_state=self.random_state) if self.n_clusters == "auto" else None
        self.cluster_count_ = count
        config = self._config(self.n_clusters if count is None else count.n_clusters)
        check_enough(X, config.n_clusters)
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
            if field.name not in {"seed", "gamma", "spaces"}
        }
        if seed is None:
            seed = drawn_seed(self.random_state)
        given |= {
            "n_clusters": int(n_clusters),
            "hidden_dims": tuple(int(width) for width in self.hidden_dims),
        }
        return DecConfig(**given, gamma=self._gamma(), spaces=None, seed=seed)

    @property
    def _keeps_best(self) -> bool:
        return self.select == "evidence"

    def _gamma(self) -> float | None:
        """Weight of the clustering loss beside a reconstruction; None where nothing is reconstructed."""
        return None


def _plain(value: Any) -> Any:
    """Turn NumPy's numbers, which a grid search may bring, into Python's, which torch insists on."""
    return value.item() if isinstance(value, np.generic) else value
