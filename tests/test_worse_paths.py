"""Paths that lead to no file, or nowhere: pipes, devices, loops, and folders that may not be used.

Root may read and write everywhere, so refusals of the system are made for everybody.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket

import pytest
from PIL import Image

from commands import AGAIN, KNOWN, SUFFIXES, files_below, invoke, make_table, sentence_of, succeed
from holdfast.exceptions import ImageError, ModelFileError
from holdfast.images import list_images, open_image
from holdfast.taxonomy import open_taxonomy


@pytest.fixture(scope="module")
def taxonomy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("taxonomy")
    succeed("fit", make_table(folder / "emb.npz"), "-o", folder / "out", "--n-clusters", 3)
    return folder / "out"


@pytest.fixture
def out(tmp_path, taxonomy):
    """A copy of the taxonomy, to be spoiled."""
    return shutil.copytree(taxonomy, tmp_path / "out")


def make_special(folder):
    """Put a pipe, a socket, a link to a device and a link to itself into a folder, for every suffix."""
    for suffix in SUFFIXES:
        os.mkfifo(folder / f"pipe{suffix}")
        (folder / f"device{suffix}").symlink_to("/dev/zero")
        (folder / f"loop{suffix}").symlink_to(f"loop{suffix}")
        (folder / f"folder{suffix}").mkdir()
        (folder / f"empty{suffix}").write_text("")


SPECIAL = {
    "pipe": f"is a pipe or a device: {KNOWN}",
    "device": f"is a pipe or a device: {KNOWN}",
    "loop": "cannot be read (Too many levels of symbolic links): check the file.",
    "folder": f"is a folder: {KNOWN}",
}
EMPTY = {
    ".parquet": f"is damaged or no Parquet file (Parquet file size is 0 bytes): {AGAIN}",
    ".npz": f"is damaged or no NumPy file (No data left in file): {AGAIN}",
    ".npy": f"is damaged or no NumPy file (No data left in file): {AGAIN}",
    ".csv": "no vectors among no names at all: write each as a list like [0.1, 0.2] in one column "
    "'embeddings'.",
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_paths_that_lead_to_no_file(tmp_path, suffix):
    make_special(tmp_path)
    for name, sentence in SPECIAL.items():
        assert sentence_of(tmp_path / f"{name}{suffix}") == sentence
    assert sentence_of(tmp_path / f"empty{suffix}") == EMPTY[suffix]
    below = tmp_path / "empty.npy" / f"e{suffix}"
    assert sentence_of(below) == "does not exist: check the path."
    long = tmp_path / f"{'n' * 300}{suffix}"
    assert sentence_of(long) == "cannot be read (File name too long): check the file."


def test_a_socket_is_no_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.npz")
        assert sentence_of(tmp_path / "s.npz") == SPECIAL["pipe"]


@pytest.mark.parametrize("command", ["fit", "assign", "evaluate"])
def test_commands_refuse_them_as_tables_without_waiting(tmp_path, taxonomy, command):
    make_special(tmp_path)
    for name, sentence in SPECIAL.items():
        path = tmp_path / f"{name}.parquet"
        words = ("fit", path, "-o", tmp_path / "o") if command == "fit" else (command, taxonomy, path)
        result = invoke(*words)
        advice = "give a table of embeddings, or use holdfast run for images."
        said = f"is a folder: {advice}" if name == "folder" else sentence
        assert (result.exit_code, result.stderr) == (2, f"holdfast {command}: {path} {said}\n")


ROOM = "give a folder that can be written to, on a disk with room."
TARGETS = {
    "pipe.csv": "{} is a pipe or a device; give the name of a file to write.",
    "device.csv": "{} is a pipe or a device; give the name of a file to write.",
    "folder.csv": "{} is a folder; give the name of a file to write.",
    "loop.csv": f"Cannot write {{}} (Too many levels of symbolic links): {ROOM}",
    "loop.csv/a.csv": f"Cannot write {{}} (Too many levels of symbolic links): {ROOM}",
}


@pytest.mark.parametrize("name", TARGETS)
def test_commands_refuse_them_as_targets(tmp_path, taxonomy, name):
    make_special(tmp_path)
    table = make_table(tmp_path / "new.npz")
    for words in (("assign", taxonomy, table), ("report", taxonomy)):
        result = invoke(*words, "-o", tmp_path / name)
        said = TARGETS[name].format(tmp_path / name)
        assert (result.exit_code, result.stderr) == (2, f"holdfast {words[0]}: {said}\n")
    assert os.path.lexists(tmp_path / "loop.csv")
    assert (tmp_path / "pipe.csv").is_fifo()


def test_a_taxonomy_does_not_go_into_a_loop(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    result = invoke("fit", make_table(tmp_path / "e.npz"), "-o", tmp_path / "loop")
    said = f"Cannot write {tmp_path}/loop (Too many levels of symbolic links): {ROOM}"
    assert (result.exit_code, result.stderr) == (2, f"holdfast fit: {said}\n")


@pytest.mark.parametrize("name", ["run.json", "versions/1/manifest.json", "versions/1/tensors.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "loop"])
def test_a_taxonomy_with_a_pipe_or_a_loop_for_a_file(out, name, kind):
    (out / name).unlink()
    if kind == "pipe":
        os.mkfifo(out / name)
    else:
        (out / name).symlink_to(out / name)
    with pytest.raises(ModelFileError) as caught:
        open_taxonomy(out).load_model()
    reason = "it is a pipe or a device" if kind == "pipe" else "Too many levels of symbolic links"
    assert f"{out / name} " in str(caught.value)
    assert f"({reason}): restore " in str(caught.value)


def test_links_among_images_that_lead_round(tmp_path):
    photos = tmp_path / "photos"
    for place in ("a", "b"):
        (photos / place).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(photos / place / "1.png")
    (photos / "a" / "up").symlink_to(photos)
    (photos / "b" / "itself.png").symlink_to("itself.png")
    (photos / "loop").symlink_to("loop")
    os.mkfifo(photos / "b" / "pipe.png")
    assert list_images(photos).ids == ("a/1.png", "b/1.png")
    for folder in (photos / "loop", photos / "loop" / "below"):
        with pytest.raises(ImageError) as caught:
            list_images(folder)
        reason = "(Too many levels of symbolic links); change its permissions or move it away."
        assert str(caught.value) == f"{folder} cannot be listed {reason}"


def test_a_pipe_or_a_device_is_no_image(tmp_path):
    """A table's column of paths may name anything; a report must not wait for it."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(ImageError) as caught:
            open_image(tmp_path / name)
        assert str(caught.value) == f"{tmp_path}/{name} is a pipe or a device, not an image; leave it out."


