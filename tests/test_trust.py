"""How far to trust a result: what the report says of a prediction, of confidence, and of a vote."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.expected import as_document, from_document
from holdfast.quality import Quality
from holdfast.report import build_report, plots
from holdfast.report.render import render_report
from holdfast.report.trust import STEPS, make_trust, rounded
from holdfast.report.voting import ballots_of, in_words
from report_standin import Directions, digit_data, digit_pictures, named
from test_report import HOSTILE, Page

# 40 of 100 at .55, 40 at .85 and 20 at .97: .754 in all, .89 among the upper 60, .97 among the upper 20.
CONFIDENCE = np.repeat([0.55, 0.85, 0.97], [40, 40, 20])


def quality_of(purity, sizes, whole=(0.87, 0.80, 0.92)):
    purity = np.asarray(purity, dtype=float)
    return Quality(*whole, purity, np.clip(purity - 0.1, 0, 1), np.clip(purity + 0.05, 0, 1), np.array(sizes))


def member(kind, weight, score=1.9, name="one"):
    return {"kind": kind, "name": name, "score": score, "support": 0.8, "weight": weight}


# What is predicted


def test_the_whole_is_said_in_words():
    trust = make_trust(quality_of([0.9, 0.8, 0.7], [50, 30, 20]), np.array([50, 30, 20]), CONFIDENCE)
    assert trust.sentences[0] == (
        "About 87 of 100 items are expected to be in the right cluster; between 80 and 92, nine times out of "
        "ten."
    )
    assert (trust.whole.number, trust.whole.size, trust.whole.purity) == (None, 100, 0.87)


@pytest.mark.parametrize(
    ("whole", "begin", "end"),
    [
        ((0.999, 0.998, 1.0), "Nearly all items are", "; give or take less than one."),
        ((0.001, 0.0, 0.2), "Hardly any items are", "; between 0 and 20, nine times out of ten."),
        ((0.504, 0.4, 0.6), "About 50 of 100 items are", "; between 40 and 60, nine times out of ten."),
    ],
)
def test_the_ends_of_the_scale_are_said_as_people_do(whole, begin, end):
    trust = make_trust(quality_of([0.5], [100], whole), np.array([100]), CONFIDENCE)
    assert trust.sentences[0].startswith(begin)
    assert trust.sentences[0].endswith(end)


def test_labels_are_told_beside_the_prediction_and_change_nothing_else():
    quality, sizes = quality_of([0.9, 0.8, 0.7], [50, 30, 20]), np.array([50, 30, 20])
    plain, told = (make_trust(quality, sizes, CONFIDENCE, by_labels=by) for by in (None, 0.83))
    assert told.sentences[1] == (
        "The labels that came with the data, which the prediction never saw, say 83."
    )
    assert replace(told, sentences=plain.sentences) == plain


def test_clusters_come_weakest_first_and_a_tenth_is_marked():
    sizes = np.arange(30) + 1
    purity = np.random.default_rng(0).permutation(np.linspace(0.4, 1, 30))
    trust = make_trust(quality_of(purity, sizes), sizes, CONFIDENCE)
    assert [cluster.number for cluster in trust.clusters] == np.argsort(purity).tolist()
    assert [cluster.size for cluster in trust.clusters] == sizes[np.argsort(purity)].tolist()
    assert [cluster.is_weak for cluster in trust.clusters] == [True] * 3 + [False] * 27
    first, second, third = (cluster.number for cluster in trust.clusters[:3])
    assert trust.look == (
        f"Look at clusters {first}, {second} and {third} first: in cluster {first}, about 40 of 100 are "
        "expected to be right."
    )


def test_two_clusters_or_good_ones_need_no_first_look():
    two = make_trust(quality_of([0.5, 0.6], [50, 50]), np.array([50, 50]), CONFIDENCE)
    assert (two.look, [cluster.is_weak for cluster in two.clusters]) == ("", [False, False])
    good = make_trust(quality_of([0.96, 0.97, 0.98], [50, 30, 20]), np.array([50, 30, 20]), CONFIDENCE)
    assert (good.look, good.clusters[0].is_weak) == ("", True)


def test_empty_clusters_are_left_out_however_the_prediction_counts_them():
    sizes = np.array([50, 0, 50])
    by_number = quality_of([0.9, np.nan, 0.8], [50, 0, 50])
    without = quality_of([0.9, 0.8], [50, 50])
    for quality in (by_number, without):
        clusters = make_trust(quality, sizes, CONFIDENCE).clusters
        assert [(cluster.number, cluster.purity) for cluster in clusters] == [(2, 0.8), (0, 0.9)]


def test_a_prediction_survives_the_folder():
    sizes = np.array([50, 0, 30, 20])
    trust = make_trust(quality_of([0.9, np.nan, 0.7, 0.8], sizes), sizes, CONFIDENCE)
    document = as_document(trust)
    assert document["clusters"][1] == {
        "cluster": 2, "size": 30, "purity": 0.7, "low": pytest.approx(0.6), "high": pytest.approx(0.75)
    }  # fmt: skip
    assert make_trust(from_document(document), sizes, CONFIDENCE) == trust
    assert from_document(None) is None
    assert as_document(make_trust(None, sizes, CONFIDENCE)) is None


# What caution gains


def test_the_curve_and_its_steps_by_hand():
    trust = make_trust(None, np.array([100]), CONFIDENCE)
    assert (trust.whole, trust.clusters, trust.sentences, trust.look) == (None, (), (), "")
    assert [(p.threshold, p.coverage) for p in trust.curve] == [(0.55, 1), (0.85, 0.6), (0.97, 0.2)]
    assert [p.purity for p in trust.curve] == pytest.approx([0.754, 0.89, 0.97])
    assert [(s.threshold, s.coverage) for s in trust.steps] == [
        (0.5, 1), (0.6, 0.6), (0.7, 0.6), (0.8, 0.6), (0.9, 0.2), (0.95, 0.2)
    ]  # fmt: skip
    assert trust.advice.threshold == 0.9  # the first that reaches 95 of 100
    assert trust.keep == (
        "Answer only where confidence is at least .9: 20 % of the items are kept, and by the model's own "
        "confidence 97.0 % of these are right."
    )


def test_without_a_threshold_that_is_good_enough_the_best_is_named():
    trust = make_trust(None, np.array([100]), np.repeat([0.55, 0.75], [40, 60]), noun="pictures")
    assert trust.advice.threshold == 0.7
    assert "60 % of the pictures are kept" in trust.keep


def test_a_sure_model_is_asked_for_more_and_a_surer_one_for_nothing():
    sure = make_trust(None, np.array([100]), np.repeat([0.65, 1.0], [10, 90]))
    assert (sure.advice.threshold, sure.advice.purity) == (0.7, 1.0)
    surer = make_trust(None, np.array([100]), np.full(100, 0.999))
    assert surer.advice is None
    assert surer.keep.startswith("There is little to gain by leaving items out")
    flat = make_trust(None, np.array([100]), np.full(100, 0.4))
    assert (flat.advice, flat.keep, flat.steps) == (None, "", ())


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50))
def test_steps_lie_on_the_trade_that_the_curve_shows(confidence):
    trust = make_trust(None, np.array([len(confidence)]), np.array(confidence))
    assert [step.threshold for step in trust.steps] == [
        s for s in STEPS if s in {t.threshold for t in trust.steps}
    ]
    for step in trust.steps:
        assert step.purity >= step.threshold - 1e-9
        assert step.purity >= trust.curve[0].purity - 1e-9
        assert 0.05 <= step.coverage <= 1
    assert trust.advice is None or trust.advice in trust.steps


def test_a_disagreement_with_the_models_own_confidence_is_admitted():
    sizes = np.array([100])
    for whole, ends in (
        ((0.6, 0.5, 0.7), "take the curve for a best case."),
        ((0.9, 0.8, 1.0), "careful side."),
    ):
        trust = make_trust(quality_of([0.6], [100], whole), sizes, CONFIDENCE)
        assert trust.sentences[-1].startswith("The model's own confidence expects 75 % to be right, ")
        assert trust.sentences[-1].endswith(ends)
    assert len(make_trust(quality_of([0.7], [100], (0.75, 0.7, 0.8)), sizes, CONFIDENCE).sentences) == 2


def test_what_is_said_of_items_with_a_cluster_is_not_said_of_all():
    quality, sizes = quality_of([0.75], [100], (0.75, 0.7, 0.8)), np.array([100])
    trust = make_trust(quality, sizes, CONFIDENCE, n_items=200, by_labels=0.9, count=True)
    assert [(p.threshold, p.coverage) for p in trust.curve] == [(0.55, 0.5), (0.85, 0.3), (0.97, 0.1)]
    assert "10 % of the items are kept" in trust.keep
    assert trust.sentences[1:] == (
        "This is said of the 50 % of the items that have a cluster, and of no other.",
        (
            "The labels that came with the data, which the prediction never saw, say 90: outside what was "
            "predicted. Another number of clusters is the likeliest reason."
        ),
        (
            "The number of clusters is an estimate that the prediction takes as right: with too few, it is "
            "too high, so it does not tell which number is better."
        ),
    )


def test_thresholds_are_written_as_everywhere_in_the_report():
    assert [rounded(step) for step in (0.5, 0.95, 1.0)] == [".5", ".95", "1"]


# What voted


def test_ballots_by_hand():
    members = [member("graph", 1, 1.0), member("k-means", 3, 2.0, "a"), member("k-means", 4, 1.0, "b")]
    first, second = ballots_of(members)
    assert (first.kind, first.score, first.share) == ("k-means", 1.5, 7 / 8)
    assert [(vote.name, vote.share) for vote in first.votes] == [("b", 0.5), ("a", 0.375)]
    assert (second.kind, second.share, len(second.votes)) == ("graph", 1 / 8, 1)
    assert in_words((first, second)) == "2 x k-means (88 %), 1 x graph (12 %)"


def test_no_vote_is_no_ballot():
    assert ballots_of(None) == ballots_of([]) == ()
    assert in_words(()) is None
    (only,) = ballots_of([member("DEC", 0)])
    assert only.share == 0


# Plots and page


@pytest.fixture(scope="module")
def voted():
    X, y = (part[:400] for part in digit_data())
    model = Directions(10, random_state=0).fit(X).remember(X)
    del model.start_
    model.evidence_ = {"best member": 1.8, "consensus": 1.85, "result": 1.9}
    model.members_ = [member("k-means", 2, name="k-means 1"), member("TEMI", 1, name="TEMI 1")]
    sizes = np.bincount(model.labels_, minlength=10)
    quality = quality_of(np.linspace(0.99, 0.5, 10), sizes)
    return build_report(model, named(X, y), image_of=digit_pictures(X), quality=quality)


def test_the_plot_has_a_mark_a_link_and_an_interval_for_each_cluster(voted):
    page = Page(str(plots.expectations(voted.trust.clusters)))
    assert [a["href"] for a in page.all("a")] == [f"#c{c.number}" for c in voted.trust.clusters]
    assert len(page.all("line", "span")) == len(page.all("circle")) == 10
    assert [a["href"] for a in page.all("a", "weak")] == ["#c9"]
    heights = [float(a["cy"]) for a in page.all("circle")]
    assert heights == sorted(heights, reverse=True)  # the weakest first, at the left and lowest
    for line, dot in zip(page.all("line", "span"), heights, strict=True):
        assert float(line["y1"]) <= dot <= float(line["y2"])


def test_the_curve_rises_to_the_right_and_marks_the_advice(voted):
    markup = str(plots.answering(voted.trust))
    points = re.search(r'polyline points="([^"]*)"', markup).group(1).split()
    xs, ys = zip(*(map(float, point.split(",")) for point in points), strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys, reverse=True)
    assert len(Page(markup).all("g", "advised")) == 1
    assert len(Page(markup).all("g", "step")) == len(voted.trust.steps) - 1


def test_the_page_says_how_far_to_trust_and_what_voted(voted):
    page = Page(render_report(voted))
    text = " ".join("".join(page.text).split())
    assert "How far to trust it" in text
    assert "About 87 of 100 pictures are expected to be in the right cluster; between 80 and 92" in text
    assert voted.trust.look in text
    assert voted.trust.keep in text
    assert "What voted" in text
    assert "heads trained to give neighbours the same cluster" in text
    assert "1 x TEMI (33 %)" in text  # the recipe
    assert "from the best member" in text
    assert {a.get("id") for a in page.all("section")} >= {"trust", "voting"}
    assert {a["href"] for a in page.all("a")} >= {"#trust", "#voting"}
    assert voted.headline.sentences[1] == voted.trust.sentences[0]
    assert voted.trust.look in voted.headline.sentences


def test_what_is_unknown_is_left_out(voted):
    X, _ = (part[:60] for part in digit_data())
    report = build_report(Directions(3, random_state=0).fit(X), named(X))
    page = Page(render_report(report))
    assert report.trust.whole is None
    assert report.ballots == ()
    assert "voting" not in {a.get("id") for a in page.all("section")}
    assert page.all("a", "weak") == []
    assert "Expected right" not in "".join(page.text)
    assert render_report(replace(voted, trust=None, ballots=())).count('id="trust"') == 0


def test_hostile_names_of_members_stay_names():
    X = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    model = Directions(3, sharpness=5, random_state=0).fit(X)
    model.members_ = [member(text, 1, name=text) for text in HOSTILE]
    html = render_report(build_report(model, named(X)))
    assert len(Page(html).all("script")) == 1
    assert not [a for _, a in Page(html).tags if any(key.startswith("on") for key in a)]
    assert "&lt;script&gt;window.pwned=1" in html


def test_constant_confidence_draws_no_curve():
    X = np.ones((40, 3), np.float32)
    model = Directions(2).with_centres(np.eye(2, 3)).label(X)
    html = render_report(build_report(model, named(X), quality=quality_of([0.5], [40])))
    assert "answering" not in {css for a in Page(html).all("svg") for css in a["class"].split()}
    assert re.search(r"\bnan\b", html) is None


def test_a_result_that_abstains_from_everything_has_a_report(digits):
    X = digits.X[:40]
    model = Directions(3, random_state=0).fit(X)
    model.labels_ = np.full(40, -1)
    report = build_report(model, named(X))
    assert (report.summary.n_noise, report.clusters, report.trust.clusters) == (40, (), ())
    assert "40 items belong to no cluster." in report.headline.sentences
    assert report.trust.curve[0].coverage == 1
    render_report(report)
