"""What scikit-learn, and everybody who knows it, expects of an estimator."""

import inspect
import warnings
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from holdfast import DEC, IDEC, ConsensusClustering, DirichletGMM, persistence
from holdfast._choices import DEC_CHOICES, METHODS
from holdfast.evidence import evidence, neighbourhood_size
from holdfast.exceptions import InputError, NotConvergedWarning
from holdfast.graph import nearest_neighbours
from holdfast.metrics import ari

SHORT = {"pretrain_epochs": 3, "max_epochs": 3, "n_init": 2, "random_state": 0}


@pytest.fixture(scope="module")
def blobs():
    X, y = make_blobs(240, n_features=24, centers=4, cluster_std=2.0, random_state=0)
    return X.astype(np.float32), y


@parametrize_with_checks(
    [
        DEC(),
        DEC(n_clusters=3, encoder="autoencoder", hidden_dims=(16, 4), **SHORT),
        DEC.as_published(3, **SHORT).set_params(hidden_dims=(16, 4)),
        DEC(n_clusters=2, init="graph", noise="gaussian", assignment="student", **SHORT),
        IDEC(n_clusters=3, **SHORT),
        IDEC.as_published(3, **SHORT).set_params(hidden_dims=(16, 4)),
        ConsensusClustering(n_clusters=3, max_epochs=3, random_state=0),
        ConsensusClustering(n_clusters=3, preset="fast", random_state=0),
        DirichletGMM(max_components=10, max_epochs=3, random_state=0),
        DirichletGMM(n_clusters=3, covariance_type="tied", max_epochs=3, n_init=2, random_state=0),
    ]
)
@pytest.mark.filterwarnings("ignore::holdfast.exceptions.NotConvergedWarning")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", [DEC, IDEC, ConsensusClustering, DirichletGMM])
def test_the_constructor_stores_and_nothing_else(estimator):
    names = list(inspect.signature(estimator).parameters)
    given = {name: object() for name in names}
    model = estimator(**given)
    assert vars(model) == given
    assert model.get_params() == given


def test_the_fixed_names_and_defaults():
    expected = {
        "n_clusters": 8, "init": "auto", "encoder": "projection", "hidden_dims": (256, 32), "noise": "mask",
        "noise_level": 0.3, "pretrain_epochs": 50, "max_epochs": 100, "target_update_interval": 1,
        "batch_size": 256, "tol": 1e-3, "alpha": 1.0, "assignment": "cosine", "neighbour_weight": 1.0,
    }  # fmt: skip
    parameters = DEC().get_params()
    assert {name: parameters[name] for name in expected} == expected
    assert IDEC().get_params() == parameters | {"gamma": 0.1}


@pytest.mark.filterwarnings("ignore::holdfast.exceptions.NotConvergedWarning")
def test_labels_are_predictions_and_sizes_fall(blobs):
    X, _ = blobs
    for parameters in ({}, {"encoder": "autoencoder"}, {"assignment": "student", "select": "last"}):
        model = DEC(6, **(SHORT | parameters)).fit(X)
        np.testing.assert_array_equal(model.labels_, model.predict(X))
        np.testing.assert_array_equal(model.labels_, model.predict_proba(X).argmax(axis=1))
        np.testing.assert_array_equal(model.labels_, clone(model).fit_predict(X))
        sizes = np.bincount(model.labels_, minlength=6)
        assert (np.diff(sizes) <= 0).all()
        assert model.labels_.dtype == np.int64
        assert model.n_clusters_ == 6


def test_shapes_and_kinds(blobs):
    X, _ = blobs
    model = DEC(4, encoder="autoencoder", hidden_dims=(16, 5), **SHORT).fit(X)
    assert model.cluster_centers_.shape == (4, 5)
    assert model.transform(X).shape == (240, 5)
    assert model.predict_proba(X).shape == (240, 4)
    for array in (model.cluster_centers_, model.transform(X), model.predict_proba(X)):
        assert array.dtype == np.float32
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-5)
    assert type(model.n_iter_) is int
    assert type(model.converged_) is bool
    assert all(type(value) is float for value in model.evidence_.values())
    assert model.start_labels_.shape == (240,)
    assert list(model.get_feature_names_out()) == [f"dec{i}" for i in range(5)]


