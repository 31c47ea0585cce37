"""Graphs of many rows: neighbours of measured recall, k-means on a sample, cuts shared between sizes."""

import importlib
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_blobs

from holdfast.graph import (
    communities_at,
    jaccard_graph,
    kmeans_from,
    kmeans_on_sample,
    nearest_neighbours,
)
from holdfast.metrics import ari

neighbours = importlib.import_module("holdfast.graph.neighbours")
cuts = importlib.import_module("holdfast.graph.communities")

seeds = st.integers(0, 2**32 - 1)
N, K = 1_600, 10  # enough rows that faiss finds its lists without a warning


def drawn(seed=0, n=N, d=24, rank=None):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d)) if rank else rng.normal(size=(n, d))
    return X.astype(np.float32)


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch):
    monkeypatch.setattr(neighbours, "_EXACT_UP_TO", 100)


@pytest.fixture(params=["all with all by torch", "all with all by faiss", "lists"])
def path(request, monkeypatch):
    """Find candidates by each of the three ways."""
    if request.param == "all with all by torch":
        monkeypatch.setattr(neighbours.util, "find_spec", lambda name: None)
    else:
        pytest.importorskip("faiss")
    if request.param == "lists":
        monkeypatch.setattr(neighbours, "_FLAT_UP_TO", 200)
    return request.param


def brute_force(X, k):
    """Cosines between all rows, -inf with itself, and of each row's true k-th neighbour; in double."""
    X = np.asarray(X, dtype=np.float64)
    lengths = np.linalg.norm(X, axis=1, keepdims=True)
    unit = np.divide(X, lengths, out=np.zeros_like(X), where=lengths > 0)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines, -np.partition(-cosines, k - 1, axis=1)[:, k - 1 : k]


def check(X, k, found):
    """Whatever the recall, what was found is what it says it is."""
    cosines, kth = brute_force(X, k)
    assert found.indices.shape == found.similarities.shape == (len(X), k)
    assert found.indices.min() >= 0
    assert found.indices.max() < len(X)
    assert not (found.indices == np.arange(len(X))[:, None]).any(), "itself"
    assert all(len(set(row)) == k for row in found.indices.tolist()), "one of them twice"
    np.testing.assert_allclose(
        found.similarities, np.take_along_axis(cosines, found.indices, axis=1), rtol=0, atol=1e-5
    )
    assert (np.diff(found.similarities, axis=1) <= 1e-6).all(), "closest first"
    return found.similarities >= kth - 1e-6


# --- neighbours ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [24, 128, 200])
def test_the_recall_told_is_the_recall_there_is(path, d):
    X = drawn(d=d)
    found = nearest_neighbours(X, K)
    right = check(X, K, found)
    probe = np.linspace(0, N - 1, 256).astype(int)
    assert found.recall == pytest.approx(right[probe].mean(), abs=1e-3)
    assert found.recall == pytest.approx(right.mean(), abs=0.02)
    assert found.recall > 0.9
    if d <= 128 and path != "lists":
        assert found.recall == 1
        assert right.all()


def test_rows_of_low_rank_lose_nothing_on_their_leading_directions(path):
    X = drawn(d=300, rank=6)
    found = nearest_neighbours(X, K)
    assert check(X, K, found).mean() > (0.95 if path == "lists" else 0.9999)


