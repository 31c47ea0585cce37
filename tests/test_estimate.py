"""How many clusters: six criteria, one answer, an interval, and words that say when they disagree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits, make_blobs

import holdfast as hf
from holdfast.cluster._criteria import Criteria, Curve, Cut, _curve
from holdfast.cluster._estimate import _combined, _grid, _message
from holdfast.cluster._specimen import draw_bells
from holdfast.exceptions import InputError, ParameterError

NAMES = {"communities", "merging", "density", "mixture", "stability", "separation"}
EVEN = dict.fromkeys(NAMES, 1.0)


def blobs(k, d=24, n=400, spread=1.0):
    X, _ = make_blobs(n, d, centers=k, cluster_std=spread, random_state=1)
    return X.astype(np.float32)


def peak(at, grid):
    """Return a curve that is highest at one number."""
    return Curve(grid, -np.square(np.log(grid / at)))


@pytest.fixture(scope="module")
def pixels():
    return load_digits().data.astype(np.float32)


@pytest.fixture(scope="module")
def of_digits(pixels):
    return hf.estimate_n_clusters(pixels, random_state=0)


@pytest.mark.parametrize("k", [2, 3, 8, 20])
def test_far_clusters_are_counted_exactly(k):
    count = hf.estimate_n_clusters(blobs(k), random_state=0)
    assert count.n_clusters == k
    assert 0.8 * k <= count.low <= k <= count.high <= max(1.2 * k, k + 1)
    assert count.agreement > 0.9


@pytest.mark.parametrize("k", [2, 3, 4])
def test_clusters_that_one_can_see_are_counted_in_two_columns(k):
    assert hf.estimate_n_clusters(blobs(k, d=2, spread=0.3), random_state=0).n_clusters == k


def test_many_small_clusters_are_not_hidden_by_many_neighbours():
    count = hf.estimate_n_clusters(blobs(50, n=1_000), random_state=0)
    assert abs(count.n_clusters - 50) <= 3


def test_the_digits_are_ten_or_a_few_more(of_digits):
    assert 8 <= of_digits.n_clusters <= 12
    assert of_digits.low <= 10 <= of_digits.high <= 2.5 * of_digits.low


def test_every_criterion_is_shown_with_its_curve(of_digits):
    assert set(of_digits.evidence) == NAMES
    assert set(of_digits.curves) == NAMES | {"all"}
    assert all(type(pick) is int for pick in of_digits.evidence.values())
    for name, curve in of_digits.curves.items():
        counts, values = curve["counts"], curve["values"]
        assert len(counts) == len(values) > 1
        assert counts == sorted(counts)
        if name != "all":
            assert of_digits.evidence[name] == round(counts[int(np.argmax(values))])
    assert max(of_digits.curves["all"]["values"]) == 1


def test_agreement_is_the_mean_nearness_of_what_the_criteria_name(of_digits):
    k = of_digits.n_clusters
    near = [min(pick, k) / max(pick, k) for pick in of_digits.evidence.values()]
    assert of_digits.agreement == pytest.approx(np.mean(near))


def test_the_order_of_rows_does_not_matter(pixels, of_digits):
    order = np.random.default_rng(5).permutation(len(pixels))
    assert hf.estimate_n_clusters(pixels[order], random_state=0) == of_digits


@pytest.mark.parametrize("k", [2, 3, 5])
def test_clusters_that_one_can_see_are_counted_in_one_column(k):
    random = np.random.default_rng(1)
    X = np.concatenate([random.normal(9 * place, 1, (200, 1)) for place in range(k)])
    count = hf.estimate_n_clusters(X, random_state=0)
    assert count.n_clusters == k
    assert count.high <= k + 1


def test_the_four_bells_lie_in_the_interval():
    count = hf.estimate_n_clusters(draw_bells(0)[0], random_state=0)
    assert count.low <= 4 <= count.high <= 6


@pytest.mark.parametrize("d", [1, 2, 20])
def test_one_cloud_is_said_to_be_one(d):
    X = np.random.default_rng(0).normal(size=(600, d)).astype(np.float32)
    count = hf.estimate_n_clusters(X, random_state=0)
    assert (count.n_clusters, count.low) == (1, 1)
    assert count.message.startswith("These rows look like one cloud, without clusters")


def test_overlapping_blobs_in_two_columns_are_no_cloud():
    X, _ = make_blobs(1_000, centers=3, random_state=0)
    assert hf.estimate_n_clusters(X, random_state=0).n_clusters == 3


def test_two_far_clusters_are_no_cloud():
    assert hf.estimate_n_clusters(blobs(2, spread=0.1), random_state=0).n_clusters == 2


@given(st.integers(2, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_an_estimate_is_always_an_interval(n, seed):
    X = np.random.default_rng(seed).normal(size=(n, 4))
    count = hf.estimate_n_clusters(X, random_state=0)
    assert all(type(value) is int for value in (count.n_clusters, count.low, count.high))
    assert 1 <= count.low <= count.n_clusters <= count.high <= n
    assert 0 < count.agreement <= 1
    assert count.message.endswith(".")


def test_too_few_rows_say_so():
    count = hf.estimate_n_clusters(np.arange(10.0)[:, None])
    assert (count.low, count.high) == (1, 10)
    assert count.message == "10 rows are too few to tell."


def test_equal_rows_are_one_cluster():
    assert hf.estimate_n_clusters(np.ones((40, 3))).message == "All rows are equal."


@pytest.mark.parametrize(("X", "said"), [([[1.0], [np.nan]], "row 1"), ([[1.0, 2.0]], "at least 2 rows")])
def test_what_cannot_be_counted_is_refused_in_a_sentence(X, said):
    with pytest.raises(InputError, match=said):
        hf.estimate_n_clusters(np.array(X))


def test_a_random_state_that_is_none_is_refused():
    with pytest.raises(ParameterError, match="random_state must be"):
        hf.estimate_n_clusters(blobs(2), random_state="seven")


# --- the parts -----------------------------------------------------------------------------------------


def test_the_answer_is_the_maximum_of_the_weighted_sum():
    grid = _grid(3_000)
    curves = {name: peak(8, grid) for name in NAMES} | {"mixture": peak(32, grid)}
    count = _combined(curves, EVEN, grid, is_one_cloud=False)
    # The sum of parabolas has its peak at their weighted mean, on the logarithmic scale.
    assert count.n_clusters == round(np.exp((5 * np.log(8) + np.log(32)) / 6))
    assert count.evidence["mixture"] == pytest.approx(32, abs=1)
    heavier = _combined(curves, EVEN | {"mixture": 50.0}, grid, is_one_cloud=False)
    assert heavier.n_clusters > 25


def test_the_interval_leaves_out_a_tenth_at_either_end():
    grid = _grid(3_000)
    curves = {name: peak(20, grid) for name in NAMES}
    count = _combined(curves, dict.fromkeys(NAMES, 2.0), grid, is_one_cloud=False)
    # Six parabolas of weight two: a normal distribution of the logarithm, of variance 1/24.
    tail = 1.2816 / np.sqrt(24)
    assert count.low == pytest.approx(20 * np.exp(-tail), abs=1.5)
    assert count.high == pytest.approx(20 * np.exp(tail), abs=1.5)


def test_who_contradicts_is_named():
    agreed = _message(10, 8, 12, {"communities": 10, "merging": 12, "mixture": 8})
    assert agreed == "About 10 clusters, between 8 and 12 in four cases of five; the criteria agree."
    split = _message(10, 8, 12, {"communities": 10, "merging": 43, "mixture": 3})
    assert "Not all criteria agree: mixture 3, merging 43." in split


def test_a_curve_is_read_between_its_counts_on_a_logarithmic_scale():
    curve = Curve(np.array([2.0, 8.0]), np.array([0.0, 1.0]))
    np.testing.assert_allclose(curve.at(np.array([1.0, 2.0, 4.0, 8.0, 99.0])), [0, 0, 0.5, 1, 1])
    assert curve.pick == 8
    assert _curve([], []).pick == 2


def test_fragments_are_not_counted():
    labels = np.repeat([0, 1, 2, 3], [40, 40, 4, 8])
    assert Cut(1.0, labels).count == 3  # a quarter of the mean size is 5.75, and five rows are the least


def test_criteria_see_the_clusters_there_are():
    criteria = Criteria(blobs(6, n=600), seed=0)
    grid = _grid(600)
    picks = {
        "communities": criteria.plateau(grid).pick, "density": criteria.density().pick,
        "mixture": criteria.mixture(grid).pick, "stability": criteria.stability().pick,
        "separation": criteria.separation().pick,
    }  # fmt: skip
    assert picks == dict.fromkeys(picks, 6)
    assert not criteria.look_like_one_cloud()