def test_centres_live_in_the_latent(blobs):
    X, _ = blobs
    model = DEC(4, random_state=0).fit(X)
    z = model.transform(X)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(model.cluster_centers_, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal((z @ model.cluster_centers_.T).argmax(axis=1), model.labels_)
    model = DEC(4, assignment="student", random_state=0).fit(X)
    squared = ((model.transform(X)[:, None] - model.cluster_centers_) ** 2).sum(axis=2)
    np.testing.assert_array_equal(squared.argmin(axis=1), model.labels_)


@pytest.mark.parametrize("estimator", [DEC, IDEC])
def test_true_labels_leave_no_trace(digits, estimator):
    X, y = digits.X[:400], digits.y[:400]
    rng = np.random.default_rng(0)
    fits = [
        estimator(10, random_state=0, max_epochs=5, pretrain_epochs=10, n_init=3).fit(X, labels)
        for labels in (None, y, rng.permutation(y), rng.normal(size=400), y.astype(str), ["garbage"])
    ]
    for model in fits[1:]:
        np.testing.assert_array_equal(model.labels_, fits[0].labels_)
        np.testing.assert_array_equal(model.cluster_centers_, fits[0].cluster_centers_)
        assert model.history_ == fits[0].history_
        assert model.evidence_ == fits[0].evidence_


@pytest.mark.parametrize("estimator", [DEC, IDEC])
def test_the_signature_offers_what_the_check_accepts(estimator):
    hints = get_type_hints(estimator.__init__)
    offered = {
        name: get_args(hint)
        for name, hint in hints.items()
        if get_origin(hint) is Literal  # n_clusters is a number or "auto"
    }
    assert offered == DEC_CHOICES
    for name, choices in DEC_CHOICES.items():
        written = "{" + ", ".join(f'"{choice}"' for choice in choices) + "}"
        assert f"{name} : {written}, default=" in DEC.__doc__


def test_the_methods_are_the_estimators_that_can_be_saved():
    assert {name: cls.__name__ for name, cls in persistence._ESTIMATORS.items()} == {
        name: name for name in METHODS.values()
    }


def test_unknown_arguments_are_not_swallowed(blobs):
    with pytest.raises(TypeError):
        DEC(2).fit_predict(blobs[0], sample_weight=np.ones(240))


def test_a_clone_is_unfitted_and_learns_the_same(blobs):
    X, _ = blobs
    model = DEC(4, **SHORT).fit(X)
    copy = clone(model)
    with pytest.raises(NotFittedError):
        copy.predict(X)
    copy.fit(X[::-1].copy())
    np.testing.assert_array_equal(model.labels_, model.predict(X))  # the original was not touched
    np.testing.assert_array_equal(clone(model).fit(X).predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "transform"])
def test_nothing_is_answered_before_fit(method, blobs):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(DEC(), method)(blobs[0])


def test_fitting_again_forgets(blobs):
    X, _ = blobs
    model = DEC(4, **SHORT).fit(X[:100, :20])
    model.set_params(n_clusters=3).fit(X)
    np.testing.assert_array_equal(model.predict_proba(X), DEC(3, **SHORT).fit(X).predict_proba(X))
    assert model.n_features_in_ == 24


def test_in_a_pipeline(blobs):
    X, y = blobs
    pipeline = make_pipeline(StandardScaler(), DEC(4, random_state=0))
    labels = pipeline.fit_predict(X)
    assert ari(y, labels) > 0.95
    np.testing.assert_array_equal(pipeline.predict(X), labels)
    assert pipeline.transform(X).shape[0] == 240


def label_free(model, X, y=None):
    labels, k = model.predict(X), model.n_clusters_
    return evidence(labels, nearest_neighbours(X, neighbourhood_size(len(X), k)), k).value