@pytest.mark.parametrize("d", [24, 200])
@pytest.mark.parametrize("times", [500, 20])
def test_rows_that_repeat_are_each_others_neighbours(path, d, times):
    X = np.repeat(drawn(n=2_000 // times, d=d), times, axis=0)[np.random.default_rng(0).permutation(2_000)]
    found = nearest_neighbours(X, K)
    assert check(X, K, found).all()
    assert found.recall == 1
    np.testing.assert_allclose(found.similarities, 1, atol=1e-5)


@pytest.mark.parametrize("d", [24, 200])
@pytest.mark.parametrize("apart", [0.1, 2.0])
def test_few_rows_beside_many_equal_ones_find_neighbours_all_the_same(path, d, apart):
    """The lists near such a row are empty: whatever is in them went to the one of the equal rows."""
    rng = np.random.default_rng(0)
    equal = rng.normal(size=(1, d))
    X = np.concatenate([np.repeat(equal, N - 30, axis=0), equal + rng.normal(size=(30, d)) * apart])
    found = nearest_neighbours(X.astype(np.float32), K)
    check(X.astype(np.float32), K, found)
    jaccard_graph(found)


@pytest.mark.parametrize("d", [24, 200])
@pytest.mark.parametrize("k", [159, 160, 10_000])
def test_all_others_can_be_asked_for(path, d, k):
    X = drawn(n=160, d=d)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = nearest_neighbours(X, k)
    assert check(X, 159, found).all()
    assert found.recall == 1


@pytest.mark.parametrize("d", [24, 200])
def test_rows_of_zeros_are_similar_to_nothing(path, d):
    X = drawn(d=d)
    X[::3] = 0
    found = nearest_neighbours(X, K)
    check(X, K, found)
    assert (found.similarities[::3] == 0).all()
    assert (found.similarities[1::3] > 0).all()
    assert found.recall > 0.9


@pytest.mark.parametrize("unit", [2.0**-30, 2.0**30])
@pytest.mark.parametrize("d", [24, 200])
def test_the_unit_of_the_rows_does_not_matter(path, d, unit):
    X = drawn(d=d)
    found, scaled = nearest_neighbours(X, K), nearest_neighbours(X * np.float32(unit), K)
    np.testing.assert_array_equal(found.indices, scaled.indices)
    np.testing.assert_allclose(found.similarities, scaled.similarities, rtol=0, atol=1e-6)
    assert found.recall == pytest.approx(scaled.recall, abs=1e-3)


@pytest.mark.parametrize(
    ("d", "dtype"), [(24, "float16"), (200, "float16"), (200, "float32"), (200, "float64"), (24, "uint8")]
)
def test_a_map_of_any_precision_has_the_neighbours_of_the_array(path, d, dtype, tmp_path):
    X = drawn(d=d)
    X = (40 * X + 128).clip(0, 255).astype(dtype) if dtype == "uint8" else X.astype(dtype)
    np.save(tmp_path / "x.npy", X)
    expected = nearest_neighbours(X.astype(np.float32), K)
    for rows in (np.load(tmp_path / "x.npy", mmap_mode="r"), X):
        found = nearest_neighbours(rows, K)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.similarities, expected.similarities)
        assert found.recall == expected.recall
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), X)


def test_the_search_is_widened_until_enough_is_found(monkeypatch):
    """Two of 24 directions tell little: with two candidates for each neighbour most are missed."""
    X, tried = drawn(n=600), []
    monkeypatch.setattr(neighbours, "_DIRECTIONS", 8)
    candidates = neighbours._candidates
    monkeypatch.setattr(
        neighbours, "_candidates", lambda rows, k, effort: (tried.append(k), candidates(rows, k, effort))[1]
    )
    recalls = []
    for efforts in (1, 2, 3):
        monkeypatch.setattr(neighbours, "_EFFORTS", efforts)
        tried.clear()
        recalls.append(nearest_neighbours(X, K).recall)
        assert tried == [2 * K + 1, 4 * K + 1, 8 * K + 1][:efforts]
    assert recalls == sorted(recalls)
    assert recalls[0] < recalls[-1]
    tried.clear()
    monkeypatch.setattr(neighbours, "_ENOUGH_RECALL", recalls[1])
    assert nearest_neighbours(X, K).recall == recalls[1]
    assert len(tried) == 2


@given(seeds, st.integers(101, 300), st.sampled_from([2, 17, 140]), st.integers(1, 20))
@settings(max_examples=20)
def test_whatever_the_rows_what_is_found_is_true(seed, n, d, k):
    rng = np.random.default_rng(seed)
    X = drawn(seed, n, d)[rng.integers(0, rng.integers(1, n), n)]  # some repeat
    X[rng.random(n) < 0.1] = 0
    check(X, k, nearest_neighbours(X, k))


# --- k-means ------------------------------------------------------------------------------------------------


def nearest(X, centres):
    return ((X[:, None].astype(np.float64) - centres) ** 2).sum(axis=2).argmin(axis=1)


@pytest.mark.parametrize("size", [200, 10_000])
def test_every_row_gets_the_nearest_centre_of_the_sample(size):
    X = drawn(n=900, d=8)
    labels, centres = kmeans_on_sample(X, 7, sample_size=size, seed=3)
    assert centres.shape == (7, 8)
    np.testing.assert_array_equal(labels, nearest(X, centres))
    again, same_centres = kmeans_on_sample(X, 7, sample_size=size, seed=3)
    np.testing.assert_array_equal(labels, again)
    np.testing.assert_array_equal(centres, same_centres)
    assert (kmeans_on_sample(X, 7, sample_size=size, seed=4)[1] != centres).any()


