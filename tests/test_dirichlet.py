"""The Dirichlet-process mixture: it finds what was drawn, stays finite, and is saved with its whole path."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_blobs
from sklearn.mixture import GaussianMixture

from commands import succeed, succeed_json
from holdfast import DirichletGMM, load, save
from holdfast.cluster import MixturePath
from holdfast.cluster._mixture_fit import standardise
from holdfast.cluster._sticks import SticksConfig, climb, plus_plus_start
from holdfast.exceptions import InputError
from holdfast.metrics import ari
from holdfast.nn.mixture import StickBreaking
from holdfast.taxonomy import open_taxonomy

WEIGHTS, PLACES, SCALES = np.array([2, 10, 1, 6]), np.array([-2.0, -5, 3, 8]), np.array([1.1, 2, 1, 1.5])


def document(seed, base=1000):
    """Draw the mixture of the literature: four components, two of which hide in each other."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(m, s, base * w) for m, s, w in zip(PLACES, SCALES, WEIGHTS, strict=True)]
    return np.concatenate(parts)[:, None].astype(np.float32), np.repeat(np.arange(4), base * WEIGHTS)


@pytest.fixture(scope="module")
def fitted():
    X, y = document(0, base=400)
    return X, y, DirichletGMM(random_state=0, keep_path=True).fit(X)


@pytest.fixture(scope="module")
def fitted_digits():
    return DirichletGMM(random_state=0, max_epochs=8).fit((load_digits().data / 16).astype(np.float32))


# --- what it finds ------------------------------------------------------------------------------------------


def test_four_components_as_good_as_from_the_truth(fitted):
    X, y, model = fitted
    truth = GaussianMixture(
        4,
        weights_init=WEIGHTS / WEIGHTS.sum(),
        means_init=PLACES[:, None],
        precisions_init=SCALES[:, None] ** -2.0,
        covariance_type="diag",
        tol=1e-9,
        max_iter=5000,
    ).fit(X.astype(np.float64))
    assert model.n_clusters_ == 4
    assert model.score(X) >= truth.score(X) - 1e-4
    assert ari(y, model.labels_) >= ari(y, truth.predict(X)) - 0.01
    mine, theirs = np.argsort(model.means_[:, 0]), np.argsort(truth.means_[:, 0])
    np.testing.assert_allclose(model.means_[mine, 0], truth.means_[theirs, 0], atol=0.02)
    np.testing.assert_allclose(model.weights_[mine], truth.weights_[theirs], atol=0.01)
    np.testing.assert_allclose(model.covariances_[mine, 0], truth.covariances_[theirs, 0], atol=0.05)


def test_another_start_is_the_same_answer(fitted):
    X, _, model = fitted
    other = DirichletGMM(n_init=2, random_state=7).fit(X)
    np.testing.assert_allclose(other.means_, model.means_, atol=0.02)
    np.testing.assert_allclose(other.weights_, model.weights_, atol=0.02)
    assert model.start_sensitivity_ is None
    assert set(other.start_sensitivity_) == {"disagreement", "spread", "n_clusters"}
    assert len(other.start_sensitivity_["n_clusters"]) == 2
    assert 0 <= other.start_sensitivity_["disagreement"] < 0.3


@pytest.mark.parametrize("kind", ["diag", "spherical", "tied"])
def test_a_sample_is_fitted_to_the_same_mixture(kind):
    X, _ = make_blobs(1500, n_features=2, centers=3, cluster_std=0.6, random_state=3)
    model = DirichletGMM(covariance_type=kind, random_state=0).fit(X)
    assert model.n_clusters_ == 3
    drawn, labels = model.sample(3000, random_state=0)
    assert drawn.shape == (3000, 2)
    assert drawn.dtype == np.float32
    again = DirichletGMM(covariance_type=kind, random_state=1).fit(drawn)
    assert again.n_clusters_ == 3
    nearest = ((again.means_[:, None] - model.means_) ** 2).sum(2).argmin(0)
    np.testing.assert_allclose(again.means_[nearest], model.means_, atol=0.1)
    np.testing.assert_allclose(again.weights_[nearest], model.weights_, atol=0.05)
    assert (model.predict(drawn) == labels).mean() > 0.95


