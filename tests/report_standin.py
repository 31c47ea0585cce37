"""A small stand-in for an estimator: k-means directions, softmax of cosines; and pictures of digits."""

import numpy as np
from PIL import Image
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from holdfast.io import Embeddings


def unit(X):
    return np.asarray(X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12), np.float32)


class Directions(BaseEstimator):
    """k-means on unit rows, canonical by size; probabilities are a softmax of cosines."""

    def __init__(self, n_clusters=8, sharpness=40.0, random_state=None):
        self.n_clusters = n_clusters
        self.sharpness = sharpness
        self.random_state = random_state

    def fit(self, X, y=None):
        means = KMeans(self.n_clusters, n_init=1, random_state=self.random_state).fit(unit(X))
        order = np.argsort(-np.bincount(means.labels_, minlength=self.n_clusters), kind="stable")
        return self.with_centres(means.cluster_centers_[order]).label(X)

    def with_centres(self, centres):
        self.cluster_centers_ = np.asarray(centres, np.float32)
        self.n_clusters_ = len(centres)
        return self

    def label(self, X):
        self.labels_ = self.predict(X)
        return self

    def remember(self, X):
        """Add what only some estimators keep: the start, the evidence, the history."""
        self.start_labels_ = KMeans(self.n_clusters, n_init=1, max_iter=2, random_state=7).fit_predict(
            unit(X)
        )
        self.start_ = "kmeans"
        self.evidence_ = {"kmeans": 0.81, "graph": 0.85, "result": 0.89}
        self.history_ = [
            {
                "epoch": i,
                "loss": 2.0 / (i + 1),
                "kl": 1.0 / (i + 1),
                "evidence": 0.8 + i / 100,
                "changed": 0.1 / (i + 1),
            }
            for i in range(9)
        ]
        self.n_iter_, self.converged_ = 9, True
        return self

    def transform(self, X):
        return unit(X)

    def predict_proba(self, X):
        scores = self.sharpness * self.transform(X) @ unit(self.cluster_centers_).T
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)


def digit_data():
    """Return the digits as rows in [0, 1] and their classes, for fixtures that outlive one test."""
    X, y = load_digits(return_X_y=True)
    return np.asarray(X / 16, np.float32), y


def digit_pictures(X):
    """Return row -> picture of a digit, dark on light."""
    return lambda row: Image.fromarray((255 - 255 * X[row].reshape(8, 8)).astype(np.uint8))


def named(X, labels=None):
    return Embeddings(ids=np.array([f"digit-{i:04d}" for i in range(len(X))]), X=X, labels=labels)
