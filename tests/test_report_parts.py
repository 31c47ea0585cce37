"""The parts of the report, each against a case worked by hand or a slower way to the same answer."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from holdfast.report import plots
from holdfast.report.compare import compare, compose, find_moves
from holdfast.report.headline import make_headline
from holdfast.report.history import curves_of, remarks_of
from holdfast.report.members import best_rows, place
from holdfast.report.palette import NO_CLUSTER, colour
from holdfast.report.pictures import make_album, make_sheet
from holdfast.report.project import project, sample_rows
from holdfast.report.recipe import make_recipe
from holdfast.report.tree import Cluster, Comparison, Evidence, Summary
from report_standin import Directions, unit


class Table:
    """A model that looks its answers up: the row number is the first feature."""

    def __init__(self, latent, proba, centres):
        self.latent, self.proba = np.asarray(latent, np.float32), np.asarray(proba, np.float32)
        self.cluster_centers_ = np.asarray(centres, np.float32)

    def transform(self, X):
        return self.latent[X[:, 0].astype(int)]

    def predict_proba(self, X):
        return self.proba[X[:, 0].astype(int)]


# members


def test_placement_by_hand():
    model = Table(
        latent=[[2, 0], [1, 1], [0, 3], [-1, -1]],
        proba=[[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]],
        centres=[[1, 0], [0, 5]],
    )
    placed = place(model, np.arange(4)[:, None], np.array([0, 0, 1, -1]), n_foreign=2)
    assert placed.confidence == pytest.approx([0.9, 0.6, 0.8, 0.5])
    assert placed.margin == pytest.approx([0.8, 0.2, 0.6, 0.0])
    assert placed.runner_up.tolist() == [1, 1, 0, 0]
    assert placed.own_likeness == pytest.approx([1, math.sqrt(0.5), 1, -math.inf])
    assert placed.foreign.tolist() == [[2, 3], [1, 0]]


def test_placement_does_not_write_into_the_models_answers():
    model = Table([[1, 0], [0, 1]], [[0.9, 0.1], [0.1, 0.9]], np.eye(2))
    before = model.proba.copy()
    place(model, np.arange(2)[:, None], np.array([0, 1]), 1)
    assert (model.proba == before).all()


def test_blocks_do_not_show(monkeypatch):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(1500, 5)).astype(np.float32)
    model = Directions(7).with_centres(rng.normal(size=(7, 5))).label(X)
    labels = np.where(rng.random(1500) < 0.1, -1, model.labels_)
    whole = place(model, X, labels, 6)
    monkeypatch.setattr("holdfast.report.members._BLOCK_CELLS", 1)  # 256 rows a block, the fewest
    parts = place(model, X, labels, 6)
    for name in ("confidence", "margin", "own_likeness"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), abs=1e-6)
    assert (parts.foreign == whole.foreign).all()
    cosine = unit(X) @ unit(model.cluster_centers_).T
    for c in range(7):
        others = np.flatnonzero(labels != c)
        best = others[np.argsort(-cosine[others, c])][:6]
        assert parts.foreign[c].tolist() == best.tolist()


def test_fewer_foreign_rows_than_wanted():
    model = Table([[1, 0], [0, 1]], np.eye(2), np.eye(2))
    placed = place(model, np.arange(2)[:, None], np.array([0, 1]), n_foreign=4)
    assert placed.foreign.tolist() == [[1, -1, -1, -1], [0, -1, -1, -1]]


def test_best_rows_by_hand():
    score = np.array([0.1, 0.9, 0.5, 0.9, 0.3, 1.0])
    labels = np.array([0, 0, 2, 0, 2, -1])
    assert [rows.tolist() for rows in best_rows(score, labels, 3, 2)] == [[1, 3], [], [2, 4]]


# comparison with the start


def test_moves_by_hand():
    start = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    final = np.array([7, 7, 7, 5, 5, 5, 7, 5])
    moves = find_moves(start, final, np.linspace(0, 1, 8))
    # 0 became 7 (3 stayed), 1 became 5 (2 stayed), 2 found no successor
    assert moves.n_moved == 3
    flows = {(f.start, f.source, f.target): (f.size, f.rows.tolist()) for f in moves.flows}
    assert flows == {(0, 7, 5): (1, [3]), (1, 5, 7): (1, [6]), (2, None, 5): (1, [7])}


def test_noise_corresponds_to_noise_alone():
    moves = find_moves(np.array([-1, -1, 0, 0]), np.array([3, 3, -1, 3]), np.ones(4))
    assert moves.n_moved == 3  # only the item that went from 0 to 3 stayed
    assert find_moves(np.array([-1, 0]), np.array([-1, 0]), np.ones(2)).n_moved == 0


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40),
    st.permutations(range(5)),
)
def test_names_of_start_clusters_do_not_matter(pairs, names):
    start, final = np.array(pairs).T
    renamed = np.array(names)[start]
    score = np.ones(len(start))
    assert find_moves(start, final, score).n_moved == find_moves(renamed, final, score).n_moved
    assert find_moves(renamed, start, score).n_moved == 0


def test_composition_counts_and_breaks_ties_by_name():
    found = compose(np.array(["b", "a", "b", "a", "c", "d"]))
    assert (found.label, found.share, found.n_labels) == ("a", 2 / 6, 4)
    assert [label for label, _ in found.parts] == ["a", "b", "c"]


# the map


def test_the_sample_has_a_few_of_every_cluster():
    labels = np.repeat([0, 1, 2], [10_000, 3, 7])
    rows = sample_rows(labels, cap=100)
    assert len(rows) == len(set(rows.tolist())) == 100
    assert np.bincount(labels[rows]).tolist()[1:] == [3, 5]
    assert (rows == sample_rows(labels, cap=100)).all()
    assert sample_rows(labels[:50], cap=100).tolist() == list(range(50))
    assert len(sample_rows(np.arange(300), cap=100)) == 100


@pytest.mark.parametrize(
    ("X", "method"),
    [
        (np.ones((1, 3)), "PCA"),
        (np.eye(2, 3), "PCA"),
        (np.ones((50, 3)), "PCA"),
        (np.linspace(1, 2, 50)[:, None], "PCA"),
        (np.random.default_rng(0).normal(size=(60, 5)), "t-SNE"),
    ],
)
def test_places_lie_in_the_unit_square(X, method):
    model = Directions(1).with_centres(X[:1])
    used, places = project(model, X, np.arange(len(X)))
    assert used == method
    assert places.shape == (len(X), 2)
    assert places.min() >= -1e-6
    assert places.max() <= 1 + 1e-6
    assert (places == project(model, X, np.arange(len(X)))[1]).all()


def test_the_map_keeps_separate_groups_apart():
    rng = np.random.default_rng(0)
    side = np.repeat([0, 1], 60)
    X = np.eye(2, 8)[side] + rng.normal(scale=0.05, size=(120, 8))
    _, places = project(Directions(1).with_centres(X[:1]), X, np.arange(120))
    far = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(far, np.inf)
    assert (side[far.argmin(axis=1)] == side).all()


# pictures


def noise(row):
    return Image.fromarray(np.random.default_rng(row).integers(0, 256, (120, 90, 3), np.uint8))


def test_the_budget_is_kept_and_first_rows_come_first():
    album = make_album(range(60), noise, budget=40_000)
    assert sum(len(p.data) for p in album.pictures) <= 40_000
    assert album.position
    assert set(album.position) == set(range(len(album.position)))
    assert max(max(p.width, p.height) for p in album.pictures) == 48  # the last rung


def test_pictures_are_small_proportional_and_once_each():
    album = make_album([3, 1, 3, 1], noise)
    assert [(p.width, p.height) for p in album.pictures] == [(72, 96)] * 2
    assert album.position == {3: 0, 1: 1}
    assert Image.open(io.BytesIO(album.pictures[0].data)).format == "JPEG"


def test_tiny_pictures_are_kept_exactly():
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    picture = make_album([0], lambda row: Image.fromarray(pixels)).pictures[0]
    assert (picture.mime, picture.width) == ("image/png", 8)
    assert (np.asarray(Image.open(io.BytesIO(picture.data)).convert("L")) == pixels).all()


def test_a_transparent_picture_lies_on_white():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    data = make_album([0], lambda row: clear).pictures[0].data
    assert Image.open(io.BytesIO(data)).convert("RGB").getpixel((4, 4)) == (255, 255, 255)


def test_the_sheet_has_each_picture_at_its_tile():
    shades = {row: (row * 60, 255 - row * 60, 128) for row in range(5)}

    def image_of(row):
        return None if row == 2 else Image.new("RGB", (40, 20), shades[row])

    sheet, tiles = make_sheet(range(5), image_of)
    assert tiles == {0: 0, 1: 1, 3: 2, 4: 3}
    canvas = Image.open(io.BytesIO(sheet.picture.data)).convert("RGB")
    for row, tile in tiles.items():
        y, x = divmod(tile, sheet.columns)
        found = canvas.getpixel((x * sheet.side + sheet.side // 2, y * sheet.side + sheet.side // 2))
        assert found == pytest.approx(shades[row], abs=6)
    assert make_sheet(range(5), lambda row: None) == (None, {})


# curves, colours, sentences, recipe


def test_curves_keep_gaps_and_skip_what_is_no_number():
    history = [
        {"epoch": 0, "loss": 2.0, "evidence": 0.5, "phase": "pretrain", "note": True},
        {"epoch": 1, "loss": math.nan, "evidence": np.float32(0.6), "once": 3.0},
        {"epoch": 2, "loss": 1.0, "reason": "no better score for 15 epochs", "verdict": "stop"},
    ]
    for entry in history:
        entry |= {"score": entry.get("evidence"), "learning_rate": 0.001, "used": 1.0}
    curves = {c.key: c for c in curves_of(history)}
    assert list(curves) == ["loss", "evidence"]  # a copy and a constant are no news
    assert curves["loss"].values == (2.0, None, 1.0)
    assert curves["loss"].epochs == (0.0, 1.0, 2.0)
    assert curves["evidence"].values == (0.5, pytest.approx(0.6), None)
    assert curves_of(None) == ()
    assert remarks_of(history) == ("Epoch 2, stop: no better score for 15 epochs.",)
    assert remarks_of([], {"start": 2.0, "result": 2.0}) == ()
    assert remarks_of([{"epoch": 1}], {"start": 2.0, "result": 2.0}) == (
        "No epoch surpassed the evidence that training began with, so that state was returned.",
    )
    assert [c.mark for c in curves_of(history, returned=0.5)] == [None, 0]
    assert 'class="mark"' in str(plots.curve(curves_of(history, returned=0.5)[1]))


def test_evidence_is_in_the_order_of_events():
    class Model:
        start_ = "graph"
        evidence_ = {"result": 2.2, "start": 2.0, "graph": 2.1, "kmeans": math.nan}  # noqa: RUF012

    found = compare(Model(), 5, None, lambda rows: ()).evidence
    assert [(e.name, e.role) for e in found] == [
        ("graph", "candidate"),
        ("start of training", "start"),
        ("result", "result"),
    ]
    del Model.evidence_["start"]
    assert [e.role for e in compare(Model(), 5, None, lambda rows: ()).evidence] == ["start", "result"]
    places = [float(part.split('"')[0]) for part in str(plots.levels(found)).split('<circle cx="')[1:]]
    assert places[1] < places[0] < places[2]


def test_evidence_that_is_all_but_equal_can_be_drawn():
    found = [
        Evidence(name=f"start {i}", value=1.4301 + i * 1e-15, role="start") for i in range(3)
    ]  # 500 binary columns gave such values, and rounding made one tick of all
    places = [float(part.split('"')[0]) for part in str(plots.levels(found)).split('<circle cx="')[1:]]
    assert len(set(places)) == 1
    assert all(math.isfinite(place) for place in places)


def test_a_curve_is_drawn_in_pieces_around_its_gaps():
    values = [1.0, 2.0, None, 3.0, 2.0]
    (curve,) = curves_of([{"epoch": i, "loss": v} for i, v in enumerate(values)])
    svg = str(plots.curve(curve))
    assert svg.count("<polyline") == 2
    assert 'aria-label="Loss, all terms: from 1 to 2 over 5 epochs"' in svg
    assert curves_of([{"loss": 0.0}, {"loss": 0.0}]) == ()


def test_columns_are_as_tall_as_their_values():
    bars = [plots.Bar(i, value, "#123456", f"tip {i}") for i, value in enumerate((10, 5, 0))]
    svg = str(plots.columns(bars, "<sizes>"))
    heights = [float(part.split('height="')[1].split('"')[0]) for part in svg.split("<rect x=")[1:]]
    assert heights[1] == pytest.approx(heights[0] / 2, abs=0.1)
    assert svg.count('<a href="#c') == 3
    assert "<sizes>" not in svg


def test_a_hundred_colours_are_apart():
    assert colour(-1) == NO_CLUSTER
    assert len({colour(i) for i in range(-1, 100)}) == 101
    first = [tuple(int(colour(i)[j : j + 2], 16) for j in (1, 3, 5)) for i in range(10)]
    apart = [math.dist(a, b) for i, a in enumerate(first) for b in first[:i]]
    assert min(apart) > 40


def summary(**changes):
    values = dict.fromkeys(Summary.__dataclass_fields__)
    values.update(n_items=1000, n_clusters=3, doubtful=80, n_noise=0)
    return Summary(**{**values, **changes})


def cluster(number, size, confidence=0.9, doubtful=0.0):
    return Cluster(number, size, size / 1000, confidence, doubtful, (0,) * 10, (), (), (), (), None)


THREE = (cluster(0, 700), cluster(1, 250, 0.6, 0.3), cluster(2, 50))


def test_the_headline_in_plain_words():
    evidence = (Evidence("kmeans", 0.61, "start"), Evidence("result", 0.66, "result"))
    comparison = Comparison("kmeans", 1000, 57, 3, evidence, (), 0, (), (), ())
    found = make_headline(summary(), THREE, comparison)
    training = (
        "Training moved 57 items (5.7 %) away from the k-means start "
        "and raised the label-free evidence from 0.610 to 0.660."
    )
    assert found.title == "1,000 items in 3 clusters"
    assert found.sentences == (
        "Clusters hold between 50 and 700 items; a typical one holds 250.",
        "The model is more sure than not about 92.0 % of the items; 80 items are worth a second look.",
        "Look at cluster 1 first: 30 % of its 250 items could as well be elsewhere.",
        training,
    )


def test_the_headline_does_not_flatter():
    found = make_headline(summary(doubtful=640), THREE, None).sentences
    assert found[1] == (
        "For 64 % of the items the other clusters together are as likely as their own: compare the clusters' "
        "confidence rather than read it as it stands, and consider fewer of them."
    )
    nearly = make_headline(summary(n_items=100_000, doubtful=1), THREE, None).sentences
    assert nearly[1] == (
        "The model is more sure than not about more than 99.9 % of the items; 1 item is worth a second look."
    )
    stayed = Comparison("graph", 1000, 0, 3, (), (), 0, (), (), ())
    assert make_headline(summary(), THREE, stayed).sentences[-1] == (
        "Training kept every item where the graph start had put it."
    )


def test_the_recipe_names_what_differs_from_the_defaults():
    recipe = make_recipe(
        Directions(10, random_state=0), {"command": ["holdfast", "demo"], "seed": 3, "source": "x"}
    )
    assert recipe.command == "holdfast demo"
    assert recipe.snippet.endswith("model = hf.Directions(n_clusters=10, random_state=0).fit(emb.X)")
    assert {f.name: f.value for f in recipe.parameters} == {
        "n_clusters": "10", "sharpness": "40.0", "random_state": "0",
    }  # fmt: skip
    assert [(f.name, f.value) for f in recipe.facts] == [("seed", "3")]
    assert {"python", "numpy", "torch"} <= {f.name for f in recipe.versions}
    assert make_recipe(object(), {"versions": {"torch": "9"}}).versions[0].value == "9"
