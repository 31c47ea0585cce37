"""Consensus clustering: what its users rely on."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_blobs

import holdfast as hf
from holdfast import ConsensusClustering
from holdfast._choices import MEMBER_KINDS
from holdfast.cluster._sample import content_order
from holdfast.exceptions import InputError, ParameterError
from holdfast.graph import kmeans, unit_rows
from holdfast.metrics import ari, clustering_accuracy

pytestmark = pytest.mark.filterwarnings("ignore::holdfast.exceptions.NotConvergedWarning")

SHORT = {"max_epochs": 3, "random_state": 0}
LIGHT = {**SHORT, "members": ("kmeans", "graph")}


def blobs(n=300, d=24, k=4, spread=2.0, seed=0):
    X, y = make_blobs(n, n_features=d, centers=k, cluster_std=spread, random_state=seed)
    return X.astype(np.float32), y


@pytest.fixture(scope="module")
def on_digits():
    return ConsensusClustering(10, random_state=0).fit(load_digits().data.astype(np.float32) / 16)


def same_bits(one, other):
    for name in ("labels_", "probabilities_", "start_labels_", "cluster_centers_"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def test_digits_are_told_apart_better_than_by_k_means(digits, on_digits):
    baseline = max(clustering_accuracy(digits.y, kmeans(X, 10)) for X in (digits.X, unit_rows(digits.X)))
    assert clustering_accuracy(digits.y, on_digits.labels_) > max(baseline + 0.05, 0.88)


def test_every_kind_votes_and_votes_add_up(on_digits):
    members = on_digits.members_
    kinds = {member["kind"] for member in members}
    assert kinds == {"k-means", "graph", "linkage", "TEMI", "DEC"}
    assert sum(member["weight"] for member in members) == pytest.approx(1)
    shuffles = [m for m in members if m["kind"] == "graph" and "shuffle" in m["name"]]
    assert len(shuffles) >= 5
    assert any(m["kind"] == "graph" and "content" in m["name"] for m in members)
    assert len(on_digits.partitions_) == len(members)
    assert all(labels.shape == (1797,) for labels in on_digits.partitions_)


def test_labels_are_predictions_and_centres_live_in_the_latent(digits, on_digits):
    model, X = on_digits, digits.X
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    np.testing.assert_array_equal(model.labels_, model.predict_proba(X).argmax(axis=1))
    np.testing.assert_array_equal(
        (model.transform(X) @ model.cluster_centers_.T).argmax(axis=1), model.labels_
    )
    np.testing.assert_allclose(np.linalg.norm(model.cluster_centers_, axis=1), 1, rtol=1e-5)
    assert (np.diff(np.bincount(model.labels_)) <= 0).all()
    assert model.evidence_["result"] >= model.evidence_["start"]


def test_the_order_of_the_rows_does_not_matter():
    X, _ = blobs()
    order = np.random.default_rng(1).permutation(len(X))
    one, other = (ConsensusClustering(4, **SHORT).fit(rows) for rows in (X, X[order]))
    assert one.labels_[order].tobytes() == other.labels_.tobytes()
    assert one.cluster_centers_.tobytes() == other.cluster_centers_.tobytes()
    assert one.members_ == other.members_
    for mine, theirs in zip(one.partitions_, other.partitions_, strict=True):
        np.testing.assert_array_equal(mine[order], theirs)


def test_content_order_is_of_the_content_alone():
    X, _ = blobs(500)
    order = np.random.default_rng(1).permutation(len(X))
    np.testing.assert_array_equal(X[content_order(X, 5)], X[order][content_order(X[order], 5)])
    assert not np.array_equal(content_order(X, 5), content_order(X, 6))
    half = X.astype(np.float16)
    np.testing.assert_array_equal(content_order(half, 5), content_order(half.astype(np.float32), 5))
    np.testing.assert_array_equal(content_order(np.array([[0.0], [-0.0]]), 0), [0, 1])


def test_a_seed_fixes_everything_and_true_labels_nothing():
    X, y = blobs(spread=4.0)
    rng = np.random.default_rng(0)
    first = ConsensusClustering(4, **LIGHT).fit(X)
    for labels in (None, y, rng.permutation(y), ["garbage"]):
        same_bits(first, ConsensusClustering(4, **LIGHT).fit(X, labels))


@pytest.mark.parametrize("kind", MEMBER_KINDS)
def test_one_kind_alone_votes_too(kind):
    X, y = blobs(spread=1.0)
    model = ConsensusClustering(4, members=(kind,), **SHORT).fit(X)
    assert ari(y, model.labels_) == pytest.approx(1)


def test_clusters_may_be_of_any_size():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [600, 60, 15])
    X = (rng.normal(size=(3, 32))[y] * 3 + rng.normal(size=(675, 32))).astype(np.float32)
    assert ari(y, ConsensusClustering(3, random_state=0).fit(X).labels_) > 0.98


def test_the_fast_preset_is_a_graph_and_a_head(digits):
    model = ConsensusClustering(10, preset="fast", random_state=0).fit(digits.X)
    assert {member["kind"] for member in model.members_} == {"graph", "linkage"}
    assert len(model.members_) == 5
    assert model.n_iter_ == 0
    assert clustering_accuracy(digits.y, model.labels_) > 0.8
    np.testing.assert_array_equal(model.labels_, model.predict(digits.X))


def test_unsure_rows_get_no_answer(digits, on_digits, tmp_path):
    model = ConsensusClustering(10, preset="fast", min_confidence=0.8, random_state=0).fit(digits.X)
    unsure = model.probabilities_ < 0.8
    assert 0 < unsure.mean() < 0.5
    np.testing.assert_array_equal(model.labels_ == -1, unsure)
    np.testing.assert_array_equal(model.predict(digits.X), model.labels_)
    np.testing.assert_array_equal(model.assign_rows(digits.X)[0], model.labels_)
    sure = ~unsure
    np.testing.assert_array_equal(model.predict_proba(digits.X).argmax(axis=1)[sure], model.labels_[sure])
    right = clustering_accuracy(digits.y[sure], model.labels_[sure])
    assert right > clustering_accuracy(digits.y, model.predict_proba(digits.X).argmax(axis=1))
    hf.save(model, tmp_path / "m")
    np.testing.assert_array_equal(hf.load(tmp_path / "m").predict(digits.X), model.labels_)


def two_spaces(n=300, seed=0):
    """Six kinds, of which each space tells only some apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 6, n)
    one = rng.normal(size=(3, 24))[y % 3] * 3 + rng.normal(size=(n, 24))
    other = rng.normal(size=(2, 20))[y // 3] * 3 + rng.normal(size=(n, 20))
    return one.astype(np.float32), other.astype(np.float32), y


def test_two_spaces_see_more_than_either(tmp_path):
    one, other, y = two_spaces()
    X = np.hstack([one, other])
    model = ConsensusClustering(6, spaces=(24, 20), random_state=0).fit(X)
    assert ari(y, model.labels_) > 0.95
    for alone in (one, other):
        assert ari(y, ConsensusClustering(6, **LIGHT).fit(alone).labels_) < 0.8
    assert {"unit 1", "unit 2", "unit"} <= {member["name"].split(",")[0] for member in model.members_}
    hf.save(model, tmp_path / "m")
    loaded = hf.load(tmp_path / "m")
    assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
    np.testing.assert_array_equal(loaded.predict(X), model.labels_)


def test_the_scale_of_a_space_does_not_matter():
    one, other, _ = two_spaces()
    fits = [
        ConsensusClustering(6, spaces=(24, 20), **LIGHT).fit(np.hstack([one, scale * other]))
        for scale in (1, 4)
    ]
    assert ari(fits[0].labels_, fits[1].labels_) > 0.99


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"spaces": (10, 10)}, "spaces=.10, 10. are 20 columns, but X has 24"),
        ({"spaces": "24"}, "spaces must be a tuple of widths"),
        ({"spaces": (24, 0)}, "spaces must be an integer of at least 1"),
        ({"members": ()}, "members must be a tuple of kinds"),
        ({"members": "kmeans"}, "members must be a tuple of kinds"),
        ({"members": ("spectral",)}, "members must be one of 'kmeans', 'graph'"),
        ({"preset": "slow"}, "preset must be one of 'full', 'fast'"),
        ({"min_confidence": 1.5}, "min_confidence must be a number in"),
        ({"max_epochs": -1}, "max_epochs must be an integer of at least 0"),
    ],
)
def test_wrong_parameters_are_named_before_any_work(parameters, words):
    with pytest.raises(ParameterError, match=words):
        ConsensusClustering(4, **parameters).fit(blobs()[0])