def test_densities_are_those_of_the_attributes(fitted):
    X, _, model = fitted
    parts = np.exp(-0.5 * (X - model.means_[:, 0]) ** 2 / model.covariances_[:, 0])
    parts /= np.sqrt(2 * np.pi * model.covariances_[:, 0])
    density = parts @ model.weights_
    np.testing.assert_allclose(model.score_samples(X), np.log(density), atol=1e-4)
    np.testing.assert_allclose(model.predict_proba(X), parts * model.weights_ / density[:, None], atol=1e-4)
    assert model.score(X) == pytest.approx(np.log(density).mean(), abs=1e-5)
    assert model.lower_bound_ == pytest.approx(model.score(X), abs=0.02)  # the prior is little of 7,600 rows


@pytest.mark.parametrize("kind", ["diag", "spherical", "tied"])
def test_covariances_have_scikit_learns_shapes(kind):
    X, _ = make_blobs(300, n_features=3, centers=2, cluster_std=[0.5, 0.5], random_state=0)
    X = (X if kind == "spherical" else X * [1, 10, 100])[:270]
    model = DirichletGMM(n_clusters=2, covariance_type=kind, random_state=0).fit(X)
    theirs = GaussianMixture(2, covariance_type=kind, random_state=0, tol=1e-9, max_iter=500).fit(X)
    assert model.covariances_.shape == theirs.covariances_.shape
    assert model.covariance_type_ == kind
    order = slice(None) if kind == "tied" else ((model.means_[:, None] - theirs.means_) ** 2).sum(2).argmin(1)
    np.testing.assert_allclose(model.covariances_, theirs.covariances_[order], rtol=0.01, atol=0.01)


@pytest.mark.parametrize("k", [1, 2, 6])
def test_a_number_that_is_given_is_kept(fitted, k):
    model = DirichletGMM(n_clusters=k, random_state=0).fit(fitted[0][::5])
    assert model.n_clusters_ == len(model.weights_) == k
    assert model.cluster_count_ is None
    assert model.predict_proba(fitted[0][:9]).shape == (9, k)


def test_more_clusters_than_components_to_begin_with():
    X, _ = make_blobs(200, centers=12, cluster_std=0.1, random_state=0)
    assert DirichletGMM(4, n_clusters=12, random_state=0).fit(X).n_clusters_ == 12


def test_how_sure_the_number_is(fitted):
    model = fitted[2]
    count = model.cluster_count_
    assert count.low <= count.n_clusters == 4 <= count.high
    assert set(count.evidence) == {"bic", "mdl"}
    assert all(type(value) is int for value in (count.n_clusters, count.low, count.high))
    assert min(model.bic_path_, key=model.bic_path_.get) == 4
    assert model.evidence_["result"] > model.evidence_["k-means++"]


def test_the_criterion_is_in_the_units_of_the_rows(fitted):
    X, _, model = fitted
    expected = -2 * model.score_samples(X).sum() + 11 * np.log(len(X))
    assert model.bic_path_[4] == pytest.approx(expected, abs=0.5)
    scaled = DirichletGMM(random_state=0).fit(1000 * X)
    assert scaled.bic_path_[4] - model.bic_path_[4] == pytest.approx(2 * len(X) * np.log(1000), abs=1)


# --- what it stands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["diag", "spherical", "tied"])
def test_no_number_of_steps_leads_out_of_the_finite_numbers(kind):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.standard_cauchy((60, 2)) * 1e4, np.zeros((60, 2)), np.ones((3, 2)) * 1e6])
    rows = standardise(torch.from_numpy(X), kind).rows.float()
    config = SticksConfig(kind, 30, 1, 1.0, 80, 512, 2.0, keep_path=False)  # forty times the usual rate
    module = StickBreaking(plus_plus_start(rows, config, 0), 1.0)
    result, _ = climb(rows, module, config, 0)
    assert result.history
    for entry in result.history:
        assert np.isfinite([entry["loss"], entry["score"], entry["concentration"]]).all()
        assert entry["skipped"] == 0
    found = module.mixture()
    assert torch.isfinite(found.covariance).all()
    assert float(found.weights.sum()) == pytest.approx(1, abs=1e-6)


