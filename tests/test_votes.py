"""Votes: what partitions agree on, on neighbour pairs alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import normalized_mutual_info_score

from holdfast.cluster._members import Member
from holdfast.cluster._votes import Panel
from holdfast.evidence import structure
from holdfast.functional.matching import contingency
from holdfast.functional.mutual import (
    mutual_information_loss,
    normalised_mutual_information,
    pair_weights,
)
from holdfast.graph import agreement_graph, jaccard_graph, nearest_neighbours, neighbour_pairs
from holdfast.metrics import ari

partitions = st.lists(st.integers(0, 4), min_size=2, max_size=40)


@given(partitions, st.integers(0, 1000))
def test_mutual_information_is_scikit_learns(labels, seed):
    one = np.array(labels)
    other = np.random.default_rng(seed).integers(0, 3, len(one))
    found = normalised_mutual_information(contingency(one, other, (5, 3)))
    if len(set(one)) == len(set(other)) == 1:
        assert found == 1
    else:
        assert found == pytest.approx(normalized_mutual_info_score(one, other), abs=1e-9)


@given(partitions, st.integers(0, 1000))
def test_structure_is_modularity_and_entropy(labels, seed):
    labels = np.array(labels)
    n, rng = len(labels), np.random.default_rng(seed)
    dense = np.triu(rng.random((n, n)) * (rng.random((n, n)) < 0.4), 1).astype(np.float32)
    dense += dense.T
    found = structure(labels, sparse.csr_matrix(dense), 5)
    total = dense.sum(dtype=np.float64)
    same = labels[:, None] == labels[None]
    degree = dense.sum(1, dtype=np.float64)
    chance = sum((degree[labels == c].sum() / total) ** 2 for c in range(5)) if total else 1.0
    within = (dense * same).sum() / total if total else 0.0
    modularity = (within - chance) / (1 - chance) if chance < 1 - 1e-12 else 0.0
    share = np.bincount(labels, minlength=5) / n
    entropy = -sum(s * np.log(s) for s in share if s) / np.log(5)
    assert found.agreement == pytest.approx(modularity, abs=1e-6)
    assert found.entropy == pytest.approx(entropy, abs=1e-9)
    assert found.value == pytest.approx(modularity + 0.5 * entropy, abs=1e-6)


def test_noise_adds_no_structure():
    graph = jaccard_graph(nearest_neighbours(np.random.default_rng(0).normal(size=(60, 20)), 5))
    labels = np.arange(60) % 3
    noisy = np.where(np.arange(60) < 30, labels, -1)
    assert structure(noisy, graph, 3).value < structure(labels, graph, 3).value
    assert structure(np.full(60, -1), graph, 3).agreement == 0


def test_votes_are_counted_by_weight_on_the_pairs_alone():
    pairs = np.array([0, 0, 1]), np.array([1, 2, 3])
    votes = [np.array([0, 0, 1, 0]), np.array([0, 1, 0, 1]), np.array([-1, -1, 0, 0])]
    graph = agreement_graph(votes, np.array([2.0, 1.0, 1.0]), pairs).toarray()
    expected = np.zeros((4, 4))
    expected[0, 1], expected[0, 2], expected[1, 3] = 0.5, 0.25, 0.75
    np.testing.assert_allclose(graph, expected + expected.T)


def test_faint_agreement_is_dropped():
    pairs = np.array([0]), np.array([1])
    graph = agreement_graph([np.array([0, 0]), np.array([0, 1])], np.array([1.0, 99.0]), pairs)
    assert graph.nnz == 0


def test_pairs_are_those_of_any_neighbourhood_once():
    rng = np.random.default_rng(0)
    views = [nearest_neighbours(rng.normal(size=(30, 20)).astype(np.float32), 4) for _ in range(2)]
    first, second = neighbour_pairs(views)
    wanted = {tuple(sorted((i, int(j)))) for v in views for i, row in enumerate(v.indices) for j in row}
    assert {*zip(first.tolist(), second.tolist(), strict=True)} == wanted
    assert len(first) == len(wanted)


def blobs(n=300, k=5, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    X = rng.normal(size=(k, 24))[y] * 2 + rng.normal(size=(n, 24))
    return X.astype(np.float32), y


def spoiled(y, share, seed, k=5):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(y)) < share, rng.integers(0, k, len(y)), y)


def test_members_mend_each_others_mistakes():
    X, y = blobs()
    neighbours = nearest_neighbours(X, 15)
    members = [Member("kind", str(seed), spoiled(y, 0.3, seed)) for seed in range(15)]
    verdict = Panel(members, jaccard_graph(neighbours.first(5)), 5).settle(neighbour_pairs([neighbours]))
    assert verdict.name != "best member"
    assert ari(y, verdict.labels) > 0.98 > 0.6 > max(ari(y, member.labels) for member in members)


def test_members_that_are_wrong_in_the_same_way_do_not_carry_the_vote():
    X, y = blobs()
    neighbours = nearest_neighbours(X, 15)
    wrong = np.random.default_rng(7).integers(0, 5, len(y))
    members = [Member("right", str(seed), spoiled(y, 0.1, seed)) for seed in range(5)]
    members += [Member("wrong", str(seed), spoiled(wrong, 0.05, seed)) for seed in range(10)]
    panel = Panel(members, jaccard_graph(neighbours.first(5)), 5)
    verdict = panel.settle(neighbour_pairs([neighbours]))
    assert ari(y, verdict.labels) > 0.95
    assert verdict.weights[5:].sum() < 0.05


def test_a_panel_of_one_returns_it():
    X, y = blobs(60)
    neighbours = nearest_neighbours(X, 5)
    verdict = Panel([Member("only", "one", y)], jaccard_graph(neighbours), 5).settle(
        neighbour_pairs([neighbours])
    )
    assert ari(y, verdict.labels) > 0.9


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100), st.sampled_from([0.6, 0.8, 1.0]))
def test_the_loss_of_heads_is_the_published_one(seed, beta):
    generator = torch.Generator().manual_seed(seed)
    student, taught, other = (
        torch.softmax(torch.randn(6, 2, 3, generator=generator), dim=2) for _ in range(3)
    )
    prior, weights = taught.mean(0), pair_weights(taught.log(), other.log())
    expected = 0.0
    for n in range(6):
        weight = sum(float((taught[n, h] * other[n, h]).sum()) for h in range(2)) / 2
        for h in range(2):
            inner = sum(
                float(student[n, h, c] * other[n, h, c]) ** beta / float(prior[h, c]) for c in range(3)
            )
            expected -= weight * np.log(inner) / 12
    assert float(mutual_information_loss(student.log(), other.log(), prior, weights, beta)) == pytest.approx(
        expected, rel=1e-4
    )
