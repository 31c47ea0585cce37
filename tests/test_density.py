"""DensityMLP: DBSCAN without a matrix of all pairs, a radius without labels, and what the MLP makes of it."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.cluster import DBSCAN
from sklearn.datasets import load_digits, make_blobs

import holdfast as hf
from holdfast import DensityMLP
from holdfast.cluster._density_cut import DensityRows, Sweep, choose, cut_density
from holdfast.cluster._density_learn import _split
from holdfast.cluster._rivals import Asked, rival
from holdfast.exceptions import HoldfastWarning, InputError, NotConvergedWarning, ParameterError
from holdfast.functional.calibration import fitted_temperature
from holdfast.graph import (
    Neighbours,
    density_tree,
    jaccard_graph,
    join_beyond_lists,
    linkage_at,
    linkage_path,
    nearest_neighbours,
    spread_labels,
    unit_rows,
    weight_shares,
)
from holdfast.metrics import ari, clustering_accuracy

pytestmark = pytest.mark.filterwarnings("ignore::holdfast.exceptions.NotConvergedWarning")

FAST = {"max_epochs": 5, "random_state": 0}


def blobs(n=300, d=24, k=4, spread=1.0, seed=0):
    X, y = make_blobs(n, n_features=d, centers=k, cluster_std=spread, random_state=seed)
    return X.astype(np.float32), y


@pytest.fixture(scope="module")
def on_digits():
    return DensityMLP(random_state=0).fit(load_digits().data.astype(np.float32) / 16)


def lists(X, k):
    return nearest_neighbours(X, k)


@pytest.mark.parametrize("min_samples", [1, 2, 3, 5, 10, 30])
@pytest.mark.parametrize("eps", [0.02, 0.05, 0.08, 0.12, 0.2, 0.5])
def test_it_is_scikit_learns_dbscan_at_any_radius(digits, eps, min_samples):
    expected = DBSCAN(eps=eps, min_samples=min_samples, metric="cosine").fit(digits.X)
    tree = density_tree(lists(digits.X, 40), min_samples)
    labels = tree.cut(eps, join_beyond_lists(digits.X, tree, eps))
    np.testing.assert_array_equal(labels, expected.labels_)
    core = np.zeros(len(labels), dtype=bool)
    core[expected.core_sample_indices_] = True
    np.testing.assert_array_equal(tree.core <= eps, core)


def test_short_lists_can_only_cut_clusters_in_pieces(digits):
    for eps in (0.05, 0.1, 0.2):
        expected = DBSCAN(eps=eps, min_samples=5, metric="cosine").fit_predict(digits.X)
        tree = density_tree(lists(digits.X, 6), 5)
        labels = tree.cut(eps)
        np.testing.assert_array_equal(labels >= 0, expected >= 0)
        for piece in range(labels.max() + 1):
            inside = (labels == piece) & (tree.core <= eps)
            assert len(np.unique(expected[inside])) == 1
        exact = tree.cut(eps, join_beyond_lists(digits.X, tree, eps))
        np.testing.assert_array_equal(exact, expected)


def test_a_tree_worked_by_hand():
    # Angles of 0, 1, 2, 10, 11, 12 and 50 degrees.
    angles = np.deg2rad([0, 1, 2, 10, 11, 12, 50])
    X = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    tree = density_tree(lists(X, 6), 3)
    one, two, eight = (1 - np.cos(np.deg2rad(a)) for a in (1, 2, 8))
    np.testing.assert_allclose(tree.core[:6], [two, one, two, two, one, two], atol=1e-6)
    np.testing.assert_allclose(tree.heights[:4], two, atol=1e-6)
    np.testing.assert_allclose(tree.heights[4], eight, atol=1e-6)
    np.testing.assert_array_equal(tree.cut(1.1 * two), [0, 0, 0, 1, 1, 1, -1])
    np.testing.assert_array_equal(tree.cut(1.5 * one), [0, 0, 0, 1, 1, 1, -1])  # two core rows, four borders
    np.testing.assert_array_equal(tree.cut(1.1 * eight), [0, 0, 0, 0, 0, 0, -1])
    np.testing.assert_array_equal(tree.cut(0.5 * one), [-1] * 7)
    assert list(tree.radii(np.array([0.0, 1.0]))) == pytest.approx([two, tree.heights[-1]], abs=1e-6)


def test_too_few_rows_for_any_core():
    X = np.eye(3, 4, dtype=np.float32)
    tree = density_tree(lists(X, 2), 5)
    assert np.isinf(tree.core).all()
    assert len(tree.radii(np.array([0.5]))) == 0
    np.testing.assert_array_equal(tree.cut(2.0), [-1, -1, -1])


def test_equal_rows_are_one_cluster():
    X = np.repeat(np.eye(3, dtype=np.float32), 30, axis=0)
    tree = density_tree(lists(X, 10), 5)
    labels = tree.cut(0.1, join_beyond_lists(X, tree, 0.1))
    np.testing.assert_array_equal(labels, np.repeat([0, 1, 2], 30))


def two_pairs():
    indices = np.array([[1], [0], [3], [2]])
    return jaccard_graph(Neighbours(indices, np.ones((4, 1), dtype=np.float32)))


def test_weight_shares_by_hand():
    graph = two_pairs()
    assert weight_shares(np.array([0, 0, 1, 1]), graph) == pytest.approx((1, 0.5))
    assert weight_shares(np.array([0, 0, 0, 0]), graph) == pytest.approx((1, 1))
    assert weight_shares(np.array([0, 1, 0, 1]), graph) == pytest.approx((0, 0.5))
    assert weight_shares(np.array([0, 0, -1, -1]), graph) == pytest.approx((0.5, 0.25))
    assert weight_shares(np.zeros(4, dtype=int), graph * 0) == (0, 0)


def test_noise_joins_along_paths_alone():
    X, y = blobs(k=3)
    graph = jaccard_graph(lists(X - X.mean(axis=0), 10))
    seeds = np.full(len(y), -1)
    for kind in range(3):
        seeds[np.flatnonzero(y == kind)[:5]] = kind
    spread = spread_labels(seeds, graph)
    np.testing.assert_array_equal(spread, y)
    np.testing.assert_array_equal(spread_labels(np.array([0, -1, -1, -1]), two_pairs()), [0, 0, -1, -1])
    np.testing.assert_array_equal(spread_labels(np.full(4, -1), two_pairs()), np.full(4, -1))


def test_the_path_of_a_linkage_is_what_it_answers_at_each_number(digits):
    X = digits.X[:400]
    neighbours = lists(X, 10)
    groups = density_tree(neighbours, 3).cut(0.08)
    groups = spread_labels(groups, jaccard_graph(neighbours))
    inside = groups >= 0
    weights = jaccard_graph(neighbours)[inside][:, inside]
    groups = np.unique(groups[inside], return_inverse=True)[1]
    steps = list(linkage_path(weights, groups))
    assert [step.max() + 1 for step in steps] == list(range(groups.max(), 1, -1))
    for step in steps:
        assert ari(step[groups], linkage_at(weights, groups, int(step.max()) + 1)) == 1


def test_the_temperature_is_the_one_of_least_surprise():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(20_000, 4)))
    labels = torch.multinomial(torch.softmax(logits / 0.5, 1), 1, generator=torch.Generator().manual_seed(0))
    assert fitted_temperature(logits, labels[:, 0]) == pytest.approx(0.5, rel=0.03)
    assert fitted_temperature(3 * logits, labels[:, 0]) == pytest.approx(1.5, rel=0.03)


def test_rows_that_are_all_right_do_not_make_every_row_certain():
    logits = 10 * torch.eye(3).repeat(16, 1)
    temperature = fitted_temperature(logits, torch.arange(3).repeat(16))
    sure = torch.softmax(logits / temperature, 1).amax(1)
    torch.testing.assert_close(sure, torch.full((48,), 1 - 1 / 50), atol=1e-4, rtol=0)


def test_every_cluster_is_held_back_in_part():
    labels = np.repeat([-1, 0, 1, 2], [50, 100, 20, 3])
    taught, held_back = _split(labels, torch.Generator().manual_seed(0))
    assert len(np.intersect1d(taught, held_back)) == 0
    np.testing.assert_array_equal(np.bincount(labels[held_back]), [15, 3])
    np.testing.assert_array_equal(np.bincount(labels[taught]), [85, 17, 3])


def test_the_radius_is_found_without_labels_where_the_knee_finds_nothing(digits, on_digits):
    knee = rival("dbscan").partition(digits.X, Asked(10)).labels
    assert clustering_accuracy(digits.y, knee) < 0.2
    assert 9 <= on_digits.n_clusters_ <= 13
    assert clustering_accuracy(digits.y, on_digits.labels_) > 0.85
    assert ari(digits.y, on_digits.labels_) > 0.8
    count = on_digits.cluster_count_
    assert count.low <= 10 <= count.high
    assert count.n_clusters == on_digits.n_clusters_


def test_density_labels_and_labels_have_numbers_in_common(digits, on_digits):
    model = on_digits
    np.testing.assert_array_equal(model.labels_, model.predict(digits.X))
    np.testing.assert_array_equal(model.labels_, model.predict_proba(digits.X).argmax(axis=1))
    known = model.density_labels_ >= 0
    assert model.n_noise_ == (~known).sum() > 0
    merged = model.merged_into_[model.density_labels_[known]]
    assert (np.diff(model.merged_into_) >= 0).all()
    assert (merged == model.labels_[known]).mean() > 0.97
    np.testing.assert_array_equal(model.start_labels_[known], merged)
    assert (model.start_labels_ == model.labels_).mean() > 0.95
    assert (np.diff(np.bincount(model.labels_)) <= 0).all()
    assert 0.95 < model.held_back_accuracy_ <= 1
    assert model.sweep_[0]["score"] >= model.sweep_[1]["score"]
    assert json.loads(json.dumps(model.sweep_)) == model.sweep_


def test_unseen_rows_are_told_as_well(digits):
    rng = np.random.default_rng(0)
    unseen = rng.random(len(digits.X)) < 0.2
    model = DensityMLP(random_state=0).fit(digits.X[~unseen])
    assert clustering_accuracy(digits.y[unseen], model.predict(digits.X[unseen])) > 0.85


def test_probabilities_are_as_often_right_as_they_say(digits):
    model = DensityMLP(random_state=0).fit(digits.X)
    known = model.density_labels_ >= 0
    right = model.merged_into_[model.density_labels_[known]] == model.labels_[known]
    assert model.probabilities_[known].mean() == pytest.approx(right.mean(), abs=0.03)


def test_a_radius_given_is_dbscans(digits):
    model = DensityMLP(0.05, min_samples=5, **FAST).fit(digits.X)
    expected = DBSCAN(eps=0.05, min_samples=5, metric="cosine").fit_predict(digits.X)
    np.testing.assert_array_equal(model.density_labels_ < 0, expected < 0)
    assert ari(expected, model.density_labels_) == 1
    np.testing.assert_array_equal(model.merged_into_, np.arange(expected.max() + 1))
    assert (model.eps_, model.min_samples_, model.n_noise_) == (0.05, 5, (expected < 0).sum())
    assert model.n_clusters_ == expected.max() + 1
    assert DensityMLP(0.05, **FAST).fit(digits.X).min_samples_ == 5


def test_a_number_of_clusters_is_kept_to(digits):
    for wanted in (1, 2, 10, 14):
        model = DensityMLP(n_clusters=wanted, **FAST).fit(digits.X)
        assert model.n_clusters_ == wanted
        assert model.cluster_count_ is None
    assert (
        clustering_accuracy(digits.y, DensityMLP(n_clusters=10, random_state=0).fit(digits.X).labels_) > 0.8
    )


def test_more_clusters_than_the_density_has_are_communities():
    X, _ = blobs()
    with pytest.warns(HoldfastWarning, match="no cut of the density tells 40 clusters apart"):
        model = DensityMLP(n_clusters=40, **FAST).fit(X)
    assert model.start_ == "communities"
    assert model.n_clusters_ == 40


def test_hdbscan_is_another_density(digits):
    model = DensityMLP(density="hdbscan", random_state=0).fit(digits.X)
    assert model.start_ == "hdbscan"
    assert model.eps_ is None
    assert model.min_cluster_size_ >= 10
    assert clustering_accuracy(digits.y, model.labels_) > 0.85


def test_what_becomes_of_noise():
    X, y = blobs(1200, d=32, k=4, spread=1.0)
    far = np.random.default_rng(0).normal(size=(40, 32)).astype(np.float32) * np.abs(X).mean()
    models = {
        noise: DensityMLP(noise=noise, random_state=0).fit(X) for noise in ("assign", "propagate", "reject")
    }
    for noise, model in models.items():
        assert ari(y[model.labels_ >= 0], model.labels_[model.labels_ >= 0]) == 1, noise
    assert (models["assign"].predict(far) >= 0).all()
    assert (models["propagate"].labels_ >= 0).all()
    known = models["reject"].density_labels_ >= 0
    rejected = models["reject"].labels_ < 0
    assert 0.01 < rejected[known].mean() < 0.1
    assert (models["reject"].predict(far) < 0).mean() > 0.7
    np.testing.assert_array_equal(models["reject"].labels_, models["reject"].predict(X))


def test_propagated_noise_is_learnt(digits):
    model = DensityMLP(0.05, n_clusters=10, noise="propagate", random_state=0).fit(digits.X)
    assert model.n_noise_ > 200
    noise = (model.density_labels_ == -1) & (model.start_labels_ >= 0)
    assert (model.labels_[noise] == model.start_labels_[noise]).mean() > 0.9


def test_unsure_rows_get_no_answer(digits, on_digits):
    model = DensityMLP(min_confidence=0.9, random_state=0).fit(digits.X)
    unsure = model.probabilities_ < 0.9
    assert 0 < unsure.mean() < 0.3
    np.testing.assert_array_equal(model.labels_ == -1, unsure)
    np.testing.assert_array_equal(model.labels_[~unsure], on_digits.labels_[~unsure])
    np.testing.assert_array_equal(model.predict(digits.X), model.labels_)
    np.testing.assert_array_equal(model.assign_rows(digits.X)[0], model.labels_)
    with pytest.warns(HoldfastWarning, match="no row gets an answer"):
        DensityMLP(min_confidence=1.0, max_epochs=0, random_state=0).fit(digits.X)


def test_a_seed_fixes_everything_and_true_labels_nothing(digits):
    X, y = digits.X[:600], digits.y[:600]
    first = DensityMLP(**FAST).fit(X)
    for labels in (y, np.random.default_rng(0).permutation(y), ["garbage"]):
        other = DensityMLP(**FAST).fit(X, labels)
        for name in ("labels_", "density_labels_", "probabilities_", "cluster_centers_"):
            assert getattr(first, name).tobytes() == getattr(other, name).tobytes()
        assert other.history_ == first.history_


def test_rows_from_files_and_in_half_precision(digits, tmp_path):
    X = digits.X.astype(np.float16)  # exact: sixteenths
    expected = DensityMLP(**FAST).fit(digits.X)
    np.save(tmp_path / "x.npy", digits.X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for rows in (X, mapped, torch.from_numpy(digits.X)):
        np.testing.assert_array_equal(DensityMLP(**FAST).fit(rows).labels_, expected.labels_)


@pytest.mark.parametrize("noise", ["assign", "reject"])
def test_saved_and_loaded_it_answers_the_same(digits, tmp_path, noise):
    model = DensityMLP(noise=noise, min_confidence=0.5, random_state=0).fit(digits.X)
    hf.save(model, tmp_path / "m")
    loaded = hf.load(tmp_path / "m")
    for name in ("labels_", "density_labels_", "merged_into_", "start_labels_", "probabilities_"):
        assert getattr(loaded, name).tobytes() == getattr(model, name).tobytes()
    assert loaded.predict(digits.X).tobytes() == model.predict(digits.X).tobytes()
    assert loaded.predict_proba(digits.X).tobytes() == model.predict_proba(digits.X).tobytes()
    for name in ("eps_", "min_samples_", "n_noise_", "sweep_", "cluster_count_", "held_back_accuracy_"):
        assert getattr(loaded, name) == getattr(model, name)


def test_rows_left_out_are_assigned(digits):
    model = DensityMLP(subsample=900, random_state=0).fit(digits.X)
    assert (model.density_labels_ == -2).sum() == len(digits.X) - 900
    assert model.n_noise_ == (model.density_labels_ == -1).sum()
    assert (model.labels_ >= 0).all()
    assert clustering_accuracy(digits.y, model.labels_) > 0.75


def test_partial_fit_keeps_the_numbers(digits):
    X = digits.X
    model = DensityMLP(random_state=0).fit(X[:1200])
    before, epochs = model.predict(X[1200:]), model.n_iter_
    model.partial_fit(X[1200:])
    assert model.n_iter_ == epochs + 1
    assert model.labels_.shape == (597,)
    assert (model.labels_ == before).mean() > 0.95
    np.testing.assert_array_equal(model.start_labels_, before)
    np.testing.assert_array_equal(model.labels_, model.predict(X[1200:]))
    assert (model.density_labels_ == -2).all()
    np.testing.assert_array_equal(
        DensityMLP(**FAST).partial_fit(X).labels_, DensityMLP(**FAST).fit(X).labels_
    )


def test_one_cluster_is_said_to_be_one():
    X, _ = blobs(200, k=1)
    with pytest.warns(HoldfastWarning, match="one cluster alone; lower eps"):
        model = DensityMLP(1.9, **FAST).fit(X)
    assert model.n_clusters_ == 1
    np.testing.assert_array_equal(model.labels_, 0)


def test_what_cannot_be_is_refused():
    X, _ = blobs()
    with pytest.raises(InputError, match=r"eps=1e-06 makes noise of all 300 rows; raise it\."):
        DensityMLP(1e-6).fit(X)
    for parameters, sentence in (
        ({"eps": 0}, r"eps must be a number in \(0, 2\], not 0."),
        ({"eps": 0.1, "density": "hdbscan"}, "eps=0.1 is for density='dbscan'"),
        ({"density": "optics"}, "density must be one of 'dbscan', 'hdbscan'"),
        ({"noise": "keep"}, "noise must be one of 'assign', 'propagate', 'reject'"),
        ({"min_samples": 0}, "min_samples must be an integer of at least 1"),
        ({"diffusion": -1}, "diffusion must be an integer of at least 0"),
        ({"hidden_dims": (8, 8)}, "hidden_dims must be one width"),
        ({"n_clusters": 0}, "n_clusters must be an integer of at least 1"),
    ):
        with pytest.raises(ParameterError, match=sentence):
            DensityMLP(**parameters).fit(X)


def test_training_that_ends_early_says_so(digits):
    with pytest.warns(NotConvergedWarning, match="DensityMLP stopped after 2 of max_epochs=2"):
        DensityMLP(max_epochs=2, random_state=0).fit(digits.X)


def test_distances_of_unit_rows_are_what_the_lists_hold():
    X, _ = blobs(50, d=8)
    tree = density_tree(lists(X, 49), 5)
    distances = cdist(unit_rows(X), unit_rows(X), "cosine")
    np.testing.assert_allclose(np.sort(tree.distances, axis=1), np.sort(distances, axis=1)[:, 1:], atol=1e-6)


def test_a_score_of_merged_clusters_is_that_of_their_labels():
    X, _ = blobs(400, k=8)
    seen = DensityRows(X, X.mean(axis=0), float((X - X.mean(axis=0)).std()), 0)
    merges = choose(seen, cut_density(seen, Sweep("dbscan", None, None, None, 0)), None)
    assert len({merge.count for merge in merges}) > 4
    for merge in merges[::5]:
        assert merge.score == pytest.approx(seen.score(merge.labels), abs=1e-9)


def test_more_rows_for_a_core_than_there_are_is_said():
    X, _ = blobs(50)
    for eps in ("auto", 0.3):
        with pytest.raises(InputError, match=r"min_samples=51 is more than the 50 rows; lower it\."):
            DensityMLP(eps, min_samples=51).fit(X)


def test_numbers_of_numpy_are_numbers(tmp_path):
    X, _ = blobs()
    model = DensityMLP(np.float32(0.3), min_samples=np.int64(5), diffusion=np.int64(2), **FAST).fit(X)
    assert model.n_clusters_ == 4
    hf.save(model, tmp_path / "m")
    assert hf.load(tmp_path / "m").sweep_ == model.sweep_
