"""Methods side by side: the rivals, one process a run, the table, and what is saved of it."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from commands import COMMAND, ENVIRONMENT, invoke, make_blobs, succeed
from holdfast import Embeddings, write_embeddings
from holdfast._choices import METHODS, RIVALS
from holdfast.cli import comparing, trials
from holdfast.cli.comparing import ALL_METHODS, Comparing, compare_table, parse_methods
from holdfast.cli.trials import Question
from holdfast.cluster import _rivals
from holdfast.cluster._rivals import Asked, knee, rival, sample_rows
from holdfast.exceptions import InputError, OutputError, ParameterError
from holdfast.io.atomic import write_json
from holdfast.metrics import clustering_accuracy
from holdfast.report.comparison import (
    MethodComparison,
    MethodInfo,
    Spread,
    Trial,
    as_csv,
    as_document,
    cell,
    rank,
    verdict,
)
from holdfast.report.comparison_page import render_comparison


def ask_here(question, folder):
    """Do in this process what the process of a run does, which saves the seconds of loading libraries."""
    write_json(folder / "answer.json", trials._try(question, folder))
    return trials._read(folder, 0)


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(comparing, "ask", ask_here)


def table_of(path, labels=None, n=200, d=6):
    X, y = make_blobs(n, d=d)
    names = np.array(["hat", "shoe", "skirt"])[y] if labels is None else labels
    write_embeddings(Embeddings([f"item-{row}" for row in range(n)], X, labels=names), path)
    return path


def unlabelled(path, n=200):
    X, _ = make_blobs(n)
    write_embeddings(Embeddings([str(row) for row in range(n)], X), path)
    return path


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


# The rivals


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_finds_far_blobs_and_a_seed_fixes_what_it_finds(name):
    X, y = make_blobs(200)
    asked = Asked(n_clusters=3, seed=4, eps=0.05)
    found = rival(name).partition(X, asked)
    assert found.labels.shape == (200,)
    assert clustering_accuracy(y, found.labels) > 0.95
    np.testing.assert_array_equal(found.labels, rival(name).partition(X, asked).labels)


@pytest.mark.parametrize("name", [name for name in RIVALS if rival(name).is_deterministic])
def test_what_is_run_once_gives_the_same_with_every_seed(name):
    X, _ = make_blobs(200)
    first, second = (rival(name).partition(X, Asked(3, seed)).labels for seed in (0, 7))
    np.testing.assert_array_equal(first, second)


def test_the_methods_that_look_at_every_pair_are_capped_at_ten_thousand_rows():
    limits = {name: rival(name).most_rows for name in ALL_METHODS}
    assert limits == dict.fromkeys(ALL_METHODS) | {"dbscan": 10_000, "hdbscan": 10_000}


def test_on_many_rows_k_means_restarts_on_a_sample_and_finishes_on_all(monkeypatch):
    monkeypatch.setattr(_rivals, "_RESTART_ROWS", 60)
    X, y = make_blobs(200)
    found = rival("kmeans").partition(X, Asked(3, seed=1))
    assert clustering_accuracy(y, found.labels) == 1.0
    assert found.settings == {"n_init": 20, "restarts_on_rows": 60}


def test_the_knee_is_the_point_farthest_below_the_chord():
    assert knee(np.array([0.0, 0.1, 0.2, 0.3, 1.0, 2.0])) == 0.3
    assert knee(np.array([0.5, 0.5, 0.5])) == 0.5


def test_eps_by_the_rule_is_the_knee_of_the_distances_to_the_fifth_neighbour():
    X, _ = make_blobs(90)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    fifth = np.sort(1 - unit @ unit.T, axis=1)[:, 5]  # the row itself comes first
    found = rival("dbscan").partition(X, Asked(3))
    assert found.settings["eps"] == pytest.approx(knee(np.sort(fifth)), abs=1e-5)
    assert found.settings["eps_rule"] == "k-distance"


def test_wide_rows_reach_the_density_methods_on_64_directions():
    X, y = make_blobs(200, d=100)
    found = rival("gmm").partition(X, Asked(3))
    assert found.settings["columns"] == 64
    assert clustering_accuracy(y, found.labels) == 1.0


def test_a_sample_is_in_order_without_repetition_and_fixed_by_its_seed():
    drawn = sample_rows(100, 10, seed=3)
    assert len(set(drawn.tolist())) == 10
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(drawn, sample_rows(100, 10, seed=3))
    np.testing.assert_array_equal(sample_rows(4, 10), np.arange(4))


# A run in a process of its own


def test_a_process_is_told_of_the_rows_and_never_of_a_label():
    assert {field.name for field in fields(Question)} == {
        "rows", "method", "n_clusters", "seed", "eps", "device",
    }  # fmt: skip


def test_the_file_of_the_rows_holds_the_rows_and_nothing_else(here, monkeypatch, tmp_path):
    seen = []

    def look(question, folder):
        seen.append((np.load(question.rows), names_in(folder)))
        return ask_here(question, folder)

    monkeypatch.setattr(comparing, "ask", look)
    compare_table(table_of(tmp_path / "t.npz"), Comparing(3, (), n_seeds=1))
    for rows, files in seen:
        np.testing.assert_array_equal(rows, make_blobs(200)[0])
        assert files == []


def test_a_real_process_answers_with_its_labels_its_seconds_and_its_memory(tmp_path):
    X, y = make_blobs(2000, d=64)
    np.save(tmp_path / "X.npy", X)
    (tmp_path / "exchange").mkdir()
    question = Question(str(tmp_path / "X.npy"), "dbscan", 3, 0, 0.5, "cpu")
    answer = trials.ask(question, tmp_path / "exchange")
    assert answer.reason is None
    assert clustering_accuracy(y, answer.labels) > 0.9
    assert 0 < answer.seconds < 60
    assert answer.threads >= 1
    if Path("/proc/self/status").exists():
        assert 1 < answer.memory_mb < 500  # 2,000 x 2,000 distances are at work, the libraries do not count


BROKEN = """
import os
if os.environ["HOW"] == "raise":
    raise RuntimeError("no such thing")