EXTREME = {
    "two rows": np.array([[0.0], [1.0]]),
    "three equal of four": np.array([[1.0], [1.0], [1.0], [5.0]]),
    "five values": np.repeat(np.random.default_rng(0).normal(size=(5, 3)), 40, axis=0),
    "heavy tails": np.random.default_rng(0).standard_cauchy((500, 2)) * 1e6,
    "huge": np.array([[0.0, 0.0], [1e30, 1.0], [1e30, -1e5], [2.0, 3.0]] * 10),
    "a constant column": np.c_[np.random.default_rng(0).normal(size=300) + 1e5, np.zeros(300)],
}


@pytest.mark.parametrize("name", EXTREME)
@pytest.mark.filterwarnings("ignore::holdfast.exceptions.NotConvergedWarning")
def test_extreme_rows(name):
    X = EXTREME[name]
    model = DirichletGMM(random_state=0, max_epochs=5, keep_path=True).fit(X)
    for array in (
        model.means_,
        model.covariances_,
        model.weights_,
        model.score_samples(X),
        model.path_.means,
    ):
        assert np.isfinite(array).all()
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1, rtol=1e-5)
    assert model.n_clusters_ == 5 or name != "five values"


def test_rows_that_are_all_equal_are_refused():
    for d in (1, 3, 40):
        with pytest.raises(InputError, match=r"^all 9 rows are equal, so there is nothing to tell apart; "):
            DirichletGMM().fit(np.full((9, d), 0.1))
    with pytest.raises(InputError, match=r"^n_samples=3 should be >= n_clusters=8; "):
        DirichletGMM(n_clusters=8).fit(np.eye(3))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("max_components", 0, "max_components must be an integer of at least 1, not 0."),
        ("n_clusters", None, "n_clusters must be an integer of at least 1, not None."),
        ("covariance_type", "full",
         "covariance_type must be one of 'auto', 'diag', 'spherical', 'tied', not 'full'."),
        ("criterion", "aic", "criterion must be one of 'auto', 'bic', 'mdl', not 'aic'."),
        ("weight_concentration_prior", 0, "weight_concentration_prior must be a number in (0, inf), not 0."),
        ("n_init", 0, "n_init must be an integer of at least 1, not 0."),
        ("n_directions", 0, "n_directions must be an integer of at least 1, not 0."),
        ("learning_rate", -1.0, "learning_rate must be a number in (0, inf), not -1.0."),
        ("subsample", 1, "subsample must be an integer of at least 2, not 1."),
    ],
)  # fmt: skip
def test_parameters_outside_their_domain(name, value, sentence):
    with pytest.raises(InputError) as caught:
        DirichletGMM(**{name: value}).fit(np.random.default_rng(0).normal(size=(50, 2)))
    assert str(caught.value) == sentence


# --- wide rows ----------------------------------------------------------------------------------------------


def test_digits(digits, fitted_digits):
    model = fitted_digits
    assert model.means_.shape == (model.n_clusters_, 32)
    assert (model.covariance_type_, model.criterion_) == ("tied", "mdl")
    assert 8 <= model.n_clusters_ <= 18
    assert ari(digits.y, model.labels_) > 0.6
    np.testing.assert_array_equal(model.labels_, model.predict(digits.X))
    np.testing.assert_array_equal(model.labels_[::7], model.predict(digits.X[::7]))
    np.testing.assert_array_equal(model.labels_, model.predict_proba(digits.X).argmax(1))
    assert (np.diff(np.bincount(model.labels_)) <= 0).all()
    assert 0.6 < model.probabilities_.mean() < 0.97


