"""A fit that is killed goes on to the same result, whatever killed it and wherever it was."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from commands import ENVIRONMENT
from holdfast import DEC, IDEC
from holdfast.exceptions import OutputError, ParameterError
from holdfast.io import tensors as tensor_files
from holdfast.training import checkpoint as checkpoints
from holdfast.training import report_to
from holdfast.training.checkpoint import Checkpoint


@pytest.fixture(autouse=True)
def _write_every_epoch(monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)


@pytest.fixture(scope="module")
def rows():
    from sklearn.datasets import load_digits

    return (load_digits().data[:300] / 16).astype(np.float32)


SHORT = {"n_init": 2, "pretrain_epochs": 4, "max_epochs": 6, "random_state": 0}
MODELS = {
    "projection": lambda **more: DEC(10, **SHORT, **more),
    "autoencoder": lambda **more: DEC(10, encoder="autoencoder", hidden_dims=(32, 8), **SHORT, **more),
    "lazy target": lambda **more: DEC(10, target_update_interval=3, tol=0.0, **SHORT, **more),
    "reconstruction": lambda **more: IDEC(10, **SHORT, **more),
}


class Killed(BaseException):
    """Nothing catches this, as nothing catches kill -9."""


def same(one, other):
    np.testing.assert_array_equal(one.labels_, other.labels_)
    np.testing.assert_array_equal(one.start_labels_, other.start_labels_)
    for name, value in one.module_.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), other.module_.state_dict()[name].numpy())
    assert one.history_ == other.history_
    assert one.evidence_ == other.evidence_
    assert (one.n_iter_, one.converged_, one.start_) == (other.n_iter_, other.converged_, other.start_)


def fit_killed_at(model, X, last):
    """Fit until the ``last`` epoch is over; False if the fit ended before."""
    seen = 0

    def kill(*_):
        nonlocal seen
        seen += 1
        if seen == last:
            raise Killed

    try:
        with report_to(kill):
            model.fit(X)
    except Killed:
        return True
    return False


@pytest.mark.filterwarnings("ignore::holdfast.exceptions.HoldfastWarning")
@pytest.mark.parametrize("kind", MODELS)
def test_killed_after_any_epoch_a_fit_ends_as_if_it_had_not_been(kind, rows, tmp_path):
    undisturbed = MODELS[kind]().fit(rows)
    folder, last, kills = tmp_path / "checkpoint", 2, 0
    while fit_killed_at(model := MODELS[kind](checkpoint=folder), rows, last):
        kills += 1
        last = last % 5 + 2  # some epochs more each time, counted from where the last one was
        assert kills < 40
    assert kills >= 3
    same(model, undisturbed)
    assert not folder.exists(), "a complete fit leaves no checkpoint"


@pytest.mark.filterwarnings("ignore::holdfast.exceptions.HoldfastWarning")
def test_what_was_done_is_not_done_again(rows, tmp_path):
    folder = tmp_path / "checkpoint"
    assert fit_killed_at(MODELS["projection"](checkpoint=folder, init="kmeans"), rows, 6)
    epochs = []
    with report_to(lambda stage, done, *_: epochs.append((stage, done))):
        MODELS["projection"](checkpoint=folder, init="kmeans").fit(rows)
    assert epochs[0][1] > 1
    assert len(set(epochs)) == len(epochs)


@pytest.mark.filterwarnings("ignore::holdfast.exceptions.HoldfastWarning")
@pytest.mark.parametrize("other", ["parameters", "rows", "damage"])
def test_a_checkpoint_of_something_else_is_not_believed(other, rows, tmp_path, caplog):
    folder = tmp_path / "checkpoint"
    assert fit_killed_at(MODELS["projection"](checkpoint=folder), rows, 3)
    model, X = MODELS["projection"](checkpoint=folder), rows
    if other == "parameters":
        model.set_params(random_state=1)
    elif other == "rows":
        X = rows[::-1].copy()
    else:
        for path in folder.rglob("tensors.safetensors"):
            path.write_bytes(path.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        model.fit(X)
    same(model, MODELS["projection"]().set_params(random_state=model.random_state).fit(X))
    said = [record.message for record in caplog.records if "begins anew" in record.message]
    assert said if other == "damage" else len(said) == 1


@pytest.mark.filterwarnings("ignore::holdfast.exceptions.HoldfastWarning")
def test_a_full_disk_ends_the_fit_and_spoils_nothing(rows, tmp_path, monkeypatch):
    folder, saves = tmp_path / "checkpoint", 0
    save = tensor_files.save

    def full(tensors):
        nonlocal saves
        saves += 1
        if saves == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(tensors)

    monkeypatch.setattr(tensor_files, "save", full)
    with pytest.raises(OutputError, match=r"No space left on device.*a disk with room\.$"):
        MODELS["projection"](checkpoint=folder).fit(rows)
    resumed = MODELS["projection"](checkpoint=folder).fit(rows)
    same(resumed, MODELS["projection"]().fit(rows))


PROGRAM = """
import json, sys, warnings
import numpy as np
from holdfast import DEC
from holdfast.training import checkpoint
warnings.simplefilter("ignore")
checkpoint.EVERY = 0.0
X = np.load(sys.argv[1])
print("ready", flush=True)
model = DEC(10, n_init=2, tol=0.0, random_state=0, checkpoint=sys.argv[2]).fit(X)
print(json.dumps([model.labels_.tolist(), model.cluster_centers_.tolist(), model.history_]))
"""


def test_kill_minus_nine_in_the_middle_of_whatever_it_does(rows, tmp_path):
    np.save(tmp_path / "X.npy", rows)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "X.npy")]

    def run(folder, kill_after=None):
        process = subprocess.Popen(
            [*command, str(tmp_path / folder)], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
        assert process.stdout.readline() == "ready\n"
        if kill_after is not None:
            time.sleep(kill_after)
            process.send_signal(signal.SIGKILL)
        answer = process.stdout.read()
        process.wait()
        return json.loads(answer) if answer else None

    undisturbed = run("one")
    answers = [run("two", after) for after in (0.3, 0.7, 1.1, None)]
    assert next(answer for answer in answers[::-1] if answer) == undisturbed
    assert not (tmp_path / "two").exists()


def test_what_a_killed_writer_left_is_swept(tmp_path):
    folder = tmp_path / "checkpoint"
    Checkpoint(folder, {}).write("record", {}, 1, now=True)
    (folder / ".tmp-0badcafe-record").mkdir()
    assert Checkpoint(folder, {}).read("record") == ({}, 1)
    assert sorted(entry.name for entry in folder.iterdir()) == ["fit.json", "record"]


def test_a_folder_of_the_user_is_neither_used_nor_removed(rows, tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(OutputError, match=r"holds 'photo\.jpg': give the checkpoint a folder of its own\.$"):
        MODELS["projection"](checkpoint=tmp_path).fit(rows)
    with pytest.raises(OutputError, match=r"photo\.jpg is a file: give the checkpoint a folder"):
        MODELS["projection"](checkpoint=tmp_path / "photo.jpg").fit(rows)
    assert [entry.name for entry in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_record_is_what_was_written_infinities_included(tmp_path):
    checkpoint = Checkpoint(tmp_path / "c", {"k": 3})
    assert checkpoint.read("a b") is None
    assert checkpoint.write("a b", {"x": np.arange(3)}, {"best": -np.inf, "worst": float("nan")})
    tensors, values = Checkpoint(tmp_path / "c", {"k": 3}).read("a b")
    assert tensors["x"].tolist() == [0, 1, 2]
    assert values["best"] == -np.inf
    assert np.isnan(values["worst"])
    assert Checkpoint(tmp_path / "c", {"k": 4}).read("a b") is None
    checkpoint.discard()
    assert not (tmp_path / "c").exists()


def test_writes_wait_for_their_time(tmp_path):
    checkpoint = Checkpoint(tmp_path / "c", {}, every=3600)
    assert not checkpoint.is_due()
    assert not checkpoint.write("late", {}, {})
    assert not (tmp_path / "c").exists()


def test_what_is_owed_is_written_with_the_next_record(tmp_path):
    checkpoint = Checkpoint(tmp_path / "c", {}, every=3600)
    checkpoint.owe("starts", {"x": np.arange(3)}, 0.5)
    assert not (tmp_path / "c").exists()
    checkpoint.write("epoch", {}, 1, now=True)
    assert checkpoint.read("starts")[0]["x"].tolist() == [0, 1, 2]
    assert checkpoint.read("starts")[1] == 0.5
    checkpoint.discard()
    checkpoint.write("epoch", {}, 2, now=True)
    assert checkpoint.read("starts") is None, "a debt is paid once"
    Checkpoint(tmp_path / "d", {}, every=0).owe("starts", {}, 1)
    assert (tmp_path / "d" / "starts").exists()


def test_what_a_taxonomy_left_beside_is_not_swept(tmp_path):
    (tmp_path / ".old-0123abcd-products").mkdir()
    (tmp_path / ".tmp-0123abcd-fit.json").touch()
    with pytest.raises(OutputError, match=r"holds '\.old-0123abcd-products': give the checkpoint a folder"):
        Checkpoint(tmp_path, {})
    assert (tmp_path / ".old-0123abcd-products").is_dir()


def test_records_of_another_fit_are_never_read(tmp_path):
    Checkpoint(tmp_path / "c", {"k": 3}).write("starts", {}, "three", now=True)
    theirs = tmp_path / "c" / "starts"
    kept = {path.name: path.read_bytes() for path in theirs.iterdir()}
    checkpoint = Checkpoint(tmp_path / "c", {"k": 4})
    checkpoint.write("loop", {}, "four", now=True)
    theirs.mkdir()
    for name, content in kept.items():  # as if two fits had shared the folder
        (theirs / name).write_bytes(content)
    assert checkpoint.read("loop") == ({}, "four")
    assert checkpoint.read("starts") is None


def test_a_kill_while_a_checkpoint_is_removed_leaves_one_that_is_known(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "c", {})
    for name in ("a", "b"):
        checkpoint.write(name, {}, name, now=True)
    removed = []

    def killed(path, **_):
        removed.append(path.name)
        raise Killed

    monkeypatch.setattr(checkpoints.shutil, "rmtree", killed)
    with pytest.raises(Killed):
        checkpoint.discard()
    assert removed == ["a"]
    monkeypatch.undo()
    assert Checkpoint(tmp_path / "c", {}).read("b") == ({}, "b")
    (tmp_path / "c" / "note.txt").touch()
    Checkpoint(tmp_path / "c", {}).discard()
    assert [entry.name for entry in (tmp_path / "c").iterdir()] == ["note.txt"], (
        "and nothing of the user's goes"
    )


def test_a_fit_that_cannot_be_repeated_is_not_kept(rows, tmp_path):
    model = MODELS["projection"](checkpoint=tmp_path / "c").set_params(random_state=None)
    with pytest.raises(
        ParameterError, match=r"^checkpoint needs an integer as random_state: another seed is"
    ):
        model.fit(rows)
