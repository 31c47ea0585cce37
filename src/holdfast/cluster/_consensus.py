"""Consensus clustering: many partitions vote, and one head learns what they agree on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from holdfast._choices import MEMBER_KINDS, PRESETS
from holdfast._validation import check_choice, check_float, check_int
from holdfast.cluster._dec import DEC
from holdfast.cluster._ensemble import Consensus, form_consensus, form_fast_consensus
from holdfast.cluster._estimate import estimate_n_clusters
from holdfast.cluster._module import DecConfig
from holdfast.cluster._recipe import DecResult, check_spread, refine
from holdfast.cluster._sample import content_order, sample_size
from holdfast.cluster._start import Start
from holdfast.cluster._trained import TrainedClusterer, check_enough, drawn_seed
from holdfast.exceptions import HoldfastWarning, ParameterError
from holdfast.functional.geometry import unit_blocks
from holdfast.io.mapped import take_ordered

__all__ = ["ConsensusClustering"]

_FAST_EPOCHS = 5  # of distillation in the fast preset


class ConsensusClustering(TrainedClusterer):
    r"""Consensus of many partitions of several kinds, distilled into one head that answers for new rows.

    Partitions of different kinds err differently: k-means on several views of the rows, on random halves of
    their directions and on rows diffused along a neighbour graph; communities [1]_ and graph degree linkage
    [2]_ of Jaccard graphs, for several numbers of neighbours and orders of the rows; linear heads that learn
    to put neighbours together (TEMI [3]_); and :class:`DEC` with its neighbour term. Each is judged, without
    labels, by its structure on a graph of near neighbours (:func:`holdfast.evidence.structure`) and by how
    much the members most like it agree. Weighted by both, the members vote on pairs of neighbours [4]_: once
    those near the best member, once all, each kind having the same say. Linkage and communities cut the two
    graphs of votes; the better of these cuts, or the best member, is taught to one module, which is then
    trained on while that adds structure. Clusters may be of any size.

    The result depends on what the rows hold, not on the order they come in (equal rows aside).

    Parameters
    ----------
    n_clusters : int or "auto", default=8
        How many clusters to form; ``"auto"`` asks :func:`holdfast.estimate_n_clusters`.
    preset : {"full", "fast"}, default="full"
        ``"fast"`` cuts one neighbour graph, by communities and by linkage, and distils the better cut.
    members : sequence of {"kmeans", "graph", "linkage", "temi", "dec"}, default=all of them
        Kinds of members that vote; ``"fast"`` ignores it.
    spaces : sequence of int or None, default=None
        Widths of the blocks of columns of ``X``, where it holds embeddings of the same images by several
        encoders side by side, such as ``(768, 512)``. All count the same; in the full preset each also votes
        by itself.
    min_confidence : float, default=0.0
        Rows whose cluster is less probable than this get -1: no answer. See
        :func:`holdfast.metrics.coverage_curve` for what a threshold costs and gains. In the full preset mean
        confidence is the predicted purity, in the fast one the share of neighbours that agree, which is more.
    max_epochs : int, default=40
        Most epochs of training after the consensus is learned; 0 leaves it as it was learned.
    batch_size : int, default=512
    learning_rate : float, default=1e-3
        Of Adam.
    subsample : int, "auto" or None, default="auto"
        Rows that vote and that are trained on, a random sample, where there are more; every row is then
        assigned. ``"auto"`` takes 20,000, or 100 for each cluster where that is more; None takes all.
    device : str, default="auto"
        Of the head; ``"auto"`` is CUDA where there is one, else the CPU.
    random_state : int, RandomState or None, default=None
        Fixes every draw.

    Attributes
    ----------
    labels_ : ndarray of shape (n,), int64
        Cluster of each row, 0 the largest; equal to ``predict(X)``; -1 below ``min_confidence``.
    probabilities_ : ndarray of shape (n,), float32
        How sure the head is of each: ``predict_proba(X).max(axis=1)``.
    cluster_centers_ : ndarray of shape (k, d_z), float32
        Centres, of length one, in the latent of :meth:`transform`; a row belongs to the centre of highest
        cosine, so a moved centre moves its cluster.
    members_ : list of dict
        The members that voted: ``kind``, ``name``, ``score`` (structure and support), ``support`` and
        ``weight`` (their share of the votes).
    partitions_ : list of ndarray of shape (n,) or None
        Their labels, where all rows voted and the fit was in this process: they are not saved.
    consensus_ : str
        Which candidate was distilled.
    candidates_ : dict of str to float
        Scores of all candidates.
    evidence_ : dict of str to float
        Structure of the best member, of the consensus, of the head once it had learned it (``"start"``), and
        of the ``"result"``.
    start_labels_ : ndarray of shape (n,), int64
        What the head answered once it had learned the consensus, in the numbers of the result; -1 where the
        result has no answer.
    n_clusters_, n_iter_, converged_, history_, cluster_count_, neighbour_recall_, n_features_in_
        As in :class:`DEC`.

    References
    ----------
    .. [1] Blondel et al., "Fast unfolding of communities in large networks", 2008.
    .. [2] Zhang, Wang, Zhao and Tang, "Graph degree linkage: agglomerative clustering on a directed graph",
       ECCV 2012.
    .. [3] Adaloglou, Michels, Kalisch and Kollmann, "Exploring the limits of deep image clustering using
       pretrained models", BMVC 2023.
    .. [4] Fred and Jain, "Combining multiple clusterings using evidence accumulation", 2005.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> import holdfast as hf
    >>> X, _ = load_digits(return_X_y=True)
    >>> model = hf.ConsensusClustering(n_clusters=10, random_state=0).fit(X)
    >>> model.predict_proba(X).shape
    (1797, 10)
    """

    _plain_state: ClassVar[tuple[str, ...]] = (
        *TrainedClusterer._plain_state,
        "members_",
        "consensus_",
        "candidates_",
    )
    partitions_: list[np.ndarray] | None
    _usual_rows: ClassVar[int] = 20_000  # more votes change little
    _must_converge: ClassVar[bool] = (
        False  # training goes on from a result, and keeps it where it gains nothing
    )
    _to_hold_more: ClassVar[str] = "ask for fewer clusters, or give all rows a vote (subsample=None)"

    def __init__(
        self,
        n_clusters: int | Literal["auto"] = 8,
        *,
        preset: Literal["full", "fast"] = "full",
        members: Sequence[str] = MEMBER_KINDS,
        spaces: Sequence[int] | None = None,
        min_confidence: float = 0.0,
        max_epochs: int = 40,
        batch_size: int = 512,
        learning_rate: float = 1e-3,
        subsample: int | Literal["auto"] | None = "auto",
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.preset = preset
        self.members = members
        self.spaces = spaces
        self.min_confidence = min_confidence
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.subsample = subsample
        self.device = device
        self.random_state = random_state

    def set_state(self, tensors: dict[str, np.ndarray], manifest: dict[str, Any]) -> None:
        """Take the state that was offered; for :func:`holdfast.load`."""
        super().set_state(tensors, manifest)
        self._forget_rows()

    def _forget_rows(self) -> None:
        self.partitions_ = None

    def _fit_rows(self, X: np.ndarray) -> None:
        self._config(1 if self.n_clusters == "auto" else self.n_clusters, seed=0)  # before the long work
        seed = drawn_seed(self.random_state)
        order = content_order(X, seed)
        count = None
        if self.n_clusters == "auto":
            count = estimate_n_clusters(X, random_state=seed)
        self.cluster_count_ = count
        config = self._config(self.n_clusters if count is None else count.n_clusters, seed)
        check_enough(X, config.n_clusters)
        rows = self._voting_rows(X, order, config)
        config = replace(config, subsample=len(rows) if len(rows) < len(X) else None)
        check_spread(rows, config)
        consensus = self._form(rows, config)
        result = self._distil(rows, config, consensus)
        self._take(result, X)
        self._describe(consensus, order)
        if self.min_confidence > 0 and (self.labels_ < 0).all():
            surest = float(self.probabilities_.max())
            text = f"no row reaches min_confidence={self.min_confidence:g}, the surest is at {surest:.2f}"
            warnings.warn(f"{text}; lower it.", HoldfastWarning, stacklevel=4)

    def _voting_rows(self, X: np.ndarray, order: np.ndarray, config: DecConfig) -> np.ndarray:
        """Take a random sample of the rows, or all, in an order that is theirs."""
        size = sample_size(config.subsample, config.n_clusters, X.shape, self._usual_rows)
        rows = take_ordered(X, order[:size])
        if config.spaces is not None:
            rows = unit_blocks(torch.from_numpy(rows), config.spaces).numpy()
        return rows

    def _form(self, rows: np.ndarray, config: DecConfig) -> Consensus:
        if self.preset == "fast":
            return form_fast_consensus(rows, config)
        widths = config.spaces or (rows.shape[1],)
        kinds = [kind for kind in MEMBER_KINDS if kind in self.members]
        return form_consensus(rows, config, widths, kinds)

    def _distil(self, rows: np.ndarray, config: DecConfig, consensus: Consensus) -> DecResult:
        """Teach the consensus to one module, and train that on while it adds structure."""
        if self.preset == "fast":
            config = replace(config, pretrain_epochs=_FAST_EPOCHS, max_epochs=0)
        start = Start("consensus", consensus.labels, consensus.panel.structure(consensus.labels))
        result, _ = refine(
            rows, config, start, consensus.neighbours, consensus.panel.structure, consensus.expected
        )
        result.module.prepare.spaces = config.spaces
        panel = consensus.panel
        best = {"best member": float(panel.structures[panel.scores.argmax()])}
        return replace(result, evidence=best | result.evidence)

    def _describe(self, consensus: Consensus, order: np.ndarray) -> None:
        """Set what people want to know of the votes."""
        panel, verdict = consensus.panel, consensus.verdict
        self.converged_ = self.converged_ or self.n_iter_ == 0  # nothing was left to be trained
        self.consensus_ = verdict.name
        self.candidates_ = verdict.scores
        self.members_ = [
            {"kind": m.kind, "name": m.name, "score": float(score), "support": float(s), "weight": float(w)}
            for m, score, s, w in zip(
                panel.members, panel.scores, panel.supports, verdict.weights, strict=True
            )
        ]
        back = np.argsort(order)
        all_voted = len(order) == len(consensus.labels)
        self.partitions_ = [m.labels[back] for m in panel.members] if all_voted else None

    def _config(self, n_clusters: Any, seed: int | None = None) -> DecConfig:
        check_choice("preset", self.preset, PRESETS)
        if not isinstance(self.members, tuple | list) or not self.members:
            raise ParameterError(f"members must be a tuple of kinds, not {self.members!r}.")
        for kind in self.members:
            check_choice("members", kind, MEMBER_KINDS)
        check_float("min_confidence", self.min_confidence, 0, 1)
        recipe = DEC(
            self.n_clusters, max_epochs=self.max_epochs, batch_size=self.batch_size,
            learning_rate=self.learning_rate, subsample=self.subsample, device=self.device,
            random_state=self.random_state,
        )  # fmt: skip
        return replace(recipe._config(n_clusters, seed), spaces=self._widths())

    def _widths(self) -> tuple[int, ...] | None:
        """Check the widths of the spaces against the columns there are; one space is none."""
        if self.spaces is None:
            return None
        if not isinstance(self.spaces, tuple | list):
            raise ParameterError(
                f"spaces must be a tuple of widths, such as (768, 512), not {self.spaces!r}."
            )
        widths = tuple(check_int("spaces", width, 1) for width in self.spaces)
        d = getattr(self, "n_features_in_", sum(widths))
        if sum(widths) != d:
            raise ParameterError(
                f"spaces={widths} are {sum(widths)} columns, but X has {d}; give all widths."
            )
        return widths if len(widths) > 1 else None

    def _answer(self, rows: np.ndarray) -> np.ndarray:
        return super()._answer(rows) if self.min_confidence == 0 else self._answers(rows)[0]

    def _answers(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels, confidence = super()._answers(rows)
        return np.where(confidence < self.min_confidence, -1, labels), confidence