def test_a_sample_of_wide_rows_lies_where_the_rows_do(digits, fitted_digits):
    drawn, labels = fitted_digits.sample(1000, random_state=0)
    assert drawn.shape == (1000, 64)
    assert (fitted_digits.predict(drawn) == labels).mean() > 0.9
    centre = digits.X.mean(0)
    lengths = [np.linalg.norm(rows - centre, axis=1).mean() for rows in (drawn, digits.X)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.1)


def test_768_columns(tmp_path):
    rng = np.random.default_rng(0)
    which = rng.integers(5, size=900)
    X = (2 * rng.normal(size=(5, 768))[which] + rng.normal(size=(900, 768))).astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    model = DirichletGMM(random_state=0).fit(np.load(tmp_path / "X.npy", mmap_mode="r"))
    assert model.n_clusters_ == 5
    assert ari(which, model.labels_) == 1
    np.testing.assert_array_equal(model.labels_, DirichletGMM(random_state=0).fit(X).labels_)


def test_a_subsample_answers_for_all(fitted):
    X, _, model = fitted
    some = DirichletGMM(subsample=2000, random_state=0).fit(X)
    assert some.labels_.shape == (len(X),)
    assert abs(some.score(X) - model.score(X)) < 0.01


# --- the path -----------------------------------------------------------------------------------------------


def test_the_path(fitted):
    model = fitted[2]
    path = model.path_
    assert isinstance(path, MixturePath)
    s, k = path.weights.shape
    assert k == 50
    assert path.means.shape == path.variances.shape == (s, 50, 1)
    assert path.steps.dtype == np.int64
    assert (path.weights.dtype, path.means.dtype, path.losses.dtype) == (np.float32,) * 3
    np.testing.assert_allclose(path.weights.sum(1), 1, rtol=1e-5)
    climbing = path.phase == "gradient"
    assert set(path.phase) == {"gradient", "merge"}
    assert climbing[: climbing.sum()].all()
    assert climbing.sum() <= 200
    assert (path.steps[0], path.steps[1]) == (0, 1)
    assert (np.diff(path.steps[climbing]) >= 1).all()
    assert (path.weights[climbing] > 0).all()
    alive = (path.weights[~climbing] > 0).sum(1)
    assert (np.diff(alive) <= 0).all()
    assert path.losses[-1] < path.losses[0]
    assert path.losses[-1] == pytest.approx(-model.lower_bound_, abs=1e-4)


def test_the_path_ends_in_the_mixture(fitted):
    model = fitted[2]
    left = np.flatnonzero(model.path_.weights[-1])
    mine = np.argsort(model.path_.means[-1, left, 0])
    theirs = np.argsort(model.means_[:, 0])
    np.testing.assert_allclose(model.path_.means[-1, left, 0][mine], model.means_[theirs, 0], rtol=1e-5)
    np.testing.assert_allclose(model.path_.weights[-1, left][mine], model.weights_[theirs], rtol=1e-5)
    np.testing.assert_allclose(
        model.path_.variances[-1, left, 0][mine], model.covariances_[theirs, 0], rtol=1e-5
    )
    before = model.path_.weights[-2] > 0
    assert before[left].all()


def test_the_path_changes_nothing(fitted):
    X, _, model = fitted
    plain = DirichletGMM(random_state=0).fit(X)
    assert plain.path_ is None
    np.testing.assert_array_equal(plain.predict_proba(X), model.predict_proba(X))


# --- the contract -------------------------------------------------------------------------------------------


def test_labels_are_predictions_wherever_rows_stand(fitted):
    X, _, model = fitted
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    np.testing.assert_array_equal(model.labels_[5::13], model.predict(X[5::13]))
    np.testing.assert_array_equal(model.labels_, model.predict_proba(X).argmax(1))
    labels, confidence = model.assign_rows(X)
    np.testing.assert_array_equal(labels, model.labels_)
    np.testing.assert_array_equal(confidence, model.probabilities_)
    assert (np.diff(np.bincount(labels)) <= 0).all()
    np.testing.assert_array_equal(model.transform(X), X)
    np.testing.assert_array_equal(model.cluster_centers_, model.means_)
    assert model.start_labels_.shape == labels.shape
    assert set(np.unique(model.start_labels_)) <= set(range(4))


