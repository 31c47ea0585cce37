"""Density -> MLP: DBSCAN finds the clusters, and an MLP learns to tell them, for rows never seen before."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch

from holdfast._choices import DENSITIES, NOISES
from holdfast._validation import check_choice, check_float, check_int
from holdfast.cluster._base import canonical_order
from holdfast.cluster._count import ClusterCount
from holdfast.cluster._dec import DEC
from holdfast.cluster._density_cut import (
    NOT_SEEN,
    Cut,
    DensityRows,
    Merge,
    Sweep,
    all_in_one,
    choose,
    cut_density,
    nearly_as_good,
    stand_in,
)
from holdfast.cluster._density_learn import learn, learn_on, similarity
from holdfast.cluster._module import DecConfig, build_module
from holdfast.cluster._recipe import DecResult, check_spread
from holdfast.cluster._sample import drawn_numbers, sample_size
from holdfast.cluster._trained import TrainedClusterer, check_enough, drawn_seed
from holdfast.exceptions import HoldfastWarning, InputError, ParameterError
from holdfast.functional.geometry import mean_row
from holdfast.io.mapped import take_rows
from holdfast.nn import Clusterer
from holdfast.training.batches import Rows, map_blocks
from holdfast.training.threads import within_cpus

__all__ = ["DensityMLP"]

_ONE = "One cluster: no cut tells two apart."
_SURE = 0.9  # probability from which on a row teaches the module its own answer


class DensityMLP(TrainedClusterer):
    r"""Cosine DBSCAN finds clusters and noise; an MLP learns them, and answers for rows nobody has seen.

    The number of clusters is found, not asked for. On embeddings DBSCAN [1]_ at the knee of the k-distance
    curve finds one cluster: classes touch, and none is as dense as the next. So, with ``eps="auto"``,

    1. rows are averaged over random walks on their Jaccard graph, which draws clusters together;
    2. DBSCAN is asked at 33 radii for each of several ``min_samples``, all cuts of single-linkage trees of
       mutual reachability on the neighbour graph, so that no matrix of all pairs is ever made;
    3. each cut, and what its closest clusters give when they are merged pair by pair, is scored on the graph
       by the weight that leaks out of clusters, what chance would keep inside, and the evenness of sizes;
       noise counts with the cluster it is connected to. The best is kept.

    The MLP, a rotation with a hidden layer beside it and centres compared by cosine, learns the labels from
    85 % of each cluster and stops when the other 15 % gain nothing more; on these its probabilities are
    calibrated [2]_. True labels are never seen. It is for
    embeddings: clean groups of few columns, and clouds without clusters, are cut in pieces.

    Parameters
    ----------
    eps : float or "auto", default="auto"
        DBSCAN's radius, a cosine distance in (0, 2]. A number means DBSCAN on the rows as they are, as
        scikit-learn has it.
    min_samples : int or "auto", default="auto"
        Rows, itself included, that a core row has within the radius. ``"auto"`` tries 10, 20 and 40, or takes
        5 where `eps` is given.
    density : {"dbscan", "hdbscan"}, default="dbscan"
        ``"hdbscan"`` lets every cluster have a density of its own: scikit-learn's HDBSCAN on 32 leading
        directions of at most 10,000 rows, for several ``min_cluster_size``.
    n_clusters : int or "auto", default="auto"
        A number is reached by merging; where no radius tells as many clusters apart, communities of the
        neighbour graph stand in, with a warning.
    diffusion : int or "auto", default="auto"
        Steps of the random walk before densities are estimated; ``"auto"`` takes 8, or none where `eps` is
        given.
    noise : {"assign", "propagate", "reject"}, default="assign"
        What becomes of noise. ``"assign"``: the MLP does not learn from it, and gives it a cluster as it does
        every row. ``"propagate"``: it gets the cluster that it is best connected to in the neighbour graph,
        and is learnt as well. ``"reject"``: not learnt, and rows whose similarity to the nearest centre is
        below what 95 % of the held-back rows reach get -1, new rows too.
    hidden_dims : tuple of int, default=(256,)
        Width of the hidden layer. It has one.
    max_epochs : int, default=100
    batch_size : int, default=256
    learning_rate : float, default=1e-3
        Of Adam.
    min_confidence : float, default=0.0
        Rows whose cluster is less probable than this get -1: no answer.
    subsample : int, "auto" or None, default="auto"
        Rows that densities are estimated from and the MLP learns, a random sample, where there are more;
        every row is then assigned. ``"auto"`` takes 100,000, or fewer of rows so wide that these would take
        more than two gigabytes; None takes all.
    device : str, default="auto"
        Of the MLP; ``"auto"`` is CUDA where there is one, else the CPU.
    random_state : int, RandomState or None, default=None
        Fixes every draw.

    Attributes
    ----------
    labels_ : ndarray of shape (n,), int64
        The MLP's answer, 0 the largest cluster; equal to ``predict(X)``; -1 where there is none.
    density_labels_ : ndarray of shape (n,), int64
        The density's own answer, before clusters were merged: -1 is noise, -2 a row that `subsample` left out
        (or HDBSCAN's sample). With ``eps="auto"`` clusters below a tenth of the mean size are noise too.
    merged_into_ : ndarray of shape (m,), int64
        Cluster, as in ``labels_``, of each number in ``density_labels_``; ascending, and 0, 1, ... where
        nothing was merged.
    n_noise_ : int
        Rows that are noise in ``density_labels_``.
    eps_, min_samples_, min_cluster_size_ : float or None, int, int or None
        What the density was cut at; the radius in rows diffused as `diffusion` says.
    sweep_ : list of dict
        All cuts made, best first: radius, ``min_samples``, clusters, share of noise, score.
    held_back_accuracy_ : float or None
        Share of the held-back rows that the MLP gives their density's cluster; None where there were too few
        rows to hold any back.
    probabilities_ : ndarray of shape (n,), float32
        How sure the MLP is of each: ``predict_proba(X).max(axis=1)``. Calibrated on held-back rows, so it is
        about agreeing with the density where that has an answer; on noise it is too high.
    cluster_centers_ : ndarray of shape (k, d_z), float32
        Centres, of length one, in the latent of :meth:`transform`.
    start_, start_labels_
        ``"dbscan"``, ``"hdbscan"`` or ``"communities"``, and its clusters once merged, noise given to those
        it is connected to; -1 where the result has no answer.
    evidence_ : dict of str to float
        :func:`holdfast.evidence.structure` of the start and of the ``"result"``, on the neighbour graph.
    cluster_count_ : ClusterCount or None
        The number found, the interval of all that scored nearly as well, and the best of each ``min_samples``
        (or size); None where the number was given.
    n_clusters_, n_iter_, converged_, history_, neighbour_recall_, n_features_in_
        As in :class:`DEC`; an epoch is one of the MLP's.

    References
    ----------
    .. [1] Ester, Kriegel, Sander and Xu, "A density-based algorithm for discovering clusters", KDD 1996.
    .. [2] Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> import holdfast as hf
    >>> X, _ = load_digits(return_X_y=True)
    >>> model = hf.DensityMLP(random_state=0).fit(X)
    >>> model.predict(X).shape
    (1797,)
    """

    _array_state: ClassVar[tuple[str, ...]] = (
        *TrainedClusterer._array_state, "density_labels_", "merged_into_",
    )  # fmt: skip
    _plain_state: ClassVar[tuple[str, ...]] = (
        *TrainedClusterer._plain_state, "n_noise_", "eps_", "min_samples_", "min_cluster_size_", "sweep_",
        "held_back_accuracy_", "least_similarity_",
    )  # fmt: skip
    _usual_rows: ClassVar[int] = 100_000
    least_similarity_: float

    def __init__(
        self,
        eps: float | Literal["auto"] = "auto",
        *,
        min_samples: int | Literal["auto"] = "auto",
        density: Literal["dbscan", "hdbscan"] = "dbscan",
        n_clusters: int | Literal["auto"] = "auto",
        diffusion: int | Literal["auto"] = "auto",
        noise: Literal["assign", "propagate", "reject"] = "assign",
        hidden_dims: tuple[int, ...] = (256,),
        max_epochs: int = 100,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        min_confidence: float = 0.0,
        subsample: int | Literal["auto"] | None = "auto",
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.eps = eps
        self.min_samples = min_samples
        self.density = density
        self.n_clusters = n_clusters
        self.diffusion = diffusion
        self.noise = noise
        self.hidden_dims = hidden_dims
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.min_confidence = min_confidence
        self.subsample = subsample
        self.device = device
        self.random_state = random_state

    @property
    def _keeps_best(self) -> bool:
        return False  # the MLP smooths what the density found, for the better or not

    def partial_fit(self, X: Any, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Train the MLP one epoch on its own answers for the rows of ``X`` of which it is sure.

        No density is estimated anew, so no cluster is born; numbers keep their meaning. Unfitted, the same as
        ``fit``.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : ignored

        Returns
        -------
        self
            ``labels_`` are those of the rows just given, ``start_labels_`` what they were before;
            ``density_labels_`` says that no density has seen them.
        """
        if not hasattr(self, "module_"):
            return self.fit(X)
        rows = self._check_rows(X, reset=False)
        config = self._config(self.n_clusters_)
        earlier, sure = super()._answers(rows)
        with within_cpus():
            training = learn_on(self.module_, rows, np.where(sure >= _SURE, earlier, -1), config)
        if training is not None:
            self.n_iter_ += training.n_iter
            self.history_ = [*self.history_, *training.history]
        self.labels_, self.probabilities_ = self._answers(rows)
        self.start_labels_ = np.where(self.labels_ < 0, -1, earlier)
        self.density_labels_ = np.full(len(rows), NOT_SEEN, dtype=np.int64)
        self.n_noise_ = 0
        self.cluster_centers_ = self.module_.unit_centres().numpy()
        return self

    def _fit_rows(self, X: np.ndarray) -> None:
        wanted = None if self.n_clusters == "auto" else self.n_clusters
        self._config(1 if wanted is None else wanted, seed=0)  # before the long work
        seed, least = drawn_seed(self.random_state), wanted or 1
        config = self._config(least, seed)
        check_enough(X, least)
        some = _sample(X, sample_size(config.subsample, least, X.shape, self._usual_rows), seed)
        config = replace(config, subsample=None if some is None else len(some))
        rows = X if some is None else take_rows(X, some)
        self._check_core(len(rows))
        mean = mean_row(rows)
        scale = check_spread(rows, config, mean)
        seen = DensityRows(rows, mean, scale, seed)
        cuts = cut_density(seen, self._sweep(seed))
        merge = self._chosen(seen, cuts, wanted)
        spread = seen.spread(merge.labels)
        config = replace(config, n_clusters=merge.count)
        module = build_module(rows, mean, scale, config, torch.Generator().manual_seed(seed))
        learnt = learn(module, rows, spread if self.noise == "propagate" else merge.labels, config)
        self.least_similarity_, self.held_back_accuracy_ = learnt.least, learnt.accuracy
        found, order = self._number(module, X)
        own = found if some is None else found[some]
        start = "communities" if merge.is_stand_in else self.density
        evidence = {start: seen.structure(spread, merge.count), "result": seen.structure(own, merge.count)}
        learnt.begun["centres"] = learnt.begun["centres"][torch.from_numpy(order)]
        recall = seen.neighbours.recall
        self._take(DecResult(module, start, learnt.begun, evidence, learnt.training, recall), X)
        self._describe(merge, cuts, np.argsort(order))
        self._tell_of_rows(spread, np.argsort(order), some)
        self._warn_of_little(merge)

    def _sweep(self, seed: int) -> Sweep:
        eps = None if self.eps == "auto" else float(self.eps)  # NumPy's numbers do not go everywhere
        least = None if self.min_samples == "auto" else int(self.min_samples)
        steps = None if self.diffusion == "auto" else int(self.diffusion)
        return Sweep(self.density, eps, least, steps, seed)

    def _check_core(self, n_rows: int) -> None:
        if self.min_samples != "auto" and self.min_samples > n_rows:
            raise InputError(f"min_samples={self.min_samples} is more than the {n_rows} rows; lower it.")

    def _chosen(self, seen: DensityRows, cuts: list[Cut], wanted: int | None) -> Merge:
        """Pick the clusters to be learnt."""
        best = cuts[0]
        if wanted == 1 or (wanted is None and best.count < 2):
            if self.eps != "auto" and best.count == 0:
                raise InputError(f"eps={self.eps:g} makes noise of all {len(seen.rows)} rows; raise it.")
            self.cluster_count_ = None if wanted else ClusterCount(1, 1, 1, 1.0, _ONE, {self.density: 1})
            return all_in_one(best)
        if wanted is None and self.eps != "auto":
            message = f"{best.count} clusters at the radius that was given."
            self.cluster_count_ = ClusterCount(
                best.count, best.count, best.count, 1.0, message, {self.density: best.count}
            )
            return Merge(best, np.arange(best.count), best.score)
        merges = choose(seen, cuts, wanted)
        self.cluster_count_ = None if wanted else _counted(merges)
        return merges[0] if merges else stand_in(seen, best, wanted or 1)

    def _number(self, module: Clusterer, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give clusters their canonical numbers; return each row's answer, and what was number 0, 1, ..."""
        found = self._answer_by([module], X)[:, 0]
        order = canonical_order(found, module.unit_centres().numpy())
        module.reorder(torch.from_numpy(order))
        return np.argsort(order)[found], order

    def _describe(self, merge: Merge, cuts: list[Cut], number: np.ndarray) -> None:
        """Set what people want to know of the densities; `number` (k,) is each cluster's new one."""
        cut, owner = merge.cut, number[merge.owner]
        order = np.lexsort((-np.bincount(cut.labels[cut.labels >= 0], minlength=cut.count), owner))
        self.merged_into_ = owner[order]
        known = cut.labels >= 0
        self.density_labels_ = np.where(
            known, np.append(np.argsort(order), 0)[cut.labels], cut.labels
        )  # fmt: skip
        self.n_noise_ = int((cut.labels == -1).sum())
        self.eps_, self.min_samples_, self.min_cluster_size_ = cut.eps, cut.min_samples, cut.min_cluster_size
        self.sweep_ = [some.summary() for some in cuts]

    def _tell_of_rows(self, spread: np.ndarray, number: np.ndarray, some: np.ndarray | None) -> None:
        """Set what is said of every row, those that were left out included."""
        begun = np.where(spread >= 0, number[spread], -1)
        if some is not None:
            all_labels = np.full(len(self.labels_), NOT_SEEN, dtype=np.int64)
            all_labels[some] = self.density_labels_
            self.density_labels_ = all_labels
            start = self.labels_.copy()
            start[some] = begun
            begun = start
        self.start_labels_ = np.where(self.labels_ < 0, -1, begun)

    def _warn_of_little(self, merge: Merge) -> None:
        """Say what the user should know of the clusters found, or not found."""
        name = type(self).__name__
        if merge.is_stand_in:
            text = f"no cut of the density tells {self.n_clusters} clusters apart, so {name} learnt"
            remedy = f"{merge.count} communities of the neighbour graph; ask for fewer clusters"
            warnings.warn(f"{text} {remedy}.", HoldfastWarning, stacklevel=4)
        elif merge.count == 1 and self.n_clusters == "auto":
            remedy = "lower eps" if self.eps != "auto" else "give n_clusters if you know that there are more"
            warnings.warn(f"{name} found one cluster alone; {remedy}.", HoldfastWarning, stacklevel=4)
        if (self.labels_ < 0).all():
            surest = float(self.probabilities_.max())
            text = f"no row gets an answer, the surest is at {surest:.2f}; lower min_confidence"
            warnings.warn(f"{text}={self.min_confidence:g}.", HoldfastWarning, stacklevel=4)

    def _config(self, n_clusters: Any, seed: int | None = None) -> DecConfig:
        check_choice("density", self.density, DENSITIES)
        check_choice("noise", self.noise, NOISES)
        check_float("min_confidence", self.min_confidence, 0, 1)
        if self.eps != "auto":
            check_float("eps", self.eps, 0, 2, low_open=True)
            if self.density == "hdbscan":
                raise ParameterError(f"eps={self.eps:g} is for density='dbscan'; leave one of the two out.")
        for name, least in (("min_samples", 1), ("diffusion", 0)):
            if getattr(self, name) != "auto":
                check_int(name, getattr(self, name), least)
        recipe = DEC(
            self.n_clusters, hidden_dims=self.hidden_dims, max_epochs=self.max_epochs,
            batch_size=self.batch_size, learning_rate=self.learning_rate, subsample=self.subsample,
            device=self.device, random_state=self.random_state,
        )  # fmt: skip
        config = recipe._config(n_clusters, seed)
        if len(config.hidden_dims) > 1:
            raise ParameterError(f"hidden_dims must be one width, such as (256,), not {self.hidden_dims!r}.")
        return config

    def _answer(self, rows: np.ndarray) -> np.ndarray:
        plain = self.min_confidence == 0 and self.noise != "reject"
        return super()._answer(rows) if plain else self._answers(rows)[0]

    def _answers(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels, confidence = super()._answers(rows)
        unsure = confidence < self.min_confidence
        if self.noise == "reject":
            module = self.module_
            prepared = Rows(rows, module.device, module.prepare)
            near = np.asarray(map_blocks(lambda x: similarity(module, x), prepared))
            unsure |= near < self.least_similarity_
        return np.where(unsure, -1, labels), confidence


def _sample(X: np.ndarray, size: int, seed: int) -> np.ndarray | None:
    """Draw the numbers of the rows that are fitted, ascending; None for all."""
    if size == len(X):
        return None
    return drawn_numbers(len(X), size, seed)


def _counted(merges: list[Merge]) -> ClusterCount:
    """Say how many clusters there are, and how many there may be."""
    best, counts = merges[0], nearly_as_good(merges)
    picks: dict[str, int] = {}
    for merge in merges:
        size = merge.cut.min_cluster_size
        picks.setdefault(
            f"min_samples={merge.cut.min_samples}" if size is None else f"min_cluster_size={size}",
            merge.count,
        )
    low, high = counts[0], counts[-1]
    message = (
        f"{best.count} clusters; no other number scores nearly as well."
        if low == high
        else f"{best.count} clusters; {low} to {high} score nearly as well."
    )
    return ClusterCount(best.count, low, high, low / high, message, picks)