def test_fewer_rows_than_clusters():
    with pytest.raises(InputError, match="n_samples=5 should be >= n_clusters=8"):
        ConsensusClustering(8).fit(blobs(5)[0])


@pytest.mark.filterwarnings("ignore::holdfast.exceptions.HoldfastWarning")
@pytest.mark.parametrize(("n", "k"), [(2, 1), (2, 2), (3, 2), (40, 1), (40, 20), (40, 40), (60, 7)])
def test_few_rows_and_extreme_counts(n, k):
    X, _ = blobs(n, spread=4.0)
    for preset in ("full", "fast"):
        model = ConsensusClustering(k, preset=preset, **SHORT).fit(X)
        assert model.labels_.shape == (n,)
        assert model.labels_.min() >= 0
        assert model.labels_.max() < k
        np.testing.assert_array_equal(model.labels_, model.predict(X))


@pytest.mark.filterwarnings("ignore::holdfast.exceptions.HoldfastWarning")
def test_rows_that_repeat():
    X, y = blobs(12, spread=1.0)
    model = ConsensusClustering(4, **SHORT).fit(np.repeat(X, 10, axis=0))
    assert ari(np.repeat(y, 10), model.labels_) == pytest.approx(1)


def test_a_sample_votes_and_every_row_is_answered(tmp_path):
    X, y = blobs(900, spread=1.5)
    model = ConsensusClustering(4, subsample=300, **LIGHT).fit(X)
    assert model.labels_.shape == (900,)
    assert model.partitions_ is None
    assert ari(y, model.labels_) == pytest.approx(1)
    np.save(tmp_path / "x.npy", X.astype(np.float16))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    same_bits(
        ConsensusClustering(4, subsample=300, **LIGHT).fit(mapped),
        ConsensusClustering(4, subsample=300, **LIGHT).fit(X.astype(np.float16)),
    )


