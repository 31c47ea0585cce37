"""`holdfast demo --mixture` and `holdfast fit --method dirichlet`: what they leave, print and refuse."""

import json

import numpy as np
import pytest
from PIL import Image

from commands import invoke, make_table, succeed, succeed_json
from holdfast.cli.bells import compared
from holdfast.cluster._specimen import BELLS, draw_bells
from holdfast.report.mixture import mixture_of
from holdfast.taxonomy import open_taxonomy
from mixture_standin import one_column

MOST = 2_000_000


def test_the_bells_are_those_of_the_document():
    X, y = draw_bells(0)
    assert X.shape == (19_000, 1)
    assert np.bincount(y).tolist() == [2_000, 10_000, 1_000, 6_000]
    for i, (place, scale) in enumerate(zip((-2, -5, 3, 8), (1.1, 2, 1, 1.5), strict=True)):
        assert X[y == i].mean() == pytest.approx(place, abs=4 * scale / np.sqrt((y == i).sum()))
        assert X[y == i].std() == pytest.approx(scale, rel=0.1)
    again, _ = draw_bells(0)
    other, _ = draw_bells(1)
    assert (again == X).all()
    assert (other != X).any()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("mixture") / "demo"
    return out, succeed("demo", "--mixture", "-o", out)


def test_the_demo_finds_the_four_bells(demo):
    out, text = demo
    assert "19,000 draws from 4 bells: 4 found" in text
    assert text.splitlines()[-1] == str(out / "report.html")
    assert str(out / "mixture.gif") in text.replace("\n", "")
    run = open_taxonomy(out).read_run()
    assert run["n_clusters"] == 4
    assert run["animation"] == "mixture.gif"
    assert run["method"] == "dirichlet"


def test_the_demo_shows_how(demo):
    out, _ = demo
    html = (out / "report.html").read_text(encoding="utf-8")
    assert '<a href="mixture.gif">' in html
    assert len(html) < MOST
    assert (out / "mixture.gif").stat().st_size <= MOST
    with Image.open(out / "mixture.gif") as gif:
        assert 20 <= gif.n_frames <= 100


def test_the_report_made_anew_still_moves(demo, tmp_path):
    out, _ = demo
    elsewhere = tmp_path / "elsewhere.html"
    succeed("report", out, "-o", elsewhere)
    assert "film-data" in elsewhere.read_text(encoding="utf-8")
    assert "mixture.gif" not in elsewhere.read_text(encoding="utf-8")
    before = (out / "report.html").read_bytes().count(b"film-data")
    succeed("report", out)
    assert (out / "report.html").read_bytes().count(b"film-data") == before == 1 + 1
    assert b'<a href="mixture.gif">' in (out / "report.html").read_bytes()


def test_a_mixture_replaces_a_demo(demo):
    """The moving picture is ours as well, and no reason to refuse the folder."""
    out, _ = demo
    document = succeed_json("demo", "--mixture", "--seed", 1, "-o", out)
    assert document["animation"] == str(out / "mixture.gif")
    assert [bell["true"]["location"] for bell in document["bells"]] == [-5, -2, 3, 8]
    for bell in document["bells"]:
        assert bell["found"]["location"] == pytest.approx(bell["true"]["location"], abs=0.5)
        assert bell["found"]["scale"] == pytest.approx(bell["true"]["scale"], rel=0.2)
        assert bell["found"]["weight"] == pytest.approx(bell["true"]["weight"], abs=0.05)


@pytest.mark.parametrize(
    "words",
    [
        ("--n-clusters", 4),
        ("--method", "dec"),
        ("--fast",),
        ("--min-confidence", 0.5),
        ("--init", "graph"),
        ("--subsample", 100),
    ],
)
def test_options_that_mean_nothing_are_refused_in_a_sentence(tmp_path, words):
    result = invoke("demo", "--mixture", "-o", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert (
        result.stderr
        == f"holdfast demo: {words[0]} means nothing with --mixture: leave one of the two out.\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_fit_leaves_the_moving_picture_too(tmp_path):
    table = make_table(tmp_path / "emb.npz", n=300)
    succeed("fit", table, "--method", "dirichlet", "-o", tmp_path / "out")
    run = open_taxonomy(tmp_path / "out").read_run()
    assert run["animation"] == "mixture.gif"
    with Image.open(tmp_path / "out" / "mixture.gif") as gif:
        assert gif.n_frames >= 2
    succeed("fit", table, "--method", "dirichlet", "-o", tmp_path / "out", "--overwrite")


def test_other_methods_have_none(tmp_path):
    table = make_table(tmp_path / "emb.npz")
    succeed("fit", table, "--n-clusters", 3, "--fast", "-o", tmp_path / "out")
    assert open_taxonomy(tmp_path / "out").read_run()["animation"] is None
    assert not (tmp_path / "out" / "mixture.gif").exists()


def test_found_and_true_are_set_side_by_side():
    model, X, _ = one_column()
    rows = compared(mixture_of(model, X, model.labels_))
    assert [row["true"]["location"] for row in rows] == sorted(bell.location for bell in BELLS)
    assert [row["cluster"] for row in rows] == [0, 2, 3, 1]
    for row in rows:
        assert row["found"]["location"] == pytest.approx(row["true"]["location"], abs=0.3)
        assert row["found"]["weight"] == pytest.approx(row["true"]["weight"])
    json.dumps(rows)
    nothing = compared(None)
    assert [row["found"] for row in nothing] == [None] * 4
