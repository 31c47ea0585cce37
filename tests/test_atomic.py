"""Atomic writes: the old result or the new one, whatever happens in between."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from holdfast.exceptions import InputError, ModelFileError, OutputError
from holdfast.io import atomic
from holdfast.io.atomic import atomic_file, atomic_folder, jsonable, output_error, write_json, write_text
from holdfast.io.tensors import load_tensors
from holdfast.taxonomy import open_taxonomy


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_appears_at_the_end_only(tmp_path):
    target = tmp_path / "new" / "deep" / "a.csv"
    with atomic_file(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".csv"
        temporary.write_text("1")
        assert not target.exists()
    assert target.read_text() == "1"
    assert names(target.parent) == ["a.csv"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError, SystemExit, GeneratorExit])
def test_an_interruption_leaves_the_old_file(tmp_path, stop):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def interrupted():
        with atomic_file(target) as temporary:
            temporary.write_text("half of the n")
            raise stop

    with pytest.raises(stop):
        interrupted()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_the_old_folder(tmp_path, stop):
    write_text(tmp_path / "out" / "a.txt", "old")

    def interrupted():
        with atomic_folder(tmp_path / "out", owned=["a.txt"]) as temporary:
            write_text(temporary / "a.txt", "new")
            raise stop

    with pytest.raises(stop):
        interrupted()
    assert (tmp_path / "out" / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_a_killed_process_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    program = textwrap.dedent("""
        import sys, time
        from holdfast.io.atomic import atomic_file
        with atomic_file(sys.argv[1]) as temporary:
            temporary.write_text("half")
            open(sys.argv[1] + ".started", "w").close()
            time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", program, str(target)]) as process:
        deadline = time.monotonic() + 30
        while not (tmp_path / "a.txt.started").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert target.read_text() == "old"


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "out"
    write_text(target / "versions" / "1.txt", "old")
    with atomic_folder(target, owned=["versions"]) as temporary:
        write_text(temporary / "b.txt", "new")
        assert names(target) == ["versions"]
    assert names(target) == ["b.txt"]
    assert names(tmp_path) == ["out"]


def test_an_empty_folder_is_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as temporary:
        write_text(temporary / "a.txt", "1")
    assert names(tmp_path / "out") == ["a.txt"]


def test_a_folder_with_the_users_files_is_refused(tmp_path):
    for name in ("holiday.jpg", "run.json"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError) as caught, atomic_folder(tmp_path, owned=["run.json"]):
        pytest.fail("the work must not start")
    assert str(caught.value) == (
        f"{tmp_path} holds 'holiday.jpg', which would be lost: give another folder, or empty this one first."
    )
    assert names(tmp_path) == ["holiday.jpg", "run.json"]