def test_training_goes_on_where_it_ended():
    X, _ = blobs(400, spread=4.0)
    model = ConsensusClustering(4, **LIGHT).fit(X)
    before = model.labels_.copy()
    model.partial_fit(X)
    assert (model.labels_ == before).mean() > 0.9
    np.testing.assert_array_equal(model.start_labels_, before)
    one, other, _ = two_spaces()
    model = ConsensusClustering(6, spaces=(24, 20), **LIGHT).fit(np.hstack([one, other]))
    before = model.labels_.copy()
    assert (model.partial_fit(np.hstack([one, other])).labels_ == before).mean() > 0.9


def test_an_unknown_number_of_clusters_is_found():
    X, y = blobs(spread=1.0)
    model = ConsensusClustering("auto", **LIGHT).fit(X)
    assert model.n_clusters_ == model.cluster_count_.n_clusters == 4
    assert ari(y, model.labels_) == pytest.approx(1)


# --- found by a review ---------------------------------------------------------------------------------


def test_no_space_is_left_out_of_the_heads():
    one, _, y = two_spaces()
    noise = np.random.default_rng(3).normal(size=(len(y), 24)).astype(np.float32)
    options = {"spaces": (24, 24), "members": ("temi",), "max_epochs": 0, "random_state": 0}
    first, second = (
        ConsensusClustering(3, **options).fit(np.hstack(blocks)) for blocks in ((one, noise), (noise, one))
    )
    assert ari(y % 3, first.labels_) > 0.8
    assert ari(y % 3, second.labels_) > 0.8


def test_a_weak_space_does_not_cost_the_confidence():
    one, _, y = two_spaces()
    noise = np.random.default_rng(3).normal(size=(len(y), 24)).astype(np.float32)
    alone = ConsensusClustering(3, **SHORT).fit(one)
    both = ConsensusClustering(3, spaces=(24, 24), **SHORT).fit(np.hstack([one, noise]))
    assert ari(y % 3, both.labels_) > 0.8
    assert both.probabilities_.mean() > alone.probabilities_.mean() - 0.3


def test_abstaining_is_no_move_and_empties_no_cluster(recwarn):
    X, _ = blobs(spread=8.0)
    model = ConsensusClustering(4, preset="fast", min_confidence=0.9, random_state=0).fit(X)
    assert (model.labels_ == -1).any()
    np.testing.assert_array_equal(model.labels_ == -1, model.start_labels_ == -1)
    assert not [w for w in recwarn if "have members" in str(w.message)]
    model.partial_fit(X)
    np.testing.assert_array_equal(model.labels_ == -1, model.start_labels_ == -1)


def test_a_kind_that_can_make_no_member_says_so(monkeypatch):
    monkeypatch.setattr("holdfast.cluster._members.can_link", lambda *_: False)
    with pytest.raises(InputError, match="none of the members asked for can be made of 60 rows and 4 cl"):
        ConsensusClustering(4, members=("linkage",), **SHORT).fit(blobs(60)[0])


@pytest.mark.filterwarnings("ignore::holdfast.exceptions.HoldfastWarning")
def test_a_small_sample_and_a_count_that_is_found():
    model = ConsensusClustering("auto", subsample=3, preset="fast", random_state=0).fit(blobs(200)[0])
    assert model.labels_.shape == (200,)


def test_partitions_are_of_the_fit_alone(tmp_path):
    X, _ = blobs(120)
    model = ConsensusClustering(4, preset="fast", random_state=0).fit(X)
    hf.save(model, tmp_path / "m")
    assert hf.load(tmp_path / "m").partitions_ is None
    assert hf.load(tmp_path / "m").members_ == model.members_
    assert model.partial_fit(X[:50]).partitions_ is None


def test_the_order_in_which_kinds_are_named_does_not_matter():
    X, _ = blobs(120, spread=4.0)
    same_bits(
        ConsensusClustering(4, members=("kmeans", "temi", "dec"), **SHORT).fit(X),
        ConsensusClustering(4, members=("dec", "temi", "kmeans"), **SHORT).fit(X),
    )


def test_long_rows_of_several_spaces():
    one, other, _ = two_spaces()
    X = np.hstack([one, other])
    model = ConsensusClustering(6, spaces=(24, 20), preset="fast", random_state=0).fit(X)
    np.testing.assert_array_equal(model.predict(X * np.float32(1e30)), model.labels_)


def test_equal_rows_are_refused_before_the_work():
    with pytest.raises(InputError, match="all 100 rows are equal"):
        ConsensusClustering(4).fit(np.ones((100, 20), dtype=np.float32))