def test_true_labels_leave_no_trace(fitted):
    X, y, _ = fitted
    fits = [DirichletGMM(random_state=0, max_epochs=3).fit(X[::4], some) for some in (None, y, ["garbage"])]
    for model in fits[1:]:
        np.testing.assert_array_equal(model.labels_, fits[0].labels_)
        np.testing.assert_array_equal(model.covariances_, fits[0].covariances_)
        assert model.history_ == fits[0].history_
        assert model.bic_path_ == fits[0].bic_path_


@pytest.mark.parametrize("kind", ["diag", "spherical", "tied"])
@pytest.mark.parametrize("d", [1, 30])
def test_saving_keeps_every_bit(kind, d, tmp_path):
    X, _ = make_blobs(200, n_features=d, centers=3, random_state=0)
    model = DirichletGMM(covariance_type=kind, random_state=0, max_epochs=3, keep_path=True).fit(X)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    for name in ("weights_", "means_", "covariances_", "labels_", "start_labels_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
    for name in ("bic_path_", "history_", "evidence_", "cluster_count_", "lower_bound_", "criterion_"):
        assert getattr(again, name) == getattr(model, name)
    for name in ("steps", "weights", "means", "variances", "losses", "phase"):
        np.testing.assert_array_equal(getattr(again.path_, name), getattr(model.path_, name))
    np.testing.assert_array_equal(again.sample(20, random_state=0)[0], model.sample(20, random_state=0)[0])


def test_partial_fit_follows_rows_that_move(fitted):
    X, _, _ = fitted
    model = DirichletGMM(random_state=0).partial_fit(X[::2])  # unfitted, it fits
    assert model.n_clusters_ == 4
    n_iter, means = model.n_iter_, model.means_.copy()
    density = model.score(X[1::2] + 1)
    model.partial_fit(X[1::2] + 1)
    assert model.n_iter_ == n_iter + 1 == len(model.history_)
    assert model.n_clusters_ == 4
    assert model.score(X[1::2] + 1) > density + 0.05
    assert ((model.means_ - means) > 0).mean() >= 0.75  # every row moved up
    np.testing.assert_array_equal(model.labels_, model.predict(X[1::2] + 1))


def test_partial_fit_of_one_component():
    X = np.random.default_rng(0).normal(size=(200, 2))
    model = DirichletGMM(n_clusters=1, random_state=0).fit(X).partial_fit(X + 2)
    assert (model.means_ > 0.3).all()


# --- the command --------------------------------------------------------------------------------------------


def test_fit_by_command(tmp_path, digits):
    np.savez(tmp_path / "emb.npz", X=digits.X[:600], ids=np.arange(600).astype(str))
    found = succeed_json("fit", tmp_path / "emb.npz", "--method", "dirichlet", "-o", tmp_path / "out")
    taxonomy = open_taxonomy(tmp_path / "out")
    model, run = taxonomy.load_model(), taxonomy.read_run()
    assert (run["method"], type(model)) == ("dirichlet", DirichletGMM)
    assert run["n_clusters"] == model.n_clusters_ == found["n_clusters"]
    assert run["cluster_count"]["n_clusters"] == model.n_clusters_
    assert isinstance(model.path_, MixturePath)
    np.testing.assert_array_equal(model.predict(digits.X[:600]), taxonomy.load_assignments().cluster)
    assert "DirichletGMM" in taxonomy.report_path.read_text(encoding="utf-8")
    succeed("report", tmp_path / "out", "-o", tmp_path / "again.html")
    assert succeed_json("doctor", tmp_path / "out")["usable"]
    words = ("--method", "dirichlet", "--n-clusters", 7, "-o", tmp_path / "seven")
    assert succeed_json("fit", tmp_path / "emb.npz", *words)["n_clusters"] == 7
