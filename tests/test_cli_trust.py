"""What the commands say of trust, and how they leave out what the model is not sure of."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import holdfast
from commands import invoke, make_table, succeed, succeed_json
from holdfast import Embeddings, write_embeddings
from holdfast.cli import present
from holdfast.cli.fitting import Fitting
from holdfast.exceptions import InputError, ParameterError
from holdfast.quality import Quality
from holdfast.taxonomy import AssignmentTable, open_taxonomy

ASKED = []


def stand_in(X, labels, *, partitions=None, random_state=0):
    """Predict .8 for everything and remember what was asked."""
    ASKED.append((X.shape, labels.tolist(), partitions, random_state))
    k = labels.max() + 1
    each = np.linspace(0.9, 0.6, k)
    return Quality(0.8, 0.7, 0.9, each, each - 0.1, each + 0.1, np.bincount(labels[labels >= 0], minlength=k))


@pytest.fixture
def predicting(monkeypatch):
    ASKED.clear()
    monkeypatch.setattr(holdfast, "predict_quality", stand_in, raising=False)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return make_table(tmp_path_factory.mktemp("table") / "emb.parquet")


@pytest.fixture(scope="module")
def unsure(tmp_path_factory):
    """Digits, of which no model is sure throughout."""
    path = tmp_path_factory.mktemp("unsure") / "digits.npz"
    write_embeddings(Embeddings(np.arange(300).astype(str), load_digits().data[:300] / 16), path)
    return path


@pytest.fixture
def fitted(tmp_path, table, predicting):
    succeed("fit", table, "-o", tmp_path / "out", "--n-clusters", 3, "--method", "dec")
    return tmp_path / "out"


def test_the_prediction_is_asked_for_the_rows_and_labels_of_the_fit(fitted, table):
    ((shape, labels, partitions, seed),) = ASKED
    assert (shape, partitions, seed) == ((60, 6), None, 0)
    assert labels == open_taxonomy(fitted).load_assignments().cluster.tolist()


def test_the_prediction_is_written_down_and_told(tmp_path, table, predicting):
    words = ("fit", table, "-o", tmp_path / "out", "--n-clusters", 3, "--method", "dec")
    found = succeed_json(*words)
    run = open_taxonomy(tmp_path / "out").read_run()
    assert found["quality"] == run["quality"]
    assert (run["quality"]["purity"], run["quality"]["low"], run["quality"]["high"]) == (0.8, 0.7, 0.9)
    assert [c["cluster"] for c in run["quality"]["clusters"]] == [0, 1, 2]
    assert [c["purity"] for c in run["quality"]["clusters"]] == pytest.approx([0.9, 0.75, 0.6])
    assert (run["abstained"], found["abstained"]) == (0, 0)
    assert "quality" in run["seconds"]
    said = succeed(*words, "--overwrite")
    assert "About 80 of 100 items are expected to be in the right cluster; between 70 and 90" in said
    assert "without a cluster" not in said


def test_the_report_made_anew_says_the_same(fitted):
    def predictions():
        html = (fitted / "report.html").read_text(encoding="utf-8")
        return re.search('<p class="say">.*?</p>', html).group(), re.search(
            '<svg class="plot columns exp.*', html
        ).group()

    first = predictions()
    assert "About 80 of 100 items" in first[0]
    ASKED.clear()
    succeed("report", fitted)
    assert predictions() == first
    assert ASKED == []


def test_the_prediction_makes_its_own_references(tmp_path, table, predicting):
    """Those of an ensemble are not the mixture that its level was fitted with."""
    succeed("fit", table, "-o", tmp_path / "out", "--n-clusters", 3)
    assert ASKED[-1][2] is None


def test_a_prediction_that_cannot_be_made_costs_no_fit(tmp_path, table, monkeypatch):
    def refusing(*_args, **_more):
        raise InputError("one cluster says nothing: ask for more.")

    monkeypatch.setattr(holdfast, "predict_quality", refusing, raising=False)
    result = invoke("fit", table, "-o", tmp_path / "out", "--n-clusters", 3, "--method", "dec")
    assert result.exit_code == 0
    assert result.stderr == (
        "Note: how far to trust the result could not be predicted: one cluster says nothing: ask for more.\n"
    )
    assert open_taxonomy(tmp_path / "out").read_run()["quality"] is None
    assert "expected to be in the right cluster" not in result.stdout


def test_a_folder_of_an_earlier_holdfast_has_a_report_too(fitted):
    taxonomy = open_taxonomy(fitted)
    run = taxonomy.read_run()
    for name in ("quality", "abstained", "members", "sha256"):
        run.pop(name)
    taxonomy.write_run(run)
    succeed("report", fitted)
    html = (fitted / "report.html").read_text(encoding="utf-8")
    assert "How far to trust it" in html
    assert "expected to be in the right cluster" not in html


# --- abstention -----------------------------------------------------------------------------------------


def test_a_table_abstains_below_a_confidence():
    table = AssignmentTable(
        np.array(["a", "b", "c", "d"]), np.array([0, 1, 2, -1]), np.array([0.9, 0.8, 0.79, 0], np.float32)
    )
    assert table.abstained.tolist() == [False, False, False, True]
    surer = table.abstaining_below(np.float32(0.8))
    assert surer.cluster.tolist() == [0, 1, -1, -1]
    assert surer.abstained.tolist() == [False, False, True, True]
    assert surer.confidence == pytest.approx([0.9, 0.8, 0, 0])
    assert (surer.cluster.dtype, surer.confidence.dtype) == (table.cluster.dtype, np.float32)
    assert table.cluster.tolist() == [0, 1, 2, -1]  # the table itself is as it was


def test_assign_leaves_unsure_items_without_a_cluster(tmp_path, unsure, predicting):
    out = tmp_path / "out"
    succeed("fit", unsure, "-o", out, "--n-clusters", 10, "--method", "dec", "--init", "kmeans")
    everything = succeed_json("assign", out, unsure)
    assert everything["abstained"] == 0
    threshold = float(np.median([item["confidence"] for item in everything["items"]]))
    words = ("assign", out, unsure, "--min-confidence", threshold)
    found = succeed_json(*words)
    left = [item for item in found["items"] if item["cluster"] == -1]
    assert 0 < len(left) == found["abstained"] < 300
    assert all(item["confidence"] == 0 for item in left)
    for item, before in zip(found["items"], everything["items"], strict=True):
        assert item == before or (item["cluster"] == -1 and before["confidence"] <= threshold + 1e-4)
    rows = csv.DictReader(io.StringIO(succeed(*words)))
    assert [int(row["cluster"]) for row in rows] == [item["cluster"] for item in found["items"]]
    written = (*words, "-o", tmp_path / "a.csv")
    assert succeed(*written).splitlines()[0] == f"300 items assigned, {len(left)} of them without a cluster:"
    assert succeed_json(*written)["abstained"] == len(left)


def test_assign_refuses_a_confidence_that_is_none(fitted, table):
    result = invoke("assign", fitted, table, "--min-confidence", "2")
    assert result.exit_code == 2
    assert result.stderr == "holdfast assign: min_confidence must be a number in [0, 1], not 2.0.\n"


def test_items_without_a_cluster_are_mentioned_where_there_are_any():
    assert present.abstention(0) == ""
    assert present.abstention(1_234) == ", 1,234 of them without a cluster"


# --- options of one method ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"fast": True}, {"min_confidence": 0.5}])
@pytest.mark.parametrize("method", ["dec", "idec"])
def test_options_of_consensus_are_refused_elsewhere(method, options):
    with pytest.raises(ParameterError, match=r"is for the methods? consensus.*, not for "):
        Fitting(method=method, **options).estimator()
    model = Fitting(method=method, init="graph").estimator()
    assert (model.init, type(model).__name__) == ("graph", method.upper())


def test_consensus_is_the_default_and_takes_its_options():
    model = Fitting(n_clusters=4, seed=7, min_confidence=0.5, fast=True).estimator()
    assert type(model) is holdfast.ConsensusClustering
    assert (model.n_clusters, model.random_state, model.min_confidence, model.preset) == (4, 7, 0.5, "fast")
    assert Fitting().estimator().preset == "full"
    with pytest.raises(ParameterError, match="--init is for the methods dec and idec, not for consensus"):
        Fitting(init="graph").estimator()


def test_a_consensus_is_fitted_by_default_and_reported(tmp_path, table, predicting):
    found = succeed_json("fit", table, "-o", tmp_path / "out", "--n-clusters", 3, "--fast")
    run = open_taxonomy(tmp_path / "out").read_run()
    assert (run["method"], run["parameters"]["preset"], found["n_clusters"]) == ("consensus", "fast", 3)
    assert run["members"]
    assert {"kind", "name", "score", "support", "weight"} <= set(run["members"][0])
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "What voted" in html
    assert "what voted" in html  # the recipe


def test_a_consensus_abstains_below_a_confidence(tmp_path, unsure, predicting):
    words = ("fit", unsure, "--n-clusters", 10, "--fast", "-o")
    succeed(*words, tmp_path / "all")
    stored = open_taxonomy(tmp_path / "all").load_assignments()
    threshold = float(np.median(stored.confidence))
    found = succeed_json(*words, tmp_path / "sure", "--min-confidence", threshold)
    sure = open_taxonomy(tmp_path / "sure").load_assignments()
    assert found["abstained"] == sure.abstained.sum() == (stored.confidence < threshold).sum() > 0
    assert sure.cluster[~sure.abstained].tolist() == stored.cluster[~sure.abstained].tolist()
    again = succeed_json("assign", tmp_path / "sure", unsure)
    assert [item["cluster"] for item in again["items"]] == sure.cluster.tolist()
    every = succeed_json("assign", tmp_path / "sure", unsure, "--min-confidence", 0)
    assert every["abstained"] == 0, "a threshold given now counts, not the one of the fit"
    assert [item["cluster"] for item in every["items"]] == stored.cluster.tolist()
    said = succeed("report", tmp_path / "sure")
    assert f"{found['abstained']} items belong to no cluster." in Path(said.strip()).read_text(
        encoding="utf-8"
    )
