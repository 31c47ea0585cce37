"""A Dirichlet-process Gaussian mixture, fitted by gradient and pruned by merging."""

from __future__ import annotations

import copy
import warnings
from dataclasses import asdict
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from holdfast._choices import MIXTURE_CHOICES
from holdfast._validation import check_choice, check_float, check_int
from holdfast.cluster._base import BaseClusterer, canonical_order
from holdfast.cluster._count import ClusterCount
from holdfast.cluster._mixture_fit import (
    MixtureRun,
    StandardRows,
    fit_mixture,
    followed,
    judged_in_units,
    mixture_count,
    sensitivity,
    standardise,
)
from holdfast.cluster._mixture_path import MixturePath, path_arrays, path_from_arrays
from holdfast.cluster._mixture_view import calibrate, covariances_of, drawn_rows, restored, view_of
from holdfast.cluster._sample import sample_size, training_rows
from holdfast.cluster._sticks import SticksConfig, climb
from holdfast.cluster._trained import check_enough, drawn_seed
from holdfast.exceptions import NotConvergedWarning
from holdfast.functional.geometry import LIFT_UP_TO
from holdfast.nn.mixture import MixtureClusterer, StickBreaking
from holdfast.training.batches import Rows, map_blocks, resolve_device
from holdfast.training.threads import within_cpus

__all__ = ["SEEN_COLUMNS", "DirichletGMM"]

SEEN_COLUMNS = 3
"""Up to here groups can be seen to be Gaussian or not."""

_USUAL_ROWS = 20_000  # more say little more about a density
_START = "k-means++"
_UNSETTLED = "DirichletGMM stopped before the mixture had settled; give more rows or fewer components."


