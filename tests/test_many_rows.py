"""Many rows, wide rows, rows in files: trained on a sample, and answered alike wherever they are."""

import time
import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.utils import check_array, check_random_state

import holdfast as hf
from holdfast import DEC, IDEC, estimate_n_clusters
from holdfast.cluster import _sample
from holdfast.cluster._base import as_rows
from holdfast.cluster._sample import sample_size
from holdfast.exceptions import InputError
from holdfast.metrics import ari

pytestmark = pytest.mark.filterwarnings("ignore::holdfast.exceptions.HoldfastWarning")

SHORT = {"n_init": 2, "pretrain_epochs": 3, "max_epochs": 3, "random_state": 0}


def blobs(n=400, d=24, k=4, spread=3.0):
    X, y = make_blobs(n, n_features=d, centers=k, cluster_std=spread, random_state=0)
    return X.astype(np.float32), y


def on_disk(folder, X, mode="r"):
    np.save(folder / "x.npy", X)
    return np.load(folder / "x.npy", mmap_mode=mode)


def equal_bits(one, other, X):
    for name in ("labels_", "probabilities_", "start_labels_", "cluster_centers_"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
    for name, value in one.module_.state_dict().items():
        assert torch.equal(value, other.module_.state_dict()[name]), name
    assert one.history_ == other.history_
    assert one.evidence_ == other.evidence_
    assert one.predict_proba(X).tobytes() == other.predict_proba(X).tobytes()


# --- a sample -----------------------------------------------------------------------------------------------


def the_sample(n, size, random_state=0):
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    return np.sort(np.random.default_rng(seed).choice(n, size, replace=False))


@pytest.mark.parametrize("estimator", [DEC, IDEC])
def test_training_on_a_sample_is_training_on_that_sample(estimator):
    X, _ = blobs(n=700)
    model = estimator(4, subsample=300, **SHORT).fit(X)
    alone = estimator(4, subsample=None, **SHORT).fit(X[the_sample(700, 300)])
    assert model.history_ == alone.history_
    assert model.evidence_ == alone.evidence_
    assert model.start_ == alone.start_
    assert model.neighbour_recall_ == alone.neighbour_recall_
    # Clusters are numbered by their sizes in all rows, so the numbers may differ and nothing else.
    number = dict(zip(alone.predict(X).tolist(), model.labels_.tolist(), strict=True))
    np.testing.assert_array_equal([number[label] for label in alone.predict(X)], model.labels_)
    for label, other in number.items():
        np.testing.assert_array_equal(alone.cluster_centers_[label], model.cluster_centers_[other])


@pytest.mark.parametrize("subsample", [50, 399, 400, 401, None, "auto"])
def test_every_row_is_answered(subsample):
    X, y = blobs(spread=1.0)
    model = DEC(4, subsample=subsample, **SHORT).fit(X)
    assert model.labels_.shape == model.probabilities_.shape == model.start_labels_.shape == (400,)
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    assert (np.diff(np.bincount(model.labels_, minlength=4)) <= 0).all(), "sizes are those of all rows"
    assert ari(y, model.labels_) == ari(y, model.start_labels_) == 1


def test_no_sample_is_taken_of_fewer_rows():
    X, _ = blobs()
    whole = DEC(4, subsample=None, **SHORT).fit(X)
    for subsample in (400, 5000, "auto"):
        equal_bits(DEC(4, subsample=subsample, **SHORT).fit(X), whole, X)


def test_the_sample_grows_with_the_clusters_asked_for():
    asked = {k: sample_size("auto", k, (10**7, 64)) for k in (2, 100, 10_000)}
    assert asked == {2: 50_000, 100: 50_000, 10_000: 1_000_000}
    assert sample_size("auto", 1_000, (70_000, 64)) == sample_size(None, 2, (70_000, 64)) == 70_000
    assert sample_size("auto", 10, (10**6, 100_000)) == 2**31 // 400_000, "two gigabytes of very wide rows"
    assert sample_size("auto", 1_000, (10**6, 100_000)) == 20_000, "but some for every cluster"
    assert sample_size(30, 40, (10**6, 64)) == 40


@pytest.mark.parametrize(
    ("subsample", "sentence"),
    [
        (3, "subsample must be an integer of at least 4, not 3."),
        (0, "subsample must be an integer of at least 4, not 0."),
        (0.5, "subsample must be an integer of at least 4, not 0.5."),
        ("all", "subsample must be an integer of at least 4, not 'all'."),
    ],
)
def test_a_sample_that_makes_no_sense(subsample, sentence):
    with pytest.raises(InputError) as caught:
        DEC(4, subsample=subsample).fit(blobs()[0])
    assert str(caught.value) == sentence


def test_further_rows_are_sampled_too():
    X, _ = blobs(n=900, spread=1.0)
    model = DEC(4, subsample=200, **SHORT).fit(X[:400]).partial_fit(X)
    assert model.labels_.shape == model.probabilities_.shape == (900,)
    np.testing.assert_array_equal(model.labels_, model.predict(X))


# --- one row, one answer ------------------------------------------------------------------------------------


def check_answers(model, X):
    labels, confidence = model.assign_rows(X)
    q = model.predict_proba(X)
    assert labels.dtype == np.int64
    assert confidence.dtype == np.float32
    assert labels.tobytes() == model.predict(X).tobytes()
    assert labels.tobytes() == q.argmax(axis=1).astype(np.int64).tobytes()
    assert confidence.tobytes() == q.max(axis=1).tobytes()
    latent, probabilities = model.locate(X)
    np.testing.assert_array_equal(latent, model.transform(X), strict=True)
    np.testing.assert_array_equal(probabilities, q, strict=True)
    return labels, confidence


@pytest.mark.parametrize(
    "parameters",
    [{}, {"subsample": 100}, {"encoder": "autoencoder", "hidden_dims": (9, 3)}, {"assignment": "student"}],
)
@pytest.mark.parametrize("d", [3, 150])
def test_answers_in_one_pass_are_those_of_two(parameters, d, tmp_path):
    X, _ = blobs(n=300, d=d)
    model = DEC(5, **SHORT, **parameters).fit(X)
    for rows in (X, X[:200]):
        if rows is not X:
            model.partial_fit(rows)
        labels, confidence = check_answers(model, rows)
        assert labels.tobytes() == model.labels_.tobytes()
        assert confidence.tobytes() == model.probabilities_.tobytes()
        hf.save(model, tmp_path / "m")
        loaded = hf.load(tmp_path / "m")
        assert loaded.labels_.tobytes() == labels.tobytes()
        assert loaded.probabilities_.tobytes() == confidence.tobytes()
        for ours, theirs in zip(check_answers(loaded, rows), (labels, confidence), strict=True):
            assert ours.tobytes() == theirs.tobytes()


# --- rows in files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [True, False], ids=["copied", "as they are"])
@pytest.mark.parametrize("subsample", [None, 150])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int32", "bool"])
@pytest.mark.parametrize("d", [3, 24])
def test_a_map_is_clustered_as_the_array_in_memory(d, dtype, subsample, room, tmp_path, monkeypatch):
    X, _ = blobs(d=d)
    X = {"uint8": 3 * X + 128, "int32": 100 * X, "bool": X > 0}.get(dtype, X / 7).astype(dtype)
    if not room:
        monkeypatch.setattr(_sample, "_MOST_BYTES", 0)
    expected = DEC(4, subsample=subsample, **SHORT).fit(X.astype(np.float32))
    mapped = on_disk(tmp_path, X)
    equal_bits(DEC(4, subsample=subsample, **SHORT).fit(mapped), expected, mapped)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), X)


