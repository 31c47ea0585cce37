"""The predicted quality: worked by hand, bounded, indifferent to names, in the order that truth asks for."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import holdfast
from holdfast.exceptions import InputError
from holdfast.graph import communities, jaccard_graph, kmeans, nearest_neighbours
from holdfast.metrics import nmi
from holdfast.quality import predicted_quality

seeds = st.integers(0, 2**32 - 1)


def logit(p):
    return math.log(p / (1 - p))


def blobs(n_each, k, seed=0, spread=0.1):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(k), n_each)
    return np.eye(k, 20)[y] + spread * rng.normal(size=(len(y), 20)) / math.sqrt(20), y


@pytest.fixture(scope="module")
def four_blobs():
    """Rows that fall apart into four groups, their neighbours, and their groups."""
    X, y = blobs(30, 4)
    return X, nearest_neighbours(X - X.mean(axis=0), 5), y


def test_what_everything_agrees_on_is_by_hand(four_blobs):
    _, neighbours, y = four_blobs
    found = predicted_quality(y, neighbours, [y, y, y], 4)
    # as near the natural communities as the others are, and these reproduce each other wholly
    assert found.purity == pytest.approx(1 / (1 + math.exp(2.83 + 0.424 * math.log(4) - 6.96)))
    assert logit(found.high) - logit(found.purity) == pytest.approx(1.76)
    assert logit(found.purity) - logit(found.low) == pytest.approx(1.17)
    np.testing.assert_allclose(found.cluster_purity, found.purity)
    np.testing.assert_array_equal(found.sizes, [30] * 4)


def test_clusters_cut_at_random_are_worse_by_what_they_share_with_the_communities(four_blobs):
    _, neighbours, y = four_blobs
    halved = y * 2 + (np.arange(len(y)) % 2)
    others = [halved, halved, y]
    graph = jaccard_graph(neighbours.first(5))
    natural = [communities(graph, resolution, seed=0) for resolution in (1.0, 2.0)]
    shared = {name: np.mean([nmi(c, p) for c in natural]) for name, p in {"y": y, "halved": halved}.items()}
    better, worse = (predicted_quality(labels, neighbours, others, 4) for labels in (y, halved))
    assert logit(better.purity) - logit(worse.purity) == pytest.approx(
        3.99 * (shared["y"] - shared["halved"])
    )
    # The best third of two is the better one: halves reproduce halves wholly, and the groups by a half.
    level = 6.96 * (1 + 1 + 0.5) / 3 - 0.424 * math.log(4) - 2.83
    mean = (shared["y"] + 2 * shared["halved"]) / 3
    assert logit(better.purity) == pytest.approx(level + 3.99 * (shared["y"] - mean))


def test_a_cluster_that_others_cut_is_less_certain(four_blobs):
    _, neighbours, y = four_blobs
    cut = np.where((y == 0) & (np.arange(len(y)) % 2 == 0), 4, y)
    found = predicted_quality(y, neighbours, [cut, cut, cut], 4)
    # contained by half in every other partition, and its edges all inside, as everyone's
    difference = logit(found.cluster_purity[1]) - logit(found.cluster_purity[0])
    assert difference == pytest.approx((3.81 + 1.58) / 2)
    assert found.cluster_purity.mean() == pytest.approx(found.purity)


@given(seeds, st.integers(4, 60), st.integers(1, 8))
def test_bounds_sizes_and_the_mean_of_the_clusters(seed, n, k):
    rng = np.random.default_rng(seed)
    labels, others = rng.integers(-1, k, n), rng.integers(-1, k, (3, n))
    found = predicted_quality(labels, nearest_neighbours(rng.normal(size=(n, 3)), 5), list(others), k)
    assert 0 <= found.low <= found.purity <= found.high <= 1
    assert len(found.sizes) == labels.max() + 1
    np.testing.assert_array_equal(found.sizes, np.bincount(labels[labels >= 0], minlength=labels.max() + 1))
    for values in (found.cluster_low, found.cluster_purity, found.cluster_high):
        assert values.shape == found.sizes.shape
    assert (found.cluster_low >= 0).all()
    assert (found.cluster_low <= found.cluster_purity).all()
    assert (found.cluster_purity <= found.cluster_high).all()
    assert (found.cluster_high <= 1).all()
    if found.sizes.sum():
        assert found.sizes @ found.cluster_purity / found.sizes.sum() == pytest.approx(found.purity)


@given(seeds)
def test_names_of_clusters_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    neighbours = nearest_neighbours(rng.normal(size=(60, 4)), 5)
    labels, others, names = rng.integers(0, 5, 60), list(rng.integers(0, 5, (4, 60))), rng.permutation(5)
    expected = predicted_quality(labels, neighbours, others, 5)
    found = predicted_quality(names[labels], neighbours, [names[other] for other in others], 5)
    assert found.purity == pytest.approx(expected.purity)
    np.testing.assert_allclose(found.cluster_purity[names], expected.cluster_purity)
    np.testing.assert_array_equal(found.sizes[names], expected.sizes)


def test_an_empty_cluster_tells_nothing(four_blobs):
    _, neighbours, y = four_blobs
    found = predicted_quality(np.where(y == 1, 5, y), neighbours, [y, y], 4)
    empty = [1, 4]
    np.testing.assert_array_equal(found.sizes, [30, 0, 30, 30, 0, 30])
    np.testing.assert_allclose(found.cluster_purity[empty], found.purity)
    np.testing.assert_array_equal(found.cluster_low[empty], 0)
    np.testing.assert_array_equal(found.cluster_high[empty], 1)


def test_noise_is_left_out(four_blobs):
    _, neighbours, y = four_blobs
    noisy = np.where(np.arange(len(y)) % 3 == 0, -1, y)
    found = predicted_quality(noisy, neighbours, [y, y], 4)
    np.testing.assert_array_equal(found.sizes, [20] * 4)
    whole = predicted_quality(y, neighbours, [y, y], 4)
    assert found.purity == pytest.approx(whole.purity, abs=0.001)
    np.testing.assert_allclose(found.cluster_purity, whole.cluster_purity, atol=0.001)


def test_one_other_partition_is_too_few(four_blobs):
    _, neighbours, y = four_blobs
    with pytest.raises(InputError, match=r"^partitions has 1 entries: give at least two"):
        predicted_quality(y, neighbours, [y], 4)


def damaged(y):
    """Partitions from good to bad: the truth, k-means, two merged and a third cut, half shuffled, all."""
    rng = np.random.default_rng(0)
    wrong = np.where(y == 9, 3, y)
    wrong[rng.permutation(np.flatnonzero(y == 0))[::2]] = 9
    hit = rng.random(len(y)) < 0.5
    half = np.where(hit, rng.permutation(y), y)
    return {"truth": y, "merged and cut": wrong, "half": half, "shuffled": rng.permutation(y)}


def test_worse_partitions_of_the_digits_are_predicted_worse(digits):
    partitions = damaged(digits.y) | {"kmeans": kmeans(digits.X, 10, n_init=3)}
    found = {name: holdfast.predict_quality(digits.X, labels) for name, labels in partitions.items()}
    purity = {name: quality.purity for name, quality in found.items()}
    assert purity["truth"] > purity["kmeans"] > purity["half"] > purity["shuffled"]
    assert purity["truth"] > purity["merged and cut"] > purity["half"]
    assert purity["truth"] > 0.85
    assert purity["shuffled"] < 0.35
    assert found["truth"].low < 1.0 - 1e-3
    assert found["kmeans"].low < 0.79 < found["kmeans"].high  # its true purity


def test_a_cluster_of_two_digits_is_the_doubtful_one(digits):
    merged = np.where(digits.y == 9, 3, digits.y)
    merged[np.flatnonzero(digits.y == 0)[::2]] = 9
    found = holdfast.predict_quality(digits.X, merged)
    assert found.cluster_purity[3] < np.median(found.cluster_purity)


def test_the_seed_fixes_the_answer_and_scale_and_place_do_not_matter(digits):
    labels = kmeans(digits.X, 10, n_init=1)
    expected = holdfast.predict_quality(digits.X, labels, random_state=3)
    again = holdfast.predict_quality(torch.from_numpy(digits.X), torch.from_numpy(labels), random_state=3)
    assert again.purity == expected.purity
    np.testing.assert_array_equal(again.cluster_purity, expected.cluster_purity)
    moved = holdfast.predict_quality(digits.X * 4 + 1, labels, random_state=3)
    assert moved.purity == pytest.approx(expected.purity, abs=0.02)


def test_partitions_given_are_what_is_asked(digits):
    others = [kmeans(digits.X, 10, n_init=1, seed=seed) for seed in range(3)]
    found = holdfast.predict_quality(digits.X, digits.y, partitions=others)
    centred = digits.X - digits.X.mean(axis=0)
    expected = predicted_quality(digits.y, nearest_neighbours(centred, 10), others, 10)
    assert found.purity == pytest.approx(expected.purity, abs=1e-6)


def test_many_rows_are_sampled_and_every_cluster_is_answered_for():
    X, y = blobs(2_600, 4)
    labels = y.copy()
    labels[[0, 1]] = [7, 9]  # clusters of one row, that a sample may miss
    found = holdfast.predict_quality(X, labels)
    assert len(found.sizes) == 10
    assert found.sizes.sum() == 10_000
    assert found.cluster_purity.shape == found.cluster_low.shape == found.cluster_high.shape == (10,)
    assert found.cluster_purity[:4].min() > 0.8


@pytest.mark.parametrize(
    ("n", "k"), [(2, 1), (2, 2), (3, 2), (5, 5), (12, 1), (12, 11), (40, 37), (40, 40), (60, 3)]
)
@pytest.mark.parametrize("width", [1, 2, 30])
def test_few_rows_and_extreme_counts(n, k, width):
    X = np.random.default_rng(n + k).normal(size=(n, width))
    found = holdfast.predict_quality(X, np.arange(n) % k)
    assert 0 <= found.low < found.purity < found.high <= 1
    assert found.sizes.tolist() == np.bincount(np.arange(n) % k).tolist()
    assert found.sizes @ found.cluster_purity / n == pytest.approx(found.purity)


ROWS = np.random.default_rng(0).normal(size=(6, 3))
FINE = np.array([0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize(
    ("X", "labels", "partitions", "message"),
    [
        (ROWS, FINE[:5], None, r"labels has shape \(5,\) and X has 6 rows: give one label per row"),
        (ROWS, FINE[:, None], None, r"labels has shape \(6, 1\) and X has 6 rows"),
        (ROWS, FINE / 2, None, r"labels is of type float64: give the clusters as integers from 0"),
        (ROWS, FINE.astype(str), None, r"labels is of type <U\d+: give the clusters as integers"),
        (ROWS, FINE - 2, None, r"labels is -2 in row 0: number the clusters from 0 to 5 at most"),
        (ROWS, FINE * 3, None, r"labels is 6 in row 4: number the clusters from 0"),
        (ROWS, np.full(6, -1), None, r"labels is -1 in every row, so there is no cluster to tell of"),
        (ROWS, FINE, [FINE], r"partitions has 1 entries: give at least two"),
        (ROWS, FINE, [FINE, FINE[:3]], r"partitions\[1\] has shape \(3,\) and X has 6 rows"),
        (np.ones((6, 3)), FINE, None, r"all 6 rows are equal, so there is nothing to tell apart"),
        (np.where(ROWS > 1, np.nan, ROWS), FINE, None, r"X has a NaN or an infinity in row"),
        (ROWS[:1], FINE[:1], None, r"give at least 2 rows"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(X, labels, partitions, message):
    with pytest.raises(InputError, match=message) as caught:
        holdfast.predict_quality(X, labels, partitions=partitions)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [1e-30, 1e17, 1e18])
def test_the_length_of_the_rows_does_not_matter(digits, scale):
    labels = np.arange(300) % 10
    plain = holdfast.predict_quality(digits.X[:300], labels)
    scaled = holdfast.predict_quality(digits.X[:300] * np.float32(scale), labels)
    assert scaled.purity == pytest.approx(plain.purity, abs=0.02)
