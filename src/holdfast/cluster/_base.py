"""What every estimator of holdfast shares: checked input, soft and hard answers, canonical numbers."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from holdfast._validation import check_finite
from holdfast.cluster._levels import Levels, grow_levels
from holdfast.cluster._sample import content_order
from holdfast.exceptions import InputError, ParameterError
from holdfast.io.mapped import release, take_ordered
from holdfast.nn import Clusterer
from holdfast.training.batches import Rows, map_blocks
from holdfast.training.threads import within_cpus

__all__ = ["BaseClusterer", "as_rows", "canonical_order"]

_MODULE = "module."
_LEVEL_ROWS = 20_000  # that tell the parts of clusters

_REMEDIES = {
    r"sample\(s\).* minimum of 1 ": "give at least one row",
    r"sample\(s\).* minimum of (\d+)": r"give at least \1 rows",
    r"feature\(s\).* minimum of 1 ": "give at least one column",
    r"features, but \w+ is expecting": "embed these rows with the same encoder",
    r"with dim \d": "give one row per item",
    r"could not convert|inhomogeneous": "give numbers, equally many in every row",
    r"Complex data": "give real numbers",
}
"""What to do about scikit-learn's complaints that do not say so themselves."""


def canonical_order(labels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Order clusters by size, largest first, then by centre, so that a seed fixes their numbers.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Present numbers.
    centres : ndarray of shape (k, d_z)

    Returns
    -------
    ndarray of shape (k,)
        Present number of the cluster that becomes number 0, 1, ...
    """
    sizes = np.bincount(labels, minlength=len(centres))
    return np.lexsort((*centres.T[::-1], -sizes))


class BaseClusterer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """A scikit-learn clusterer whose fitted state is one :class:`holdfast.nn.Clusterer`.

    A family implements ``_fit_rows``; the rest is here. Answers are computed in blocks of fixed shape, so
    that a row gets the same answer, to the last bit, whatever it is asked together with.
    """

    module_: Clusterer
    labels_: np.ndarray
    probabilities_: np.ndarray
    n_clusters_: int
    n_iter_: int
    history_: list[dict[str, Any]]
    _levels: Levels | None = None

    @abstractmethod
    def _fit_rows(self, X: np.ndarray) -> None:
        """Learn from checked rows (n, d) float32 and set every fitted attribute."""

    @abstractmethod
    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Offer the fitted state for :func:`holdfast.save`: arrays by name, and plain values."""

    @abstractmethod
    def set_state(self, tensors: dict[str, np.ndarray], manifest: dict[str, Any]) -> None:
        """Take the state that ``get_state`` offered; for :func:`holdfast.load`."""

    def fit(self, X: Any, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Cluster the rows of ``X``.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Embeddings: NumPy array, torch tensor, or a memory map, which may be larger than the memory.
            Single and half precision are used without a copy.
        y : ignored
            Present for scikit-learn's conventions. True labels never enter a fit.

        Returns
        -------
        self

        Raises
        ------
        InputError
            If rows are not finite, all equal, or fewer than the clusters asked for.
        """
        rows = self._check_rows(X, reset=True)
        with within_cpus():
            self._fit_rows(rows)
            self._levels = self._grow_levels(rows)
        return self

    def fit_predict(self, X: Any, y: object = None) -> np.ndarray:  # noqa: ARG002
        """Cluster the rows of ``X`` and return ``labels_``, of shape (n,)."""
        return self.fit(X).labels_

    @property
    def levels_(self) -> dict[int, int]:
        """Clusters at each level of the granularity dial, from coarse to fine; level 0 is the fitted one."""
        check_is_fitted(self)
        return self._known_levels().counts

    def predict(self, X: Any, level: int = 0) -> np.ndarray:
        """Give the number of the nearest cluster to every row.

        Parameters
        ----------
        X : array-like of shape (n, d)
        level : int, default=0
            A key of ``levels_``. Level 0 is what was fitted; -1, -2, ... have half as many clusters each,
            joined, and 1, 2, ... twice as many each, divided. Levels are nested: rows that share a cluster
            at one level share it at every coarser one.

        Returns
        -------
        ndarray of shape (n,), int64

        Raises
        ------
        ParameterError
            If there is no such level.
        """
        check_is_fitted(self)
        return self._answer_at(self._check_rows(X, reset=False), level)

    def assign_rows(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Give every row its cluster and the calibrated probability of it, in one pass.

        Parameters
        ----------
        X : array-like of shape (n, d)

        Returns
        -------
        labels : ndarray of shape (n,), int64
            Equal to ``predict(X)``.
        confidence : ndarray of shape (n,), float32
            Equal to ``predict_proba(X).max(axis=1)``.
        """
        check_is_fitted(self)
        return self._answers(self._check_rows(X, reset=False))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Calibrated soft assignment of every row to every cluster.

        On the rows of the fit, the mean of the highest probability equals an estimate, without labels, of how
        often the cluster is right: for a consensus the predicted purity (:func:`holdfast.predict_quality`),
        else the share of nearest neighbours that are in the same cluster, which is somewhat too optimistic.

        Parameters
        ----------
        X : array-like of shape (n, d)

        Returns
        -------
        ndarray of shape (n, k), float32
            Rows sum to one.
        """
        return self._map(X, lambda x: self.module_.probabilities(x))

    def transform(self, X: Any) -> np.ndarray:
        """Map rows to the latent in which ``cluster_centers_`` live.

        Parameters
        ----------
        X : array-like of shape (n, d)

        Returns
        -------
        ndarray of shape (n, d_z), float32
        """
        return self._map(X, lambda x: self.module_.latent(x))

    def locate(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Give what :meth:`transform` and :meth:`predict_proba` give, in one pass.

        Parameters
        ----------
        X : array-like of shape (n, d)

        Returns
        -------
        latent : ndarray of shape (n, d_z), float32
        probabilities : ndarray of shape (n, k), float32
        """
        both = self._map(X, self.module_.locate)
        return both[:, : self._n_features_out], both[:, self._n_features_out :]

    def _answer(self, rows: np.ndarray) -> np.ndarray:
        """Cluster numbers (n,) of checked rows."""
        return self._answer_by([self.module_], rows)[:, 0]

    def _answer_at(self, rows: np.ndarray, level: int) -> np.ndarray:
        """Cluster numbers (n,) of checked rows at a level of granularity."""
        if level != 0:
            self._known_levels().check(level)  # before the work
        return self._regrouped(rows, self._answer(rows), level)

    def regroup(self, X: Any, labels: np.ndarray, level: int) -> np.ndarray:
        """Give rows whose clusters are known their numbers at a level, as :meth:`predict` would in more time.

        Parameters
        ----------
        X : array-like of shape (n, d)
        labels : ndarray of shape (n,)
            Their clusters as :meth:`predict` gives them at level 0.
        level : int

        Returns
        -------
        ndarray of shape (n,), int64

        Raises
        ------
        ParameterError
            If there is no such level.
        """
        return self._regrouped(self._check_rows(X, reset=False), labels, level)

    def _regrouped(self, rows: np.ndarray, labels: np.ndarray, level: int) -> np.ndarray:
        if level == 0:
            return labels
        levels = self._known_levels()
        levels.check(level)
        if level < 0:
            return levels.joined(labels, level)
        parts = _answered(
            self.module_, lambda x: levels.nearest_part(x, self.module_.score(x).argmax(1)), rows
        )
        return np.where(labels < 0, -1, levels.groups[level][parts])

    def module_arrays(self) -> dict[str, np.ndarray]:
        """Offer the state of the module as arrays by name."""
        return {_MODULE + name: value.cpu().numpy() for name, value in self.module_.state_dict().items()}

    @staticmethod
    def module_weights(tensors: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """Find the state of a module among arrays that :meth:`module_arrays` is part of."""
        return {
            name.removeprefix(_MODULE): torch.from_numpy(value)
            for name, value in tensors.items()
            if name.startswith(_MODULE)
        }

    def levels_state(self) -> tuple[dict[str, np.ndarray], list[int]]:
        """Offer the levels for :func:`holdfast.save`; a model of an earlier release has none."""
        return ({}, []) if self._levels is None else self._levels.state()

    def set_levels_state(self, tensors: dict[str, np.ndarray], numbers: list[int]) -> None:
        """Take the levels that :meth:`levels_state` offered; for :func:`holdfast.load`."""
        self._levels = Levels.from_state(tensors, numbers) if numbers else None

    def _known_levels(self) -> Levels:
        if self._levels is None:
            raise ParameterError("this model was saved before there were levels; fit it again.")
        return self._levels

    def _grow_levels(self, X: np.ndarray) -> Levels:
        """Look inside the clusters of rows, in an order that is theirs."""
        chosen = content_order(X, seed=0)[:_LEVEL_ROWS]
        rows = _answered(self.module_, lambda x: x, take_ordered(X, chosen))
        return grow_levels(rows, self.labels_[chosen], self.cluster_centers_)

    def _answer_by(self, modules: Sequence[Clusterer], rows: np.ndarray) -> np.ndarray:
        """Cluster numbers (n, m) of checked rows by m states of a module, which prepare rows alike.

        Preparing a row is most of the work, and is done once.
        """
        return _answered(
            modules[0], lambda x: torch.stack([some.score(x).argmax(1) for some in modules], dim=1), rows
        )

    def _answers(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cluster numbers and confidences, each (n,), of checked rows."""
        answers = _answered(self.module_, self.module_.answer, rows)
        return answers[:, 0].astype(np.int64), answers[:, 1].astype(np.float32)

    def _map(self, X: Any, function: Any) -> np.ndarray:
        check_is_fitted(self)
        return _answered(self.module_, function, self._check_rows(X, reset=False))

    def _check_rows(self, X: Any, *, reset: bool) -> np.ndarray:
        """Return ``X`` as finite rows of numbers of the right width, or say in a sentence what is wrong."""
        least = 2 if reset else 1
        return as_rows(X, partial(validate_data, self, reset=reset, ensure_min_samples=least))

    @property
    def _n_features_out(self) -> int:
        return int(self.module_.encoder.latent_dim)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _answered(
    module: Clusterer, function: Callable[[torch.Tensor], torch.Tensor], rows: np.ndarray
) -> np.ndarray:
    """Apply a function of prepared rows to all rows (n, d), where the module is."""
    with within_cpus(pools=False):
        return np.asarray(map_blocks(function, Rows(rows, module.device, module.prepare)))


def as_rows(X: Any, check: Callable[..., Any]) -> np.ndarray:
    """Turn what a user gives into finite rows of numbers, or say in a sentence what is wrong with it.

    Parameters
    ----------
    X : array-like of shape (n, d)
        NumPy array, memory map, torch tensor of any floating type, or nested sequences.
    check : callable
        One of scikit-learn's checks, which is given ``X`` and options.

    Returns
    -------
    ndarray of shape (n, d)
        float32, or float16 where ``X`` is; of a memory map, which may be larger than the memory, a view of
        whatever type of number it has.

    Raises
    ------
    InputError
        If scikit-learn refuses the rows, or one of them is not finite in single precision.
    """
    if isinstance(X, torch.Tensor):
        X = X.detach().to("cpu", torch.float32).numpy()  # NumPy knows no bfloat16
    mapped = isinstance(X, np.memmap) and X.dtype.kind in "fiub"
    kept: dict[str, Any] = {"dtype": [np.float32, np.float16], "order": "C"}
    if mapped:  # read block by block, whatever its type and its order
        kept = {"dtype": None, "order": None}
    try:
        rows = np.asarray(check(X, **kept, ensure_all_finite=False))
    except ValueError as error:
        raise InputError(_with_remedy(str(error))) from error
    check_finite(rows, "X", after_block=lambda: release(rows))
    return rows


def _with_remedy(complaint: str) -> str:
    """Put what to do after scikit-learn's own words, in one line."""
    first = complaint.partition("\n")[0]  # after it comes the whole array
    for pattern, remedy in _REMEDIES.items():
        if match := re.search(pattern, first):
            return f"{first.rstrip('.')}; {match.expand(remedy)}."
    return " ".join(complaint.split())