def test_a_file_that_arrives_during_the_work_is_not_lost(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(OutputError, match=r"holds 'late\.txt'"), atomic_folder(target):
        write_text(target / "late.txt", "mine")
    assert names(target) == ["late.txt"]
    assert names(tmp_path) == ["out"]


REPLACE_AND_DIE = textwrap.dedent("""
    import os, shutil, signal, sys
    from pathlib import Path
    from holdfast.io import atomic

    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    retire = atomic._temporary_beside
    def name(target, kind="tmp"):
        if kind == "old":  # the second rename is one too many
            rename, calls = Path.rename, []
            Path.rename = lambda self, to: die() if calls else (calls.append(to), rename(self, to))
        return retire(target, kind)

    atomic._temporary_beside = name
    shutil.rmtree = die
    if sys.argv[2] == "two renames":
        atomic._exchange = lambda one, other: False
    with atomic.atomic_folder(sys.argv[1], owned=["a.txt"]) as temporary:
        atomic.write_text(temporary / "a.txt", "new")
""")


def replace_and_die(target, way):
    """Replace a folder in a process that is killed as soon as names have changed."""
    write_text(target / "a.txt", "old")
    done = subprocess.run([sys.executable, "-c", REPLACE_AND_DIE, target, way], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def can_exchange(folder):
    (folder / ".one").mkdir()
    (folder / ".other").mkdir()
    done = atomic._exchange(folder / ".one", folder / ".other")
    (folder / ".one").rmdir()
    (folder / ".other").rmdir()
    return done


def test_the_name_is_never_without_a_folder(tmp_path):
    if not can_exchange(tmp_path):
        pytest.skip("this system or disk cannot exchange two folders in one step")
    target = tmp_path / "out"
    replace_and_die(target, "one step")
    assert (target / "a.txt").read_text() == "new"
    (left,) = set(names(tmp_path)) - {"out"}
    assert left.startswith(".tmp-")
    assert (tmp_path / left / "a.txt").read_text() == "old"


@pytest.mark.parametrize("read", [load_tensors, open_taxonomy])
def test_a_kill_between_two_renames_is_explained(tmp_path, read):
    target = tmp_path / "out"
    replace_and_die(target, "two renames")
    assert not target.exists()
    (left,) = tmp_path.glob(".old-*")
    with pytest.raises(ModelFileError) as caught:
        read(target)
    sentence = f"{target} is missing because replacing it was cut short: rename {left} to get it back."
    assert str(caught.value) == sentence
    with pytest.raises(ModelFileError, match=r"is no (model|taxonomy) folder"):
        read(tmp_path / "other")
    left.rename(target)
    assert (target / "a.txt").read_text() == "old"
    with pytest.raises(ModelFileError, match=r"is no (model|taxonomy) folder"):
        read(target)


def test_what_cannot_be_exchanged_is_left_alone(tmp_path):
    write_text(tmp_path / "old" / "a.txt", "old")
    assert not atomic._exchange(tmp_path / "missing", tmp_path / "old")
    assert names(tmp_path) == ["old"]
    assert (tmp_path / "old" / "a.txt").read_text() == "old"


def test_without_an_exchange_a_folder_is_replaced_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    test_a_folder_is_replaced_whole(tmp_path)


def test_a_swap_that_fails_halfway_puts_the_old_folder_back(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    target = tmp_path / "out"
    write_text(target / "a.txt", "old")
    rename = type(target).rename

    def refuse_the_new_one(self, destination):
        if (self / "a.txt").read_text() == "new":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, destination)

    monkeypatch.setattr(type(target), "rename", refuse_the_new_one)
    with (
        pytest.raises(OutputError, match="Input/output error"),
        atomic_folder(target, owned=["a.txt"]) as temporary,
    ):
        write_text(temporary / "a.txt", "new")
    assert (target / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_kinds_must_match(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is a folder; give the name of a file to write"):
        write_text(tmp_path, "x")
    with (
        pytest.raises(OutputError, match="is a file; give the name of a folder to write"),
        atomic_folder(tmp_path / "file"),
    ):
        pytest.fail("the work must not start")


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError) as caught:
        write_text(tmp_path / "file" / "a.txt", "x")
    assert str(caught.value) == (
        f"Cannot write {tmp_path}/file/a.txt (File exists): "
        "give a folder that can be written to, on a disk with room."
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        write_text(tmp_path / "a.txt", "x")


def test_a_full_disk_is_an_output_error(tmp_path):
    sentence = r"Cannot write .*a\.txt \(No space left on device\)"
    with pytest.raises(OutputError, match=sentence), atomic_file(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names(tmp_path) == []


def test_a_library_that_tells_the_errors_story_is_cut_short():
    story = OSError(errno.EACCES, "Failed to open local file 'a'. Detail: [errno 13] Permission denied")
    assert str(output_error("a", story)).startswith("Cannot write a (Permission denied): ")


def test_the_works_own_errors_pass_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "a.txt"):
        (tmp_path / "input.jpg").read_bytes()
    with pytest.raises(OSError, match="truncated") as caught, atomic_file(tmp_path / "a.txt"):
        raise OSError("image file is truncated")
    assert not isinstance(caught.value, OutputError)
    with pytest.raises(InputError, match="bad row"), atomic_file(tmp_path / "a.txt"):
        raise InputError("bad row")


def test_a_link_keeps_pointing(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_json_is_standard_and_sorted(tmp_path):
    write_json(
        tmp_path / "run.json",
        {
            "z": np.float32(0.5),
            "a": [np.int64(1), np.array([[True], [False]])],
            "loss": (1.0, float("nan"), np.float64("inf")),
            "folder": tmp_path / "x",
            3: "grün",
        },
    )
    text = (tmp_path / "run.json").read_text(encoding="utf-8")

    def refuse(token):
        raise AssertionError(token)

    assert json.loads(text, parse_constant=refuse) == {
        "3": "grün",
        "a": [1, [[True], [False]]],
        "folder": str(tmp_path / "x"),
        "loss": [1.0, None, None],
        "z": 0.5,
    }
    assert "grün" in text
    assert text.index('"3"') < text.index('"a"') < text.index('"z"')


def test_jsonable_leaves_plain_values_alone():
    assert jsonable({"a": [None, True, "x", 1, 1.5]}) == {"a": [None, True, "x", 1, 1.5]}
