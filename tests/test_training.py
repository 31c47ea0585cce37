"""The loop, the monitor, callbacks and batches, driven by stages small enough to follow by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast.exceptions import ParameterError
from holdfast.training import Action, ConvergenceMonitor, report_to, run_epochs
from holdfast.training.batches import BLOCK_ROWS, Rows, map_blocks, resolve_device, shuffled

CPU = torch.device("cpu")
seeds = st.integers(0, 2**32 - 1)


# --- batches ------------------------------------------------------------------------------------------------


@given(seeds, st.integers(1, 50), st.integers(1, 60))
def test_shuffled_batches_hold_every_row_once(seed, n, size):
    batches = list(shuffled(n, size, torch.Generator().manual_seed(seed)))
    assert sorted(torch.cat(batches).tolist()) == list(range(n))
    assert {len(batch) for batch in batches[:-1]} <= {size}
    assert 1 <= len(batches[-1]) <= size
    again = list(shuffled(n, size, torch.Generator().manual_seed(seed)))
    assert all(torch.equal(a, b) for a, b in zip(batches, again, strict=True))


def test_shuffled_batches_change_from_epoch_to_epoch():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.cat(list(shuffled(100, 7, generator))) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows_are_copies_in_single_precision(dtype):
    X = np.arange(12).reshape(4, 3).astype(dtype)
    rows = Rows(X, CPU)
    for part in (rows[slice(1, 3)], rows[torch.tensor([1, 2])]):
        assert part.dtype == torch.float32
        assert part.tolist() == X[1:3].tolist()
        part += 100
    assert X.tolist() == np.arange(12).reshape(4, 3).tolist()
    assert len(rows) == 4


def test_rows_are_read_from_a_read_only_memory_map(tmp_path):
    X = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    rows = Rows(np.load(tmp_path / "x.npy", mmap_mode="r"), CPU)
    np.testing.assert_array_equal(rows[torch.tensor([9, 0])].numpy(), X[[9, 0]])


@pytest.mark.parametrize("n", [1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS + 5])
def test_blocks_all_have_one_shape_and_leave_no_trace(n):
    X = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
    shapes = set()

    def double(block):
        shapes.add(tuple(block.shape))
        return block * 2

    np.testing.assert_array_equal(map_blocks(double, Rows(X, CPU)).numpy(), X * 2)
    assert shapes == {(BLOCK_ROWS, 3)}


def test_devices():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("a toaster", "", None, "cuda:99"):
        with pytest.raises(ParameterError, match="cannot be used on this machine; choose"):
            resolve_device(name)


# --- monitor ------------------------------------------------------------------------------------------------

HEALTHY = {"score": 1.0, "entropy": 0.9, "used": 1.0, "changed": 0.5}


def test_the_first_state_is_the_best_so_far():
    verdict = ConvergenceMonitor().observe(HEALTHY)
    assert verdict.action is Action.CONTINUE
    assert verdict.is_best
    assert not verdict.converged
    assert verdict.reason == ""


@pytest.mark.parametrize(
    ("signals", "reason"),
    [
        ({"loss": math.nan}, "loss is not finite"),
        ({"loss": math.inf, "confidence": math.nan}, "confidence is not finite"),
        ({"skipped": 3}, "3 steps were skipped because their loss was not finite"),
        ({"entropy": 0.67}, "cluster sizes collapsed (entropy 0.67, 0.90 at the start)"),
        ({"used": 0.79}, "clusters emptied (79% used, 100% at the start)"),
    ],
)
def test_trouble_rolls_back_and_says_why(signals, reason):
    monitor = ConvergenceMonitor()
    monitor.observe(HEALTHY)
    verdict = monitor.observe({**HEALTHY, "score": 2.0, **signals})
    assert verdict.action is Action.ROLL_BACK
    assert not verdict.is_best, "a broken state is never the best, whatever its score"
    assert verdict.reason == reason


@pytest.mark.parametrize("signals", [{"skipped": 2}, {"entropy": 0.676}, {"used": 0.81}, {"loss": 1e30}])
def test_what_is_not_yet_trouble(signals):
    monitor = ConvergenceMonitor()
    monitor.observe(HEALTHY)
    assert monitor.observe({**HEALTHY, **signals}).action is Action.CONTINUE


def test_trouble_counts_from_the_start_and_not_from_the_last_epoch():
    monitor = ConvergenceMonitor()
    monitor.observe({"entropy": 0.9})
    for entropy in (0.85, 0.8, 0.75, 0.7):
        assert monitor.observe({"entropy": entropy}).action is Action.CONTINUE
    assert monitor.observe({"entropy": 0.67}).action is Action.ROLL_BACK


def test_few_changed_labels_converge():
    monitor = ConvergenceMonitor(tol=0.01)
    assert monitor.observe({"changed": 0.01}).action is Action.CONTINUE, "tol itself is not below tol"
    verdict = monitor.observe({"changed": 0.009})
    assert (verdict.action, verdict.converged) == (Action.STOP, True)
    assert verdict.reason == "fewer than 0.01 of the labels changed"


def test_no_changed_label_does_not_excuse_a_collapse():
    monitor = ConvergenceMonitor()
    monitor.observe(HEALTHY)
    assert monitor.observe({"changed": 0.0, "entropy": 0.0}).action is Action.ROLL_BACK


def test_patience_compares_the_last_epochs_with_those_before():
    monitor = ConvergenceMonitor(patience=3, min_gain=0.1)
    actions = [monitor.observe({"score": s}).action for s in (1.0, 1.05, 1.08, 1.2, 1.2, 1.2)]
    assert set(actions) == {Action.CONTINUE}
    verdict = monitor.observe({"score": 1.25})
    assert (verdict.action, verdict.is_best, verdict.converged) == (Action.STOP, True, True)
    assert verdict.reason == "the last 3 epochs were no better than the 3 before them"


def test_climbing_out_of_a_dip_is_progress():
    monitor = ConvergenceMonitor(patience=3, min_gain=0.1)
    monitor.observe({"score": 5.0})  # the start; every later score is below it
    for step in range(20):
        verdict = monitor.observe({"score": 1.0 + 0.1 * step})
        assert (verdict.action, verdict.is_best) == (Action.CONTINUE, False)


def test_small_gains_add_up():
    monitor = ConvergenceMonitor(patience=3, min_gain=0.1)
    for step in range(30):
        assert monitor.observe({"score": step * 0.06}).action is Action.CONTINUE


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20))
def test_the_best_is_the_running_maximum(scores):
    monitor = ConvergenceMonitor(patience=100)
    found = [monitor.observe({"score": s}).is_best for s in scores]
    assert found == [all(s > earlier for earlier in scores[:i]) for i, s in enumerate(scores)]


def test_recoveries_run_out():
    monitor = ConvergenceMonitor(max_recoveries=2)
    monitor.observe({"loss": 1.0})
    verdicts = [monitor.observe({"loss": math.nan}) for _ in range(3)]
    assert [v.action for v in verdicts] == [Action.ROLL_BACK, Action.ROLL_BACK, Action.STOP]
    assert not verdicts[-1].converged
    assert verdicts[-1].reason == "loss is not finite, after 2 rollbacks"


def test_reset_forgets():
    monitor = ConvergenceMonitor(max_recoveries=1)
    for signals in ({"score": 5.0, "entropy": 0.9}, {"score": math.nan}):
        monitor.observe(signals)
    monitor.reset()
    assert monitor.observe({"score": 1.0, "entropy": 0.2}).is_best
    assert monitor.observe({"score": math.nan}).action is Action.ROLL_BACK


def test_a_run_without_scores_calls_every_healthy_state_the_best():
    monitor = ConvergenceMonitor(patience=2)
    assert [monitor.observe({}).is_best for _ in range(5)] == [True] * 5


# --- loop ---------------------------------------------------------------------------------------------------


class Descent:
    """One weight that walks down from 1 towards a target, and can be made to trip."""

    name = "descent"

    def __init__(self, n_rows=10, *, start=1.0, target=0.0, score=True):
        self.n_rows = n_rows
        self.module = nn.ParameterDict({"w": nn.Parameter(torch.tensor(start))})
        self.target = target
        self.epoch = -1  # assessed before the first
        self.trips = {}  # epoch -> function that harms the stage
        self.nan_rows = set()
        self.with_score = score
        self.restored = []
        self.seen = []

    @property
    def w(self):
        return self.module["w"].item()

    def assess(self, *, restored=False):
        self.restored.append(restored)
        if not restored:
            self.epoch += 1
            self.trips.get(self.epoch, lambda: None)()
        return {"score": -abs(self.w), "entropy": self.entropy()} if self.with_score else {}

    def entropy(self):
        return 0.0 if abs(self.w) > 100 else 1.0

    def losses(self, batch):
        self.seen.append(len(batch))
        loss = (self.module["w"] - self.target).square()
        return {
            "loss": loss * math.nan if self.nan_rows & set(batch.tolist()) else loss,
            "extra": loss * 0 + 2,
        }

    def set(self, value):
        def act():
            with torch.no_grad():
                self.module["w"].fill_(value)

        return act


def run(stage, *, monitor=None, max_epochs=5, batch_size=10, keep="best", lr=0.1, made=None):
    def make(factor):
        if made is not None:
            made.append(factor)
        return torch.optim.SGD(stage.module.parameters(), lr=lr * factor)

    return run_epochs(
        stage, make, monitor or ConvergenceMonitor(), max_epochs=max_epochs, batch_size=batch_size,
        generator=torch.Generator().manual_seed(0), keep=keep,
    )  # fmt: skip


def test_an_epoch_takes_one_step_a_batch():
    stage = Descent()
    result = run(stage, max_epochs=2, batch_size=4)
    assert stage.seen == [4, 4, 2] * 2
    assert stage.w == pytest.approx(0.8**6)
    losses = [np.mean([0.8 ** (2 * (3 * e + s)) for s in range(3)]) for e in range(2)]
    assert [entry["loss"] for entry in result.history] == pytest.approx(losses)
    assert [entry["extra"] for entry in result.history] == [2, 2]
    assert [entry["epoch"] for entry in result.history] == [1, 2]
    assert [entry["learning_rate"] for entry in result.history] == [0.1, 0.1]
    assert (result.n_iter, result.converged) == (2, False)


def test_no_epoch_at_all_leaves_the_state():
    stage = Descent()
    result = run(stage, max_epochs=0)
    assert (stage.w, result.n_iter, result.converged, result.history) == (1.0, 0, False, [])


def test_training_that_only_harms_returns_the_start_exactly():
    stage = Descent(target=50.0)
    result = run(stage, max_epochs=5)
    assert result.n_iter == 5
    assert stage.w == 1.0


def test_the_last_state_is_returned_where_it_is_asked_for():
    stage = Descent(target=50.0)
    run(stage, max_epochs=2, keep="last")
    assert stage.w == pytest.approx(50 - 49 * 0.8**2)


@pytest.mark.parametrize("harm", [math.nan, math.inf, 1e6])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_harmed_state_is_put_back_with_smaller_steps(harm, keep):
    stage, made = Descent(), []
    stage.trips = {3: stage.set(harm)}
    result = run(stage, max_epochs=4, keep=keep, made=made)
    assert made == pytest.approx([1, 0.3])
    verdicts = [entry["verdict"] for entry in result.history]
    assert verdicts == ["continue", "continue", "roll back", "continue"]
    assert [entry["learning_rate"] for entry in result.history] == pytest.approx([0.1, 0.1, 0.1, 0.03])
    # two steps of .2, the third is lost, one of .06 from where the second ended
    assert stage.w == pytest.approx(0.8**2 * 0.94)
    assert stage.restored == [False] * 4 + [True, False]
    assert not result.converged


@pytest.mark.parametrize("keep", ["best", "last"])
def test_recoveries_run_out_and_the_best_state_stays(keep):
    stage, made = Descent(), []
    stage.trips = {epoch: stage.set(math.nan) for epoch in range(2, 99)}
    result = run(stage, max_epochs=50, keep=keep, made=made)
    assert made == pytest.approx([0.3**i for i in range(7)])
    assert result.n_iter == 8
    assert not result.converged
    assert result.reason.endswith("is not finite, after 6 rollbacks")
    assert stage.w == pytest.approx(0.8)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_rollback_in_the_last_epoch_is_done(keep):
    stage = Descent()
    stage.trips = {3: stage.set(math.nan)}
    run(stage, max_epochs=3, keep=keep)
    assert stage.w == pytest.approx(0.8**2)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_weights_that_break_in_a_step_are_seen_without_any_score(keep):
    class Cusp(Descent):
        """In its third epoch the loss is finite, but its gradient is not."""

        def losses(self, batch):
            terms = super().losses(batch)
            cusp = (self.module["w"] * 0).sqrt() if self.epoch == 2 else 0.0
            return {"loss": terms["loss"] + cusp}

    stage = Cusp(score=False)
    result = run(stage, max_epochs=3, keep=keep)
    assert [entry["verdict"] for entry in result.history] == ["continue", "continue", "roll back"]
    assert result.history[2]["reason"] == "loss is not finite"
    assert stage.w == pytest.approx(0.8**2)


def test_a_rollback_forgets_the_optimisers_moments():
    stage, states = Descent(), []
    stage.trips = {2: stage.set(math.nan)}

    def make(factor):
        states.append(torch.optim.Adam(stage.module.parameters(), lr=0.1 * factor))
        return states[-1]

    run_epochs(
        stage,
        make,
        ConvergenceMonitor(),
        max_epochs=3,
        batch_size=10,
        generator=torch.Generator().manual_seed(0),
    )
    steps = [int(optimiser.state[stage.module["w"]]["step"]) for optimiser in states]
    assert steps == [2, 1]


def test_batches_that_are_not_finite_are_skipped_and_counted():
    stage = Descent(n_rows=10)
    stage.nan_rows = {3, 7}
    result = run(stage, max_epochs=1, batch_size=1)
    assert result.history[0]["skipped"] == 2
    assert stage.w == pytest.approx(0.8**8)
    assert result.history[0]["loss"] == pytest.approx(np.mean([0.8 ** (2 * s) for s in range(8)]))
    assert result.history[0]["verdict"] == "continue"


def test_three_skipped_batches_roll_back():
    stage = Descent(n_rows=10)
    stage.nan_rows = {1, 3, 7}
    result = run(stage, max_epochs=1, batch_size=1)
    assert result.history[0]["verdict"] == "roll back"
    assert stage.w == 1.0


def test_an_epoch_without_a_single_step_has_not_converged():
    stage = Descent()
    stage.nan_rows = {0}
    stage.assess = lambda *, restored=False: {"score": 1.0, "changed": 0.0 if stage.seen else 1.0}
    result = run(stage, max_epochs=50)
    assert not result.converged
    assert result.reason == "loss is not finite, after 6 rollbacks"


def test_a_start_that_is_broken_already_is_no_endless_loop():
    stage = Descent(start=math.nan)
    result = run(stage, max_epochs=50)
    assert not result.converged
    assert result.n_iter == 6
    assert "after 6 rollbacks" in result.reason


def test_one_seed_shuffles_one_way():
    class Remember(Descent):
        def losses(self, batch):
            self.seen += batch.tolist()
            return {"loss": self.module["w"].square()}

    first, second = Remember(), Remember()
    state = torch.random.get_rng_state()
    for stage in (first, second):
        run(stage, max_epochs=2, batch_size=3)
    assert first.seen == second.seen
    assert first.seen[:10] != first.seen[10:]
    assert torch.equal(torch.random.get_rng_state(), state)


# --- callbacks ----------------------------------------------------------------------------------------------


def test_every_epoch_is_told_inside_the_block_only():
    told, inner = [], []
    with report_to(lambda *call: told.append(call)):
        run(Descent(), max_epochs=2)
        with report_to(lambda *call: inner.append(call)):
            run(Descent(), max_epochs=1)
    run(Descent(), max_epochs=1)
    assert [call[:3] for call in told] == [("descent", 1, 2), ("descent", 2, 2), ("descent", 1, 1)]
    assert [call[:3] for call in inner] == [("descent", 1, 1)]
    assert told[0][3]["score"] == pytest.approx(-0.8)
    assert told[0][3]["loss"] == pytest.approx(1.0)


def test_what_a_callback_raises_ends_the_training_and_the_reporting():
    def stop(stage, done, total, signals):
        if done == 2:
            raise KeyboardInterrupt

    stage = Descent()
    with pytest.raises(KeyboardInterrupt), report_to(stop):
        run(stage, max_epochs=9)
    assert stage.epoch == 2
    assert run(Descent(), max_epochs=3).n_iter == 3
