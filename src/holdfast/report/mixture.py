"""How a mixture found its components: its path as a film in one or two dimensions, its weights, its BIC.

::

    Mixture
    ├── Film               the components frame by frame, where they can be seen
    ├── Ground             the items behind them: a histogram, or a cloud in the first two directions
    ├── weights            of the clusters that were found
    └── Trial ...          the BIC by number of components
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from holdfast.functional.matching import follow
from holdfast.io.mapped import take_rows
from holdfast.report.project import sample_rows

__all__ = ["Film", "Ground", "Mixture", "Trial", "gaps", "mixture_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

_MOST_NUMBERS = 120_000  # in a film: half a megabyte of text
_ROWS = 100_000  # for a histogram; a cloud has as many as the map
_LEAST_GAP = 1e-6  # of the whole descent: what is nearer to the best than this is at the best


@dataclass(frozen=True, eq=False)
class Film:
    """The path of k components over s frames, in the p = 1 or 2 dimensions in which they are shown.

    Attributes
    ----------
    steps : ndarray of shape (s,)
        Of the optimisation, at which the frames were taken.
    phases : tuple of str
        "gradient" or "merge", for each frame.
    losses : ndarray of shape (s,)
    weights : ndarray of shape (s, k)
        0 where a component is no more.
    means : ndarray of shape (s, k, p)
    covariances : ndarray of shape (s, k, 1) or (s, k, 3)
        The variance; or, in two dimensions, the entries xx, xy and yy.
    clusters : ndarray of shape (k,)
        The cluster that each component became, -1 where it became part of another's.
    heirs : ndarray of shape (k,)
        The cluster in which each component ended, its own or another's.
    ends : ndarray of shape (k,)
        The first frame without the component; s for those that stay.
    """

    steps: Ints
    phases: tuple[str, ...]
    losses: Floats
    weights: Floats
    means: Floats
    covariances: Floats
    clusters: Ints
    heirs: Ints
    ends: Ints

    @property
    def n_frames(self) -> int:
        """How many frames there are."""
        return len(self.steps)

    @property
    def n_dimensions(self) -> int:
        """In how many dimensions it is shown."""
        return int(self.means.shape[2])

    @property
    def n_clusters(self) -> int:
        """How many components became clusters."""
        return int((self.clusters >= 0).sum())

    @property
    def full_weight(self) -> float:
        """From which weight on a component is drawn at full strength."""
        return min(0.03, 0.6 / max(self.n_clusters, 1))


@dataclass(frozen=True, eq=False)
class Ground:
    """The items behind the components.

    `edges` (b + 1,) and `density` (b,) are the histogram of one column, `places` (m, 2) and `clusters` (m,)
    the cloud of several; `window` is what is shown, low and high of each dimension.
    """

    window: tuple[tuple[float, float], ...]
    edges: Floats
    density: Floats
    places: Floats
    clusters: Ints


@dataclass(frozen=True)
class Trial:
    """A number of components that was tried, and its BIC."""

    n_components: int
    bic: float


@dataclass(frozen=True, eq=False)
class Mixture:
    """Everything the report shows of a mixture.

    `explained` is the share of the variance that the dimensions shown hold, 1 for one column; `animation`
    the file beside the report that shows the film; `n_columns` the width of the latent; `criterion` what
    decided how many components there are, None where their number was given.
    """

    film: Film
    ground: Ground
    weights: tuple[float, ...]
    trials: tuple[Trial, ...]
    n_columns: int
    n_shown: int
    explained: float
    criterion: str | None = None
    animation: str | None = None


@dataclass(frozen=True, eq=False)
class _View:
    """The affine map from the latent (d,) to what is shown (p,), and the shown items."""

    origin: Floats
    axes: Floats  # (d, p)
    offset: Floats  # (p,)
    explained: float

    @property
    def n_dimensions(self) -> int:
        return int(self.axes.shape[1])

    def places(self, points: npt.NDArray[np.floating]) -> Floats:
        return np.asarray((points - self.origin) @ self.axes + self.offset, dtype=np.float64)

    def covariances(self, variances: npt.NDArray[np.floating], correlation: Floats) -> Floats:
        """Turn variances (..., d) and their correlation into the entries xx, xy, yy that are shown, or xx."""
        sides = np.sqrt(np.asarray(variances, dtype=np.float64))[..., None] * self.axes
        shown = np.swapaxes(sides, -1, -2) @ (correlation @ sides)
        upper = np.triu_indices(self.n_dimensions)
        return np.asarray(shown[..., upper[0], upper[1]])


def mixture_of(
    model: Any, X: npt.NDArray[np.floating], labels: Ints, animation: str | None = None
) -> Mixture | None:
    """Collect what is shown of a fitted mixture; None of an estimator that is none.

    Parameters
    ----------
    model : fitted estimator
        A mixture has `weights_`, `cluster_centers_` (k, d) and `covariances_`; its `path_` and `bic_path_`
        are shown where they are.
    X : ndarray of shape (n, d)
    labels : ndarray of shape (n,)
    animation : str, optional
        A file beside the report that shows the same.
    """
    if not all(hasattr(model, name) for name in ("weights_", "covariances_", "cluster_centers_")):
        return None
    narrow = X.shape[1] == 1
    rows = sample_rows(labels, cap=_ROWS) if narrow else sample_rows(labels)
    shown = np.asarray(take_rows(X, rows), dtype=np.float64)
    latent = np.asarray(model.transform(take_rows(X, rows)), dtype=np.float64)
    view = _units(latent, shown) if narrow and latent.shape[1] == 1 else _principal(latent)
    film = _film(model, view)
    ground = _ground(view.places(latent), labels[rows], film)
    tried = getattr(model, "bic_path_", None) or {}
    trials = [Trial(int(n), float(bic)) for n, bic in sorted(tried.items()) if np.isfinite(bic)]
    weights = tuple(float(weight) for weight in model.weights_)
    return Mixture(
        film=film,
        ground=ground,
        weights=weights,
        trials=tuple(trials),
        n_columns=latent.shape[1],
        n_shown=len(rows),
        explained=view.explained,
        criterion=None if getattr(model, "n_clusters", "auto") != "auto" else _criterion(model),
        animation=animation,
    )


def gaps(values: npt.ArrayLike) -> Floats:
    """Return how far each value is from the least one, the least one itself being a third as far as the next.

    So every gap has a logarithm, though that of the least value is zero. What is nearer than a millionth of
    the farthest counts as the least. NaN where a value is not finite, and everywhere where all are the same.
    """
    found = np.asarray(values, dtype=np.float64)
    known = np.isfinite(found)
    if not known.any():
        return np.full(found.shape, np.nan)
    gap = np.where(known, found, np.nan) - found[known].min()
    widest = gap[known].max()
    if not widest > 0:
        return np.full(found.shape, np.nan)
    near = gap <= _LEAST_GAP * widest
    return np.asarray(np.where(near, gap[known & ~near].min() / 3, gap))


def _units(latent: Floats, column: Floats) -> _View:
    """Show one column in its own units: the latent is an affine map of it."""
    centre = latent.mean(axis=0)
    away = latent - centre
    slope = float((away * column).sum() / max(float((away**2).sum()), 1e-300)) or 1.0
    return _View(centre, np.array([[slope]]), column.mean(axis=0), 1.0)


def _principal(latent: Floats) -> _View:
    """Show the first two principal directions, or all there is of fewer."""
    centre = latent.mean(axis=0)
    _, widths, axes = np.linalg.svd(latent - centre, full_matrices=False)
    axes = axes[: min(2, latent.shape[1])].T
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    total = float((widths**2).sum())
    held = float((widths[: axes.shape[1]] ** 2).sum()) / total if total else 1.0
    return _View(centre, axes, np.zeros(axes.shape[1]), held)


def _film(model: Any, view: _View) -> Film:
    path = getattr(model, "path_", None)
    raw = _last_state(model) if path is None else _path_arrays(path)
    order = follow(raw["weights"], raw["means"], raw["variances"])
    for name in ("weights", "means", "variances"):
        raw[name] = np.stack([state[places] for state, places in zip(raw[name], order, strict=True)])
    alive = raw["weights"] > 0
    ends = np.where(alive.any(axis=0), len(alive) - alive[::-1].argmax(axis=0), 0)
    clusters = _clusters(model, raw, alive[-1])
    return Film(
        steps=raw["steps"].astype(np.intp),
        phases=tuple(str(phase) for phase in raw["phases"]),
        losses=raw["losses"].astype(np.float64),
        weights=raw["weights"].astype(np.float64),
        means=view.places(raw["means"]),
        covariances=view.covariances(raw["variances"], _correlation(model, raw["variances"].shape[2])),
        clusters=clusters,
        heirs=_heirs(raw, ends, clusters),
        ends=ends.astype(np.intp),
    )


def _path_arrays(path: Any) -> dict[str, npt.NDArray]:
    """Return the frames of a path that can be drawn, thinned to what a page should carry."""
    phases = np.asarray(path.phase).astype(str)
    raw: dict[str, npt.NDArray] = {name: np.asarray(getattr(path, name)) for name in _FROM_PATH}
    raw["phases"] = phases
    finite = np.isfinite(raw["weights"]).all(axis=1)
    for name in ("means", "variances"):
        finite &= np.isfinite(raw[name]).all(axis=(1, 2))
    frames = np.flatnonzero(finite)
    most = max(2, _MOST_NUMBERS // (6 * raw["weights"].shape[1]))
    if len(frames) > most:
        frames = frames[np.unique(np.linspace(0, len(frames) - 1, most).round().astype(np.intp))]
    return {name: values[frames] for name, values in raw.items()}


_FROM_PATH = ("steps", "weights", "means", "variances", "losses")


def _last_state(model: Any) -> dict[str, npt.NDArray]:
    """Return the result as the only frame, for a model that kept no path."""
    means = np.asarray(model.cluster_centers_, dtype=np.float64)
    return {
        "steps": np.array([int(getattr(model, "n_iter_", 0) or 0)]),
        "phases": np.array(["merge"]),
        "losses": np.array([np.nan]),
        "weights": np.asarray(model.weights_, dtype=np.float64)[None],
        "means": means[None],
        "variances": _variances(model, means.shape)[None],
    }


def _kind(model: Any, shape: tuple[int, int]) -> str:
    """Tell what the covariances (k, d), (k,) or (d, d) are, which their shape alone may leave open."""
    told = getattr(model, "covariance_type_", None)
    found = np.shape(model.covariances_)
    return str(told) if told else {(shape[0],): "spherical", shape: "diag"}.get(found, "tied")


def _variances(model: Any, shape: tuple[int, int]) -> Floats:
    """Return the variance of every component in every dimension, whatever they share."""
    covariances: Floats = np.asarray(model.covariances_, dtype=np.float64)
    kind = _kind(model, shape)
    if kind == "spherical":
        covariances = covariances[:, None]
    given: Floats = np.diagonal(covariances) if kind == "tied" else covariances
    return np.zeros(shape) + given


def _correlation(model: Any, d: int) -> Floats:
    """Return how columns go together (d, d) within a component: they do where all share one covariance."""
    if _kind(model, np.shape(model.cluster_centers_)) != "tied":
        return np.eye(d)
    covariance: Floats = np.asarray(model.covariances_, dtype=np.float64)
    scales = np.sqrt(np.diagonal(covariance))
    return np.asarray(covariance / np.outer(scales, scales))


def _criterion(model: Any) -> str:
    return str(getattr(model, "criterion_", "bic")).upper()


def _clusters(model: Any, raw: Mapping[str, npt.NDArray], alive: npt.NDArray[np.bool_]) -> Ints:
    """Give the components of the last frame the numbers of the clusters where they are."""
    found = np.full(len(alive), -1, dtype=np.intp)
    living = np.flatnonzero(alive)
    far = cdist(raw["means"][-1][living], np.asarray(model.cluster_centers_, dtype=np.float64), "sqeuclidean")
    far += (raw["weights"][-1][living][:, None] - np.asarray(model.weights_)) ** 2
    rows, numbers = linear_sum_assignment(far)
    found[living[rows]] = numbers
    return found


def _heirs(raw: Mapping[str, npt.NDArray], ends: Ints, clusters: Ints) -> Ints:
    """Follow each component to the cluster in which it ended."""
    heirs = clusters.copy()
    for j in np.argsort(-ends, kind="stable"):  # the last to go first: its heir has a cluster already
        if heirs[j] < 0:
            others = [i for i in np.flatnonzero(heirs >= 0).tolist() if i != j]
            frame, last = min(ends[j], len(raw["steps"]) - 1), max(ends[j] - 1, 0)
            others = [i for i in others if raw["weights"][frame, i] > 0]
            heirs[j] = heirs[_most_likely(raw, frame, others, raw["means"][last, j])] if others else -1
    return heirs


def _most_likely(raw: Mapping[str, npt.NDArray], frame: int, among: list[int], place: Floats) -> int:
    """Return which component of a frame is most likely at a place."""
    weights, variances = raw["weights"][frame, among], raw["variances"][frame, among]
    squares = (raw["means"][frame, among] - place) ** 2 / variances + np.log(variances)
    return among[int((np.log(weights) - 0.5 * squares.sum(axis=1)).argmax())]


def _ground(places: Floats, labels: Ints, film: Film) -> Ground:
    """Put the items behind the film: what is shown has nearly all of them, and the components that stayed."""
    stays = film.ends == film.n_frames
    means = film.means[-1][stays]
    sds = np.sqrt(film.covariances[-1][stays][:, :: 2 if film.n_dimensions == 2 else 1])
    low = np.minimum(np.quantile(places, 0.002, axis=0), (means - 2 * sds).min(axis=0, initial=np.inf))
    high = np.maximum(np.quantile(places, 0.998, axis=0), (means + 2 * sds).max(axis=0, initial=-np.inf))
    pad = 0.04 * np.maximum(high - low, 1e-9)
    window = tuple((float(a), float(b)) for a, b in zip(low - pad, high + pad, strict=True))
    if film.n_dimensions == 1:
        bins = int(np.clip(round(2 * len(places) ** (1 / 3)), 20, 90))
        counts, edges = np.histogram(places[:, 0], bins=bins, range=window[0])
        density = counts / (len(places) * np.diff(edges))
        return Ground(window, edges, density, np.empty((0, 2)), np.empty(0, np.intp))
    return Ground(window, np.empty(0), np.empty(0), places, labels)