os.kill(os.getpid(), 9)
"""
KILLED = (
    "The system killed it (signal 9), most likely for want of memory: give fewer rows, or leave it out with "
    "--methods."
)


@pytest.mark.parametrize(
    ("how", "sentence"), [("raise", "It failed (RuntimeError: no such thing)."), ("kill", KILLED)]
)
def test_what_stops_a_process_is_a_sentence(how, sentence, tmp_path, monkeypatch):
    """A library that breaks when it is loaded stands for whatever may happen in there."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "faiss.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path / "broken")
    monkeypatch.setenv("HOW", how)
    np.save(tmp_path / "X.npy", make_blobs(60)[0])
    (tmp_path / "exchange").mkdir()
    question = Question(str(tmp_path / "X.npy"), "louvain", 3, 0, None, "cpu")
    answer = trials.ask(question, tmp_path / "exchange")
    assert (answer.labels, answer.reason, answer.is_final) == (None, sentence, how == "kill")


@pytest.mark.parametrize(
    ("error", "sentence", "is_final"),
    [
        (MemoryError(), "It ran out of memory: give fewer rows, or leave it out with --methods.", True),
        (InputError("all rows are equal: look."), "all rows are equal: look.", False),
        (KeyError("x\ny"), "It failed (KeyError: 'x\\ny').", False),
    ],
)
def test_an_error_in_a_method_is_a_sentence(error, sentence, is_final, monkeypatch, tmp_path):
    def fail(X, asked):
        raise error

    monkeypatch.setitem(_rivals._RIVALS, "gmm", replace(rival("gmm"), partition=fail))
    np.save(tmp_path / "X.npy", make_blobs(60)[0])
    answer = ask_here(Question(str(tmp_path / "X.npy"), "gmm", 3, 0, None, "cpu"), tmp_path)
    assert (answer.labels, answer.reason, answer.is_final) == (None, sentence, is_final)


def test_a_process_that_ends_without_an_answer_is_told_by_its_last_words(tmp_path):
    (tmp_path / "said.txt").write_text("Traceback\nImportError: no torch\n")
    assert trials._death(1, tmp_path) == (
        "Its process ended with code 1 (ImportError: no torch): leave it out with --methods."
    )
    assert trials._death(-11, tmp_path) == "It crashed (SIGSEGV): leave it out with --methods."


