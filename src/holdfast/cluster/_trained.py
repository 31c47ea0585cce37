"""What estimators share whose fitted state a run of deep embedded clustering left."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from dataclasses import asdict, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils import check_random_state

from holdfast.cluster._base import BaseClusterer, canonical_order
from holdfast.cluster._count import ClusterCount
from holdfast.cluster._module import DecConfig, empty_module
from holdfast.cluster._recipe import DecResult, continue_dec
from holdfast.cluster._sample import USUAL_ROWS, sample_size, training_rows
from holdfast.exceptions import HoldfastWarning, InputError, NotConvergedWarning, ParameterError
from holdfast.training.threads import within_cpus

__all__ = ["TrainedClusterer", "check_enough", "drawn_seed"]

_NOTABLE = 0.002  # evidence that a model may lose against its start without a word


class TrainedClusterer(BaseClusterer):
    """A clusterer whose module was trained by :mod:`holdfast.cluster._recipe`, and can be trained on."""

    _array_state: ClassVar[tuple[str, ...]] = ("labels_", "probabilities_", "start_labels_")
    _plain_state: ClassVar[tuple[str, ...]] = (
        "neighbour_recall_", "start_", "n_iter_", "converged_", "history_", "evidence_",
    )  # fmt: skip
    _usual_rows: ClassVar[int] = USUAL_ROWS
    _must_converge: ClassVar[bool] = True
    _to_hold_more: ClassVar[str] = "raise pretrain_epochs or hidden_dims[0]"

    @property
    def _keeps_best(self) -> bool:
        """Whether a fit returns the state of most evidence, and so should have at least its start's."""
        return True

    @abstractmethod
    def _config(self, n_clusters: Any, seed: int | None = None) -> DecConfig:
        """Check every parameter and, where no seed is given, draw one from the random state."""

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
        earlier = self._answer_by([self.module_], rows)[:, 0]
        if len(rows) > 1:
            with within_cpus():
                size = sample_size(config.subsample, self.n_clusters_, rows.shape, self._usual_rows)
                training = continue_dec(training_rows(rows, size, config.seed), config, self.module_)
            self.n_iter_ += training.n_iter
            self.history_ = [*self.history_, *training.history]
        self.labels_, self.probabilities_ = self._answers(rows)
        self.start_labels_ = np.where(self.labels_ < 0, -1, earlier)
        self.cluster_centers_ = self.module_.unit_centres().numpy()
        self._forget_rows()
        return self

    def _forget_rows(self) -> None:
        """Drop what was said of the rows of an earlier call and is not said of these."""

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Offer the fitted state for :func:`holdfast.save`: arrays by name, and plain values."""
        tensors = self.module_arrays()
        tensors |= {name.rstrip("_"): getattr(self, name) for name in self._array_state}
        values = {name: getattr(self, name) for name in self._plain_state}
        count = asdict(self.cluster_count_) if self.cluster_count_ else None
        return tensors, {"state": values, "cluster_count": count, "n_features_in": self.n_features_in_}

    def set_state(self, tensors: dict[str, np.ndarray], manifest: dict[str, Any]) -> None:
        """Take the state that :meth:`get_state` offered; for :func:`holdfast.load`."""
        weights = self.module_weights(tensors)
        config, n_features = self._config(len(weights["centres"]), seed=0), int(manifest["n_features_in"])
        self.module_ = empty_module(config, weights, n_features)
        for name in self._array_state:
            setattr(self, name, tensors[name.rstrip("_")])
        for name in self._plain_state:
            setattr(self, name, manifest["state"][name])
        count = manifest["cluster_count"]
        self.cluster_count_ = ClusterCount(**count) if count else None
        self.n_features_in_ = n_features
        self.n_clusters_ = len(self.module_.centres)
        self.cluster_centers_ = self.module_.unit_centres().numpy()

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
        self.start_labels_ = np.where(self.labels_ < 0, -1, np.argsort(order)[earlier])
        self.cluster_centers_ = module.unit_centres().numpy()
        self.neighbour_recall_ = result.recall
        self.n_clusters_ = len(order)
        self.n_iter_ = training.n_iter
        self.converged_ = training.converged
        self.history_ = training.history
        self.evidence_ = result.evidence
        self._warn(result, len(np.unique(found)))

    def _warn(self, result: DecResult, used: int) -> None:
        """Say what the user should know of a fit that ended early or could not hold its start."""
        training, lost = result.training, result.evidence[result.start] - result.evidence["result"]
        name = type(self).__name__
        if training.history and not training.converged and self._must_converge:
            trouble = training.history[-1]["reason"] or "with labels still changing; raise max_epochs or tol"
            message = f"{name} stopped after {training.n_iter} of max_epochs={self.max_epochs}, {trouble}."
            warnings.warn(message, NotConvergedWarning, stacklevel=5)
        if lost > _NOTABLE and self._keeps_best:
            lost_text = f"{name} could not hold all of its {result.start} start, which had {lost:.3f} more"
            warnings.warn(f"{lost_text} evidence; {self._to_hold_more}.", HoldfastWarning, stacklevel=5)
        if used < self.n_clusters_:
            message = f"only {used} of {self.n_clusters_} clusters have members; ask for fewer clusters."
            warnings.warn(message, HoldfastWarning, stacklevel=5)


def check_enough(X: np.ndarray, n_clusters: int) -> None:
    """Refuse fewer rows (n, d) than clusters."""
    if len(X) < n_clusters:
        raise InputError(
            f"n_samples={len(X)} should be >= n_clusters={n_clusters}; "
            "give more rows or ask for fewer clusters."
        )


def drawn_seed(state: Any) -> int:
    """Draw a seed from what a user gave as ``random_state``."""
    try:
        random: np.random.RandomState = check_random_state(state)
    except ValueError as error:
        raise ParameterError(
            f"random_state must be None, an integer from 0 to 2**32 - 1 or a RandomState, not {state!r}."
        ) from error
    return int(random.randint(2**31 - 1))
