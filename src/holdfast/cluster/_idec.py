"""Improved deep embedded clustering: the clusters may bend the latent, but it must still tell the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from holdfast._validation import check_float
from holdfast.cluster._dec import DEC

__all__ = ["IDEC"]


class IDEC(DEC):
    r"""Improved Deep Embedded Clustering: :class:`DEC` whose latent must still tell the rows apart.

    Joint training minimises, with a decoder *g* and DEC's clustering loss :math:`L_c` (equation 7 of [1]_),

    .. math:: L = L_r + \gamma L_c, \qquad L_r = \lVert x - g(z) \rVert^2 / d,

    over corrupted rows in and whole rows out. The reconstruction holds on to the local structure that
    clustering alone may fold away. Everything else, the guard included, is DEC's.

    Parameters
    ----------
    n_clusters : int or "auto", default=8
        How many clusters to form; ``"auto"`` asks :func:`holdfast.estimate_n_clusters`.
    gamma : float, default=0.1
        Weight of the clustering loss beside the reconstruction.
    init, encoder, hidden_dims, noise, noise_level, pretrain_epochs, max_epochs, target_update_interval, \
    batch_size, tol, alpha, assignment, neighbour_weight, learning_rate, n_init, select, subsample, \
    precision, checkpoint, device, random_state
        As in :class:`DEC`. The decoder of a projection is linear and begins as the rotation back.

    Attributes
    ----------
    labels_, probabilities_, cluster_centers_, n_clusters_, n_iter_, converged_, history_, evidence_
        And the others of :class:`DEC`.

    References
    ----------
    .. [1] Guo, Gao, Liu and Yin, "Improved deep embedded clustering with local structure preservation",
       IJCAI 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> import holdfast as hf
    >>> X, _ = load_digits(return_X_y=True)
    >>> hf.IDEC(n_clusters=10, random_state=0).fit(X).labels_.shape
    (1797,)
    """

    def __init__(
        self,
        n_clusters: int | Literal["auto"] = 8,
        *,
        gamma: float = 0.1,
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
        super().__init__(
            n_clusters,
            init=init,
            encoder=encoder,
            hidden_dims=hidden_dims,
            noise=noise,
            noise_level=noise_level,
            pretrain_epochs=pretrain_epochs,
            max_epochs=max_epochs,
            target_update_interval=target_update_interval,
            batch_size=batch_size,
            tol=tol,
            alpha=alpha,
            assignment=assignment,
            neighbour_weight=neighbour_weight,
            learning_rate=learning_rate,
            n_init=n_init,
            select=select,
            subsample=subsample,
            precision=precision,
            checkpoint=checkpoint,
            device=device,
            random_state=random_state,
        )
        self.gamma = gamma

    @classmethod
    def as_published(cls, n_clusters: int = 8, **overrides: Any) -> Self:
        """Build the recipe of the paper, for comparison: that of :meth:`DEC.as_published`, gamma 0.1."""
        return super().as_published(n_clusters, **{"gamma": 0.1, **overrides})

    def _gamma(self) -> float | None:
        return check_float("gamma", self.gamma, 0, np.inf, low_open=True, high_open=True)
