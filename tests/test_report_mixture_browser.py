"""The film in a real browser: it plays, can be wound by keyboard, and is still without a script."""

import re

import pytest

from holdfast.report import build_report, write_report
from mixture_standin import many_columns, one_column
from report_standin import named
from test_report_browser import Visit, browser

__all__ = ["browser"]  # the fixture

pytestmark = pytest.mark.browser

LAST = "document.querySelector('#film input').max"
SCREEN = {"width": 1280, "height": 900}
AT = "+document.querySelector('#film input').value"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for name, make in (("narrow", one_column), ("wide", many_columns)):
        model, X, y = make()
        write_report(
            build_report(model, named(X, y), run={"animation": "mixture.gif"}), folder / f"{name}.html"
        )
    return folder


@pytest.fixture(params=["narrow", "wide"])
def film(browser, films, request):
    visit = Visit(
        browser,
        films / f"{request.param}.html",
        viewport=SCREEN,
        reduced_motion="reduce",
    )
    yield visit
    visit.page.close()


def wind(visit, frame):
    turn = f"i => {{ i.value = {frame}; i.dispatchEvent(new Event('input')) }}"
    visit.ask(f"({turn})(document.querySelector('#film input'))")


def until(visit, condition):
    """Wait for a condition, which the page's own policy forbids Playwright to do inside it."""
    for _ in range(200):
        if visit.ask(condition):
            return
        visit.page.wait_for_timeout(50)
    pytest.fail(f"never came true: {condition}")


def shapes(visit):
    return visit.ask(
        "Object.fromEntries([...document.querySelectorAll('#film path[data-j]')].map("
        "p => [p.dataset.j, p.style.display === 'none' ? null : p.getBBox().width]))"
    )


def test_it_asks_nobody_and_complains_of_nothing(film):
    film.page.locator("#film").scroll_into_view_if_needed()
    for frame in (0, 7, 20, 41):
        wind(film, frame)
    assert film.errors == []
    assert film.foreign_requests() == []


def test_without_a_script_the_last_frame_is_there_and_nothing_to_press(browser, film):
    bare = browser.new_context(java_script_enabled=False, viewport=SCREEN)
    page = bare.new_page()
    page.goto(film.url)
    assert not page.locator("#film .player").is_visible()
    for j, box in shapes(film).items():
        if box is not None:  # the script draws what stands in the page
            paths = [p.locator(f"#film path[data-j='{j}']").get_attribute("d") for p in (page, film.page)]
            still, drawn = ([float(x) for x in re.findall(r"-?[\d.]+", path)] for path in paths)
            assert drawn == pytest.approx(still, abs=0.5)
    assert page.locator("#film path.own").count() == film.count("#film path.own")
    bare.close()


def test_winding_moves_the_components_and_says_where_it_is(film):
    wind(film, 0)
    first, said = shapes(film), film.page.locator("#film output").inner_text()
    assert said.startswith("step 0 · gradient · 1")
    assert all(box is not None for box in first.values())
    film.page.locator("#film input").press("End")
    last, said = shapes(film), film.page.locator("#film output").inner_text()
    assert "merging" in said
    assert film.page.locator("#film input").get_attribute("aria-valuetext") == said
    alive = [j for j, box in last.items() if box is not None]
    assert len(alive) == film.count("#film path.own")
    assert any(abs(first[j] - last[j]) > 5 for j in alive)


def test_the_keyboard_winds_plays_and_stops(film):
    bar = film.page.locator("#film input")
    bar.focus()
    bar.press("Home")
    assert film.ask(AT) == 0
    bar.press("ArrowRight")
    assert film.ask(AT) == 1
    bar.press("Space")
    until(film, f"{AT} > 2")
    assert film.page.locator("#film button").get_attribute("aria-label") == "Pause"
    bar.press("Space")
    here = film.ask(AT)
    film.page.wait_for_timeout(600)
    assert film.ask(AT) == here
    assert film.page.locator("#film button").get_attribute("aria-label") == "Play"


def test_the_loss_shows_the_frame(film):
    where = "+document.querySelector('.descent .head').getAttribute('x1')"
    wind(film, 0)
    left = film.ask(where)
    wind(film, int(film.ask(LAST)))
    assert film.ask(where) - left > 300


def test_who_asked_for_rest_gets_it_and_others_see_it_play(browser, films):
    for motion, moves in (("reduce", False), ("no-preference", True)):
        visit = Visit(browser, films / "narrow.html", viewport=SCREEN, reduced_motion=motion)
        visit.page.locator("svg.film").scroll_into_view_if_needed()
        visit.page.wait_for_timeout(700)
        assert (visit.ask(AT) < float(visit.ask(LAST))) == moves
        visit.page.close()


def test_it_plays_to_the_end_and_begins_again(browser, films):
    visit = Visit(browser, films / "narrow.html", viewport=SCREEN, reduced_motion="reduce")
    wind(visit, int(visit.ask(LAST)) - 1)
    button = visit.page.locator("#film button")
    button.click()
    until(visit, f"{AT} == {LAST}")
    until(visit, "document.querySelector('#film button').ariaLabel === 'Play'")
    button.click()
    until(visit, f"{AT} < 3")
    visit.page.close()


def test_it_fits_a_phone(browser, films):
    for name in ("narrow", "wide"):
        visit = Visit(browser, films / f"{name}.html", viewport={"width": 375, "height": 812})
        assert visit.ask("document.documentElement.scrollWidth") <= 375
        visit.page.close()
