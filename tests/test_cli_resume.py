"""A long fit that is killed goes on with the same command; what was in its folder stays until the end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from commands import ENVIRONMENT, files_below, invoke, make_encoder, make_photos, succeed, succeed_json
from holdfast import Embeddings, write_embeddings
from holdfast.doctor import examine
from holdfast.taxonomy import TRAINING_FOLDER, WORK_FOLDER, open_taxonomy
from holdfast.training import checkpoint, loop

PROGRAM = """
import os, sys
from holdfast.cli import main
from holdfast.training import checkpoint, loop

last, number = int(sys.argv[1]), int(sys.argv[2])
sys.argv[1:3] = []
checkpoint.EVERY = 0.0
tell, epochs = loop.tell, 0

def count(*signals):
    global epochs
    epochs += 1
    tell(*signals)
    if epochs == last:
        os.kill(os.getpid(), number)

loop.tell = count
main()
"""
"""The command, with a checkpoint after every epoch, and a signal to itself before that of one of them."""

OPTIONS = ("--method", "dec", "--n-clusters", 10, "--init", "kmeans")
MANY = 1_000


class Killed(BaseException):
    """Nothing catches this, as nothing catches kill -9."""


class Epochs:
    """Counts the epochs of a command, and kills it in one of them."""

    def __init__(self, monkeypatch):
        self._patch = monkeypatch

    def of(self, *words, kill_in=MANY):
        """Run a command; return how many epochs were completed, and the result where there is one."""
        seen, result = [], None

        def count(*_):
            if len(seen) + 1 == kill_in:
                raise Killed
            seen.append(1)

        with self._patch.context() as patch:
            patch.setattr(checkpoint, "EVERY", 0.0)
            patch.setattr(loop, "tell", count)
            try:
                result = invoke(*words)
            except Killed:
                assert kill_in < MANY
        return len(seen), result


@pytest.fixture
def epochs(monkeypatch):
    return Epochs(monkeypatch)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Digits to fit, and what a fit of them that nothing disturbs says."""
    folder = tmp_path_factory.mktemp("material")
    digits = load_digits()
    ids = np.array([f"digit-{row}" for row in range(400)])
    write_embeddings(Embeddings(ids, digits.data[:400] / 16, digits.target[:400]), folder / "e.npz")
    succeed("fit", folder / "e.npz", "-o", folder / "out", *OPTIONS)
    return folder


def names_in(folder):
    return {entry.name for entry in folder.iterdir()}


def assert_same(out, other):
    one, two = open_taxonomy(out), open_taxonomy(other)
    for name in ("ids", "cluster", "confidence"):
        np.testing.assert_array_equal(
            getattr(one.load_assignments(), name), getattr(two.load_assignments(), name)
        )
    assert one.read_run()["evidence"] == two.read_run()["evidence"]
    assert names_in(out) == names_in(other)


def signalled(number, *words):
    command = [sys.executable, "-c", PROGRAM, "3", str(int(number)), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=120)


def test_kill_9_and_ctrl_c_in_training_and_the_same_command_again(tmp_path, material):
    out = tmp_path / "out"
    words = ("fit", material / "e.npz", "-o", out, *OPTIONS)
    assert signalled(signal.SIGKILL, *words).returncode == -signal.SIGKILL
    assert names_in(out) == {TRAINING_FOLDER}
    (finding,) = examine(out).findings
    assert (finding.code, finding.level) == ("unfinished-run", "error")
    assert finding.what == "This run has not finished training; it holds a checkpoint and no result."
    done = signalled(signal.SIGINT, *words)
    said = "Interrupted: no taxonomy was written; the same command goes on from the training so far."
    assert (done.returncode, done.stderr) == (130, f"holdfast fit: {said}\n")
    assert names_in(out) == {TRAINING_FOLDER}
    succeed(*words)
    assert_same(out, material / "out")


def test_no_epoch_is_trained_twice(tmp_path, material, epochs):
    out = tmp_path / "out"
    words = ("fit", material / "e.npz", "-o", out, *OPTIONS)
    parts = [epochs.of(*words, kill_in=kill_in)[0] for kill_in in (3, 2, MANY)]
    assert parts[:2] == [2, 1]
    whole, _ = epochs.of("fit", material / "e.npz", "-o", tmp_path / "other", *OPTIONS)
    assert sum(parts) == whole > 3
    assert_same(out, material / "out")


@pytest.mark.parametrize("moment", ["holdfast.persistence.save", "holdfast.report.write_report"])
def test_killed_when_all_is_learnt_it_does_not_train_again(tmp_path, material, epochs, monkeypatch, moment):
    def kill(*_, **__):
        raise Killed

    out = tmp_path / "out"
    words = ("fit", material / "e.npz", "-o", out, *OPTIONS)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "EVERY", 0.0)
        patch.setattr(moment, kill)
        with pytest.raises(Killed):
            invoke(*words)
    assert names_in(out) == {TRAINING_FOLDER}
    assert epochs.of(*words)[0] == 0
    assert_same(out, material / "out")


