"""Metrics: hand-computed numbers, invariances, and what noise does to each."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.exceptions import InputError, ParameterError
from holdfast.metrics import (
    ari,
    centre_shift,
    churn,
    clustering_accuracy,
    coverage_curve,
    nmi,
    purity,
    sampled_silhouette,
    score,
)

# Three classes of 4, 3 and 3 rows; clusters 0 and 1 share class "a".
#          0  1  2
#   a      3  1  0
#   b      0  2  1
#   c      1  0  2
Y = list("aaaabbbccc")
C = [0, 0, 0, 1, 1, 1, 2, 2, 2, 0]

labellings = st.integers(1, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n)] * 2)
)


def test_numbers_worked_out_by_hand():
    assert clustering_accuracy(Y, C) == 0.7  # a-0, b-1, c-2: 3 + 2 + 2
    assert purity(Y, C) == 0.7
    # Pairs: 3 + 1 + 1 = 5 together in both, 6 + 3 + 3 = 12 in each, 45 in all.
    expected = 12 * 12 / 45
    assert ari(Y, C) == pytest.approx((5 - expected) / (12 - expected))
    information = sum(
        count / 10 * math.log(count * 10 / (rows * columns))
        for count, rows, columns in [(3, 4, 4), (1, 4, 3), (2, 3, 3), (1, 3, 3), (1, 3, 4), (2, 3, 3)]
    )
    entropy = -(0.4 * math.log(0.4) + 2 * 0.3 * math.log(0.3))
    assert nmi(Y, C) == pytest.approx(information / entropy)


def test_score_gathers_them():
    assert score(Y, C) == {"acc": 0.7, "nmi": nmi(Y, C), "ari": ari(Y, C), "purity": 0.7}


def test_accuracy_needs_the_best_map_not_a_greedy_one():
    # Greedy takes the 3 and is left with 0; the best map takes 2 + 2.
    y = [0] * 3 + [1] * 2 + [0] * 2
    c = [0] * 3 + [0] * 2 + [1] * 2
    assert clustering_accuracy(y, c) == 4 / 7
    assert purity(y, c) == 5 / 7


def test_more_clusters_than_classes_cannot_all_be_right():
    assert clustering_accuracy([0, 0, 0, 0], [0, 0, 1, 2]) == 0.5
    assert purity([0, 0, 0, 0], [0, 0, 1, 2]) == 1.0


def test_noise_is_wrong_even_where_it_would_fit():
    assert clustering_accuracy([0, 0, 1, 1], [-1, -1, 1, 1]) == 0.5
    assert purity([0, 0, 1, 1], [-1, -1, 1, 1]) == 0.5
    assert clustering_accuracy([0, 1], [-1, -1]) == purity([0, 1], [-1, -1]) == 0.0
    assert nmi([0, 0, 1, 1], [-1, -1, 1, 1]) == ari([0, 0, 1, 1], [-1, -1, 1, 1]) == 1.0


def test_a_class_named_minus_one_is_a_class():
    assert clustering_accuracy([-1, -1, 0], [5, 5, 3]) == 1.0


@given(labellings)
def test_names_of_clusters_and_order_of_rows_do_not_matter(pair):
    y, c = map(np.array, pair)
    base = score(y, c)
    order = np.random.default_rng(len(y)).permutation(len(y))
    renamed = np.array([30, 10, 7, 99, 2])
    texts = np.array(["zoo", "ape", "cat", "dog", "elk"])
    for other in (
        score(y[order], c[order]),
        score(renamed[y], c),
        score(y, renamed[c]),
        score(texts[y], texts[c]),
        score(texts[y].astype(object), c.astype(object)),
        score(y.astype(np.uint8), c.astype(float)),
    ):
        assert other == pytest.approx(base)


@given(labellings)
def test_bounds_and_order_of_the_metrics(pair):
    values = score(*pair)
    assert 0 < values["acc"] <= values["purity"] <= 1
    assert -1e-12 <= values["nmi"] <= 1 + 1e-12
    assert -1 <= values["ari"] <= 1 + 1e-12
    assert score(pair[0], pair[0])["acc"] == 1


@given(labellings)
def test_accuracy_is_the_best_of_all_maps(pair):
    from itertools import permutations

    y, c = map(np.array, pair)
    best = max(np.mean(np.array(mapping)[c] == y) for mapping in permutations(range(5)))
    assert clustering_accuracy(y, c) == pytest.approx(best)


@pytest.mark.parametrize(
    ("y", "c", "sentence"),
    [
        ([0, 1], [0], "y_true has 2 entries and y_pred 1: give one per row in both."),
        ([], [], "y_true has no entries: give at least one row to score."),
        ([[0, 1]], [0, 1], "y_true has 2 dimensions: give one label per row."),
        ([0, 1], [0, math.nan], "y_pred is NaN in row 1: give every row a label."),
    ],
)
def test_what_cannot_be_scored(y, c, sentence):
    for metric in (clustering_accuracy, nmi, ari, purity, score):
        with pytest.raises(InputError) as caught:
            metric(y, c)
        assert str(caught.value) == sentence


# Churn


@pytest.mark.parametrize(
    ("old", "new", "redirects", "expected"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], None, 0.0),
        ([1, 2, 3, 4], [1, 9, 3, 4], None, 0.25),
        ([1, 1, 2, 2], [1, 1, 1, 1], {2: 1}, 0.0),  # a merge is reported, it is no churn
        ([1, 1, 2, 2], [1, 1, 1, 2], {2: 1}, 0.25),  # but who stayed behind moved
        ([1, 2, 3], [7, 7, 7], {1: 2, 2: 3, 3: 7}, 0.0),
        ([-1, 1], [1, -1], None, 1.0),
        (["a", "b"], ["a", "c"], {"b": "c"}, 0.0),
        ([], [], None, 0.0),
    ],
)
def test_churn(old, new, redirects, expected):
    assert churn(old, new, redirects) == expected


def test_churn_counts_names_not_partitions():
    """Unlike accuracy, it does not forgive a renumbering: that is its purpose."""
    assert churn([0, 0, 1, 1], [1, 1, 0, 0]) == 1.0


def test_churn_of_what_does_not_fit():
    with pytest.raises(InputError, match="old_ids has 2 entries and new_ids 1: give one per row in both"):
        churn([1, 2], [1])
    with pytest.raises(
        ParameterError, match="redirects go round in a circle at 1: let each end at an id in use"
    ):
        churn([1], [1], {1: 2, 2: 1})


# Centres


def test_centre_shift_in_units_of_the_nearest_neighbour():
    old = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 2.0]])  # nearest others at 4, 2, 2: 8/3 on average
    new = old + np.array([[0, 0], [0.8, 0], [0, -1.6]])
    shift = centre_shift(old, new)
    assert shift.mean == pytest.approx(0.8 / (8 / 3))
    assert shift.max == pytest.approx(1.6 / (8 / 3))


@given(scale=st.floats(0.01, 100), move=st.floats(-50, 50))
def test_centre_shift_has_no_unit_and_no_origin(scale, move):
    rng = np.random.default_rng(0)
    old, new = rng.standard_normal((2, 5, 3))
    assert centre_shift(scale * old + move, scale * new + move) == pytest.approx(
        centre_shift(old, new), rel=1e-9
    )


def test_centre_shift_at_its_limits():
    assert centre_shift([[1, 2]], [[1, 2]]) == (0.0, 0.0)
    assert centre_shift([[1, 2]], [[1, 3]]) == (math.inf, math.inf)
    assert centre_shift([[1, 2], [1, 2]], [[1, 2], [1, 3]]) == (math.inf, math.inf)
    for old, new in (([[1.0]], [[1.0, 2.0]]), ([1.0], [1.0]), (np.empty((0, 2)), np.empty((0, 2)))):
        with pytest.raises(InputError, match="give the same"):
            centre_shift(old, new)


# Coverage


def test_coverage_worked_out_by_hand():
    found = coverage_curve([0.9, 0.5, 0.7, 0.7], n_points=4)
    assert found.thresholds.tolist() == [0.5, 0.7, 0.9]
    assert found.coverage.tolist() == [1.0, 0.75, 0.25]
    assert found.purity == pytest.approx([2.8 / 4, 2.3 / 3, 0.9])


@given(confidence=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60), n_points=st.integers(1, 70))
def test_coverage_is_a_trade(confidence, n_points):
    found = coverage_curve(confidence, n_points)
    assert 1 <= len(found.thresholds) <= n_points
    assert (np.diff(found.thresholds) > 0).all()
    assert (np.diff(found.coverage) < 0).all()
    assert (np.diff(found.purity) >= -1e-12).all()
    assert found.coverage[0] == 1
    assert found.purity[0] == pytest.approx(np.mean(confidence, dtype=np.float64), abs=1e-12)
    values = np.array(confidence)
    for threshold, share, right in zip(found.thresholds, found.coverage, found.purity, strict=True):
        kept = values[values >= threshold]
        assert share == len(kept) / len(values)
        assert right == pytest.approx(kept.mean(), abs=1e-12)
        assert right >= threshold - 1e-12


def test_coverage_of_equal_rows_is_one_point():
    found = coverage_curve(np.full(7, 0.25, np.float32))
    assert (found.thresholds.tolist(), found.coverage.tolist(), found.purity.tolist()) == (
        [0.25],
        [1],
        [0.25],
    )


@pytest.mark.parametrize("wrong", [[], [0.5, 1.1], [-0.1], [0.5, math.nan]])
def test_coverage_of_what_is_no_confidence(wrong):
    with pytest.raises(InputError, match="confidence must have a number between 0 and 1"):
        coverage_curve(wrong)
    with pytest.raises(ParameterError, match="n_points must be an integer of at least 1, not 0"):
        coverage_curve([0.5], 0)


# Silhouette


def test_silhouette_worked_out_by_hand():
    X = np.array([[0.0], [1.0], [4.0]])
    # Row 0: a = 1, b = 4; row 1: a = 1, b = 3; row 2 is alone in its cluster: 0.
    estimate = sampled_silhouette(X, [0, 0, 1], metric="euclidean")
    assert estimate.value == pytest.approx((3 / 4 + 2 / 3 + 0) / 3)
    assert estimate.low == estimate.value == estimate.high  # everything was seen


def test_silhouette_of_a_perfect_partition_by_angle():
    X = np.repeat(np.eye(3), 5, axis=0) * np.arange(1, 16)[:, None]  # lengths differ, directions do not
    assert sampled_silhouette(X, np.repeat(list("abc"), 5)).value == pytest.approx(1.0)


def test_silhouette_leaves_noise_out():
    X = np.vstack([np.repeat(np.eye(2), 5, axis=0), [[1, 1]] * 4])
    labels = np.array([0] * 5 + [1] * 5 + [-1] * 4)
    assert sampled_silhouette(X, labels).value == pytest.approx(1.0)


def test_silhouette_interval_covers_the_whole_set(digits):
    whole = sampled_silhouette(digits.X, digits.y, n_samples=len(digits.y))
    estimates = [
        sampled_silhouette(digits.X, digits.y, n_samples=400, random_state=seed) for seed in range(60)
    ]
    covered = np.mean([estimate.low <= whole.value <= estimate.high for estimate in estimates])
    assert covered >= 0.85
    width = np.mean([estimate.high - estimate.low for estimate in estimates])
    assert 0.01 < width < 0.05
    finer = sampled_silhouette(digits.X, digits.y, n_samples=1200, random_state=0)
    assert finer.high - finer.low < width / 1.7


def test_silhouette_is_repeatable_and_tells_right_from_wrong(digits):
    right = sampled_silhouette(digits.X, digits.y, random_state=3)
    assert right == sampled_silhouette(digits.X, digits.y, random_state=3)
    shuffled = np.random.default_rng(0).permutation(digits.y)
    assert sampled_silhouette(digits.X, shuffled, random_state=3).high < 0 < right.low
    assert all(type(value) is float for value in right)


@pytest.mark.parametrize("labels", [[0, 0, 0], [-1, -1, -1], [0, 1, 2], [-1, -1, 0]])
def test_silhouette_without_meaning_is_zero(labels):
    assert sampled_silhouette(np.eye(3), labels) == (0.0, 0.0, 0.0)


def test_silhouette_reads_a_memory_map_at_the_sample_only(tmp_path, digits):
    np.save(tmp_path / "X.npy", digits.X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    found = sampled_silhouette(mapped, digits.y, n_samples=200, random_state=0)
    assert found == sampled_silhouette(digits.X, digits.y, n_samples=200, random_state=0)


def test_silhouette_of_what_does_not_fit():
    with pytest.raises(InputError, match="labels has 2 entries for 3 rows of X: give one per row"):
        sampled_silhouette(np.eye(3), [0, 1])
    with pytest.raises(ParameterError, match="n_samples must be an integer of at least 2, not 1"):
        sampled_silhouette(np.eye(3), [0, 1, 1], n_samples=1)
    with pytest.raises(ParameterError, match="metric must be one of 'cosine', 'euclidean', not 'l7'"):
        sampled_silhouette(np.eye(3), [0, 1, 1], metric="l7")
