"""The label-free score: worked by hand, compared with loops, and in the order that truth asks for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.evidence import ENTROPY_WEIGHT, Evidence, evidence, neighbourhood_size
from holdfast.graph import Neighbours, nearest_neighbours

seeds = st.integers(0, 2**32 - 1)


def lists(*rows):
    indices = np.array(rows)
    return Neighbours(indices, np.zeros(indices.shape, dtype=np.float32))


TWO_PAIRS = lists([1], [0], [3], [2])


@pytest.mark.parametrize(
    ("labels", "k", "agreement", "entropy"),
    [
        ([0, 0, 1, 1], 2, 1.0, 1.0),
        # half the pairs agree, chance is .75^2 + .25^2 = .625
        ([0, 0, 0, 1], 2, (0.5 - 0.625) / 0.375, (0.75 * math.log(4 / 3) + 0.25 * math.log(4)) / math.log(2)),
        ([0, 1, 0, 1], 2, -1.0, 1.0),  # none agrees, chance is a half
        ([0, 0, 1, 1], 4, 1.0, 0.5),  # two of four clusters used: ln 2 / ln 4
        ([0, 0, 0, 0], 2, 0.0, 0.0),  # everything in one: no better than chance, no spread
        ([0, 0, 0, 0], 1, 0.0, 1.0),  # one was asked for
        ([0, 0, -1, -1], 2, (0.5 - 0.25) / 0.75, 0.0),  # noise agrees with nothing and spreads nothing
        ([0, 1, -1, -1], 2, -1 / 7, 0.5),  # half of the rows, evenly spread
        ([-1, -1, -1, -1], 2, 0.0, 0.0),
    ],
)
def test_by_hand(labels, k, agreement, entropy):
    found = evidence(np.array(labels), TWO_PAIRS, k)
    assert found.agreement == pytest.approx(agreement, abs=1e-12)
    assert found.entropy == pytest.approx(entropy, abs=1e-12)
    assert found.value == pytest.approx(agreement + 1.25 * entropy, abs=1e-12)


@given(seeds, st.integers(2, 40), st.integers(1, 6))
def test_agrees_with_loops(seed, n, k):
    rng = np.random.default_rng(seed)
    labels, neighbours = rng.integers(-1, k, n), nearest_neighbours(rng.normal(size=(n, 3)), 4)
    pairs = [(i, j) for i in range(n) for j in neighbours.indices[i]]
    together = sum(labels[i] == labels[j] != -1 for i, j in pairs) / len(pairs)
    sizes = [np.mean(labels == j) for j in range(k)]
    chance = sum(s * s for s in sizes)
    found = evidence(labels, neighbours, k)
    assert found.agreement == pytest.approx((together - chance) / (1 - chance) if chance < 1 else 0)
    if k > 1 and sum(sizes) > 0:
        among = [size / sum(sizes) for size in sizes if size]
        assert found.entropy == pytest.approx(-sum(sizes) * sum(s * math.log(s) for s in among) / math.log(k))
    assert found.agreement <= 1
    assert -1e-12 <= found.entropy <= 1 + 1e-12
    assert found.value <= 1 + ENTROPY_WEIGHT + 1e-12


@given(seeds)
def test_names_of_clusters_and_order_of_rows_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    X, labels = rng.normal(size=(40, 5)), rng.integers(0, 4, 40)
    rows, names = rng.permutation(40), rng.permutation(4)
    expected = evidence(labels, nearest_neighbours(X, 5), 4)
    found = evidence(names[labels][rows], nearest_neighbours(X[rows], 5), 4)
    assert found.value == pytest.approx(expected.value, abs=1e-9)


def test_chance_scores_zero_whatever_the_sizes():
    rng = np.random.default_rng(0)
    neighbours = nearest_neighbours(rng.normal(size=(2_000, 8)), 15)
    for shares in ([0.5, 0.5], [0.9, 0.1], [0.2] * 5, [0.7, 0.1, 0.1, 0.1]):
        scores = [
            evidence(rng.choice(len(shares), 2_000, p=shares), neighbours, len(shares)).agreement
            for _ in range(5)
        ]
        assert abs(np.mean(scores)) < 0.02


def test_more_damage_means_less_evidence(digits):
    neighbours = nearest_neighbours(digits.X, 15)
    rng = np.random.default_rng(0)
    scores = []
    for share in (0, 0.05, 0.1, 0.2, 0.4, 1):
        labels = digits.y.copy()
        hit = rng.permutation(len(labels))[: int(share * len(labels))]
        labels[hit] = rng.integers(0, 10, len(hit))
        scores.append(evidence(labels, neighbours, 10).value)
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 2.1
    assert scores[-1] < ENTROPY_WEIGHT + 0.02


def test_merging_two_digits_and_splitting_a_third_is_no_gain(digits):
    neighbours = nearest_neighbours(digits.X, 15)
    wrong = np.where(digits.y == 9, 3, digits.y)
    zeros = np.flatnonzero(digits.y == 0)
    wrong[zeros[digits.X[zeros].sum(axis=1) > np.median(digits.X[zeros].sum(axis=1))]] = 9
    assert evidence(wrong, neighbours, 10) < evidence(digits.y, neighbours, 10)


def test_evidences_compare_by_value():
    assert Evidence(2.0, 0.75, 1.0) > Evidence(1.9, 0.9, 0.8)
    assert max([Evidence(1.0, 0.5, 0.4), Evidence(1.5, 0.5, 0.8)]).value == 1.5


@pytest.mark.parametrize(
    ("n_rows", "n_clusters", "expected"),
    [
        (1_000, 10, 15),
        (300, 10, 15),
        (280, 10, 14),
        (100, 10, 5),
        (40, 10, 2),
        (10, 10, 2),
        (2, 1, 2),
        (50, 0, 15),
    ],
)
def test_neighbours_asked_for_stay_below_half_a_cluster(n_rows, n_clusters, expected):
    assert neighbourhood_size(n_rows, n_clusters) == expected
    assert isinstance(neighbourhood_size(n_rows, n_clusters), int)
