"""A small stand-in for a fitted mixture: components that run to known places, and are then merged."""

from types import SimpleNamespace

import numpy as np
from sklearn.base import BaseEstimator


def make_path(weights, means, variances, *, k=12, n_gradient=40, seed=0):
    """Return a path: k components run from anywhere to the given ones (g of them, (g, d)), then all merge.

    Component j ends at target j % g; the first g survive with all the weight of their target.
    """
    rng = np.random.default_rng(seed)
    g, d = means.shape
    target, share = np.arange(k) % g, np.bincount(np.arange(k) % g, minlength=g)
    spread = np.sqrt(means.var(axis=0) + variances.mean(axis=0))
    begin = means.mean(axis=0) + spread * rng.normal(size=(k, d))
    end = means[target] + 0.1 * spread * rng.normal(size=(k, d)) * (np.arange(k) >= g)[:, None]
    states = []
    for way in 1 - np.geomspace(1, 0.01, n_gradient):
        w = (1 - way) / k + way * (weights / share)[target]
        v = (1 - way) * spread**2 + way * variances[target]
        states.append((w, begin + way * (end - begin), v))
    for gone in range(k - 1, g - 1, -1):
        w, m, v = (part.copy() for part in states[-1])
        w[target[gone]], w[gone] = w[target[gone]] + w[gone], 0
        states.append((w, m, v))
    w, m, v = (np.stack(part).astype(np.float32) for part in zip(*states, strict=True))
    s = len(states)
    return SimpleNamespace(
        steps=np.concatenate([np.arange(n_gradient) * 25, n_gradient * 25 + 20 * np.arange(s - n_gradient)]),
        weights=w,
        means=m,
        variances=v,
        losses=(3 + np.geomspace(2, 1e-3, s)).astype(np.float32),
        phase=np.array(["gradient"] * n_gradient + ["merge"] * (s - n_gradient)),
        max_components=k,
    )


class Bells(BaseEstimator):
    """A diagonal mixture with the given components, canonical by weight; nothing is fitted."""

    def __init__(self, keep_path=True, k=12, n_gradient=40, random_state=0):
        self.keep_path = keep_path
        self.k = k
        self.n_gradient = n_gradient
        self.random_state = random_state

    def given(self, weights, means, variances):
        order = np.argsort(-np.asarray(weights), kind="stable")
        self.weights_ = np.asarray(weights, np.float64)[order] / np.sum(weights)
        self.means_ = self.cluster_centers_ = np.asarray(means, np.float64)[order]
        self.covariances_ = np.asarray(variances, np.float64)[order]
        self.n_clusters_, self.n_iter_, self.converged_ = len(order), 1000, True
        parts = (self.weights_, self.means_, self.covariances_)
        sizes = {"k": self.k, "n_gradient": self.n_gradient, "seed": self.random_state}
        self.path_ = make_path(*parts, **sizes) if self.keep_path else None
        self.bic_path_ = {n: 1000.0 + 40 * abs(n - self.n_clusters_) ** 1.5 for n in range(1, self.k + 1)}
        return self

    def label(self, X):
        self.labels_ = self.predict(X)
        return self

    def transform(self, X):
        return np.asarray(X, np.float32)

    def predict_proba(self, X):
        away = np.asarray(X, np.float64)[:, None] - self.means_
        log = np.log(self.weights_) - 0.5 * (away**2 / self.covariances_ + np.log(self.covariances_)).sum(2)
        odds = np.exp(log - log.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)


def one_column(k=12, n_draws=60, **options):
    """Return the four bells as they are, a path to them, and rows drawn from them."""
    from holdfast.cluster._specimen import BELLS, draw_bells

    X, y = draw_bells(0, n_draws)
    weights, places, scales = (
        np.array([getattr(bell, name) for bell in BELLS], float) for name in ("weight", "location", "scale")
    )
    model = Bells(k=k, **options).given(weights, places[:, None], scales[:, None] ** 2)
    return model.label(X), X, y


def many_columns(k=16, d=6, g=5, n=800, **options):
    """Return g blobs in d columns, a path to them, and their rows."""
    rng = np.random.default_rng(3)
    means, scales = 4 * rng.normal(size=(g, d)), rng.uniform(0.5, 1.5, size=(g, d))
    y = rng.integers(0, g, n)
    X = (means[y] + scales[y] * rng.normal(size=(n, d))).astype(np.float32)
    model = Bells(k=k, **options).given(np.bincount(y, minlength=g) / n, means, scales**2)
    return model.label(X), X, y
