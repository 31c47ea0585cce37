"""The report as a whole: what the tree says, what the page contains, and that nothing in it can bite."""

import base64
import hashlib
import re
from dataclasses import FrozenInstanceError, replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from holdfast import metrics
from holdfast.exceptions import ImageError, InputError, OutputError
from holdfast.io import Embeddings
from holdfast.report import build_report, write_report
from holdfast.report.render import render_report
from report_standin import Directions, digit_data, digit_pictures, named

HOSTILE = (
    "<script>window.pwned=1</script>",
    '"><img src=x onerror="window.pwned=2">',
    "'-alert(1)-'",
    "</style><script>window.pwned=3</script>",
    "javascript:window.pwned=4//a.jpg",
    "{{ 7 * 7 }}{% raw %}",
    "caf\udce9.jpg",
    "a & b <b>.png",
)


@pytest.fixture(scope="module")
def known():
    X, y = (part[:600] for part in digit_data())
    model = Directions(10, random_state=0).fit(X).remember(X)
    run = {
        "source": "digits",
        "date": "2025-06-12",
        "seconds": 83.4,
        "command": ["holdfast", "demo"],
        "seed": 0,
    }
    return model, named(X, y), build_report(model, named(X, y), image_of=digit_pictures(X), run=run)


class Page(HTMLParser):
    """Every tag with its attributes, and the text outside of script and style."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._inside = [], [], None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data):
        if self._inside not in {"script", "style"}:
            self.text.append(data)

    def handle_endtag(self, tag):
        self._inside = None

    def all(self, tag, css=None):
        return [
            a for t, a in self.tags if t == tag and (css is None or css in (a.get("class") or "").split())
        ]


def test_the_header_counts_what_was_clustered(known):
    model, emb, report = known
    s = report.summary
    assert (s.n_items, s.n_features, s.n_latent, s.n_clusters, s.n_noise, s.n_empty) == (
        600,
        64,
        64,
        10,
        0,
        0,
    )
    assert (s.source, s.date, s.seconds, s.method, s.n_epochs, s.converged) == (
        "digits", "12 June 2025", 83.4, "Directions", 9, True,
    )  # fmt: skip
    best = model.predict_proba(emb.X).max(axis=1)
    assert s.confidence == pytest.approx(best.mean(), abs=1e-5)
    assert s.doubtful == int((best < 0.5).sum())
    assert report.headline.title == "600 items in 10 clusters"


def test_clusters_add_up_to_the_items(known):
    model, _, report = known
    assert [c.size for c in report.clusters] == np.bincount(model.labels_).tolist()
    assert sum(c.share for c in report.clusters) == pytest.approx(1)
    assert [sum(c.histogram) for c in report.clusters] == [c.size for c in report.clusters]
    for c in report.clusters:
        assert c.doubtful * c.size == pytest.approx(sum(c.histogram[:5]), abs=1)
        assert len(c.near) == 3
        assert c.number not in {near.number for near in c.near}


def test_members_are_the_right_ones(known):
    model, emb, report = known
    Z, centres = model.transform(emb.X), model.cluster_centers_
    cosine = Z @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T
    two = np.sort(model.predict_proba(emb.X), axis=1)[:, -2:]
    margin = two[:, 1] - two[:, 0]
    row_of = {name: row for row, name in enumerate(emb.ids)}
    for c in report.clusters:
        inside = np.flatnonzero(model.labels_ == c.number)
        outside = np.flatnonzero(model.labels_ != c.number)
        shown = lambda members: [row_of[m.id] for m in members]  # noqa: E731
        best = np.sort(cosine[inside, c.number])[::-1]
        assert cosine[shown(c.typical), c.number] == pytest.approx(best[:12], abs=1e-6)
        assert margin[shown(c.uncertain)] == pytest.approx(np.sort(margin[inside])[:6], abs=1e-6)
        assert cosine[shown(c.foreign), c.number] == pytest.approx(
            np.sort(cosine[outside, c.number])[::-1][:6], abs=1e-6
        )
        assert set(shown(c.typical) + shown(c.uncertain)) <= set(inside.tolist())
        assert {m.cluster for m in c.foreign}.isdisjoint({c.number})
    assert [m.margin for m in report.doubtful] == pytest.approx(np.sort(margin)[:24], abs=1e-6)
    assert all(m.runner_up not in {m.cluster, None} for m in report.doubtful)


def test_agreement_is_scored_for_start_and_result_and_never_reaches_the_rest(known):
    model, emb, report = known
    start, result = report.agreement.scores
    assert (start.name, result.name) == ("start (k-means)", "result")
    for scores, labels in ((start, model.start_labels_), (result, model.labels_)):
        assert {k: getattr(scores, k) for k in ("acc", "nmi", "ari", "purity")} == pytest.approx(
            metrics.score(emb.labels, labels)
        )
    blind = build_report(model, named(emb.X))
    assert blind.agreement is None
    assert all(c.composition is None for c in blind.clusters)
    without = lambda c: [(m.id, m.confidence) for m in (*c.typical, *c.uncertain, *c.foreign)]  # noqa: E731
    assert [without(c) for c in blind.clusters] == [without(c) for c in report.clusters]


def test_majority_labels_are_counted(known):
    model, emb, report = known
    for c in report.clusters:
        inside = emb.labels[model.labels_ == c.number]
        label = np.bincount(inside).argmax()
        assert c.composition.label == str(label)
        assert c.composition.share == pytest.approx((inside == label).mean())
        assert c.composition.n_labels == len(np.unique(inside))


def test_the_report_is_frozen_data(known):
    report = known[2]
    with pytest.raises(FrozenInstanceError):
        report.summary.n_items = 3
    assert "<" not in report.headline.title + "".join(report.headline.sentences) + report.recipe.snippet


def test_the_same_input_gives_the_same_page(known):
    model, emb, report = known
    again = build_report(model, emb, image_of=digit_pictures(emb.X))
    assert again.map == report.map
    assert again.clusters == report.clusters
    assert render_report(report) == render_report(report)


def test_an_estimator_that_tells_less_gets_a_shorter_report(digits):
    X = digits.X[:120]
    report = build_report(Directions(3, random_state=0).fit(X), named(X))
    assert (report.curves, report.comparison, report.agreement, report.pictures) == ((), None, None, ())
    assert (report.summary.n_epochs, report.summary.converged, report.summary.source) == (None, None, None)
    page = Page(render_report(report))
    assert page.all("img") == []
    assert len(page.all("article", "card")) == 3
    assert "digit-" in "".join(page.text)


def test_empty_attributes_count_as_absent(digits):
    X = digits.X[:60]
    model = Directions(3, random_state=0).fit(X)
    model.start_labels_, model.evidence_, model.history_ = None, {}, []
    report = build_report(model, named(X))
    assert (report.curves, report.comparison) == ((), None)


def test_labels_of_other_rows_are_predicted_anew(digits):
    X = digits.X[:300]
    model = Directions(4, random_state=0).fit(X[:200]).remember(X[:200])
    report = build_report(model, named(X))
    assert [c.size for c in report.clusters] == np.bincount(model.predict(X), minlength=4).tolist()
    assert report.comparison.moved is None  # the start is known for other rows only
    assert len(report.comparison.evidence) == 3
    render_report(report)


def test_items_without_a_cluster_are_counted_and_shown_as_such(digits):
    X = digits.X[:200]
    model = Directions(5, random_state=0).fit(X)
    model.labels_ = np.where(np.arange(200) % 10 == 0, -1, model.labels_)
    model.start_labels_ = model.predict(X)
    report = build_report(model, named(X))
    assert report.summary.n_noise == 20
    assert sum(c.size for c in report.clusters) == 180
    assert "20 items belong to no cluster." in report.headline.sentences
    assert report.comparison.moved == 20
    assert all(m.cluster >= 0 for m in report.doubtful)
    render_report(report)


def test_an_empty_cluster_is_left_out_and_counted(digits):
    X = digits.X[:100]
    centres = np.vstack([Directions(3, random_state=0).fit(X).cluster_centers_, -np.ones((1, 64))])
    report = build_report(Directions(4).with_centres(centres).label(X), named(X))
    assert (report.summary.n_clusters, report.summary.n_empty) == (3, 1)
    assert 3 not in {near.number for c in report.clusters for near in c.near}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_handful_of_items(n):
    X = np.eye(n, 4, dtype=np.float32)
    report = build_report(Directions(1).with_centres(X[:1]).label(X), named(X))
    assert report.doubtful == ()
    assert report.clusters[0].foreign == ()
    assert len(Page(render_report(report)).all("circle")) == n


def test_constant_data():
    X = np.ones((40, 3), np.float32)
    report = build_report(Directions(2).with_centres(np.eye(2, 3)).label(X), named(X))
    assert report.map.method == "PCA"
    assert re.search(r"\bnan\b", render_report(report)) is None


def test_labels_beyond_the_centres_are_refused():
    X = np.eye(3, dtype=np.float32)
    model = Directions(2).with_centres(np.eye(2, 3))
    model.labels_ = np.array([0, 5, 1])
    with pytest.raises(InputError) as caught:
        build_report(model, named(X))
    assert str(caught.value) == (
        "Row 1 has label 5 but the model has only 2 cluster centres; "
        "give the embeddings that the model was fitted on."
    )


def test_unreadable_pictures_are_counted_and_cost_nothing_else(digits):
    X = digits.X[:60]
    picture = digit_pictures(X)

    def image_of(row):
        if row % 3 == 0:
            raise ImageError(f"{row}.jpg is truncated; copy it again.")
        return None if row % 3 == 1 else picture(row)

    report = build_report(Directions(2, random_state=0).fit(X), named(X), image_of=image_of)
    shown = {
        m.id for c in report.clusters for m in (*c.typical, *c.uncertain, *c.foreign) if m.picture is not None
    }
    assert shown
    assert all(int(name[-4:]) % 3 == 2 for name in shown)
    assert report.missing_pictures > 0
    assert f"{report.missing_pictures} pictures could not be read" in render_report(report)


def test_every_picture_travels_once(known):
    report = known[2]
    html = render_report(report)
    sources = [a["src"] for a in Page(html).all("img") if "src" in a]
    assert len(sources) == len(set(sources)) or len({p.data for p in report.pictures}) < len(report.pictures)
    assert len(sources) == len(report.pictures)
    ids = {a["id"] for a in Page(html).all("img") if "id" in a}
    copies = [a["data-copy"] for a in Page(html).all("img") if "data-copy" in a]
    assert copies
    assert set(copies) <= ids
    assert all(a.get("alt") for a in Page(html).all("img"))


def test_the_page_needs_nobody(known):
    html = render_report(known[2])
    page = Page(html)
    assert re.findall(r"https?://", html) == []
    assert all(a["src"].startswith("data:image/") for a in page.all("img") if "src" in a)
    assert all(a["href"].startswith("#") for a in page.all("a"))
    assert [a["href"] for a in page.all("link")] == ["data:,"]
    assert all(url.startswith("data:") for url in re.findall(r"url\(([^)]*)\)", html))
    assert "@import" not in html
    targets = {a["id"] for _, a in page.tags if a.get("id")}
    assert {a["href"][1:] for a in page.all("a")} <= targets
    names = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(names) == len(set(names))


def test_the_policy_admits_our_script_and_no_other(known):
    html = render_report(known[2])
    scripts = re.findall(r"<script>(.*?)</script>", html, re.S)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = next(a["content"] for a in Page(html).all("meta") if a.get("http-equiv"))
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def hostile_report():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(len(HOSTILE) * 3, 6)).astype(np.float32)
    ids = [f"{name}{i or ''}" for i in range(3) for name in HOSTILE]
    emb = Embeddings(ids=np.array(ids), X=X, labels=np.array(ids))
    model = Directions(3, sharpness=5, random_state=0).fit(X).remember(X)
    model.start_ = model.evidence_["<i>evidence</i>"] = 0.5
    model.history_.append({"<svg onload=window.pwned=5>": 1.0})
    model.history_.append({"<svg onload=window.pwned=5>": 2.0})
    pictures = lambda row: Image.new("RGB", (9, 7), (row * 9 % 256, 0, 0))  # noqa: E731
    run = dict.fromkeys(("source", "date", "command", "encoder", HOSTILE[1]), HOSTILE[0])
    return build_report(model, emb, image_of=pictures, run=run)


def test_hostile_names_stay_names():
    html = render_report(hostile_report())
    page = Page(html)
    assert len(page.all("script")) == 1
    assert len(page.all("style")) == 1
    assert page.all("i", "x") == []
    assert not [a for _, a in page.tags if any(key.startswith("on") for key in a)]
    assert all((a.get("src") or "data:").startswith("data:") for a in page.all("img"))
    assert "&lt;script&gt;window.pwned=1" in html
    assert any(a.get("alt") == HOSTILE[1] for a in page.all("img"))
    assert "49" not in [a.get("alt") for a in page.all("img")]
    html.encode("utf-8")


def test_writing_is_atomic_and_says_where_it_failed(known, tmp_path):
    report = known[2]
    target = tmp_path / "new" / "report.html"
    assert write_report(report, target) == target
    assert target.read_text("utf-8") == render_report(report)
    assert [p.name for p in target.parent.iterdir()] == ["report.html"]
    with pytest.raises(OutputError, match=re.escape(str(tmp_path / "new"))):
        write_report(report, tmp_path / "new")


def test_a_page_of_a_hundred_clusters_stays_small(digits):
    X = digits.X
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8)) for _ in range(8)]
    model = Directions(100, random_state=0).fit(X)
    html = render_report(build_report(model, named(X), image_of=lambda row: noise[row % 8]))
    assert len(Page(html).all("article", "card")) == 100
    assert len(html) < 8_000_000  # noise is the worst that JPEG can meet


def test_more_than_a_hundred_clusters_show_fewer_members_each():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 8)).astype(np.float32)
    report = build_report(Directions(400).with_centres(X[:400]).label(X), named(X))
    assert max(len(c.typical) for c in report.clusters) == 3
    assert len(render_report(report)) < 3_000_000


def test_sections_appear_only_with_something_to_show(known):
    report = known[2]
    html = render_report(replace(report, curves=(), comparison=None, agreement=None, doubtful=()))
    sections = {a.get("id") for a in Page(html).all("section")}
    assert sections.isdisjoint({"training", "start", "agreement", "doubtful"})
    assert {"clusters", "map", "members", "recipe", "glossary"} <= sections
    full = {a.get("id") for a in Page(render_report(report)).all("section")}
    assert {"training", "start", "agreement", "doubtful"} <= full
    assert "not used in training" in render_report(report)