def deny(monkeypatch, module, name, number):
    """Let a call of the system fail for everybody, root included."""

    def refuse(*args, **_options):
        raise OSError(number, os.strerror(number), os.fspath(args[0]) if args else None)

    monkeypatch.setattr(module, name, refuse)


def test_a_table_that_may_not_be_looked_at(tmp_path, monkeypatch):
    table = make_table(tmp_path / "e.npz")
    with monkeypatch.context() as patch:
        deny(patch, type(table), "stat", errno.EACCES)
        assert sentence_of(table) == "cannot be read (Permission denied): check the file."
    with monkeypatch.context() as patch:
        deny(patch, type(table), "open", errno.EACCES)
        assert sentence_of(table) == "cannot be read (Permission denied): check the file."


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_that_is_read_only_or_full(tmp_path, taxonomy, monkeypatch, number):
    table = make_table(tmp_path / "e.npz")
    before = files_below(tmp_path)
    deny(monkeypatch, os, "mkdir", number)
    said = f"Cannot write {tmp_path}/new/out ({os.strerror(number)}): {ROOM}"
    result = invoke("fit", table, "-o", tmp_path / "new" / "out", "--n-clusters", 3)
    assert (result.exit_code, result.stderr) == (2, f"holdfast fit: {said}\n")
    said = f"Cannot write {tmp_path}/new/a.csv ({os.strerror(number)}): {ROOM}"
    result = invoke("assign", taxonomy, table, "-o", tmp_path / "new" / "a.csv")
    assert (result.exit_code, result.stderr) == (2, f"holdfast assign: {said}\n")
    assert files_below(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everywhere")
def test_folders_without_permissions(tmp_path, taxonomy):
    table = make_table(tmp_path / "e.npz")
    (tmp_path / "closed").mkdir(mode=0o000)
    assert sentence_of(tmp_path / "closed" / "e.npz") == "cannot be read (Permission denied): check the file."
    result = invoke("assign", taxonomy, table, "-o", tmp_path / "closed" / "a.csv")
    said = f"Cannot write {tmp_path}/closed/a.csv (Permission denied): {ROOM}"
    assert (result.exit_code, result.stderr) == (2, f"holdfast assign: {said}\n")