# A comparison


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Every method on one labelled table, saved."""
    folder = tmp_path_factory.mktemp("whole")
    table = table_of(folder / "t.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "ask", ask_here)
        comparison = compare_table(table, Comparing(3, n_seeds=2), folder / "out", command="holdfast compare")
    return comparison, folder


def test_every_method_has_a_row_and_the_best_comes_first(whole):
    comparison, _ = whole
    assert sorted(row.info.name for row in comparison.standings) == sorted(ALL_METHODS)
    accuracy = [row.figures["acc"].mean for row in comparison.standings]
    assert accuracy == sorted(accuracy, reverse=True)
    assert accuracy[0] == 1.0
    roles = {row.info.name: row.info.role for row in comparison.standings}
    assert {name for name, role in roles.items() if role == "floor"} == {"kmeans", "kmeans-l2"}
    assert {name for name, role in roles.items() if role == "ours"} == set(METHODS)
    assert comparison.floor == 1.0


def test_what_draws_nothing_at_random_runs_once_and_says_so(whole):
    comparison, _ = whole
    runs = {row.info.name: row.n_runs for row in comparison.standings}
    assert runs == dict.fromkeys(ALL_METHODS, 2) | {"dbscan": 1, "hdbscan": 1}
    for row in comparison.standings:
        assert ("Run once, because it draws nothing at random." in row.remarks) is (row.n_runs == 1)
        assert (row.figures["acc"].std is None) is (row.n_runs == 1)


def test_json_csv_and_page_agree(whole):
    comparison, folder = whole
    assert names_in(folder / "out") == ["comparison.csv", "comparison.html", "comparison.json"]
    document = json.loads((folder / "out" / "comparison.json").read_text())
    lines = list(csv.DictReader(io.StringIO((folder / "out" / "comparison.csv").read_text())))
    page = (folder / "out" / "comparison.html").read_text()
    assert document["ranked_by"] == "acc"
    assert document["facts"]["versions"].keys() >= {"holdfast", "python", "scikit-learn", "torch"}
    assert len(document["runs"]) == sum(row["runs"] for row in document["table"])
    order = [row["method"] for row in document["table"]]
    assert [line["method"] for line in lines] == order
    for row, line in zip(document["table"], lines, strict=True):
        for key, spread in row["figures"].items():
            assert float(line[f"{key}_mean"]) == spread["mean"]
            assert line[f"{key}_std"] == ("" if spread["std"] is None else str(spread["std"]))
        assert line["remarks"] == " ".join(row["remarks"])
        of_method = [run for run in document["runs"] if run["method"] == row["method"]]
        assert row["figures"]["acc"]["mean"] == pytest.approx(
            np.mean([r["figures"]["acc"] for r in of_method])
        )
        assert f'aria-label="ACC: {comparison.standings[0].info.title}' in page
        assert cell("acc", Spread(**row["figures"]["acc"])) in page
    titles = re.findall(r'<th scope="row"><i class="mark"></i>([^<]+?)\s*(?:<span|</th>)', page)
    assert titles == [row["title"] for row in document["table"]]


def test_the_page_asks_nobody_and_runs_nothing(whole):
    page = (whole[1] / "out" / "comparison.html").read_text()
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page


def test_shuffled_labels_give_the_same_partitions_and_the_same_evidence(here, tmp_path):
    labels = np.array(["hat", "shoe", "skirt"])[make_blobs(200)[1]]
    shuffled = np.random.default_rng(0).permutation(labels)
    first, second = (
        compare_table(table_of(tmp_path / f"{i}.npz", y), Comparing("auto", ("gmm", "dbscan"), 2))
        for i, y in enumerate((labels, shuffled))
    )
    assert [t.digest for t in first.trials] == [t.digest for t in second.trials]
    assert [t.figures["evidence"] for t in first.trials] == [t.figures["evidence"] for t in second.trials]
    assert first.n_clusters == second.n_clusters
    assert first.trials[0].figures["acc"] > 0.95 > 0.6 > second.trials[0].figures["acc"]


def test_auto_is_said_and_asks_the_rows_whatever_the_labels_count(here, tmp_path):
    sevens = np.arange(200) % 7
    comparison = compare_table(table_of(tmp_path / "t.npz", sevens), Comparing(methods=(), n_seeds=1))
    assert comparison.n_labels == 7
    assert comparison.n_clusters == 3
    assert comparison.count_message.startswith("About 3 clusters")
    assert "The labels name 7 classes and 3 clusters were asked for." in verdict(comparison)


def test_without_labels_the_evidence_ranks_and_no_score_is_shown(here, tmp_path):
    comparison = compare_table(unlabelled(tmp_path / "t.npz"), Comparing(3, ("dbscan",), n_seeds=1, eps=1e-4))
    evidence = [row.figures["evidence"].mean for row in comparison.standings]
    assert evidence == sorted(evidence, reverse=True)
    assert comparison.standings[-1].info.name == "dbscan"  # with an eps this small all is noise
    assert comparison.standings[-1].figures["noise"].mean == 1.0
    assert comparison.standings[-1].figures["evidence"].mean == 0.0
    assert "acc" not in comparison.columns
    assert "acc_mean" not in as_csv(comparison).splitlines()[0]
    assert "ACC" not in render_comparison(comparison).partition("Glossary</h2>")[0].partition("<body>")[2]


def test_a_capped_method_says_so_in_its_row(here, monkeypatch, tmp_path):
    monkeypatch.setitem(_rivals._RIVALS, "dbscan", replace(rival("dbscan"), most_rows=120))
    table = table_of(tmp_path / "t.npz")
    asked = Comparing(3, ("dbscan",), n_seeds=1, eps=0.05)
    row = next(r for r in compare_table(table, asked).standings if r.info.name == "dbscan")
    assert row.n_rows == 120
    sentence = "On a random sample of 120 of the 200 rows, because its cost grows faster than they do."
    assert row.remarks[0] == sentence
    assert row.figures["acc"].mean > 0.9  # scored against the labels of the same 120
    printed = succeed("compare", table, "--n-clusters", 3, "--methods", "dbscan", "--eps", 0.05, "--seeds", 1)
    assert "Cosine DBSCAN (120 rows)" in printed
    assert sentence in printed


def test_a_method_that_fails_is_a_row_and_its_other_seeds_are_spared(monkeypatch, tmp_path):
    asked_of = []

    def fail(question, folder):
        asked_of.append((question.method, question.seed))
        if question.method == "gmm":
            return trials.Answer(reason="It ran out of memory: give fewer rows.", is_final=True)
        if question.method == "louvain" and question.seed == 1:
            return trials.Answer(reason="It failed (ValueError: odd).")
        return ask_here(question, folder)

    monkeypatch.setattr(comparing, "ask", fail)
    comparison = compare_table(
        table_of(tmp_path / "t.npz"), Comparing(3, ("gmm", "louvain"), n_seeds=3), tmp_path / "out"
    )
    assert [seed for name, seed in asked_of if name == "gmm"] == [0]
    last = comparison.standings[-1]
    assert (last.info.name, last.failed, last.figures) == ("gmm", True, {})
    assert last.remarks == ("It ran out of memory: give fewer rows.",)
    louvain = next(row for row in comparison.standings if row.info.name == "louvain")
    assert louvain.n_runs == 2
    assert louvain.remarks == ("Seed 1: It failed (ValueError: odd).",)
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "It ran out of memory: give fewer rows." in page
    assert verdict(comparison)[-1] == "Gaussian mixture failed: the remarks say why."


# The command


def test_the_command_prints_one_table_and_names_the_page(here, tmp_path):
    table = table_of(tmp_path / "t.npz")
    printed = succeed(
        "compare", table, "--n-clusters", 3, "--methods", "gmm", "--seeds", 2, "-o", tmp_path / "o"
    )
    lines = printed.splitlines()
    assert lines[-1] == str(tmp_path / "o" / "comparison.html")
    assert f"200 rows of {table}, 3 clusters" in lines
    for row in ("k-means (floor)", "k-means on unit rows (floor)", "Gaussian mixture"):
        (line,) = [line for line in lines if line.strip().startswith(f"{row}  ")]
        assert "100.0 ±0.0" in line


def test_json_is_the_document(here, tmp_path):
    table = table_of(tmp_path / "t.npz")
    words = ("compare", table, "--n-clusters", 3, "--methods", "kmeans", "--seeds", 1, "--json")
    document = json.loads(succeed(*words))
    assert [row["method"] for row in document["table"]] == ["kmeans", "kmeans-l2"]
    assert document["seeds"] == [0]
    assert document["page"] is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--methods", "kmeans,spectral"),
            f"methods must be among {', '.join(ALL_METHODS)}, and 'spectral' is none of them.",
        ),
        (("--seeds", "0"), "seeds must be an integer from 1 to 1000, not 0."),
        (("--eps", "0"), "eps must be a number in (0, 2], not 0.0."),
        (
            ("--n-clusters", "many"),
            "--n-clusters must be auto or a whole number of at least 2, not 'many'.",
        ),
        (("--device", "tpu9"), "device='tpu9' cannot be used on this machine; choose 'auto' or 'cpu'"),
    ],
)
def test_what_cannot_be_asked_is_said_before_any_work(words, sentence, tmp_path):
    result = invoke("compare", table_of(tmp_path / "t.npz"), *words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"holdfast compare: {sentence}")


def test_too_few_rows_and_equal_rows_are_refused(tmp_path):
    table = table_of(tmp_path / "t.npz", n=20)
    with pytest.raises(InputError, match="has 20 rows for 30 clusters: give at least as many rows"):
        compare_table(table, Comparing(30))
    same = Embeddings(["a", "b", "c"], np.ones((3, 4)))
    write_embeddings(same, tmp_path / "same.npz")
    with pytest.raises(InputError, match="all 3 rows are equal, so there is nothing to compare"):
        compare_table(tmp_path / "same.npz", Comparing(2))


def test_a_folder_with_something_else_in_it_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(comparing, "ask", None)  # nothing is asked
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years")
    with pytest.raises(OutputError, match=r"holds 'thesis.txt', which would be lost"):
        compare_table(table_of(tmp_path / "t.npz"), Comparing(3), tmp_path / "out")
    assert names_in(tmp_path) == ["out", "t.npz"]
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years"


def test_an_earlier_comparison_is_replaced(here, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "comparison.csv").write_text("old")
    compare_table(table_of(tmp_path / "t.npz"), Comparing(3, (), 1), tmp_path / "out")
    assert (
        (tmp_path / "out" / "comparison.csv").read_text().startswith("method,title,role,runs,rows,acc_mean")
    )


def test_ctrl_c_ends_the_process_at_work_too_and_leaves_nothing(tmp_path):
    table = table_of(tmp_path / "t.npz", n=9_000, d=64)
    (tmp_path / "temporary").mkdir()
    words = ("compare", table, "--n-clusters", 1500, "-o", tmp_path / "out")
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | {"TMPDIR": str(tmp_path / "temporary")},
    )
    try:
        wait_until(lambda: children_of(process.pid), process)
        (child,) = children_of(process.pid)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, stdout) == (130, "")
    assert stderr == "holdfast compare: Interrupted: nothing was written.\n"
    assert not Path(f"/proc/{child}").exists()
    assert names_in(tmp_path / "temporary") == []
    assert names_in(tmp_path) == ["t.npz", "temporary"]


def test_a_run_does_not_outlive_a_comparison_that_is_killed(tmp_path):
    np.save(tmp_path / "X.npy", np.random.default_rng(0).normal(size=(9_000, 64)).astype(np.float32))
    (tmp_path / "exchange").mkdir()
    question = Question(str(tmp_path / "X.npy"), "kmeans", 1500, 0, None, "cpu")
    program = (
        "from pathlib import Path; from holdfast.cli.trials import *; "
        f"ask({question!r}, Path({str(tmp_path / 'exchange')!r}))"
    )
    process = subprocess.Popen([COMMAND[0], "-c", program], env=ENVIRONMENT)
    try:
        wait_until(lambda: children_of(process.pid), process)
        (child,) = children_of(process.pid)
    finally:
        process.kill()
    process.wait()
    wait_until(lambda: not Path(f"/proc/{child}").exists() or state_of(child) == "Z")


def children_of(pid):
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        pytest.skip("needs /proc to see a process's children")


def state_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def wait_until(condition, process=None):
    deadline = time.monotonic() + 60
    while not condition():
        assert process is None or process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


# The table as data


def trial(name, seed, acc, evidence=1.0, seconds=1.0):
    figures = {"acc": acc, "nmi": acc, "ari": acc, "evidence": evidence, "n_clusters": 3, "noise": 0.0}
    return Trial(
        name, seed, 100, figures=figures | {"seconds": seconds}, cpu_seconds=seconds, digest="ab" * 32
    )


def hand_made(source="t.npz"):
    infos = [
        MethodInfo("kmeans", "k-means", "floor"),
        MethodInfo("dec", "DEC", "ours"),
        MethodInfo("gmm", "Gaussian <mixture>", "rival"),
    ]
    trials = (
        trial("kmeans", 0, 0.60), trial("kmeans", 1, 0.62, seconds=3.0), trial("dec", 0, 0.70, 1.5),
        trial("dec", 1, 0.72, 1.5, seconds=30), Trial("gmm", 0, 100, "It failed."),
    )  # fmt: skip
    facts = {"command": None, "device": "cpu", "started": "2026-01-01", "eps_asked": None, "threads": 1,
             "cpus": 2, "system": "here", "versions": {"holdfast": "0"}}  # fmt: skip
    rows = rank(infos, trials, 100, 3)
    return MethodComparison(source, 100, 6, 3, 3, None, (0, 1), rows, trials, facts)


def test_means_and_spreads_are_those_of_the_seeds():
    rows = {row.info.name: row for row in hand_made().standings}
    assert rows["dec"].figures["acc"].mean == pytest.approx(0.71)
    assert rows["dec"].figures["acc"].std == pytest.approx(0.02 / np.sqrt(2))
    assert [row.info.name for row in hand_made().standings] == ["dec", "kmeans", "gmm"]


def test_the_verdict_names_the_winner_its_lead_and_who_failed():
    assert verdict(hand_made()) == (
        "DEC comes first (ACC 71.0 ±1.4 %), 10.0 points above the better k-means.",
        "By the evidence, which sees no label, DEC comes first as well.",
        "k-means takes 2.00 s, DEC 16 s.",
        "Gaussian <mixture> failed: the remarks say why.",
    )


def test_a_lead_within_the_spread_is_called_so_and_a_winning_floor_too():
    comparison = hand_made()
    close = (trial("kmeans", 0, 0.60), trial("kmeans", 1, 0.66), trial("dec", 0, 0.63), trial("dec", 1, 0.65))
    infos = [row.info for row in comparison.standings[:2]]
    ranked = replace(comparison, standings=rank(infos, close, 100, 3))
    assert verdict(ranked)[0] == (
        "DEC comes first (ACC 64.0 ±1.4 %), 1.0 points above the better k-means, which is within the spread "
        "of the seeds."
    )
    level = (*close[:2], trial("dec", 0, 0.63), trial("dec", 1, 0.6305))
    ranked = replace(comparison, standings=rank(infos, level, 100, 3))
    assert verdict(ranked)[0] == "DEC comes first (ACC 63.0 ±0.0 %), level with the better k-means."
    worse = (*close[:2], trial("dec", 0, 0.1))
    ranked = replace(comparison, standings=rank(infos, worse, 100, 3))
    assert verdict(ranked)[0] == "Nothing beats k-means here: k-means comes first (ACC 63.0 ±4.2 %)."


@pytest.mark.parametrize(
    ("key", "spread", "text"),
    [
        ("acc", Spread(0.7123, 0.0041), "71.2 ±0.4"),
        ("acc", Spread(0.7123, None), "71.2"),
        ("evidence", Spread(1.98312, 0.0021), "1.983 ±0.002"),
        ("noise", Spread(0.128, None), "13 %"),
        ("noise", Spread(0.0, None), "0"),
        ("noise", Spread(0.0001, None), "<1 %"),
        ("seconds", Spread(0.123, 0.01), "0.12"),
        ("seconds", Spread(1234.5, 1.0), "1,234"),
        ("memory_mb", Spread(1536.2, 1.0), "1,536"),
        ("acc", None, "-"),
    ],
)
def test_a_cell_is_written_for_people(key, spread, text):
    assert cell(key, spread) == text


def test_the_page_escapes_what_comes_from_outside():
    page = render_comparison(hand_made("<script>alert(1)</script>"))
    assert "<script" not in page
    assert "<mixture>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_document_is_plain_and_whole():
    document = as_document(hand_made())
    assert json.loads(json.dumps(document))["table"][0]["figures"]["acc"]["mean"] == pytest.approx(0.71)
    assert document["floor"] == pytest.approx(0.61)
    assert len(document["runs"]) == 5


def test_methods_are_read_from_a_list():
    assert parse_methods("all") == ALL_METHODS
    assert parse_methods(" gmm, dec ,gmm") == ("gmm", "dec", "gmm")
    assert Comparing(methods=("gmm", "dec", "gmm")).names == ("kmeans", "kmeans-l2", "gmm", "dec")
    with pytest.raises(ParameterError):
        Comparing(methods=("no",))


def test_partitions_have_one_checksum_whatever_the_clusters_are_called():
    one, other = np.array([2, 2, 0, -1, 1]), np.array([0, 0, 5, -1, 3])
    np.testing.assert_array_equal(comparing._compact(one), [0, 0, 1, -1, 2])
    assert comparing._digest(one) == comparing._digest(other)
    assert comparing._digest(one) != comparing._digest(np.array([2, 2, 0, 3, 1]))