def test_an_earlier_taxonomy_stays_whole_beside_the_checkpoint(tmp_path, material, epochs):
    out = tmp_path / "out"
    succeed("fit", material / "e.npz", "-o", out, "--n-clusters", 3)
    before = files_below(out)
    words = ("fit", material / "e.npz", "-o", out, *OPTIONS)
    epochs.of(*words, "--overwrite", kill_in=3)
    kept = {name: content for name, content in files_below(out).items() if name not in before}
    assert kept
    assert all(name.startswith(f"{TRAINING_FOLDER}/") for name in kept)
    assert files_below(out) == before | kept
    assert succeed_json("evaluate", out)["n_clusters"] == 3
    assert examine(out).usable
    assert invoke(*words).exit_code == 2, "it is a taxonomy still"
    assert files_below(out) == before | kept
    succeed(*words, "--overwrite")
    assert_same(out, material / "out")


def test_another_command_begins_anew(tmp_path, material, epochs):
    out = tmp_path / "out"
    words = ("fit", material / "e.npz", "-o", out, *OPTIONS)
    epochs.of(*words, "--seed", 1, kill_in=3)
    _, done = epochs.of(*words)
    assert done.exit_code == 0
    said = f"{out / TRAINING_FOLDER} holds the checkpoint of another fit; this one begins anew."
    assert " ".join(done.stderr.split()) == f"Note: {said}"
    assert_same(out, material / "out")


def test_a_folder_of_that_name_with_files_of_the_user_is_not_touched(tmp_path, material):
    mine = tmp_path / "out" / TRAINING_FOLDER / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    result = invoke("fit", material / "e.npz", "-o", tmp_path / "out", *OPTIONS)
    assert result.exit_code == 2
    assert "holds 'notes.txt': give the checkpoint a folder of its own." in result.stderr
    assert mine.read_text() == "mine"


def test_a_run_goes_on_with_vectors_and_training(tmp_path, epochs):
    photos, encoder = make_photos(tmp_path / "photos", n=40), make_encoder(tmp_path / "encoder")
    words = ("run", photos, "--n-clusters", 2, "--encoder", encoder, "--method", "dec")
    first, _ = epochs.of(*words, "-o", tmp_path / "out", kill_in=2)
    assert names_in(tmp_path / "out") == {TRAINING_FOLDER, WORK_FOLDER}
    rest, done = epochs.of(*words, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    whole, _ = epochs.of(*words, "-o", tmp_path / "other")
    assert first + rest == whole
    assert_same(tmp_path / "out", tmp_path / "other")


def test_no_record_names_a_path_of_this_machine_for_the_checkpoint(material):
    out = material / "out"
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert "checkpoint" not in run["parameters"]
    manifest = json.loads((out / "versions" / "1" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["parameters"]["checkpoint"] is None
    assert open_taxonomy(out).load_model().checkpoint is None
    for path in out.rglob("*"):
        assert path.is_dir() or TRAINING_FOLDER.encode() not in path.read_bytes(), path


def test_a_short_fit_writes_nothing_on_the_way(tmp_path, material, monkeypatch):
    seen = []

    def interrupted(*_):
        seen.append(names_in(tmp_path))
        raise KeyboardInterrupt

    monkeypatch.setattr("holdfast.cluster.DEC._take", interrupted)
    result = invoke("fit", material / "e.npz", "-o", tmp_path / "out", *OPTIONS)
    assert (result.exit_code, result.stderr) == (130, "holdfast fit: Interrupted: nothing was written.\n")
    assert seen == [set()]


@pytest.mark.parametrize(("given", "kept"), [("120", 120), ("all", None), ("auto", "auto")])
def test_rows_to_train_on(tmp_path, material, given, kept):
    succeed("fit", material / "e.npz", "-o", tmp_path / "out", *OPTIONS, "--subsample", given)
    run = open_taxonomy(tmp_path / "out").read_run()
    assert run["parameters"]["subsample"] == kept
    assert (" --subsample " in run["command"]) == (given != "auto")
    assert len(open_taxonomy(tmp_path / "out").load_assignments()) == 400


@pytest.mark.parametrize("given", ["0", "1", "-5", "some", "1.5"])
def test_no_rows_to_train_on(tmp_path, material, given):
    result = invoke("fit", material / "e.npz", "-o", tmp_path / "out", "--subsample", given)
    assert result.exit_code == 2
    assert result.stderr == (
        f"holdfast fit: --subsample must be auto, all or a whole number of at least 2, not {given!r}.\n"
    )
