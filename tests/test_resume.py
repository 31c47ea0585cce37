"""Monitor and loop taken up in the middle: everything afterwards is as if nothing had happened."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast.training import ConvergenceMonitor, report_to, run_epochs
from holdfast.training.checkpoint import Checkpoint

# --- monitor ------------------------------------------------------------------------------------------------

values = st.floats(-3, 3) | st.sampled_from([math.nan, math.inf])
healthy = st.floats(0, 1)
signals = st.fixed_dictionaries(
    {},
    optional={
        "loss": values, "score": values, "changed": healthy, "entropy": healthy, "used": healthy,
        "skipped": st.integers(0, 4).map(float),
    },
)  # fmt: skip
monitors = st.fixed_dictionaries(
    {
        "tol": st.sampled_from([0.0, 1e-3, 0.3]),
        "patience": st.integers(1, 4),
        "min_gain": st.sampled_from([0.0, 0.1]),
        "max_recoveries": st.integers(0, 3),
        "enough": st.none() | st.floats(-3, 3),
    }
)


@given(monitors, st.lists(signals, min_size=1, max_size=20), st.data())
def test_a_monitor_that_was_written_down_judges_as_the_one_that_was_not(options, epochs, data):
    whole = ConvergenceMonitor(**options)
    expected = [whole.observe(some) for some in epochs]
    cut = data.draw(st.integers(0, len(epochs)), "cut")
    first = ConvergenceMonitor(**options)
    before = [first.observe(some) for some in epochs[:cut]]
    state = json.loads(json.dumps(first.state()))
    second = ConvergenceMonitor(**options)
    second.observe({"score": 99.0, "entropy": 0.1})  # whatever it saw is replaced
    second.set_state(state)
    assert before + [second.observe(some) for some in epochs[cut:]] == expected
    assert repr(second.state()) == repr(whole.state())


def test_a_state_is_a_copy():
    monitor = ConvergenceMonitor()
    for score in (1.0, 2.0):
        monitor.observe({"score": score, "entropy": 0.5})
    state = monitor.state()
    before = repr(state)
    other = ConvergenceMonitor()
    other.set_state(state)
    for score in (5.0, 7.0):
        other.observe({"score": score})
        monitor.observe({"score": score})
    assert repr(state) == before


@pytest.mark.parametrize(
    ("scores", "stops"),
    [
        ([0.1, 0.2, 0.3, 0.5], [False, False, False, True]),
        ([0.9, 0.1], [False, True]),  # the start alone is not trained, but once trained it counts
        ([0.1, 0.4999], [False, False]),
    ],
)
def test_enough_is_enough(scores, stops):
    monitor = ConvergenceMonitor(enough=0.5)
    verdicts = [monitor.observe({"score": score}) for score in scores]
    assert [verdict.action.value == "stop" for verdict in verdicts] == stops
    if stops[-1]:
        assert verdicts[-1].converged
        assert verdicts[-1].reason == "the score reached 0.500, which is enough"


def test_trouble_is_never_enough():
    monitor = ConvergenceMonitor(enough=0.5)
    monitor.observe({"score": 0.1})
    assert monitor.observe({"score": 0.9, "loss": math.nan}).action.value == "roll back"
    assert monitor.observe({"score": 0.2}).action.value == "continue"


# --- loop ---------------------------------------------------------------------------------------------------


class Regression:
    """A line through noisy points, with noise of its own; its weights break after a set epoch."""

    name = "a line"
    n_rows = 20

    def __init__(self, generator, breaks=()):
        self.module = nn.Linear(3, 1)
        rng = np.random.default_rng(0)
        with torch.no_grad():
            self.module.weight.copy_(torch.from_numpy(rng.normal(size=(1, 3))))
            self.module.bias.zero_()
        self.x = torch.from_numpy(rng.normal(size=(20, 3)).astype(np.float32))
        self.y = self.x @ torch.tensor([[1.0], [-2.0], [0.5]])
        self.generator = generator
        self.breaks = set(breaks)
        self.assessed = 0
        self.aim = torch.zeros(20, 1)

    def assess(self, *, restored=False):
        if not restored:
            self.assessed += 1
            if self.assessed in self.breaks:
                self.module.weight.data[0, 1] = math.nan
        with torch.no_grad():
            error = float((self.module(self.x) - self.y).square().mean())
        if math.isfinite(error) and self.assessed % 2:
            self.aim = self.y + 0.1 * error  # something that the coming epochs depend on
        return {"score": -error, "changed": 1.0}

    def losses(self, batch):
        noise = 0.1 * torch.randn(len(batch), 3, generator=self.generator)
        return {"loss": (self.module(self.x[batch] + noise) - self.aim[batch]).square().mean()}

    def state(self):
        return {"assessed": np.array(self.assessed), "aim": self.aim.numpy()}

    def set_state(self, state):
        self.assessed, self.aim = int(state["assessed"]), torch.from_numpy(state["aim"])


class Killed(BaseException):
    """Nothing catches this, as nothing catches kill -9."""


EPOCHS = 8


def train(breaks, *, record=None, kill_at=None, keep="best", adam=True):
    """Train from the very beginning, or from what is in the record; None where it was killed."""
    generator = torch.Generator().manual_seed(3)
    stage = Regression(generator, breaks)
    kind = torch.optim.Adam if adam else torch.optim.SGD

    def kill(_, done, *__):
        if done == kill_at:
            raise Killed

    try:
        with report_to(kill):
            result = run_epochs(
                stage, lambda factor: kind(stage.module.parameters(), lr=0.05 * factor),
                ConvergenceMonitor(tol=0.0, patience=99), max_epochs=EPOCHS, batch_size=6,
                generator=generator, keep=keep, record=record,
            )  # fmt: skip
    except Killed:
        return None
    return result, {name: value.clone() for name, value in stage.module.state_dict().items()}, generator


def same(found, expected):
    assert repr(found[0]) == repr(expected[0])  # NaN is in the history, and differs from itself
    assert all(torch.equal(found[1][name], value) for name, value in expected[1].items())
    assert torch.equal(found[2].get_state(), expected[2].get_state())


def epochs_of(act):
    """The numbers of the epochs that are trained meanwhile."""
    told = []
    with report_to(lambda _, done, *__: told.append(done)):
        act()
    return told


BREAKS = [(), (5, 6), (2, 5, 8), range(4, 99), (EPOCHS + 1,)]


@pytest.mark.parametrize(("breaks", "keep"), [*((some, "best") for some in BREAKS), ((5,), "last")], ids=str)
def test_a_loop_killed_after_any_epoch_ends_as_if_it_had_not_been(breaks, keep, tmp_path):
    expected = train(breaks, keep=keep)
    n = expected[0].n_iter
    assert {entry["verdict"] for entry in expected[0].history} >= ({"roll back"} if breaks else {"continue"})
    for epoch in range(1, n + 1):
        folder = tmp_path / str(epoch)
        record = Checkpoint(folder, {}, every=0.0).record("line")
        assert train(breaks, record=record, kill_at=epoch, keep=keep) is None
        record = Checkpoint(folder, {}).record("line")
        told = epochs_of(lambda: same(train(breaks, record=record, keep=keep), expected))  # noqa: B023 - at once
        assert told == list(range(epoch, n + 1)), "what was done is not done again"


def test_killed_again_and_again(tmp_path):
    expected = train((3, 7))
    for epoch in (2, 3, 4, 4, 7, 8):
        record = Checkpoint(tmp_path / "c", {}, every=0.0).record("line")
        assert train((3, 7), record=record, kill_at=epoch) is None
    same(train((3, 7), record=Checkpoint(tmp_path / "c", {}, every=0.0).record("line")), expected)


def test_a_finished_loop_is_only_read(tmp_path):
    expected = train((4,), adam=False)
    for _ in range(2):
        record = Checkpoint(tmp_path / "c", {}, every=0.0).record("line")
        same(train((4,), record=record, adam=False), expected)
    assert epochs_of(lambda: same(train((4,), record=record, adam=False), expected)) == []


def test_a_record_that_is_never_due_changes_nothing(tmp_path):
    record = Checkpoint(tmp_path / "c", {}, every=3600.0).record("line")
    same(train((4,), record=record), train((4,)))
    assert not (tmp_path / "c").exists()
