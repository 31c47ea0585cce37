"""DEC: guards that hold when training is sabotaged, answers that nothing irrelevant moves, and quality."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_blobs
from sklearn.utils import check_random_state

from holdfast import DEC, estimate_n_clusters
from holdfast.cluster import _recipe
from holdfast.cluster._base import canonical_order
from holdfast.cluster._stages import Corruption, Joint, JointOptions
from holdfast.evidence import evidence, neighbourhood_size
from holdfast.exceptions import HoldfastWarning, InputError, NotConvergedWarning, TrainingError
from holdfast.functional.assignment import target_distribution
from holdfast.graph import jaccard_graph, kmeans, nearest_neighbours, random_walk
from holdfast.metrics import ari, clustering_accuracy
from holdfast.training import ConvergenceMonitor, report_to, run_epochs
from holdfast.training.batches import Rows

pytestmark = pytest.mark.filterwarnings("ignore::holdfast.exceptions.NotConvergedWarning")

QUICK = {"n_init": 3, "random_state": 0}


def blobs(seed=0, *, n=300, d=24, k=6, spread=3.0):
    X, y = make_blobs(n, n_features=d, centers=k, cluster_std=spread, random_state=seed)
    return X.astype(np.float32), y


def noise(seed=0, n=200, d=24):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.fixture(scope="module")
def whole(_loaded_digits):
    """DEC on all digits with nothing but the count given, fitted once."""
    return DEC(10, random_state=0).fit(_loaded_digits.X)


# --- quality and the guarantee ------------------------------------------------------------------------------


def test_digits(whole, digits):
    assert clustering_accuracy(digits.y, whole.labels_) > 0.85
    assert whole.evidence_["result"] >= max(whole.evidence_[name] for name in ("start", "kmeans", "graph"))


def test_training_improves_on_kmeans(digits):
    model = DEC(10, init="kmeans", random_state=0).fit(digits.X)
    start, result = (clustering_accuracy(digits.y, labels) for labels in (model.start_labels_, model.labels_))
    assert result > start
    assert model.evidence_["result"] > model.evidence_["start"]
    assert model.start_ == "kmeans"
    assert set(model.evidence_) == {"kmeans", "start", "result"}


SETS = {
    "blobs": (lambda seed: blobs(seed)[0], 6),
    "close blobs": (lambda seed: blobs(seed, spread=6.0, k=8)[0], 8),
    "noise": (noise, 5),
    "noise in many clusters": (lambda seed: noise(seed, d=64), 20),
    "uneven": (lambda seed: np.concatenate([blobs(seed, n=200, k=2)[0], noise(seed, 20) + 9]), 3),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SETS)
def test_a_fit_never_returns_less_than_its_start(name, seed):
    make, k = SETS[name]
    X = make(seed)
    for init in ("auto", "kmeans", "graph"):
        model = DEC(k, init=init, n_init=3, random_state=seed).fit(X)
        found = model.evidence_
        assert found["result"] >= found["start"], "the partition that joint training began with"
        assert found["result"] >= found[model.start_], "the partition that was found in the rows"
        healthy = [entry["evidence"] for entry in model.history_ if entry["verdict"] != "roll back"]
        assert found["result"] == pytest.approx(max([found["start"], *healthy]), abs=1e-12)


def test_the_evidence_reported_is_that_of_the_labels(digits):
    X = digits.X[:500]
    neighbours = nearest_neighbours(X, neighbourhood_size(500, 10))
    for init in ("kmeans", "graph"):
        model = DEC(10, init=init, **QUICK).fit(X)
        result, start = (
            evidence(labels, neighbours, 10).value for labels in (model.labels_, model.start_labels_)
        )
        assert model.evidence_["result"] == pytest.approx(result, abs=1e-12)
        assert model.evidence_["start"] == pytest.approx(start, abs=1e-12)


def standing(model):
    return model.evidence_[model.start_] + model.evidence_["result"]


def test_auto_is_one_of_the_two():
    for X in (blobs(spread=6.0)[0], noise()):
        auto = DEC(6, **QUICK).fit(X)
        chosen = DEC(6, init=auto.start_, **QUICK).fit(X)
        np.testing.assert_array_equal(auto.predict_proba(X), chosen.predict_proba(X))
        other = DEC(6, init={"kmeans": "graph", "graph": "kmeans"}[auto.start_], **QUICK).fit(X)
        if abs(auto.evidence_["kmeans"] - auto.evidence_["graph"]) <= 0.05:  # further behind is not trained
            assert standing(auto) >= standing(other)


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_two_columns(seed):
    X, y = make_blobs(300, centers=4, cluster_std=0.8, random_state=seed + 10)
    model = DEC(4, random_state=seed).fit(X)
    assert ari(y, model.labels_) > 0.8
    # So few columns cannot always express the start; what is lost is bounded.
    assert model.evidence_["result"] >= model.evidence_[model.start_] - 0.03


def test_two_clusters_and_one_column():
    X, y = make_blobs(200, centers=2, n_features=24, random_state=0)
    assert ari(y, DEC(2, **QUICK).fit_predict(X)) == 1
    X, y = make_blobs(200, centers=[[-4.0], [4.0]], random_state=0)
    assert ari(y, DEC(2, **QUICK).fit_predict(X)) > 0.95


# --- limits -------------------------------------------------------------------------------------------------


def test_one_cluster():
    model = DEC(1, **QUICK).fit(noise())
    assert set(model.labels_) == {0}
    assert (model.predict_proba(noise(1)) == 1).all()


def test_as_many_clusters_as_rows():
    X = noise(n=8)
    model = DEC(8, init="kmeans", **QUICK).fit(X)
    assert sorted(model.labels_) == list(range(8))
    for init in ("graph", "auto"):
        model = DEC(8, init=init, **QUICK).fit(X)
        assert model.n_clusters_ == 8
        assert set(model.labels_) <= set(range(8))


def test_two_rows():
    X = noise(n=2)
    assert sorted(DEC(2, init="kmeans", **QUICK).fit_predict(X)) == [0, 1]
    assert DEC(1, **QUICK).fit_predict(X).tolist() == [0, 0]


@pytest.mark.parametrize("k", [3, 5])
def test_rows_that_repeat_stay_together(k):
    X = np.repeat(noise(n=3), 40, axis=0)
    labels = DEC(k, **QUICK).fit_predict(X)
    assert labels.reshape(3, 40).std(axis=1).max() == 0
    assert len(set(labels)) == 3


def test_rows_of_zeros_are_rows():
    X = np.concatenate([blobs()[0], np.zeros((50, 24), dtype=np.float32)])
    model = DEC(7, **QUICK).fit(X)
    assert len(set(model.labels_[-50:])) == 1
    assert np.isfinite(model.predict_proba(X)).all()


def test_no_training_at_all_is_the_start():
    X, y = blobs()
    model = DEC(6, pretrain_epochs=0, max_epochs=0, **QUICK).fit(X)
    assert (model.n_iter_, model.converged_, model.history_) == (0, False, [])
    np.testing.assert_array_equal(model.labels_, model.start_labels_)
    assert model.evidence_["result"] == model.evidence_["start"]
    assert ari(y, model.labels_) > 0.95


def test_training_that_does_not_converge_warns():
    with pytest.warns(NotConvergedWarning) as caught:
        model = DEC(5, tol=0.0, max_epochs=1, **QUICK).fit(noise())
    assert str(caught[0].message) == (
        "DEC stopped after 1 of max_epochs=1, with labels still changing; raise max_epochs or tol."
    )
    assert not model.converged_


# --- what must not matter -----------------------------------------------------------------------------------


def test_a_rows_answer_does_not_depend_on_its_company(whole, digits):
    X = digits.X
    everything = {method: getattr(whole, method)(X) for method in ("predict", "predict_proba", "transform")}

    @settings(max_examples=20)
    @given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 700))
    def check(seed, n):
        rows = np.random.default_rng(seed).integers(0, len(X), n)
        for method, answers in everything.items():
            assert getattr(whole, method)(X[rows]).tobytes() == answers[rows].tobytes()

    check()


@pytest.mark.parametrize("d", [2, 5, 24])
@pytest.mark.parametrize("encoder", ["projection", "autoencoder"])
def test_a_row_alone_gets_the_same_bits(d, encoder):
    X, _ = blobs(d=d)
    model = DEC(7, encoder=encoder, hidden_dims=(33, 7), pretrain_epochs=3, max_epochs=3, **QUICK).fit(X)
    q = model.predict_proba(X)
    for i in (0, 17, 255, 256, 299):
        assert model.predict_proba(X[i : i + 1]).tobytes() == q[i : i + 1].tobytes()
    assert model.predict_proba(X[::-1]).tobytes() == q[::-1].tobytes()


def test_kinds_of_arrays_do_not_matter(tmp_path):
    X, _ = blobs()
    np.save(tmp_path / "x.npy", X)
    model = DEC(6, max_epochs=5, **QUICK).fit(X)
    read_only = X.copy()
    read_only.flags.writeable = False
    kinds = {
        "float64": X.astype(np.float64),
        "list": X.tolist(),
        "fortran": np.asfortranarray(X),
        "every other row": np.repeat(X, 2, axis=0)[::2],
        "read only": read_only,
        "memory map": np.load(tmp_path / "x.npy", mmap_mode="r"),
        "tensor": torch.from_numpy(X.copy()),
        "double tensor": torch.from_numpy(X.astype(np.float64)),
        "tensor with gradient": torch.from_numpy(X.copy()).requires_grad_(),
    }
    for kind, rows in kinds.items():
        other = DEC(6, max_epochs=5, **QUICK).fit(rows)
        np.testing.assert_array_equal(other.labels_, model.labels_, err_msg=kind)
        np.testing.assert_array_equal(model.predict_proba(rows), model.predict_proba(X), err_msg=kind)


def test_half_precision_is_accepted():
    X, y = blobs(spread=1.0)
    for rows in (X.astype(np.float16), torch.from_numpy(X).bfloat16()):
        assert ari(y, DEC(6, **QUICK).fit_predict(rows)) > 0.98


@pytest.mark.parametrize("d", [2, 24])
def test_the_rows_given_are_not_touched_and_not_kept(d):
    X, _ = blobs(d=d)
    before = X.copy()
    for parameters in ({}, {"encoder": "autoencoder"}, {"assignment": "student"}, {"noise": "gaussian"}):
        model = DEC(6, pretrain_epochs=3, max_epochs=3, **QUICK, **parameters).fit(X)
        model.partial_fit(X)
        answers = model.predict_proba(X)
        np.testing.assert_array_equal(X, before)
        X[:] = 7
        np.testing.assert_array_equal(model.predict_proba(before), answers)
        X[:] = before


@pytest.mark.parametrize("factor", [2.0**-20, 0.37, 1e4])
def test_the_unit_of_the_rows_does_not_matter(factor):
    for d in (2, 24):
        X, _ = blobs(d=d, spread=1.0)
        model, scaled = DEC(6, **QUICK).fit(X), DEC(6, **QUICK).fit(X * np.float32(factor))
        assert ari(model.labels_, scaled.labels_) > 0.98
        np.testing.assert_array_equal(scaled.predict(X * np.float32(factor)), scaled.labels_)


def test_the_order_of_clear_cut_rows_does_not_matter():
    X, _ = blobs(spread=0.5)
    order = np.random.default_rng(0).permutation(len(X))
    for init in ("kmeans", "graph"):
        model = DEC(6, init=init, **QUICK)
        assert ari(model.fit_predict(X)[order], model.fit_predict(X[order])) == 1


@pytest.mark.parametrize(
    "parameters", [{}, {"encoder": "autoencoder", "pretrain_epochs": 3}, {"assignment": "student"}]
)
def test_a_seed_fixes_every_bit_and_the_global_state_is_left_alone(parameters):
    X, _ = blobs(spread=6.0)
    ours, torchs = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002
    models = []
    for shake in (0, 1):
        models.append(DEC(6, max_epochs=5, **QUICK, **parameters).fit(X).partial_fit(X))
        np.testing.assert_array_equal(np.random.get_state()[1], ours)  # noqa: NPY002
        assert torch.equal(torch.random.get_rng_state(), torchs)
        np.random.seed(shake)  # noqa: NPY002 - another global state must not change the second fit
        ours = np.random.get_state()[1].copy()  # noqa: NPY002
        torch.rand(3)
        torchs = torch.random.get_rng_state()
    for name, value in models[0].module_.state_dict().items():
        assert torch.equal(value, models[1].module_.state_dict()[name]), name
    assert models[0].history_ == models[1].history_
    np.testing.assert_array_equal(models[0].labels_, models[1].labels_)


def test_a_random_state_object_is_drawn_from():
    X = noise()
    first, second = (
        DEC(6, max_epochs=2, n_init=1, random_state=np.random.RandomState(0)).fit(X) for _ in "ab"
    )
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    shared = np.random.RandomState(0)
    third, fourth = (DEC(6, max_epochs=2, n_init=1, random_state=shared).fit(X) for _ in "ab")
    np.testing.assert_array_equal(third.predict_proba(X), first.predict_proba(X))
    assert (fourth.predict_proba(X) != first.predict_proba(X)).any()


# --- numbers of clusters ------------------------------------------------------------------------------------


def test_canonical_order_by_hand():
    labels = np.array([2, 2, 2, 0, 1, 3, 3, 3])
    centres = np.array([[5.0, 0.0], [4.0, 9.0], [1.0, 3.0], [1.0, 2.0]])
    # sizes 1, 1, 3, 3: clusters 3 and 2 first, the smaller centre leading; then 1 before 0
    assert canonical_order(labels, centres).tolist() == [3, 2, 1, 0]


def test_start_labels_speak_of_the_same_clusters():
    X, y = blobs(spread=1.0)
    model = DEC(6, **QUICK).fit(X)
    np.testing.assert_array_equal(model.start_labels_, model.labels_)
    assert ari(y, model.labels_) == 1


def test_the_number_of_clusters_is_found():
    X, y = blobs(n=400, k=3, spread=1.0)
    model = DEC("auto", **QUICK).fit(X)
    assert model.n_clusters_ == 3
    assert model.cluster_count_ == estimate_n_clusters(X, random_state=QUICK["random_state"])
    assert ari(y, model.labels_) == 1


def test_equal_rows_are_one_cluster():
    assert estimate_n_clusters(np.ones((40, 3))).n_clusters == 1
    with pytest.raises(InputError, match="all 40 rows are equal"):
        DEC("auto").fit(np.ones((40, 3)))


# --- targets ------------------------------------------------------------------------------------------------


def joint_on(X, k=6, *, kind=Joint, corrupt=0.0, interval=1, weight=1.0, **parameters):
    """A joint stage over the warm-started module of a fit without joint training."""
    module = DEC(k, max_epochs=0, **QUICK, **parameters).fit(X).module_
    neighbours = nearest_neighbours(X, neighbourhood_size(len(X), k))
    return kind(
        module, Rows(X, torch.device("cpu"), module.prepare), lambda labels: evidence(labels, neighbours, k),
        random_walk(jaccard_graph(neighbours)), JointOptions(weight, interval),
        Corruption("mask", corrupt, torch.Generator().manual_seed(0)),
    )  # fmt: skip


def aims(X, q):
    """Both targets (n, k), by the formula, in double precision."""
    W = random_walk(jaccard_graph(nearest_neighbours(X, neighbourhood_size(len(X), 6)))).toarray()
    around = torch.from_numpy(W.astype(np.float64) @ (W.astype(np.float64) @ q.double().numpy()))
    return target_distribution(q.double()), target_distribution(around)


def test_targets_are_over_the_whole_set_however_small_and_sorted_the_batches():
    X, y = blobs(spread=6.0)
    X = X[np.argsort(y)]
    stage = joint_on(X, weight=0.7)
    stage.assess()
    own, around = aims(X, stage.module(torch.from_numpy(X)).detach())
    torch.testing.assert_close(stage.target.double(), own + 0.7 * around, rtol=1e-3, atol=1e-5)
    everything = stage.losses(torch.arange(300))
    for size in (10, 64):
        batches = torch.arange(300).split(size)  # sorted by class: one batch sees one or two classes
        for name, value in everything.items():
            total = sum(len(batch) * stage.losses(batch)[name] for batch in batches) / 300
            torch.testing.assert_close(total, value, rtol=1e-4, atol=1e-6)


def test_the_loss_by_the_formula():
    X, _ = blobs(spread=6.0)
    stage = joint_on(X, weight=0.5)
    signals = stage.assess()
    q = stage.module(torch.from_numpy(X)).detach().double()
    kl, near = ((p * (p / q).log()).nansum(1).mean().item() for p in aims(X, q))
    assert signals["kl"] == pytest.approx(kl, rel=1e-3)
    assert signals["neighbour"] == pytest.approx(near, rel=1e-3)
    assert stage.losses(torch.arange(300))["loss"].item() == pytest.approx(kl + 0.5 * near, rel=1e-3)


def test_without_neighbours_the_loss_is_that_of_the_paper():
    X, _ = blobs(spread=6.0)
    stage = joint_on(X, weight=0.0)
    signals = stage.assess()
    assert "neighbour" not in signals
    terms = stage.losses(torch.arange(300))
    assert set(terms) == {"loss"}
    assert terms["loss"].item() == pytest.approx(signals["kl"], rel=1e-4)


@pytest.mark.parametrize("interval", [1, 3])
def test_targets_are_refreshed_at_their_interval(interval):
    class Remembering(Joint):
        def assess(self, *, restored=False):
            signals = super().assess(restored=restored)
            seen.append((self.target, self.labels))
            return signals

    seen = []
    stage = joint_on(noise(), kind=Remembering, interval=interval)
    result = train(stage, max_epochs=7, monitor=ConvergenceMonitor(tol=0.0, patience=99))
    for epoch in range(1, 8):
        fresh = epoch % interval == 0
        assert (seen[epoch][0] is not seen[epoch - 1][0]) == fresh
        entry = result.history[epoch - 1]
        assert ("changed" in entry) == fresh
        if fresh:
            assert entry["changed"] == np.mean(seen[epoch][1] != seen[epoch - interval][1])


def test_the_interval_reaches_the_training():
    history = DEC(6, target_update_interval=4, tol=0.0, max_epochs=9, **QUICK).fit(noise()).history_
    assert [entry["epoch"] for entry in history if "changed" in entry] == [4, 8]


# --- sabotage -----------------------------------------------------------------------------------------------


def train(stage, *, max_epochs=10, monitor=None, lr=1e-3, keep="best"):
    return run_epochs(
        stage, lambda factor: torch.optim.Adam(stage.module.parameters(), lr=lr * factor),
        monitor or ConvergenceMonitor(tol=0.0, patience=99), max_epochs=max_epochs, batch_size=64,
        generator=torch.Generator().manual_seed(0), keep=keep,
    )  # fmt: skip


def broken_weights(module):
    next(module.parameters()).data[0] = math.nan


def broken_centres(module):
    module.centres.data[:] = math.inf


def equal_centres(module):
    module.centres.data[:] = module.centres.data[:1].clone()


def scattered_centres(module):
    module.centres.data[:] = 0
    module.centres.data[:, 0] = -1
    module.centres.data[0, 0] = 1


HARMS = [broken_weights, broken_centres, equal_centres, scattered_centres]


def harmed(harm, epochs):
    """A joint stage whose module is harmed at the end of the given epochs."""

    class Harmed(Joint):
        def assess(self, *, restored=False):
            if not restored:
                self.epoch = getattr(self, "epoch", -1) + 1
                if self.epoch in epochs:
                    harm(self.module)
            return super().assess(restored=restored)

    return Harmed


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_one_accident_is_undone(harm, monkeypatch):
    X, _ = blobs(spread=6.0)
    monkeypatch.setattr(_recipe, "Joint", harmed(harm, {2}))
    model = DEC(6, init="kmeans", tol=0.0, max_epochs=4, **QUICK).fit(X)
    assert [entry["verdict"] for entry in model.history_] == ["continue", "roll back", "continue", "continue"]
    rates = [entry["learning_rate"] for entry in model.history_]
    assert rates == pytest.approx([1e-3, 1e-3, 3e-4, 3e-4])
    assert model.history_[1]["reason"]
    assert model.evidence_["result"] >= model.evidence_["start"]
    assert model.history_[2]["evidence"] > model.evidence_["start"] - 0.05, (
        "training went on from a good state"
    )
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("select", ["evidence", "last"])
@pytest.mark.parametrize("harm", [broken_weights, equal_centres], ids=lambda harm: harm.__name__)
def test_accidents_without_end_give_the_best_state_and_a_warning(harm, select, monkeypatch):
    X, _ = blobs(spread=6.0)
    monkeypatch.setattr(_recipe, "Joint", harmed(harm, range(2, 99)))
    with pytest.warns(NotConvergedWarning, match="after 6 rollbacks"):
        model = DEC(6, init="kmeans", tol=0.0, max_epochs=50, select=select, **QUICK).fit(X)
    assert model.n_iter_ == 8
    assert not model.converged_
    healthy = model.history_[0]["evidence"]
    expected = max(healthy, model.evidence_["start"]) if select == "evidence" else healthy
    assert model.evidence_["result"] == pytest.approx(expected)
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("interval", [2, 5, 50])
def test_targets_of_an_abandoned_state_are_not_followed(interval):
    stage = joint_on(noise(), kind=harmed(broken_centres, {interval}), interval=interval)
    result = train(stage, max_epochs=interval + 4)
    assert sum(entry["verdict"] == "roll back" for entry in result.history) == 1
    assert all(entry["skipped"] == 0 for entry in result.history)
    assert torch.isfinite(stage.target).all()


def test_a_start_with_equal_centres_is_survived(monkeypatch):
    X, _ = blobs(spread=6.0)
    monkeypatch.setattr(_recipe, "Joint", harmed(equal_centres, {0}))
    model = DEC(6, **QUICK).fit(X)
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("rate", [0.1, 10.0, 1e4, 1e20])
@pytest.mark.parametrize("assignment", ["cosine", "student"])
def test_a_mad_learning_rate_does_not_lose_the_start(rate, assignment):
    X, y = blobs(spread=2.0)
    model = DEC(6, init="kmeans", assignment=assignment, learning_rate=rate, **QUICK).fit(X)
    assert model.evidence_["result"] >= model.evidence_["start"]
    assert model.evidence_["result"] >= model.evidence_["kmeans"] - 0.05
    assert ari(y, model.labels_) > 0.9
    assert np.isfinite(model.predict_proba(X)).all()


def test_diverged_pretraining_is_an_error_in_one_sentence():
    with pytest.raises(TrainingError) as caught:
        DEC(6, encoder="autoencoder", learning_rate=1e20, **QUICK).fit(blobs()[0])
    assert str(caught.value) == ("pretraining diverged, its latent is not finite; lower learning_rate=1e+20.")


def test_batches_that_are_not_finite_are_left_out(monkeypatch):
    class Spiked(Joint):
        def losses(self, batch):
            terms = dict(super().losses(batch))
            if (batch == 3).any():
                terms["loss"] = terms["loss"] * math.nan
            return terms

    X, _ = blobs(spread=6.0)
    monkeypatch.setattr(_recipe, "Joint", Spiked)
    model = DEC(6, batch_size=30, tol=0.0, max_epochs=3, **QUICK).fit(X)
    assert [entry["skipped"] for entry in model.history_] == [1, 1, 1]
    assert [entry["verdict"] for entry in model.history_] == ["continue"] * 3
    assert all(math.isfinite(entry["loss"]) for entry in model.history_)


# --- telling and interrupting -------------------------------------------------------------------------------


def test_every_epoch_of_every_stage_is_told():
    calls = []
    with report_to(lambda *call: calls.append(call)):
        model = DEC(
            6, init="kmeans", encoder="autoencoder", pretrain_epochs=4, tol=0.0, max_epochs=3, **QUICK
        ).fit(noise())
    stages = list(dict.fromkeys(call[0] for call in calls))
    if "warm start without noise" in stages:  # where learning through noise has lost some of the start
        assert stages.pop(2) == "warm start without noise"
    assert stages == ["pretraining", "warm start", "joint training"]
    assert [call[1:3] for call in calls if call[0] == "pretraining"] == [(i, 4) for i in range(1, 5)]
    joint = [call for call in calls if call[0] == "joint training"]
    assert [call[1:3] for call in joint] == [(i, 3) for i in range(1, 4)]
    assert model.n_iter_ == len(joint) == len(model.history_)
    for call, entry in zip(joint, model.history_, strict=True):
        assert call[3] == {name: entry[name] for name in call[3]}
        assert {"loss", "kl", "neighbour", "evidence", "changed"} <= set(call[3])


def test_an_interruption_leaves_the_earlier_fit():
    X, _ = blobs()
    model = DEC(6, **QUICK).fit(X)
    answers, labels = model.predict_proba(X), model.labels_

    def interrupt(*_):
        raise KeyboardInterrupt

    for unfitted_or_not in (model, DEC(6, **QUICK)):
        with pytest.raises(KeyboardInterrupt), report_to(interrupt):
            unfitted_or_not.fit(noise())
    assert not hasattr(unfitted_or_not, "labels_")
    np.testing.assert_array_equal(model.predict_proba(X), answers)
    assert model.labels_ is labels


# --- partial_fit --------------------------------------------------------------------------------------------


def test_the_first_partial_fit_is_a_fit():
    X, _ = blobs()
    np.testing.assert_array_equal(
        DEC(6, **QUICK).partial_fit(X).predict_proba(X), DEC(6, **QUICK).fit(X).predict_proba(X)
    )


def test_further_partial_fits_learn_and_keep_the_meaning_of_numbers(digits):
    X = digits.X
    model = DEC(10, init="kmeans", **QUICK).fit(X[:600])
    for part in (X[600:900], X[900:1200]):
        before, centres, held = model.predict(X), model.cluster_centers_, score_of(model, part)
        model.partial_fit(part)
        np.testing.assert_array_equal(model.labels_, model.predict(part))
        np.testing.assert_array_equal(model.cluster_centers_, model.module_.unit_centres().numpy())
        assert (model.cluster_centers_ != centres).any(), "nothing was learned"
        assert np.mean(model.predict(X) == before) > 0.9
        assert score_of(model, part) >= held


def score_of(model, X):
    return evidence(model.predict(X), nearest_neighbours(X, neighbourhood_size(len(X), 10)), 10).value


def test_a_fit_inside_no_grad_learns():
    X = noise()
    with torch.no_grad():
        model = DEC(5, **QUICK).fit(X)
    np.testing.assert_array_equal(model.predict_proba(X), DEC(5, **QUICK).fit(X).predict_proba(X))


@pytest.mark.parametrize("part", [lambda X: X[:1], lambda X: X[:2], lambda X: np.repeat(X[:1], 9, axis=0)])
def test_few_or_equal_rows_do_no_harm(part):
    X, _ = blobs(spread=4.0)
    model = DEC(6, **QUICK).fit(X)
    before, sure = model.labels_, model.predict_proba(X).max(1).mean()
    rows = part(X)
    model.partial_fit(rows)
    assert model.labels_.shape == (len(rows),)
    assert abs(model.predict_proba(X).max(1).mean() - sure) < 0.05
    assert np.mean(model.predict(X) == before) > 0.95


# --- as published -------------------------------------------------------------------------------------------


def test_as_published_is_the_papers_recipe():
    model = DEC.as_published(7, max_epochs=2)
    expected = {
        "n_clusters": 7, "init": "kmeans", "encoder": "autoencoder", "hidden_dims": (500, 500, 2000, 10),
        "noise": "mask", "noise_level": 0.2, "assignment": "student", "alpha": 1.0, "neighbour_weight": 0.0,
        "select": "last", "max_epochs": 2,
    }  # fmt: skip
    assert {name: model.get_params()[name] for name in expected} == expected


def test_as_published_starts_in_the_latent():
    X, _ = blobs(spread=6.0)
    model = DEC.as_published(
        6, hidden_dims=(32, 5), pretrain_epochs=10, max_epochs=0, n_init=5, random_state=0
    ).fit(X)
    z = model.transform(X)
    seed = int(check_random_state(0).randint(2**31 - 1))
    expected = kmeans(z, 6, n_init=5, seed=seed)
    assert ari(expected, model.labels_) > 0.99
    means = np.stack([z[expected == expected[model.labels_ == j][0]].mean(axis=0) for j in range(6)])
    np.testing.assert_allclose(model.cluster_centers_, means, rtol=1e-3, atol=1e-3)


def test_as_published_runs_and_returns_its_last_state():
    X, y = blobs(spread=2.0)
    model = DEC.as_published(6, hidden_dims=(64, 10), max_epochs=6, tol=0.0, random_state=0).fit(X)
    assert "neighbour" not in model.history_[0]
    assert "reconstruction" not in model.history_[0]
    assert model.history_[-1]["verdict"] == "continue"
    assert model.evidence_["result"] == pytest.approx(model.history_[-1]["evidence"])
    assert ari(y, model.labels_) > 0.5


def test_warnings_are_the_only_noise(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", HoldfastWarning)
        DEC(6, **QUICK).fit(blobs()[0])
        DEC(6, encoder="autoencoder", pretrain_epochs=2, max_epochs=2, **QUICK).fit(noise())
    assert capsys.readouterr() == ("", "")


def test_a_start_that_the_model_cannot_hold_is_named():
    with pytest.warns(HoldfastWarning, match=r"could not hold all of its graph start, which had 0\.\d+ more"):
        model = DEC(12, init="graph", pretrain_epochs=1, max_epochs=0, random_state=0).fit(noise())
    assert model.evidence_["result"] < model.evidence_["graph"]


def test_clusters_without_members_are_mentioned():
    X = np.repeat(np.eye(3, 20, dtype=np.float32), 40, axis=0)
    with pytest.warns(HoldfastWarning, match="only 3 of 5 clusters have members; ask for fewer clusters"):
        DEC(5, **QUICK).fit(X)
