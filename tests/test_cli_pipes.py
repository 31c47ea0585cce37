"""Commands whose output nobody reads, or cannot be written: they end, and say no more than is useful."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from commands import COMMAND, ENVIRONMENT, make_table, succeed


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    table = make_table(folder / "e.npz")
    succeed("fit", table, "-o", folder / "out", "--n-clusters", 3)
    return folder


def run(place, words, stdout, stderr=subprocess.PIPE):
    return subprocess.run(
        [*COMMAND, *words.split()], stdout=stdout, stderr=stderr, check=False, env=ENVIRONMENT, cwd=place
    )


@pytest.fixture
def unread():
    """The end to write to of a pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize(
    "words",
    ["--help", "assign --help", "assign out e.npz", "assign out e.npz --json", "evaluate out", "doctor out"],
)
def test_a_reader_who_has_left_is_not_spoken_of(place, unread, words):
    done = run(place, words, unread)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_reader_who_leaves_in_the_middle(place):
    """Lines are read until the pipe is full and its reader leaves."""
    make_table(place / "many.npz", n=20_000)
    process = subprocess.Popen(
        [*COMMAND, "assign", "out", "many.npz"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        cwd=place,
    )
    assert process.stdout.readline() == b"id,cluster,confidence\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 141


def test_a_fit_is_complete_whether_or_not_anybody_reads_of_it(place, unread):
    done = run(place, "fit e.npz -o unread --n-clusters 3", unread)
    assert (done.returncode, done.stderr) == (141, b"")
    assert (place / "unread" / "run.json").exists()
    assert not list(place.glob(".tmp-*"))


def test_an_error_that_nobody_reads(place, unread):
    assert run(place, "evaluate nowhere", subprocess.DEVNULL, unread).returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_behind_standard_output_is_one_sentence(place):
    with Path("/dev/full").open("wb") as full:
        done = run(place, "assign out e.npz", full)
    said = b"holdfast: Cannot write standard output (No space left on device).\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_without_standard_output_a_command_works(place):
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@" >&-', "sh", *COMMAND, "assign", "out", "e.npz", "-o", "a.csv"],
        stderr=subprocess.PIPE,
        check=False,
        env=ENVIRONMENT,
        cwd=place,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (place / "a.csv").read_text().startswith('"id","cluster","confidence"\n"item-0",')