class DirichletGMM(BaseClusterer):
    r"""Gaussian mixture with a Dirichlet process over its weights, which finds the number of components.

    Adam climbs the joint density of stick-breaking weights and rows,

    .. math::

        \ln p = \sum_{j<k} \ln \mathrm{Beta}(v_j; 1, c) + \ln \mathrm{Gamma}(c)
        + \sum_i \ln \sum_j w_j N(x_i; \mu_j, \Sigma_j), \qquad w_j = v_j \prod_{i<j} (1 - v_i),

    from far too many components. A prior of the weights cannot remove them: it grows with the logarithm of
    the rows, the density with their number. So components are merged two by two, by their moments and the
    cheapest pair first [1]_, each time refitted by expectation-maximisation, and the number is kept at which
    a criterion is best.

    Rows of up to 16 columns are taken as they are. Wider ones, which are embeddings, are looked at by
    direction along their leading principal directions.

    Parameters
    ----------
    max_components : int, default=50
        Components to begin with; fewer where there are not five rows for each.
    n_clusters : int or "auto", default="auto"
        How many components to merge down to; ``"auto"`` lets `criterion` decide.
    covariance_type : {"auto", "diag", "spherical", "tied"}, default="auto"
        Variances of their own for every component and column, one for each component, or one full covariance
        for all. ``"auto"``: ``"tied"`` for wide rows, whose groups it finds best, else ``"diag"``.
    weight_concentration_prior : float, default=1.0
        Mean of the Gamma prior of the concentration c, which is learned; small values favour few components
        while gradients are followed.
    n_init : int, default=1
        Starts, of which the one with the best criterion is kept; with two or more, `start_sensitivity_` tells
        how much they differ.
    max_epochs : int, default=40
        Most epochs of gradients, of at least 25 steps each.
    batch_size : int, default=1024
        Rows a step.
    learning_rate : float, default=0.05
        Adam's.
    n_directions : int or "auto", default="auto"
        Principal directions of rows of more than 16 columns; ``"auto"`` takes 32.
    criterion : {"auto", "bic", "mdl"}, default="auto"
        What the number of components is judged by. ``"bic"`` believes that groups are exactly Gaussian;
        ``"mdl"`` that they are nearly so, and lets no more than 500 rows count [2]_, without which it would
        split the groups of embeddings for ever. ``"auto"``: ``"bic"`` for rows of up to three columns, else
        ``"mdl"``.
    keep_path : bool, default=False
        Whether to keep `path_`.
    subsample : int, "auto" or None, default="auto"
        Rows to fit to; all are assigned. ``"auto"``: 20,000, or 100 a cluster where that is more.
    device : str, default="auto"
        Where gradients are computed.
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    weights_ : ndarray of shape (n_clusters_,), float64
    means_ : ndarray of shape (n_clusters_, d_z), float32
        In the space of :meth:`transform`, as are the covariances: for rows of up to 16 columns, that of the
        rows themselves.
    covariances_ : ndarray, float64
        Of shape (n_clusters_, d_z) for ``"diag"``, (n_clusters_,) for ``"spherical"``, (d_z, d_z) for
        ``"tied"``.
    cluster_centers_ : ndarray of shape (n_clusters_, d_z), float32
        The means.
    lower_bound_ : float
        Joint log density of weights and rows, in nats a row fitted to.
    concentration_ : float
        c.
    covariance_type_, criterion_ : str
        What was used.
    bic_path_ : dict of int to float
        Bayesian information criterion by number of components, on the way down.
    path_ : MixturePath or None
        The optimisation, frame by frame.
    start_sensitivity_ : dict or None
        Of several starts, ``"disagreement"`` (mean of one less the adjusted Rand index of the labels of any
        two), ``"spread"`` (of their log densities a row) and ``"n_clusters"`` of each; None for one start.
    labels_, probabilities_, n_clusters_, n_iter_, converged_, history_, n_features_in_
        As in :class:`DEC`; the number and the history of epochs are those of the gradients.
    cluster_count_ : ClusterCount or None
        How sure the number of components is; None where it was given.
    start_, start_labels_
        The start, and the cluster in which most rows of each of its components ended.
    evidence_ : dict of str to float
        Log density a row less what the parameters cost (the BIC over minus two, by row), of start and result.

    References
    ----------
    .. [1] Runnalls, "Kullback-Leibler approach to Gaussian mixture reduction", 2007.
    .. [2] Miller and Dunson, "Robust Bayesian inference via coarsening", 2019.

    Examples
    --------
    >>> import numpy as np
    >>> import holdfast as hf
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(0, 1, (300, 1)), rng.normal(9, 2, (200, 1))])
    >>> hf.DirichletGMM(random_state=0).fit(X).n_clusters_
    2
    """

    module_: MixtureClusterer  # type: ignore[assignment]
    path_: MixturePath | None
    _array_state: ClassVar[tuple[str, ...]] = ("labels_", "probabilities_", "start_labels_")
    _plain_state: ClassVar[tuple[str, ...]] = (
        "start_", "n_iter_", "converged_", "history_", "evidence_", "lower_bound_", "concentration_",
        "covariance_type_", "criterion_", "start_sensitivity_",
    )  # fmt: skip

    def __init__(
        self,
        max_components: int = 50,
        *,
        n_clusters: int | Literal["auto"] = "auto",
        covariance_type: Literal["auto", "diag", "spherical", "tied"] = "auto",
        weight_concentration_prior: float = 1.0,
        n_init: int = 1,
        max_epochs: int = 40,
        batch_size: int = 1024,
        learning_rate: float = 0.05,
        n_directions: int | Literal["auto"] = "auto",
        criterion: Literal["auto", "bic", "mdl"] = "auto",
        keep_path: bool = False,
        subsample: int | Literal["auto"] | None = "auto",
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.max_components = max_components
        self.n_clusters = n_clusters
        self.covariance_type = covariance_type
        self.weight_concentration_prior = weight_concentration_prior
        self.n_init = n_init
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.n_directions = n_directions
        self.criterion = criterion
        self.keep_path = keep_path
        self.subsample = subsample
        self.device = device
        self.random_state = random_state

    def _fit_rows(self, X: np.ndarray) -> None:
        config, device = self._config(X.shape[1]), resolve_device(self.device)
        wanted = None if self.n_clusters == "auto" else int(self.n_clusters)
        seed = drawn_seed(self.random_state)
        check_enough(X, wanted or 1)
        rows = training_rows(X, sample_size(self.subsample, wanted or 1, X.shape, _USUAL_ROWS), seed)
        prepare, z = view_of(rows, self._directions(), seed, is_sample=len(rows) < len(X))
        seen = standardise(z, config.kind)
        self.criterion_ = _resolved(self.criterion, "bic" if X.shape[1] <= SEEN_COLUMNS else "mdl")
        seeds = range(seed, seed + self.n_init)
        runs = [fit_mixture(seen, config, self.criterion_, wanted, some, device) for some in seeds]
        best = min(runs, key=lambda run: run.value)
        module = MixtureClusterer(prepare, best.result.mixture, seen.offset, seen.spread)
        self.module_ = module.to(device).eval()
        self.cluster_count_ = mixture_count(best, self.criterion_) if wanted is None else None
        self.start_sensitivity_ = sensitivity(runs, seen)
        self._take(best, seen, X)
        calibrate(self.module_, rows)
        self.labels_, self.probabilities_ = self._answers(X)
        if not self.converged_:
            warnings.warn(_UNSETTLED, NotConvergedWarning, stacklevel=4)

    def _take(self, run: MixtureRun, seen: StandardRows, X: np.ndarray) -> None:
        """Set what a run found, in canonical numbers."""
        begun = copy.deepcopy(self.module_)
        begun.take(run.start.mixture)
        found, earlier = self._answer_by([self.module_, begun], X).T  # type: ignore[list-item]
        order = canonical_order(found, self.module_.unit_centres().numpy())
        self.module_.take(run.result.mixture.take(torch.from_numpy(order)))
        self.start_, self.start_labels_ = _START, followed(earlier, np.argsort(order)[found])
        self.lower_bound_, self.bic_path_, self.evidence_ = judged_in_units(run, seen, _START)
        self.concentration_ = float(np.exp(run.log_concentration))
        self.covariance_type_ = run.result.mixture.kind
        self.n_iter_, self.history_ = run.training.n_iter, run.training.history
        self.converged_ = run.converged
        self.path_ = run.record
        self._describe()

    def _describe(self) -> None:
        """Set what the module says of itself."""
        self.weights_ = self.module_.weights.cpu().numpy()
        self.n_clusters_ = len(self.weights_)
        self.means_ = self.cluster_centers_ = self.module_.unit_centres().numpy()
        self.covariances_ = covariances_of(self.module_)

    def partial_fit(self, X: Any, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Follow gradients for one epoch on the rows of ``X``, from the present state; unfitted, ``fit``.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : ignored

        Returns
        -------
        self
            ``labels_`` are those of the rows just given, ``start_labels_`` what they were before; cluster
            numbers keep their meaning, and no component is added or merged.
        """
        if not hasattr(self, "module_"):
            return self.fit(X)
        rows = self._check_rows(X, reset=False)
        seed = drawn_seed(self.random_state)
        earlier = self._answer(rows)
        if len(rows) > 1:
            with within_cpus():
                self._follow(
                    training_rows(rows, sample_size(self.subsample, 1, rows.shape, _USUAL_ROWS), seed), seed
                )
        self.labels_, self.probabilities_ = self._answers(rows)
        self.start_labels_ = earlier
        self._describe()
        return self

    def _follow(self, rows: np.ndarray, seed: int) -> None:
        module = self.module_
        config = self._config(rows.shape[1], max_epochs=1, keep_path=False)
        seen = map_blocks(
            lambda x: module.standardised(module.prepare(x)).float(),
            Rows(rows, module.device),
            on=module.device,
        )
        sticks = StickBreaking(module.mixture, self.concentration_).to(module.device)
        training, _ = climb(seen, sticks, config, seed)
        module.take(sticks.mixture())
        self.concentration_ = float(torch.exp(sticks.log_concentration().detach()))
        self.n_iter_ += training.n_iter
        self.history_ = [*self.history_, *training.history]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Posterior probability of every component for every row.

        For rows of up to 16 columns it is the mixture's own. That of wide rows would be near certain wherever
        they lie; it is flattened until, on the rows of the fit, the mean of the highest probability is the
        share of nearest neighbours in the same cluster. No label moves by it.

        Parameters
        ----------
        X : array-like of shape (n, d)

        Returns
        -------
        ndarray of shape (n, k), float32
            Rows sum to one.
        """
        return super().predict_proba(X)

    def score_samples(self, X: Any) -> np.ndarray:
        """Log density of every row under the mixture, in the space of :meth:`transform`.

        Parameters
        ----------
        X : array-like of shape (n, d)

        Returns
        -------
        ndarray of shape (n,), float64
            Nats.
        """
        return self._map(X, lambda x: self.module_.log_prob(x))

    def score(self, X: Any, y: object = None) -> float:  # noqa: ARG002 - scikit-learn's signature
        """Mean of :meth:`score_samples`."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, *, random_state: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows from the mixture.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState or None, default=None

        Returns
        -------
        X : ndarray of shape (n_samples, d), float32
            In the space of the input; of wide rows, the part that lies in the directions looked at.
        labels : ndarray of shape (n_samples,), int64
            The component that each row was drawn from.
        """
        check_int("n_samples", n_samples, 1)
        check_is_fitted(self)
        return drawn_rows(self.module_, n_samples, drawn_seed(random_state))

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Offer the fitted state for :func:`holdfast.save`: arrays by name, and plain values."""
        tensors = self.module_arrays()
        tensors |= {name.rstrip("_"): getattr(self, name) for name in self._array_state}
        tensors |= path_arrays(self.path_) if self.path_ is not None else {}
        values = {name: getattr(self, name) for name in self._plain_state}
        return tensors, {
            "state": values,
            "cluster_count": asdict(self.cluster_count_) if self.cluster_count_ else None,
            "bic_path": {str(k): value for k, value in self.bic_path_.items()},
            "n_features_in": self.n_features_in_,
        }

    def set_state(self, tensors: dict[str, np.ndarray], manifest: dict[str, Any]) -> None:
        """Take the state that :meth:`get_state` offered; for :func:`holdfast.load`."""
        for name in self._plain_state:
            setattr(self, name, manifest["state"][name])
        for name in self._array_state:
            setattr(self, name, tensors[name.rstrip("_")])
        self.n_features_in_ = int(manifest["n_features_in"])
        module = restored(self.module_weights(tensors), self.covariance_type_, self.n_features_in_)
        self.module_ = module.to(resolve_device(self.device))
        count = manifest["cluster_count"]
        self.cluster_count_ = ClusterCount(**count) if count else None
        self.bic_path_ = {int(k): value for k, value in manifest["bic_path"].items()}
        self.path_ = path_from_arrays(tensors)
        self._describe()

    def _config(self, n_columns: int, **changes: Any) -> SticksConfig:
        """Check every parameter."""
        for name, choices in MIXTURE_CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        least = 1 if self.n_clusters == "auto" else check_int("n_clusters", self.n_clusters, 1)
        for name in ("max_components", "n_init", "batch_size"):
            check_int(name, getattr(self, name), 1)
        check_int("max_epochs", self.max_epochs, 0)
        for name in ("weight_concentration_prior", "learning_rate"):
            check_float(name, getattr(self, name), 0, np.inf, low_open=True, high_open=True)
        if self.subsample not in (None, "auto"):
            check_int("subsample", self.subsample, max(least, 2))
        self._directions()
        given: dict[str, Any] = {
            "kind": _resolved(self.covariance_type, "diag" if n_columns <= LIFT_UP_TO else "tied"),
            "max_components": max(int(self.max_components), least),
            "least": least,
            "concentration": float(self.weight_concentration_prior),
            "max_epochs": int(self.max_epochs),
            "batch_size": int(self.batch_size),
            "learning_rate": float(self.learning_rate),
            "keep_path": bool(self.keep_path),
        }
        return SticksConfig(**{**given, **changes})

    def _directions(self) -> int:
        return 32 if self.n_directions == "auto" else check_int("n_directions", self.n_directions, 1)


def _resolved(value: Any, automatic: Any) -> Any:
    return automatic if value == "auto" else value
