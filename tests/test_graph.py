"""Neighbours, Jaccard weights, communities and k-means, against drawn graphs, loops and scikit-learn."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.neighbors import NearestNeighbors

from holdfast.graph import (
    Neighbours,
    adjacency,
    communities,
    communities_at,
    jaccard_graph,
    kmeans,
    nearest_neighbours,
    random_walk,
    unit_rows,
)
from holdfast.graph import neighbours as neighbours_module
from holdfast.metrics import ari

seeds = st.integers(0, 2**32 - 1)


def drawn(seed, n, d):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def lists(*rows):
    indices = np.array(rows)
    return Neighbours(indices, np.zeros(indices.shape, dtype=np.float32))


@pytest.fixture(params=["faiss", "torch", "torch in small blocks"])
def path(request, monkeypatch):
    """Answer by each of the two ways, the second also in blocks of a few rows."""
    if request.param == "faiss":
        pytest.importorskip("faiss")
    else:
        monkeypatch.setattr(neighbours_module.util, "find_spec", lambda name: None)
    if request.param.endswith("blocks"):
        monkeypatch.setattr(neighbours_module, "_BLOCK_ENTRIES", 1_000)
    return request.param


# --- neighbours ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d", "k"), [(300, 20, 15), (40, 3, 39), (5, 64, 2), (2, 4, 1)])
def test_neighbours_are_scikit_learns(path, n, d, k):
    X = drawn(n, n, d)
    found = nearest_neighbours(X, k)
    distances, expected = NearestNeighbors(n_neighbors=k, metric="cosine").fit(X).kneighbors()
    assert found.k == k
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_allclose(found.similarities, 1 - distances, atol=1e-5)
    assert found.indices.dtype == np.int64
    assert found.similarities.dtype == np.float32


def test_neighbours_by_hand(path):
    angles = np.deg2rad([0, 10, 30, 90])
    X = np.c_[np.cos(angles), np.sin(angles)] * np.array([[1], [50], [0.01], [3]])
    found = nearest_neighbours(X, 2)
    assert found.indices.tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    expected = np.cos(np.deg2rad([[10, 30], [10, 20], [20, 30], [60, 80]]))
    np.testing.assert_allclose(found.similarities, expected, atol=1e-6)


def test_no_row_is_its_own_neighbour_however_often_it_repeats(path):
    X = np.repeat(drawn(0, 4, 8), 30, axis=0)
    found = nearest_neighbours(X, 10)
    own = np.arange(len(X))[:, None]
    assert not (found.indices == own).any()
    assert (found.indices // 30 == own // 30).all()
    np.testing.assert_allclose(found.similarities, 1, atol=1e-6)
    assert all(len(set(row)) == 10 for row in found.indices.tolist())


def test_there_are_at_most_n_less_one_neighbours(path):
    assert nearest_neighbours(drawn(0, 4, 3), 100).indices.shape == (4, 3)


def test_rows_of_zeros_are_similar_to_nothing(path):
    X = drawn(0, 6, 5)
    X[2] = 0
    found = nearest_neighbours(X, 3)
    assert np.isfinite(found.similarities).all()
    assert (found.similarities[2] == 0).all()


@given(seeds, st.floats(1e-5, 1e5))
def test_neighbours_ignore_lengths(seed, factor):
    X = drawn(seed, 30, 6)
    lengths = np.random.default_rng(seed).uniform(0.1, 10, (30, 1))
    expected = nearest_neighbours(X, 5)
    found = nearest_neighbours(X * lengths * factor, 5)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.similarities, expected.similarities, atol=1e-5)


@given(seeds)
def test_neighbours_follow_a_permutation_of_rows(seed):
    X = drawn(seed, 30, 6)
    order = np.random.default_rng(seed).permutation(30)
    np.testing.assert_array_equal(
        order[nearest_neighbours(X[order], 5).indices], nearest_neighbours(X, 5).indices[order]
    )


def test_the_first_neighbours_are_the_closest():
    found = nearest_neighbours(drawn(0, 50, 6), 9)
    assert (np.diff(found.similarities, axis=1) <= 0).all()
    fewer = nearest_neighbours(drawn(0, 50, 6), 4)
    np.testing.assert_array_equal(found.first(4).indices, fewer.indices)
    assert found.first(99).k == 9


def test_the_rows_given_are_not_touched(path):
    X = drawn(0, 40, 6)
    before = X.copy()
    nearest_neighbours(X, 5)
    unit_rows(X)
    np.testing.assert_array_equal(X, before)


def test_unit_rows():
    rows = unit_rows(np.array([[3, 4], [0, 0], [-2, 0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [-1, 0]], rtol=1e-6)
    assert rows.dtype == np.float32


# --- weights ------------------------------------------------------------------------------------------------


def test_jaccard_weights_of_a_drawn_graph():
    # 0 <-> 1 <- 2 <- 3; neighbourhoods with their own row: {0,1} {0,1} {1,2} {2,3}
    graph = jaccard_graph(lists([1], [0], [1], [2]))
    expected = [[0, 1, 0, 0], [1, 0, 1 / 3, 0], [0, 1 / 3, 0, 1 / 3], [0, 0, 1 / 3, 0]]
    np.testing.assert_allclose(graph.toarray(), expected, rtol=1e-6)
    assert graph.dtype == np.float32


def test_adjacency_of_a_drawn_graph():
    matrix = adjacency(lists([2, 1], [0, 2], [3, 0], [0, 1]))
    assert matrix.toarray().tolist() == [[0, 1, 1, 0], [1, 0, 1, 0], [1, 0, 0, 1], [1, 1, 0, 0]]


@given(seeds, st.integers(2, 25), st.integers(1, 6))
def test_jaccard_weights_agree_with_sets(seed, n, k):
    neighbours = nearest_neighbours(drawn(seed, n, 3), k)
    hoods = [{i, *row} for i, row in enumerate(neighbours.indices.tolist())]
    expected = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j and (j in hoods[i] or i in hoods[j]):
                expected[i, j] = len(hoods[i] & hoods[j]) / len(hoods[i] | hoods[j])
    np.testing.assert_allclose(jaccard_graph(neighbours).toarray(), expected, rtol=1e-6)


def test_a_random_walk_leaves_every_row_with_certainty():
    graph = sparse.csr_matrix(np.array([[0, 3, 1], [3, 0, 0], [1, 0, 0]], dtype=np.float32))
    walk = random_walk(graph).toarray()
    np.testing.assert_allclose(walk, [[0, 0.75, 0.25], [1, 0, 0], [1, 0, 0]], rtol=1e-6)


# --- communities --------------------------------------------------------------------------------------------


def cliques(*sizes, bridge=0.0, within=1.0):
    """Disjoint cliques in a row, each joined to the next by one edge."""
    n, start = sum(sizes), 0
    weights, labels = np.zeros((n, n)), np.repeat(np.arange(len(sizes)), sizes)
    weights[labels[:, None] == labels] = within
    for size in sizes[:-1]:
        start += size
        weights[start - 1, start] = weights[start, start - 1] = bridge
    np.fill_diagonal(weights, 0)
    return sparse.csr_matrix(weights.astype(np.float32)), labels


@pytest.mark.parametrize("sizes", [(8, 8), (5, 7, 9), (10,) * 6, (30, 10, 5)])
def test_cliques_are_found_at_their_number(sizes):
    graph, truth = cliques(*sizes, bridge=0.5)
    for labels in communities_at(graph, len(sizes), orders=range(4)):
        assert ari(truth, labels) == 1


def test_fewer_communities_than_cliques_merge_the_best_connected():
    # Four cliques; the bridges 0-1 and 2-3 are heavy, 1-2 is light.
    graph, truth = cliques(6, 6, 6, 6, bridge=5.0)
    weights = graph.toarray()
    weights[11, 12] = weights[12, 11] = 0.01
    (labels,) = communities_at(sparse.csr_matrix(weights), 2)
    assert ari(truth // 2, labels) == 1


def test_components_that_nothing_connects_can_still_be_merged_down():
    graph, truth = cliques(6, 6, 6)
    (labels,) = communities_at(graph, 2)
    assert set(labels) == {0, 1}
    assert all(len(set(labels[truth == c])) == 1 for c in range(3))


def test_fragments_join_what_they_are_connected_to():
    # A pair hangs on the second of two large cliques: too small to be a cluster.
    graph, truth = cliques(20, 20, 2, bridge=0.3)
    (labels,) = communities_at(graph, 2)
    assert ari(np.minimum(truth, 1), labels) == 1


@given(seeds, st.integers(1, 12))
def test_communities_are_numbered_from_zero_and_never_too_many(seed, k):
    graph = jaccard_graph(nearest_neighbours(drawn(seed, 40, 4), 4))
    first, second = communities_at(graph, k, orders=range(seed % 1000, seed % 1000 + 2))
    for labels in (first, second):
        assert labels.shape == (40,)
        assert labels.dtype == np.int64
        assert set(labels) == set(range(labels.max() + 1))
        assert labels.max() + 1 <= k
    again = communities_at(graph, k, orders=range(seed % 1000, seed % 1000 + 2))
    np.testing.assert_array_equal(np.stack(again), np.stack([first, second]))


def test_the_count_asked_for_is_given_on_real_rows(digits):
    graph = jaccard_graph(nearest_neighbours(digits.X, 15))
    for k in (2, 10, 25):
        assert [labels.max() + 1 for labels in communities_at(graph, k, orders=range(2))] == [k, k]


def test_a_higher_resolution_gives_more_communities(digits):
    graph = jaccard_graph(nearest_neighbours(digits.X[:600], 15))
    counts = [communities(graph, resolution, seed=0).max() + 1 for resolution in (0.05, 1.0, 20.0)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_an_order_depends_on_its_seed_alone(digits):
    graph = jaccard_graph(nearest_neighbours(digits.X[:600], 15))
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global one must stay untouched
    first = communities(graph, 1.0, seed=3)
    np.testing.assert_array_equal(first, communities(graph, 1.0, seed=3))
    assert any((communities(graph, 1.0, seed=s) != first).any() for s in range(4, 8))
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_the_graph_given_is_not_touched():
    graph, _ = cliques(6, 6, 3, bridge=0.5)
    before = graph.toarray().copy()
    communities_at(graph, 2)
    np.testing.assert_array_equal(graph.toarray(), before)


# --- k-means ------------------------------------------------------------------------------------------------


def test_kmeans_finds_far_blobs():
    X, y = make_blobs(200, n_features=5, centers=6, cluster_std=0.3, random_state=0)
    assert ari(y, kmeans(X.astype(np.float32), 6)) == 1


def inertia(X, labels):
    return sum(((X[labels == j] - X[labels == j].mean(axis=0)) ** 2).sum() for j in set(labels))


def test_kmeans_keeps_the_best_of_its_restarts():
    X = drawn(1, 150, 4)
    best = inertia(X, kmeans(X, 8, n_init=10, seed=0))
    assert best <= min(inertia(X, kmeans(X, 8, n_init=1, seed=s)) for s in range(3)) * 1.02
    reference = KMeans(8, n_init=10, random_state=0).fit(X)
    assert best == pytest.approx(reference.inertia_, rel=1e-5)


def test_kmeans_is_silent_about_repeated_rows():
    X = np.repeat(drawn(0, 2, 3), 10, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = kmeans(X, 4)
    assert len(set(labels[:10])) == len(set(labels[10:])) == 1
    assert labels[0] != labels[-1]


@pytest.mark.parametrize("groups", [30, 300])
def test_more_separate_groups_than_clusters_are_shared_out_evenly(groups):
    block = np.ones((20, 20), dtype=np.float32) - np.eye(20, dtype=np.float32)
    graph = sparse.block_diag([block] * groups, format="csr")
    (labels,) = communities_at(graph, 10)
    sizes = np.bincount(labels)
    assert len(sizes) == 10
    assert sizes.max() <= 2 * sizes.min()
    assert (np.ptp(labels.reshape(groups, 20), axis=1) == 0).all(), "a group stays together"
