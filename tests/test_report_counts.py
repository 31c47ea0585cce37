"""How many clusters: every criterion is shown where its number is, and what is missing is left out."""

import math
import re
from types import SimpleNamespace

import pytest

from holdfast.report import build_report
from holdfast.report.counts import count_ticks, counting_of, picks, tally
from holdfast.report.render import render_report
from report_standin import Directions, digit_data, named


def count(**changes):
    given = {
        "n_clusters": 10,
        "low": 5,
        "high": 20,
        "agreement": 0.25,
        "message": "About 10 clusters, between 5 and 20.",
        "evidence": {"stability": 5, "separation": 20, "modularity": 10},
    }
    return SimpleNamespace(**{**given, **changes})


def places(svg):
    return [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', str(svg))]


def test_no_estimate_no_section():
    assert counting_of(None) is None
    X, y = (part[:200] for part in digit_data())
    model = Directions(3, random_state=0).fit(X)
    assert 'id="count"' not in render_report(build_report(model, named(X, y)))
    model.cluster_count_ = count()
    html = render_report(build_report(model, named(X, y)))
    assert 'id="count"' in html
    assert "About 10 clusters, between 5 and 20." in html


def test_points_stand_on_a_logarithmic_axis():
    svg = picks(counting_of(count()))
    five, twenty, ten = places(svg)
    assert ten - five == pytest.approx(twenty - ten, abs=0.2)  # equal factors, equal steps
    band = re.search(r'class="band" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', str(svg))
    left, width = float(band[1]), float(band[2])
    assert left < five < left + 10
    assert left + width - 10 < twenty < left + width
    answer = float(re.search(r'class="answer" x1="([\d.]+)"', str(svg))[1])
    assert answer == pytest.approx(ten, abs=0.1)


@pytest.mark.parametrize(
    ("evidence", "known"),
    [
        ({}, {}),
        ({"a": 3}, {"a": 3}),
        ({"a": None, "b": math.nan, "c": "many", "d": True, "e": [1, 2]}, {}),
        ({"a": {"pick": 7, "more": "x"}, "b": {"n_clusters": 9}, "c": {"nothing": 1}}, {"a": 7, "b": 9}),
        ({"too_little_to_tell": 1}, {"too little to tell": 1}),
    ],
)
def test_what_is_no_number_is_left_out(evidence, known):
    found = counting_of(count(evidence=evidence))
    assert {c.name: c.pick for c in found.picking} == known
    assert "nan" not in str(picks(found)).lower()
    assert len(places(picks(found))) == len(found.picking)


def test_curves_are_drawn_where_there_are_any():
    curves = {
        "stability": {"counts": [20, 5, 10], "values": [0.2, 0.9, math.nan]},
        "bic": {"counts": [2, 4], "values": [3.0, 1.0]},
        "empty": {"counts": [], "values": []},
        "short": {"counts": [3], "values": [1.0]},
    }
    for given in (count(curves=curves), count(evidence={**count().evidence, "curves": curves})):
        found = counting_of(given)
        drawn = {c.name: c.curve for c in found.curves}
        assert drawn == {"stability": ((5.0, 0.9), (20.0, 0.2)), "BIC": ((2.0, 3.0), (4.0, 1.0))}
        assert "curves" not in {c.name for c in found.criteria}
        svg = str(tally(found.curves[0], found))
        points = re.search(r'<polyline points="([^"]+)"', svg)[1].split()
        ring = re.search(r'class="mark" cx="([\d.]+)" cy="([\d.]+)"', svg)
        assert points[0] == f"{ring[1]},{ring[2]}"  # stability picks five
    assert counting_of(count()).curves == ()


def test_a_pick_between_two_counts_of_a_curve_has_its_ring():
    found = counting_of(count(evidence={"a": 5}, curves={"a": {"counts": [2, 5.21], "values": [0, 1]}}))
    svg = str(tally(found.curves[0], found))
    ring = re.search(r'class="mark" cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert re.search(r'<polyline points="([^"]+)"', svg)[1].split()[1] == f"{ring[1]},{ring[2]}"


def test_a_flat_curve_and_a_single_number_can_be_drawn():
    flat = count(curves={"flat": {"counts": [1, 2], "values": [0.5, 0.5]}}, low=1, high=1, n_clusters=1)
    found = counting_of(flat)
    assert "<polyline" in str(tally(found.curves[0], found))
    one = counting_of(count(n_clusters=1, low=1, high=1, evidence={"a": 1}))
    assert 170 < places(picks(one))[0] < 610


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(5, 20, [5, 10, 20]), (3, 4, [3, 4]), (1, 1000, [1, 5, 20, 100, 500]), (7, 7, [7]), (11, 19, [11, 19])],
)
def test_ticks_are_round_numbers_inside_the_range(low, high, ticks):
    assert count_ticks(low, high, most=8)[:1] == ticks[:1]
    found = count_ticks(low, high, most=8)
    assert found == sorted(set(found))
    assert all(low <= tick <= high for tick in found)
    assert len(found) <= 9
