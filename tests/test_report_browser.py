"""The report in a real browser: pictures and plots are there, it can be used, and nothing is fetched."""

import shutil

import pytest

from holdfast.report import build_report, write_report
from report_standin import Directions, digit_data, digit_pictures, named
from test_report import hostile_report

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium on the PATH (apt-get install chromium)")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """A page, everything it asked for, and everything it complained about."""

    def __init__(self, browser, path, **options):
        self.requests, self.errors = [], []
        self.page = browser.new_page(**options)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: self.errors.append(dialog.message))
        self.page.goto(path.as_uri())
        self.url = path.as_uri()

    def count(self, selector):
        return self.page.locator(selector).count()

    def ask(self, script):
        return self.page.evaluate(script)

    def foreign_requests(self):
        return [url for url in self.requests if url != self.url and not url.startswith("data:")]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    X, y = digit_data()
    folder = tmp_path_factory.mktemp("reports")
    for k in (10, 100):
        model = Directions(k, random_state=0).fit(X).remember(X)
        report = build_report(model, named(X, y), image_of=digit_pictures(X), run={"source": "digits"})
        write_report(report, folder / f"{k}.html")
    write_report(hostile_report(), folder / "hostile.html")
    return folder


@pytest.fixture(params=[10, 100])
def visit(browser, files, request):
    visit = Visit(browser, files / f"{request.param}.html", viewport={"width": 1440, "height": 900})
    visit.k = request.param
    yield visit
    visit.page.close()


of_ten = pytest.mark.parametrize("visit", [10], indirect=True)


def test_it_asks_nobody_and_complains_of_nothing(visit):
    visit.page.mouse.wheel(0, 20_000)
    visit.page.wait_for_timeout(200)
    assert visit.foreign_requests() == []
    assert visit.errors == []


def test_every_picture_is_there(visit):
    sizes = visit.ask("Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))")
    assert len(sizes) >= 18 * visit.k
    assert min(sizes) > 0
    assert visit.ask("[...document.images].every(i => i.alt.startsWith('digit-'))")


def test_cards_members_and_plots_are_there(visit):
    assert visit.count("article.card") == visit.k
    assert visit.count("section.cluster") == visit.k
    assert visit.ask(
        "[...document.querySelectorAll('.card')].every(c => c.querySelectorAll('img').length >= 1)"
    )
    for kind in ("typical", "uncertain", "foreign"):
        assert visit.count(f".cluster .{kind} img") >= visit.k
    assert visit.count("svg.map circle") == 1797
    assert visit.count("svg.curve polyline") == 4
    assert visit.count("svg.columns a") == 2 * visit.k
    boxes = visit.ask("[...document.querySelectorAll('svg:not(.spark)')].map(s => s.getBBox().width)")
    assert min(boxes) > 50


@of_ten
def test_the_search_box_finds_and_forgets(visit):
    shown = "[...document.querySelectorAll('.card')].filter(c => c.offsetParent).map(c => c.dataset.number)"
    visit.page.fill("#find", "7")
    assert "7" in visit.ask(shown)
    assert len(visit.ask(shown)) < visit.k
    assert visit.page.locator("#found").inner_text() == f"{len(visit.ask(shown))} of {visit.k} clusters"
    name = visit.page.locator("#c3 .typical img").nth(1).get_attribute("alt")
    visit.page.fill("#find", name.upper())
    assert "3" in visit.ask(shown)
    assert visit.ask("[...document.querySelectorAll('.cluster')].filter(c => !c.hidden).length") < visit.k
    visit.page.fill("#find", "no such thing")
    assert visit.page.locator("#nothing").is_visible()
    visit.page.fill("#find", "")
    assert len(visit.ask(shown)) == visit.k


@of_ten
def test_sorting_orders_cards_and_sections(visit):
    visit.page.select_option("#sort", "confidence")
    for selector in (".card", ".cluster"):
        values = visit.ask(f"[...document.querySelectorAll('{selector}')].map(c => +c.dataset.confidence)")
        assert values == sorted(values)
    visit.page.select_option("#sort", "size")
    sizes = visit.ask("[...document.querySelectorAll('.card')].map(c => +c.dataset.size)")
    assert sizes == sorted(sizes, reverse=True)


@of_ten
def test_a_card_leads_to_its_cluster(visit):
    visit.page.locator(".card a").nth(2).click()
    visit.page.wait_for_timeout(900)
    top = visit.ask("document.querySelector(location.hash).getBoundingClientRect().top")
    assert 0 <= top < 900


@of_ten
def test_hovering_the_map_names_the_item_and_shows_it(visit):
    dot = visit.page.locator("svg.map circle").nth(5)
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    visit.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = visit.page.locator("#tip")
    assert tip.is_visible()
    assert "digit-" in tip.inner_text()
    assert "confidence" in tip.inner_text()
    assert (
        tip.locator(".tile")
        .evaluate("e => getComputedStyle(e).backgroundImage")
        .startswith('url("data:image/')
    )


@of_ten
def test_a_picture_beside_the_map_singles_out_its_cluster(visit):
    button = visit.page.locator('.legend button[data-c="4"]')
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert visit.ask("[...document.querySelectorAll('.map .dots.on')].map(g => g.dataset.c)") == ["4"]
    button.click()
    assert visit.count(".map .dots.on") == 0


def test_it_fits_a_phone(browser, files):
    visit = Visit(browser, files / "10.html", viewport={"width": 375, "height": 812})
    assert visit.ask("document.documentElement.scrollWidth") <= 375
    visit.page.close()


def test_it_follows_the_dark_scheme(browser, files):
    colour = "getComputedStyle(document.body).backgroundColor"
    shades = []
    for scheme in ("light", "dark"):
        visit = Visit(browser, files / "10.html", color_scheme=scheme)
        shades.append(sum(int(v) for v in visit.ask(colour)[4:-1].split(",")))
        visit.page.close()
    assert shades[0] > 600 > 150 > shades[1]


def test_hostile_names_do_nothing(browser, files):
    visit = Visit(browser, files / "hostile.html")
    assert visit.ask("window.pwned") is None
    assert visit.count("script") == 1
    assert visit.errors == []
    assert visit.foreign_requests() == []
    assert visit.page.locator("img[alt*='<script>']").count() >= 1
    visit.page.close()
