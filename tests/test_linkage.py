"""Graph degree linkage, and the fine communities it begins with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.datasets import make_moons

from holdfast.graph import (
    Neighbours,
    can_link,
    closeness_graph,
    fine_communities,
    jaccard_graph,
    linkage_at,
    nearest_neighbours,
)
from holdfast.metrics import ari


def affinity(weights, one, other):
    """The published formula, pair by pair, for the test alone."""
    total = 0.0
    for near, far in ((one, other), (other, one)):
        shares = [weights[np.ix_(near, [i])].sum() * weights[np.ix_([i], near)].sum() for i in far]
        total += sum(shares) / len(near) ** 2
    return total


def merged_by_the_formula(weights, groups, n_clusters):
    clusters = [np.flatnonzero(groups == g) for g in range(groups.max() + 1)]
    while len(clusters) > n_clusters:
        pairs = [(i, j) for i in range(len(clusters)) for j in range(i + 1, len(clusters))]
        i, j = max(pairs, key=lambda pair: affinity(weights, clusters[pair[0]], clusters[pair[1]]))
        clusters[i] = np.concatenate([clusters[i], clusters.pop(j)])
    labels = np.empty(len(groups), dtype=int)
    for number, members in enumerate(clusters):
        labels[members] = number
    return labels


@given(st.integers(0, 10_000), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_every_merge_is_the_one_the_formula_asks_for(seed, n_clusters):
    rng = np.random.default_rng(seed)
    weights = rng.random((12, 12)) ** 3
    np.fill_diagonal(weights, 0)
    groups = np.unique(rng.integers(0, 7, 12), return_inverse=True)[1]
    n_clusters = min(n_clusters, groups.max() + 1)
    found = linkage_at(sparse.csr_matrix(weights.astype(np.float32)), groups, n_clusters)
    assert found.max() + 1 == n_clusters
    assert ari(merged_by_the_formula(weights, groups, n_clusters), found) == pytest.approx(1)


def test_crescents_that_no_centres_could_tell_apart():
    X, y = make_moons(400, noise=0.05, random_state=0)
    rows = np.column_stack([X - X.mean(0), np.full(len(X), 2.0)]).astype(np.float32)
    neighbours = nearest_neighbours(rows, 10)
    groups = fine_communities(jaccard_graph(neighbours), 40, None)
    assert ari(y, linkage_at(closeness_graph(neighbours), groups, 2)) == 1


def test_groups_without_any_tie_are_merged_by_size():
    weights = sparse.csr_matrix((6, 6), dtype=np.float32)
    groups = np.array([0, 0, 0, 1, 1, 2])
    np.testing.assert_array_equal(linkage_at(weights, groups, 2), [0, 0, 0, 1, 1, 1])


def test_what_is_given_is_left_alone():
    X, _ = make_moons(100, noise=0.05, random_state=0)
    graph = jaccard_graph(nearest_neighbours(X.astype(np.float32) + 5, 8))
    groups = fine_communities(graph, 20, None)
    before, data = groups.copy(), graph.data.copy()
    linkage_at(graph, groups, 3)
    np.testing.assert_array_equal(groups, before)
    np.testing.assert_array_equal(graph.data, data)


def test_closeness_is_one_for_equal_rows_and_falls_with_distance():
    neighbours = Neighbours(np.array([[1], [0], [1]]), np.array([[1.0], [1.0], [0.5]], dtype=np.float32))
    graph = closeness_graph(neighbours)
    variance = 1 / 3  # squared distances 0, 0 and 1
    np.testing.assert_allclose(
        graph.toarray(), [[0, 1, 0], [1, 0, 0], [0, np.exp(-1 / variance), 0]], rtol=1e-6
    )


@pytest.mark.parametrize("wanted", [1, 5, 50])
def test_fine_communities_are_at_least_as_many_as_asked_for(wanted, digits):
    graph = jaccard_graph(nearest_neighbours(digits.X[:300], 10))
    labels = fine_communities(graph, wanted, 0)
    assert labels.max() + 1 >= wanted
    assert len(np.unique(labels)) == labels.max() + 1


def test_rows_stand_alone_where_no_resolution_is_fine_enough():
    complete = sparse.csr_matrix(np.ones((4, 4), dtype=np.float32) - np.eye(4, dtype=np.float32))
    assert fine_communities(complete, 5, None).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("n", "groups", "clusters", "can"),
    [(100, 10, 10, True), (100, 10, 11, False), (4_096, 4_096, 2, True), (4_097, 4_097, 2, False),
     (100_000, 2_000, 1_000, False), (20_000, 2_000, 100, True)],
)  # fmt: skip
def test_linkage_knows_its_limits(n, groups, clusters, can):
    assert can_link(np.arange(n) % groups, clusters) is can
