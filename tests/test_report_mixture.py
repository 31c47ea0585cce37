"""How a mixture found its components: the film's numbers, what the player gets, the GIF, what is left out."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from holdfast.functional.matching import follow
from holdfast.io import Embeddings
from holdfast.report import build_report, mixture_plots
from holdfast.report.members import place
from holdfast.report.mixture import gaps, mixture_of
from holdfast.report.mixture_gif import MOST_BYTES, MOST_FRAMES, draw_frames, write_animation
from holdfast.report.palette import NO_CLUSTER, colour
from holdfast.report.project import project
from holdfast.report.render import render_report
from mixture_standin import Bells, many_columns, one_column
from report_standin import Directions, named
from test_report import HOSTILE, Page


@pytest.fixture(scope="module")
def narrow():
    model, X, _ = one_column()
    return model, X, mixture_of(model, X, model.labels_, "mixture.gif")


@pytest.fixture(scope="module")
def wide():
    model, X, _ = many_columns()
    return model, X, mixture_of(model, X, model.labels_)


def shuffled(path, seed, frames=slice(1, None)):
    """Return a path whose later frames have their components in another order each, and those orders."""
    rng = np.random.default_rng(seed)
    s, k = path.weights.shape
    orders = np.tile(np.arange(k), (s, 1))
    orders[frames] = [rng.permutation(k) for _ in orders[frames]]
    mixed = {
        name: np.stack([state[order] for state, order in zip(getattr(path, name), orders, strict=True)])
        for name in ("weights", "means", "variances")
    }
    return type(path)(**{**vars(path), **mixed}), orders


# identity


@pytest.mark.parametrize(("make", "frames"), [(one_column, slice(600, None)), (many_columns, slice(1, None))])
def test_components_are_found_again_in_whatever_order_they_come(make, frames):
    """In one column those that cross can be told apart by their place in the array alone."""
    path = make(n_gradient=600)[0].path_
    mixed, orders = shuffled(path, 0, frames)
    order = follow(mixed.weights, mixed.means, mixed.variances)
    rows = np.arange(len(order))[:, None]
    alive = path.weights > 0
    for name in ("weights", "means", "variances"):
        found, true = getattr(mixed, name)[rows, order], getattr(path, name)
        assert found[alive] == pytest.approx(true[alive], abs=1e-6)
    assert (np.sort(order, axis=1) == np.arange(path.weights.shape[1])).all()
    assert (np.take_along_axis(orders, order, axis=1)[alive] == np.nonzero(alive)[1]).all()


def test_two_that_change_places_far_apart_are_seen_through_and_near_ones_keep_theirs():
    weights, variances = np.full((3, 3), 1 / 3), np.full((3, 3, 1), 0.01)
    means = np.array([[0.0, 10, 5], [10.1, 0.1, 5], [10, 0, 5]])[..., None]
    assert follow(weights, means, variances).tolist() == [[0, 1, 2], [1, 0, 2], [1, 0, 2]]
    crossing = np.array([[0.0, 1, 9], [0.6, 0.5, 9], [1.1, 0.1, 9]])[..., None]
    assert follow(weights, crossing, variances).tolist() == [[0, 1, 2]] * 3


def test_a_heavy_component_is_not_taken_for_a_light_one_at_the_same_place():
    weights = np.array([[0.9, 0.1], [0.1, 0.9]])
    same = np.zeros((2, 2, 1))
    assert follow(weights, same, same + 1)[1].tolist() == [1, 0]


def test_the_film_of_a_shuffled_path_is_the_film_of_the_path():
    model, X, _ = many_columns(n_gradient=600)
    twin = many_columns()[0]
    twin.path_, _ = shuffled(model.path_, 1)
    film, other = mixture_of(model, X, model.labels_).film, mixture_of(twin, X, model.labels_).film
    for name in ("weights", "means", "covariances", "clusters", "heirs", "ends"):
        if name in {"means", "covariances"}:  # of those that are no more, nothing is left to know
            alive = film.weights > 0
            assert getattr(other, name)[alive] == pytest.approx(getattr(film, name)[alive])
        else:
            assert getattr(other, name) == pytest.approx(getattr(film, name))


def test_components_get_the_numbers_of_the_clusters_where_they_are(narrow, wide):
    for model, _, mixture in (narrow, wide):
        film = mixture.film
        stays = np.flatnonzero(film.clusters >= 0)
        assert sorted(film.clusters[stays]) == list(range(model.n_clusters_))
        last = model.path_.means[-1][stays]
        assert last == pytest.approx(model.cluster_centers_[film.clusters[stays]], abs=0.5)
        assert (film.ends[stays] == film.n_frames).all()
        assert mixture.weights == pytest.approx(model.weights_)
        assert [mixture_plots.component_colour(film, j) for j in stays] == [
            colour(c) for c in film.clusters[stays]
        ]


def test_a_component_that_is_merged_away_ends_in_the_cluster_it_was_merged_into(narrow):
    model, _, mixture = narrow
    film, k, g = mixture.film, 12, 4
    assert film.heirs.tolist() == [film.clusters[j % g] for j in range(k)]
    assert film.clusters[g:].tolist() == [-1] * (k - g)
    gone = [int(np.flatnonzero(model.path_.weights[:, j] == 0)[0]) for j in range(g, k)]
    assert film.ends[g:].tolist() == gone


# what is shown of it


def test_a_column_is_shown_in_its_own_units_whatever_the_latent(narrow):
    model, X, mixture = narrow

    class Standardised(Bells):
        def transform(self, X):
            return ((np.asarray(X) - 3) / -2).astype(np.float32)

    twin = Standardised(k=12).given(model.weights_, (model.means_ - 3) / -2, model.covariances_ / 4)
    twin.labels_ = model.labels_
    film = mixture_of(twin, X, model.labels_).film
    centres = film.means[-1][film.clusters >= 0][:, 0]
    assert sorted(centres) == pytest.approx(sorted(model.means_[:, 0]), abs=0.3)
    assert film.covariances[-1] == pytest.approx(4 * twin.path_.variances[-1], rel=1e-4)
    assert mixture.n_columns == 1
    assert mixture.explained == 1


def test_the_histogram_is_a_density_of_the_items(narrow):
    _, X, mixture = narrow
    ground = mixture.ground
    inside = ((ground.edges[0] <= X) & (ground.edges[-1] >= X)).mean()
    assert (ground.density * np.diff(ground.edges)).sum() == pytest.approx(inside)
    assert inside > 0.99


def test_the_density_is_that_of_the_mixture(narrow):
    model, _, mixture = narrow
    xs = np.linspace(-12, 14, 9)
    film = mixture.film
    for frame in (0, film.n_frames - 1):
        w, m, v = (getattr(model.path_, n)[frame].astype(float) for n in ("weights", "means", "variances"))
        exact = w * np.exp(-((xs[:, None] - m[:, 0]) ** 2) / (2 * v[:, 0])) / np.sqrt(2 * math.pi * v[:, 0])
        assert mixture_plots.density(film, frame, xs).sum(axis=0) == pytest.approx(exact.sum(1), rel=1e-4)


def test_ellipses_are_the_shadows_of_the_components(wide):
    """The variance along any direction in the picture is that of the rows drawn from the component."""
    model, X, mixture = wide
    film = mixture.film
    centred = X - X.mean(axis=0)
    axes = np.linalg.svd(centred.astype(float), full_matrices=False)[2][:2].T
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1)
    for j in np.flatnonzero(film.clusters >= 0):
        full = axes.T @ np.diag(model.path_.variances[-1, j]) @ axes
        assert film.covariances[-1, j] == pytest.approx([full[0, 0], full[0, 1], full[1, 1]], rel=1e-4)
        first, second, angle = mixture_plots.ellipse(film.covariances[-1, j].tolist())
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        assert turn @ np.diag([first**2, second**2]) @ turn.T == pytest.approx(full, rel=1e-4)
    values = np.linalg.svd(centred.astype(float), compute_uv=False) ** 2
    assert mixture.explained == pytest.approx(values[:2].sum() / values.sum())


@pytest.mark.parametrize("kind", ["diag", "spherical", "tied"])
def test_every_kind_of_covariance_is_shown_without_a_path(kind):
    model, X, _ = many_columns(g=6, keep_path=False)  # as many components as columns: the shape tells nothing
    skew = np.random.default_rng(0).normal(size=(6, 6))
    given = {"diag": model.covariances_, "spherical": np.arange(1.0, 7), "tied": skew @ skew.T + np.eye(6)}
    model.covariances_, model.covariance_type_ = given[kind], kind
    mixture = mixture_of(model, X, model.labels_)
    assert mixture.film.n_frames == 1
    axes = np.linalg.svd((X - X.mean(axis=0)).astype(float), full_matrices=False)[2][:2].T
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1)
    for j, cluster in enumerate(mixture.film.clusters):
        whole = {
            "diag": np.diag(given["diag"][cluster]),
            "spherical": given["spherical"][cluster] * np.eye(6),
            "tied": given["tied"],
        }[kind]
        full = axes.T @ whole @ axes
        assert mixture.film.covariances[0, j] == pytest.approx([full[0, 0], full[0, 1], full[1, 1]], rel=1e-4)


def test_frames_without_numbers_are_left_out_and_long_paths_thinned(narrow):
    model, X, _ = narrow
    broken = one_column()[0]
    broken.path_.means[3] = np.nan
    kept = mixture_of(broken, X, model.labels_).film
    assert kept.n_frames == len(model.path_.steps) - 1
    assert model.path_.steps[3] not in kept.steps
    long = one_column(k=50)[0]
    for name in ("steps", "weights", "means", "variances", "losses", "phase"):
        setattr(long.path_, name, np.repeat(getattr(long.path_, name), 20, axis=0))
    film = mixture_of(long, X, model.labels_).film
    assert film.n_frames * 50 * 6 <= 120_000
    assert film.weights[-1] == pytest.approx(long.path_.weights[-1])


def test_no_mixture_no_section(narrow):
    _, X, _ = narrow
    assert mixture_of(Directions(2).with_centres(X[:2]), X, np.zeros(len(X), int)) is None
    _, X, y = many_columns()
    html = render_report(build_report(Directions(3, random_state=0).fit(X), named(X, y)))
    assert 'id="mixture"' not in html
    assert "film-data" not in html


# the gap on a logarithmic axis


@given(
    npst.arrays(
        float, st.integers(1, 40), elements=st.floats(-1e9, 1e9) | st.just(math.nan) | st.just(math.inf)
    )
)
def test_every_gap_has_a_logarithm(values):
    found = gaps(values)
    known = np.isfinite(found)
    assert (found[known] > 0).all()
    assert found.shape == values.shape
    if known.any():
        assert np.isfinite(np.log10(found[known])).all()
        assert found[np.nanargmin(np.where(np.isfinite(values), values, np.nan))] == found[known].min()


def test_gaps_by_hand():
    assert gaps([5.0, 3.0, 2.0, 2.6]) == pytest.approx([3.0, 1.0, 0.2, 0.6])  # 0.2 is a third of 0.6
    assert gaps([-7.0, -9.0]) == pytest.approx([2.0, 2 / 3])
    assert np.isnan(gaps([4.0, 4.0])).all()
    assert np.isnan(gaps([math.nan])).all()


def test_the_loss_is_drawn_for_every_frame_and_the_merging_is_marked(narrow):
    _, _, mixture = narrow
    svg = str(mixture_plots.descent(mixture.film))
    points = re.search(r'<polyline points="([^"]+)"', svg)[1].split()
    assert len(points) == mixture.film.n_frames
    heights = [float(point.split(",")[1]) for point in points]
    assert heights == sorted(heights)  # this loss falls all the way
    assert "merging" in svg
    assert "nan" not in svg.lower()


def test_the_chosen_number_is_ringed_where_it_is(narrow):
    model, _, mixture = narrow
    svg = str(mixture_plots.bic(mixture))
    x, y = (float(v) for v in re.search(r'class="mark" cx="([\d.]+)" cy="([\d.]+)"', svg).groups())
    dots = [tuple(map(float, d)) for d in re.findall(r'class="dot" cx="([\d.]+)" cy="([\d.]+)"', svg)]
    assert dots[model.n_clusters_ - 1] == (x, y)
    assert y == max(dot[1] for dot in dots)  # the best is at the bottom


# the player


def test_the_players_numbers_are_the_path(narrow, wide):
    for model, _, mixture in (narrow, wide):
        film = mixture.film
        told = json.loads(str(mixture_plots.packed(mixture)))
        assert told["steps"] == model.path_.steps.tolist()
        assert told["merge"] == (model.path_.phase == "merge").astype(int).tolist()
        assert np.array(told["w"]) == pytest.approx(model.path_.weights, rel=1e-3)
        assert np.array(told["m"]).reshape(film.means.shape) == pytest.approx(film.means, rel=1e-3)
        assert np.array(told["v"]).reshape(film.covariances.shape) == pytest.approx(
            film.covariances, rel=1e-3
        )
        assert told["own"] == film.clusters.tolist()
        assert told["colours"] == [colour(c) for c in film.heirs]
        assert told["grey"] == NO_CLUSTER
    assert np.array(json.loads(str(mixture_plots.packed(narrow[2])))["m"]) == pytest.approx(
        narrow[0].path_.means[..., 0], rel=1e-3
    )


def test_the_page_is_one_file_and_small(narrow):
    _, X, _ = narrow
    large = one_column(k=50)[0]
    for name in ("steps", "weights", "means", "variances", "losses", "phase"):
        setattr(large.path_, name, np.repeat(getattr(large.path_, name), 3, axis=0)[:200])
    report = build_report(large, named(X), run={"animation": "mixture.gif"})
    html = render_report(report)
    assert len(html) < 2_000_000
    page = Page(html)
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "action"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    assert [a["href"] for a in page.all("a") if not a["href"].startswith("#")] == ["mixture.gif"]
    (data,) = [a for a in page.all("script") if a.get("type") == "application/json"]
    assert data["id"] == "film-data"
    (bar,) = [a for a in page.all("input") if a["type"] == "range"]
    assert (bar["max"], bar["value"]) == (str(report.mixture.film.n_frames - 1),) * 2


def test_without_a_script_the_last_frame_is_there(narrow):
    model, _, mixture = narrow
    svg = str(mixture_plots.still(mixture))
    drawn = re.findall(r'<path class="own" data-j="(\d+)" [^>]* d="M[^"]+"', svg)
    assert len(drawn) == model.n_clusters_
    assert len(re.findall(r'<path class="gone" [^>]* d=""', svg)) == 12 - model.n_clusters_
    assert re.findall(r'<text data-j="\d+"[^>]*>(\d)</text>', svg) != []


def test_hostile_names_stay_names():
    model, X, _ = one_column()
    X = X[: len(HOSTILE) * 40]
    model.labels_ = model.predict(X)
    ids = np.array([f"{HOSTILE[i % len(HOSTILE)]}{i}" for i in range(len(X))], dtype=object).astype(str)
    model.path_.phase = np.array(["</script><script>window.pwned=9</script>"] * len(model.path_.steps))
    model.cluster_count_ = type("Count", (), {})()
    vars(model.cluster_count_).update(
        n_clusters=4,
        low=3,
        high=6,
        agreement=0.5,
        message=HOSTILE[0],
        evidence={HOSTILE[0]: 4, HOSTILE[1]: 6},
    )
    emb = Embeddings(ids, X)
    html = render_report(build_report(model, emb, run={"animation": '"><script>window.pwned=7</script>'}))
    assert "<script>window" not in html
    assert len(Page(html).all("script")) == 2  # ours, and the numbers
    assert all(not a.get("onerror") for _, a in Page(html).tags)


# the GIF


@pytest.mark.parametrize("make", [one_column, many_columns])
def test_the_gif_moves_and_is_small(tmp_path, make):
    model, X, _ = make()
    mixture = mixture_of(model, X, model.labels_)
    path = write_animation(mixture, tmp_path / "mixture.gif")
    assert path.stat().st_size <= MOST_BYTES
    assert [entry.name for entry in tmp_path.iterdir()] == ["mixture.gif"]
    with Image.open(path) as gif:
        assert 2 <= gif.n_frames <= min(MOST_FRAMES, mixture.film.n_frames)
        assert gif.info["loop"] == 0
        first = np.asarray(gif.convert("RGB")).astype(int)
        gif.seek(gif.n_frames - 1)
        assert gif.info["duration"] >= 2000  # the end can be looked at
        last = np.asarray(gif.convert("RGB")).astype(int)
    assert first.shape == last.shape
    assert (np.abs(first - last).max(axis=2) > 40).mean() > 0.005
    for c in range(model.n_clusters_):  # every cluster has its colour at the end
        shade = [int(colour(c)[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(last - shade).max(axis=2) < 30).sum() > 20


def test_a_gif_that_would_be_too_large_has_fewer_frames(tmp_path, monkeypatch, wide):
    _, _, mixture = wide
    monkeypatch.setattr("holdfast.report.mixture_gif.MOST_BYTES", 250_000)
    path = write_animation(mixture, tmp_path / "small.gif")
    assert path.stat().st_size <= 250_000
    with Image.open(path) as gif:
        assert 2 <= gif.n_frames < mixture.film.n_frames


def test_the_last_frame_is_always_drawn(narrow):
    _, _, mixture = narrow
    *_, last = draw_frames(mixture, 5)
    film = mixture.film
    alone = replace(
        film,
        **{
            name: getattr(film, name)[-1:]
            for name in ("steps", "phases", "losses", "weights", "means", "covariances")
        },
        ends=np.where(film.clusters >= 0, 1, 0),
    )
    (same,) = draw_frames(replace(mixture, film=alone), 1)
    tops = [np.asarray(picture)[:-40] for picture in (last, same)]  # all but the bar of progress
    assert (tops[0] == tops[1]).all()


# places instead of directions


def test_typical_items_of_a_mixture_are_near_not_in_line():
    model, X, _ = one_column()
    placed = place(model, X, model.labels_, 4)
    for c in range(model.n_clusters_):
        inside = np.flatnonzero(model.labels_ == c)
        best = inside[np.abs(X[inside, 0] - model.means_[c, 0]).argmin()]
        assert placed.own_likeness[inside].argmax() == np.flatnonzero(inside == best)[0]
        outside = np.flatnonzero(model.labels_ != c)
        nearest = np.sort(np.abs(X[outside, 0] - model.means_[c, 0]))[:4]
        assert np.abs(X[placed.foreign[c], 0] - model.means_[c, 0]) == pytest.approx(nearest, abs=1e-3)


def test_the_nearest_clusters_of_a_mixture_are_the_nearest_places():
    model, X, y = one_column()
    report = build_report(model, named(X, y))
    for cluster in report.clusters:
        far = np.abs(model.means_[:, 0] - model.means_[cluster.number, 0])
        order = np.argsort(far)[1:4]
        assert [near.number for near in cluster.near] == order.tolist()
        assert [near.value for near in cluster.near] == pytest.approx(far[order], rel=1e-3)
        assert {near.measure for near in cluster.near} == {"distance"}


def test_one_column_is_piled_up_in_order():
    model, X, _ = one_column()
    method, places = project(model, X, np.arange(len(X)))
    assert method == "pile"
    assert np.corrcoef(places[:, 0], X[:, 0])[0, 1] == pytest.approx(1, abs=1e-5)
    assert (places >= 0).all()
    assert (places <= 1).all()
    assert (project(model, X, np.arange(len(X)))[1] == places).all()
