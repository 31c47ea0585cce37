"""Memory maps: pages go back after use, and nothing that was written goes with them."""

import re
from pathlib import Path

import numpy as np
import pytest

from holdfast.io import mapped
from holdfast.io.mapped import release, take_rows

MEGABYTE = 1 << 20


def resident_megabytes(kind):
    """Return this process's resident memory of a kind ("RssFile" is what is mapped from files)."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs /proc to tell which pages are resident")
    return int(re.search(rf"{kind}:\s+(\d+) kB", status.read_text())[1]) / 1024


@pytest.fixture
def numbers(tmp_path):
    """A file of 32 MB: 8,192 rows of 1,024 float32 values."""
    path = tmp_path / "numbers"
    np.arange(8192 * 1024, dtype=np.float32).tofile(path)
    return path


VIEWS = {
    "itself": lambda X: X,
    "a slice": lambda X: X[10:20, ::2],
    "a plain array": np.asarray,
    "a reshaped plain array": lambda X: np.asarray(X).reshape(-1, 512)[3:],
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_pages_go_back_and_their_values_stay(numbers, view, mode):
    X = np.memmap(numbers, np.float32, mode, shape=(8192, 1024))
    total = X.sum(dtype=np.float64)
    full = resident_megabytes("RssFile")
    release(VIEWS[view](X))
    assert full - resident_megabytes("RssFile") > 28
    assert X.sum(dtype=np.float64) == total


def test_what_was_written_stays(tmp_path):
    X = np.memmap(tmp_path / "new", np.float32, "w+", shape=(1024, 1024))
    X[:] = 7
    release(X)
    assert (X == 7).all()
    X[3] = 8
    release(X)
    assert np.fromfile(tmp_path / "new", np.float32).reshape(X.shape)[3, 5] == 8


def test_private_changes_are_not_lost(numbers):
    X = np.memmap(numbers, np.float32, "c", shape=(8192, 1024))
    X[5] = -1
    release(X)
    release(X[5:6])
    assert (X[5] == -1).all()


@pytest.mark.parametrize("X", [np.eye(3), np.eye(3)[1:], np.frombuffer(b"abcd", np.uint8)])
def test_ordinary_arrays_are_left_alone(X):
    before = X.copy()
    release(X)
    assert (before == X).all()


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_rows_are_taken_from_any_view_of_a_map_a_few_at_a_time(numbers, view, monkeypatch):
    X = view(np.memmap(numbers, np.float32, "r", shape=(8192, 1024)))
    rows = np.arange(0, len(X), 2)
    expected = np.array(X[rows])
    release(X)
    before, seen = resident_megabytes("RssFile"), []

    def look_and_release(X):
        seen.append(resident_megabytes("RssFile") - before)
        release(X)

    monkeypatch.setattr(mapped, "_TAKEN_ROWS", 512)
    monkeypatch.setattr(mapped, "release", look_and_release)
    np.testing.assert_array_equal(take_rows(X, rows), expected)
    assert max(seen) < 12, "a third of the file"
    assert len(seen) == -(-len(rows) // 512)
