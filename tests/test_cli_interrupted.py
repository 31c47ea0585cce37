"""Real signals to real processes: Ctrl-C leaves no trace, kill -9 leaves the old folder or the new one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from commands import ENVIRONMENT, files_below, make_encoder, make_photos, make_table, succeed, succeed_json
from holdfast.taxonomy import open_taxonomy

PROGRAM = """
import os, sys
from holdfast.cli import main

moment, number = sys.argv[1], int(sys.argv[2])
sys.argv[1:3] = []

def strike(*_args, **_more):
    os.kill(os.getpid(), number)

def then_strike(work):
    def both(*args, **more):
        result = work(*args, **more)
        strike()
        return result
    return both

if moment == "fit":
    import holdfast.training.loop as place
    place.tell = strike
elif moment == "model":
    import holdfast.persistence as place
    place.save = then_strike(place.save)
elif moment == "run":
    import holdfast.taxonomy.store as place
    place.write_json = then_strike(place.write_json)
elif moment == "done":
    import holdfast.cli.fit as place
    place.show_outcome = strike
main()
"""
"""The command, with a signal to itself at one moment: in the first epoch, after the model is written, after
`run.json` is, or when all is in place."""


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A taxonomy of 3 clusters, and a table of more items for its successor."""
    folder = tmp_path_factory.mktemp("material")
    make_table(folder / "old.npz", n=60)
    make_table(folder / "new.npz", n=75)
    return folder


@pytest.fixture
def place(tmp_path, material):
    """A folder of its own with the old taxonomy in it."""
    succeed("fit", material / "old.npz", "-o", tmp_path / "out", "--n-clusters", 3)
    return tmp_path


def struck(place, material, moment, number):
    """Fit the new table over the old taxonomy and be struck in between."""
    words = ("fit", material / "new.npz", "-o", place / "out", "--n-clusters", "3", "--overwrite")
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, moment, str(int(number)), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        timeout=120,
    )


@pytest.mark.parametrize("moment", ["fit", "run"])
def test_ctrl_c_leaves_everything_as_it_was(place, material, moment):
    before = files_below(place)
    done = struck(place, material, moment, signal.SIGINT)
    assert done.returncode == 130
    assert done.stderr == "holdfast fit: Interrupted: nothing was written.\n"
    assert done.stdout == ""
    assert files_below(place) == before


def test_a_polite_kill_cleans_up_too(place, material):
    before = files_below(place)
    done = struck(place, material, "model", signal.SIGTERM)
    assert done.returncode == 128 + signal.SIGTERM
    assert files_below(place) == before
    assert [entry.name for entry in place.iterdir()] == ["out"]


@pytest.mark.parametrize(("moment", "n"), [("fit", 60), ("run", 60), ("done", 75)])
def test_kill_9_leaves_the_old_taxonomy_or_the_new_one(place, material, moment, n):
    before = files_below(place / "out")
    done = struck(place, material, moment, signal.SIGKILL)
    assert done.returncode == -signal.SIGKILL
    assert (files_below(place / "out") == before) is (n == 60)
    assert succeed_json("evaluate", place / "out")["n"] == n
    assert len(open_taxonomy(place / "out").load_model().labels_) == n
    assert (place / "out" / "report.html").stat().st_size > 10_000
    # And what is left lying about is no obstacle.
    succeed("fit", material / "new.npz", "-o", place / "out", "--n-clusters", 3, "--overwrite")


def test_ctrl_c_from_outside_while_images_are_embedded(tmp_path):
    photos, encoder = make_photos(tmp_path / "photos", n=1500), make_encoder(tmp_path / "encoder")
    words = ("run", photos, "-o", tmp_path / "out", "--n-clusters", 2, "--encoder", encoder)
    process = subprocess.Popen(
        [sys.executable, "-m", "holdfast", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        wait_for(tmp_path / "out" / ".embedding", process)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.startswith("holdfast run: Interrupted: no taxonomy was written; the same command goes on")
    out = tmp_path / "out"
    assert not out.exists() or [entry.name for entry in out.iterdir()] == [".embedding"]


def wait_for(path, process):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
