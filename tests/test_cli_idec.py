"""Every command on what ``holdfast fit --method idec`` leaves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from commands import succeed, succeed_json
from holdfast import IDEC, Embeddings, read_embeddings, write_embeddings
from holdfast.taxonomy import open_taxonomy


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Digits, a third of them, and the taxonomies of two fits."""
    folder = tmp_path_factory.mktemp("idec")
    digits = load_digits()
    ids = np.array([f"digit-{row:04d}" for row in range(900)])
    emb = Embeddings(ids, digits.data[:900] / 16, digits.target[:900])
    write_embeddings(emb, folder / "all.parquet")
    write_embeddings(Embeddings(ids[::3], emb.X[::3], emb.labels[::3]), folder / "third.csv")
    for method in ("idec", "dec"):
        words = ("--method", method, "--n-clusters", 10, "--init", "kmeans")
        succeed("fit", folder / "all.parquet", *words, "-o", folder / method)
    return folder


def test_the_folder_holds_the_model(place):
    taxonomy = open_taxonomy(place / "idec")
    run, model = taxonomy.read_run(), taxonomy.load_model()
    assert (run["method"], type(model)) == ("idec", IDEC)
    assert run["parameters"]["gamma"] == model.gamma == 0.1
    emb = read_embeddings(place / "all.parquet")
    np.testing.assert_array_equal(model.predict(emb.X), taxonomy.load_assignments().cluster)


def test_evaluate_and_assign(place):
    own, third = (
        succeed_json("evaluate", place / "idec"),
        succeed_json("evaluate", place / "idec", place / "third.csv"),
    )
    assert own["scores"]["acc"] > 0.75
    assert third["n"] == 300
    assert abs(third["scores"]["acc"] - own["scores"]["acc"]) < 0.1
    items = succeed_json("assign", place / "idec", place / "third.csv")["items"]
    assert [item["cluster"] for item in items] == open_taxonomy(place / "idec").load_assignments().cluster[
        ::3
    ].tolist()


def test_report(place):
    succeed("report", place / "idec", "-o", place / "again.html")
    assert "IDEC" in (place / "again.html").read_text(encoding="utf-8")


def test_doctor(place):
    for path in (place / "idec", place / "idec" / "versions" / "1"):
        assert succeed_json("doctor", path)["usable"]
    assert succeed_json("doctor", place / "idec" / "versions" / "1")["facts"]["estimator"] == "IDEC"
    assert succeed_json("doctor", place / "idec", place / "third.csv")["usable"]


def test_match(place):
    found = succeed_json("match", place / "dec", place / "idec")
    assert (found["n_both"], found["n_clusters_old"], found["n_clusters_new"]) == (900, 10, 10)
    assert found["kept"] > 0.5


def test_compare(place):
    words = ("--methods", "idec,kmeans", "--n-clusters", 10, "--seeds", 1)
    found = succeed_json("compare", place / "third.csv", *words, "-o", place / "comparison")
    assert {"IDEC", "k-means"} <= {row["title"] for row in found["table"]}
