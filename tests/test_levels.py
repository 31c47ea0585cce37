"""The dial from coarse to fine: nested levels from one fit."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import make_blobs

import holdfast as hf
from commands import invoke, succeed_json
from holdfast.cli.present import _levels_line
from holdfast.cluster._levels import grow_levels
from holdfast.exceptions import ParameterError
from holdfast.metrics import ari


@pytest.fixture(scope="module")
def families():
    """Four far clusters of three near ones each: fit 4, and the next levels are 2 and, about, the 12."""
    rng = np.random.default_rng(0)
    far = rng.normal(size=(4, 24)) * 3
    near = far[:, None] + rng.normal(size=(4, 3, 24)) * 0.25
    X, kind = make_blobs(900, centers=near.reshape(12, 24), cluster_std=0.25, random_state=1)
    return X.astype(np.float32), kind


@pytest.fixture(scope="module")
def model(families):
    return hf.ConsensusClustering(4, preset="fast", random_state=0).fit(families[0])


def test_levels_double_from_one_to_the_next(model):
    assert model.levels_ == {-1: 2, 0: 4, 1: 8, 2: 16}


def test_every_level_has_the_clusters_it_says_and_lies_inside_the_coarser_one(model, families):
    X, _ = families
    answers = [model.predict(X, level=level) for level in model.levels_]
    for answer, count in zip(answers, model.levels_.values(), strict=True):
        assert set(answer) == set(range(count))
    for coarse, fine in pairwise(answers):
        assert len(set(zip(coarse, fine, strict=True))) == len(set(fine))
    np.testing.assert_array_equal(model.predict(X, level=0), model.labels_)


def test_finer_levels_find_the_kinds_inside_clusters(model, families):
    X, kind = families
    assert ari(kind // 3, model.labels_) == 1
    assert ari(kind, model.predict(X, level=2)) > 0.6 > ari(kind, model.labels_)


def test_levels_do_not_depend_on_the_order_of_rows(model, families):
    X, _ = families
    order = np.random.default_rng(3).permutation(len(X))
    other = hf.ConsensusClustering(4, preset="fast", random_state=0).fit(X[order])
    for level in model.levels_:
        np.testing.assert_array_equal(other.predict(X, level=level), model.predict(X, level=level))


def test_levels_survive_saving(model, families, tmp_path):
    X, _ = families
    hf.save(model, tmp_path / "model")
    loaded = hf.load(tmp_path / "model")
    assert loaded.levels_ == model.levels_
    for level in model.levels_:
        np.testing.assert_array_equal(loaded.predict(X, level=level), model.predict(X, level=level))


def test_a_row_is_answered_alike_alone(model, families):
    X, _ = families
    together = model.predict(X, level=2)
    np.testing.assert_array_equal(
        np.concatenate([model.predict(row[None], level=2) for row in X[:20]]), together[:20]
    )


def test_known_clusters_are_regrouped_as_rows_are_predicted(model, families):
    X, _ = families
    for level in model.levels_:
        found = model.regroup(X, model.labels_, level)
        np.testing.assert_array_equal(found, model.predict(X, level=level))


def test_abstention_stays_abstention(families):
    X = families[0] + 3 * np.random.default_rng(2).normal(size=families[0].shape).astype(np.float32)
    model = hf.ConsensusClustering(4, preset="fast", random_state=0).fit(X)
    median = float(np.median(model.probabilities_))
    sure = hf.ConsensusClustering(4, preset="fast", min_confidence=median, random_state=0).fit(X)
    left_out = sure.predict(X) < 0
    assert 0 < left_out.sum() < len(X)
    for level in sure.levels_:
        np.testing.assert_array_equal(sure.predict(X, level=level) < 0, left_out)


@pytest.mark.parametrize("level", [7, -9, True, 0.5, "fine"])
def test_a_level_that_is_not_there_is_named(model, families, level):
    with pytest.raises(
        ParameterError, match=r"no level .*; choose one of -1 \(2 clusters\), \+0 \(4 clusters\)"
    ):
        model.predict(families[0], level=level)


def test_a_model_from_before_there_were_levels_says_so(model, families):
    old = hf.ConsensusClustering(4)
    old.module_, old.n_features_in_, old._levels = model.module_, model.n_features_in_, None
    with pytest.raises(ParameterError, match="before there were levels; fit it again"):
        old.predict(families[0], level=1)


@given(
    arrays(np.float32, (60, 3), elements=st.floats(-5, 5, width=32)),
    st.integers(1, 6),
    st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_levels_nest_whatever_the_rows_are(rows, k, seed):
    labels = np.random.default_rng(seed).integers(-1, k, len(rows))
    centres = np.random.default_rng(seed).normal(size=(k, 2))
    levels = grow_levels(rows, labels, centres)
    numbers = sorted(levels.groups)
    assert levels.counts[0] == k
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    for coarse, fine in pairwise(numbers):
        pairs = {*zip(levels.groups[coarse].tolist(), levels.groups[fine].tolist(), strict=True)}
        assert len(pairs) == levels.counts[fine] > levels.counts[coarse]


def test_the_command_answers_at_a_level(families, tmp_path):
    X, _ = families
    np.save(tmp_path / "emb.npy", X)
    fitted = succeed_json("fit", tmp_path / "emb.npy", "-o", tmp_path / "t", "--n-clusters", 4, "--fast")
    assert fitted["levels"] == {"-1": 2, "0": 4, "1": 8, "2": 16}
    answer = succeed_json("assign", tmp_path / "t", tmp_path / "emb.npy", "--level", -1)
    assert {item["cluster"] for item in answer["items"]} == {0, 1}
    wrong = invoke("assign", tmp_path / "t", tmp_path / "emb.npy", "--level", 5)
    assert wrong.exit_code == 2
    assert "there is no level 5" in wrong.stderr


def test_only_levels_that_are_there_are_offered():
    assert _levels_line({"0": 2, "1": 4}) == (
        "Coarser and finer: [2] < 4 clusters; assign --level 1 gives the next ones."
    )
    assert "--level -1 or 1 gives" in _levels_line({"-1": 2, "0": 4, "1": 8})