def test_in_a_grid_search_without_labels(blobs):
    X, _ = blobs
    grid = {"n_clusters": np.array([2, 4])}
    search = GridSearchCV(DEC(**SHORT), grid, scoring=label_free, cv=2, error_score="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        search.fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == (240,)


BAD_ROWS = [
    (np.zeros(5), "Expected 2D array, got 1D array"),
    (np.zeros((2, 2, 2)), "with dim 3, while dim <= 2 is required by DEC; give one row per item."),
    (np.zeros((0, 4)), "Found array with 0 sample(s) (shape=(0, 4)) while a minimum of 2 is required by DEC"),
    (np.zeros((0, 4)), "DEC; give at least 2 rows."),
    (np.ones((1, 4)), "while a minimum of 2 is required by DEC; give at least 2 rows."),
    (np.zeros((4, 0)), "while a minimum of 1 is required by DEC; give at least one column."),
    ([["a", "b"], ["c", "d"]],
     "could not convert string to float: 'a'; give numbers, equally many in every row."),
    ([[1.0, 2.0], [3.0]], "(2,) + inhomogeneous part; give numbers, equally many in every row."),
    (np.eye(9) * 1j, "Complex data not supported; give real numbers."),
    (np.array([[0.0, 1.0], [np.nan, 1.0], [1.0, 0.0]]), "X has a NaN or an infinity in row 1: remove"),
    (np.array([[np.inf, 1.0], [np.nan, 1.0], [1.0, 0.0]]), "in row 0 and one more row"),
    (np.full((3, 2), 1e300), "X has a NaN or an infinity in row 0 and 2 more rows"),  # beyond float32
    (np.full((9, 2), 0.1), "all 9 rows are equal, so there is nothing to tell apart; check how"),
    (np.eye(3), "n_samples=3 should be >= n_clusters=8; give more rows or ask for fewer clusters."),
]  # fmt: skip


@pytest.mark.parametrize(("X", "sentence"), BAD_ROWS)
@pytest.mark.filterwarnings("ignore:overflow")
def test_bad_rows_are_refused_in_one_line(X, sentence):
    with pytest.raises(InputError) as caught:
        DEC().fit(X)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_rows_after_fit(blobs):
    X, _ = blobs
    model = DEC(4, **SHORT).fit(X)
    for method in (model.predict, model.predict_proba, model.transform, model.partial_fit):
        with pytest.raises(InputError) as caught:
            method(X[:, :-1])
        assert str(caught.value) == (
            "X has 23 features, but DEC is expecting 24 features as input; "
            "embed these rows with the same encoder."
        )
        with pytest.raises(InputError, match="in row 2"):
            method(np.where(np.arange(240)[:, None] == 2, np.nan, X))
        with pytest.raises(InputError, match=r"0 sample.* required by DEC; give at least one row\.$"):
            method(X[:0])
    np.testing.assert_array_equal(model.predict(X), model.labels_)


AN_INT = "must be an integer of at least"
BAD_PARAMETERS = [
    ("n_clusters", 0, f"n_clusters {AN_INT} 1, not 0."),
    ("n_clusters", 2.0, f"n_clusters {AN_INT} 1, not 2.0."),
    ("n_clusters", True, f"n_clusters {AN_INT} 1, not True."),
    ("n_clusters", None, f"n_clusters {AN_INT} 1, not None."),
    ("init", "random", "init must be one of 'auto', 'kmeans', 'graph', not 'random'."),
    ("encoder", None, "encoder must be one of 'projection', 'autoencoder', not None."),
    ("hidden_dims", (), "hidden_dims must be a tuple of layer widths, not ()."),
    ("hidden_dims", 32, "hidden_dims must be a tuple of layer widths, not 32."),
    ("hidden_dims", (8, 0), f"hidden_dims {AN_INT} 1, not 0."),
    ("noise", "salt", "noise must be one of 'mask', 'gaussian', not 'salt'."),
    ("noise_level", 1.0, "noise_level must be a number in [0, 1), not 1.0."),
    ("noise_level", float("nan"), "noise_level must be a number in [0, 1), not nan."),
    ("pretrain_epochs", -1, f"pretrain_epochs {AN_INT} 0, not -1."),
    ("max_epochs", 1.5, f"max_epochs {AN_INT} 0, not 1.5."),
    ("target_update_interval", 0, f"target_update_interval {AN_INT} 1, not 0."),
    ("batch_size", 0, f"batch_size {AN_INT} 1, not 0."),
    ("tol", -0.1, "tol must be a number in [0, 1], not -0.1."),
    ("alpha", 0, "alpha must be a number in (0, inf), not 0."),
    ("assignment", "dot", "assignment must be one of 'cosine', 'student', not 'dot'."),
    ("neighbour_weight", -1, "neighbour_weight must be a number in [0, inf), not -1."),
    ("neighbour_weight", float("inf"), "neighbour_weight must be a number in [0, inf), not inf."),
    ("learning_rate", 0.0, "learning_rate must be a number in (0, inf), not 0.0."),
    ("n_init", 0, f"n_init {AN_INT} 1, not 0."),
    ("select", "best", "select must be one of 'evidence', 'last', not 'best'."),
    (
        "device",
        "toaster",
        "device='toaster' cannot be used on this machine; choose 'auto' or 'cpu', which always work.",
    ),
    (
        "random_state",
        -1,
        "random_state must be None, an integer from 0 to 2**32 - 1 or a RandomState, not -1.",
    ),
]


@pytest.mark.parametrize(("name", "value", "sentence"), BAD_PARAMETERS)
def test_parameters_outside_their_domain(name, value, sentence, blobs):
    model = DEC(4).set_params(**{name: value})  # the constructor does not judge
    with pytest.raises(InputError) as caught:
        model.fit(blobs[0])
    assert str(caught.value) == sentence
    assert not hasattr(model, "labels_")


def test_numpys_numbers_are_numbers(blobs):
    X, _ = blobs
    model = DEC(
        np.int64(4),
        tol=np.float32(0.01),
        batch_size=np.int32(64),
        hidden_dims=[8, 4],
        random_state=np.int64(0),
    )
    model.fit(X)
    expected = DEC(4, tol=float(np.float32(0.01)), batch_size=64, hidden_dims=(8, 4), random_state=0).fit(X)
    np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