def test_few_rows_are_no_sample():
    X = drawn(n=300, d=5)
    expected = kmeans_on_sample(X, 4, sample_size=300, seed=1)
    for size in (301, 10**9):
        for found, wanted in zip(kmeans_on_sample(X, 4, sample_size=size, seed=1), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert (kmeans_on_sample(X, 4, sample_size=299, seed=1)[1] != expected[1]).any()
    means = np.stack([X[expected[0] == j].mean(axis=0) for j in range(4)])
    np.testing.assert_allclose(expected[1], means, atol=0.05)  # of all rows


def test_a_sample_tells_far_blobs():
    X, y = make_blobs(2_000, n_features=6, centers=8, cluster_std=0.2, random_state=0)
    found = [
        kmeans_on_sample(X.astype(np.float32), 8, sample_size=200, seed=s)[0] for s in range(5)
    ]  # one start each may put two centres into one blob
    assert max(ari(y, labels) for labels in found) == 1


def test_kmeans_goes_on_from_given_centres():
    X, y = make_blobs(500, n_features=6, centers=5, cluster_std=0.5, random_state=0)
    X = X.astype(np.float32)
    centres = np.stack([X[y == j][:2].mean(axis=0) for j in (3, 1, 0, 4, 2)])
    before = centres.copy()
    labels = kmeans_from(X, centres)
    np.testing.assert_array_equal(centres, before)
    np.testing.assert_array_equal(np.array([3, 1, 0, 4, 2])[labels], y)
    assert labels.dtype == np.int64
    means = np.stack([X[labels == j].mean(axis=0) for j in range(5)])
    np.testing.assert_array_equal(labels, nearest(X, means))


@given(seeds)
@settings(max_examples=10)
def test_going_on_never_makes_the_partition_worse(seed):
    X = drawn(seed, 200, 3)
    labels, centres = kmeans_on_sample(X, 5, sample_size=40, seed=0)

    def inertia(labels):
        return sum(((X[labels == j] - X[labels == j].mean(axis=0)) ** 2).sum() for j in set(labels.tolist()))

    assert inertia(kmeans_from(X, centres)) <= inertia(labels) * (1 + 1e-6)


# --- communities --------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch):
    """The (resolution, seed) of every run of Louvain."""
    made, communities = [], cuts.communities

    def counted(graph, resolution, seed):
        made.append((resolution, seed))
        return communities(graph, resolution, seed)

    monkeypatch.setattr(cuts, "communities", counted)
    return made


@pytest.mark.parametrize("k", [2, 7, 20])
def test_every_order_and_share_has_its_partition_of_the_right_count(calls, k, digits):
    graph = jaccard_graph(nearest_neighbours(digits.X[:500], 10))
    shares = (0.25, 0.1, 0.2)
    together = communities_at(graph, k, useful_shares=shares, orders=range(5, 5 + 3))
    assert len(together) == 3 * len(shares)
    for labels in together:
        assert labels.shape == (500,)
        assert set(labels) == set(range(k))
    assert len(calls) == len(set(calls)), "a cut was made twice"
    assert {seed for _, seed in calls} == {5, 6, 7}
    mine = len(calls)
    calls.clear()
    for share in shares:
        apart = communities_at(graph, k, useful_shares=(share,), orders=range(5, 5 + 3))
        assert len(apart) == 3
        assert all(set(labels) == set(range(k)) for labels in apart)
    assert mine <= len(calls)


def test_one_share_and_order_are_a_separate_call(digits):
    graph = jaccard_graph(nearest_neighbours(digits.X[:500], 10))
    (alone,) = communities_at(graph, 10, useful_shares=(0.25,))
    together = communities_at(graph, 10, useful_shares=(0.25, 0.1), orders=range(2))
    np.testing.assert_array_equal(alone, together[0])


def test_a_second_share_that_is_content_costs_no_cut(calls, digits):
    graph = jaccard_graph(nearest_neighbours(digits.X[:500], 10))
    communities_at(graph, 10, useful_shares=(0.25,))
    once = len(calls)
    calls.clear()
    communities_at(graph, 10, useful_shares=(0.25, 0.25, 0.25))
    assert len(calls) == once