@pytest.mark.parametrize("d", [3, 24, 150])
@pytest.mark.parametrize("mode", ["r+", "c"])
def test_a_map_that_could_be_written_to_is_not(d, mode, tmp_path):
    X, _ = blobs(d=d)
    mapped = on_disk(tmp_path, X, mode)
    model = DEC(4, **SHORT).fit(mapped)
    model.partial_fit(mapped)
    model.predict(mapped)
    np.testing.assert_array_equal(mapped, X)
    mapped.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), X)


def test_half_precision_in_memory_is_what_it_would_be_in_single():
    X = blobs()[0].astype(np.float16)
    before = X.copy()
    for subsample in (None, 150):
        expected = DEC(4, subsample=subsample, **SHORT).fit(X.astype(np.float32))
        equal_bits(DEC(4, subsample=subsample, **SHORT).fit(X), expected, X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("d", [24, 150])
def test_maps_can_be_added_to_and_counted(d, tmp_path):
    X = blobs(d=d)[0].astype(np.float16)
    mapped = on_disk(tmp_path, X)
    single = X.astype(np.float32)
    assert estimate_n_clusters(mapped, random_state=0) == estimate_n_clusters(single, random_state=0)
    models = [DEC(4, **SHORT).fit(single).partial_fit(rows[:300]) for rows in (mapped, single)]
    equal_bits(*models, single)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_with_a_gap_names_the_row(dtype, value, tmp_path):
    X = blobs()[0].astype(dtype)
    good = on_disk(tmp_path, X)
    model = DEC(4, **SHORT).fit(good)
    X[[123, 200], 5] = value
    np.save(tmp_path / "bad.npy", X)
    bad = np.load(tmp_path / "bad.npy", mmap_mode="r")
    for method in (DEC(4).fit, model.predict, model.assign_rows, model.partial_fit, estimate_n_clusters):
        with pytest.raises(InputError) as caught:
            method(bad)
        assert str(caught.value) == (
            "X has a NaN or an infinity in row 123 and one more row: remove them or fill the gaps."
        )


@pytest.mark.parametrize("value", [1e300, -1e39, 3.5e38])
def test_what_single_precision_cannot_hold_is_no_number(value, tmp_path):
    X = blobs()[0].astype(np.float64)
    X[77, 3] = value
    with pytest.raises(InputError, match=r"^X has a NaN or an infinity in row 77: remove them or fill"):
        DEC(4).fit(on_disk(tmp_path, X))
    X[77, 3] = np.sign(value) * 3.4e38
    with pytest.raises(
        InputError, match=r"^X has rows of a length beyond 1e\+18; divide all values by \de\+3"
    ):
        DEC(4, **SHORT).fit(on_disk(tmp_path, X))


def test_a_map_is_predicted_without_taking_the_file(tmp_path):
    rng = np.random.default_rng(0)
    mapped = on_disk(tmp_path, rng.normal(size=(100_000, 256)).astype(np.float16))
    assert mapped.nbytes > 50_000_000
    model = DEC(4, pretrain_epochs=1, max_epochs=1, n_init=1, random_state=0).fit(mapped[:300])
    tracemalloc.start()
    try:
        labels = model.predict(mapped)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000
    np.testing.assert_array_equal(labels[-500:], model.predict(np.asarray(mapped[-500:], dtype=np.float32)))


# --- extremes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [{}, {"assignment": "student"}, {"init": "graph"}])
def test_few_rows_of_very_many_columns(parameters):
    X, y = blobs(n=30, d=20_000, k=3, spread=2.0)
    before = time.process_time()
    model = DEC(3, random_state=0, **parameters).fit(X)
    assert ari(y, model.labels_) == 1
    assert model.module_.prepare.directions.shape == (30, 20_000)
    assert time.process_time() - before < 30, "this took hours where a square of the columns was made"


def test_a_million_rows_of_two_kinds():
    X = np.tile(np.array([[1, 2, 3, 4], [4, 3, 2, 1]], dtype=np.float32), (500_000, 1))
    model = DEC(2, subsample=2_000, n_init=2, max_epochs=5, random_state=0).fit(X)
    assert (model.labels_[::2] == model.labels_[0]).all()
    assert (model.labels_[1::2] == 1 - model.labels_[0]).all()
    assert estimate_n_clusters(X, random_state=0).n_clusters == 2


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_a_million_equal_rows_have_nothing_to_tell_apart(value, tmp_path, monkeypatch):
    X = np.full((1_000_000, 4), value)
    said, remedy = "are equal, so there is nothing to tell apart;", "check how the embeddings were made."
    for rows in (X.astype(np.float32), on_disk(tmp_path, X)):
        with pytest.raises(InputError) as caught:
            DEC(2).fit(rows)
        assert str(caught.value) == f"all 50000 rows of the sample {said} raise subsample, or {remedy}"
    monkeypatch.setattr(_sample, "_MOST_BYTES", 0)
    for rows in (X, on_disk(tmp_path, X)):
        with pytest.raises(InputError) as caught:
            DEC(2, subsample=None).fit(rows)
        assert str(caught.value) == f"all 1000000 rows {said} {remedy}"
    assert estimate_n_clusters(X).n_clusters == 1


@pytest.mark.parametrize("make", [
    lambda X: X.astype(">f4"), lambda X: X.astype(">f2"), lambda X: X.astype(np.longdouble),
    lambda X: np.asfortranarray(X), lambda X: np.repeat(X, 2, axis=1)[:, ::2], lambda X: X[::-1].copy(),
])  # fmt: skip
def test_maps_in_any_order_of_bytes_and_values_are_read_where_they_lie(make, tmp_path):
    X = blobs()[0].astype(np.float32)
    kept = make(X)
    mapped = np.memmap(
        tmp_path / "X", kept.dtype, "w+", shape=kept.shape, order="F" if kept.flags.fnc else "C"
    )
    mapped[:] = kept
    expected = DEC(4, **SHORT).fit(np.ascontiguousarray(kept, dtype=np.float32))
    model = DEC(4, **SHORT).fit(mapped)
    np.testing.assert_array_equal(model.labels_, expected.labels_)
    np.testing.assert_array_equal(model.predict(mapped[::-1]), model.labels_[::-1])
    assert np.shares_memory(as_rows(mapped, check_array), mapped)


def test_a_continued_fit_speaks_of_the_rows_just_given():
    X = blobs()[0]
    model = DEC(4, **SHORT).fit(X)
    epochs, before = model.n_iter_, model.predict(X[:50])
    model.partial_fit(X[:50])
    np.testing.assert_array_equal(model.start_labels_, before)
    assert model.labels_.shape == model.probabilities_.shape == (50,)
    assert model.n_iter_ == len(model.history_) == epochs + 1
