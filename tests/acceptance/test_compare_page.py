"""The page of a comparison, and the nights on the page of a report, in a real browser."""

import pytest

from db.addresses import sqlite_address
from db.engine.session import open_database, read_transaction
from producer.compare.page import render_comparison
from producer.report.write import write_report
from tests.support.browser import chromium, contrasts, opened
from tests.support.comparisons import FINDINGS, a_comparison, a_pair
from tests.support.nights_ledger import NightScans, make_nights_ledger


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of a comparison, and that of the last of nine nights, whose views differ."""
    folder = tmp_path_factory.mktemp("pages")
    pair = a_pair(FINDINGS[:5])
    compared = folder / "compare.html"
    compared.write_text(render_comparison(a_comparison(pair), pair), encoding="utf-8")
    url = sqlite_address(folder / "nightread.sqlite")
    runs = make_nights_ledger(url, nights=9, last=NightScans(ap_share=0.9))
    engine = open_database(url)
    with read_transaction(engine) as connection:
        write_report(connection, runs[-1], folder / "night")
    engine.dispose()
    return {"compare": compared, "night": folder / "night" / "index.html"}


#: What each page draws by Python.
DRAWN = {"compare": ["#forest", "details:first-of-type svg"], "night": ["#strip"]}


@pytest.mark.parametrize("name", DRAWN)
def test_every_text_can_be_read_in_light_and_dark_and_in_print(browser, pages, name):
    """Contrast of at least 4.5 with what lies behind it; print is dark on white whatever the screen is."""
    for scheme in ("light", "dark"):
        with opened(browser, pages[name], color_scheme=scheme) as page:
            page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
            assert contrasts(page, "body *")[0][0] >= 4.5
            for drawing in DRAWN[name]:
                assert page.locator(drawing).is_visible()
            if scheme == "dark":
                page.emulate_media(media="print")
                assert contrasts(page, "body *")[0][0] >= 4.5
                assert page.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("name", DRAWN)
def test_a_phone_shows_the_page_without_scrolling_sideways(browser, pages, name):
    """At 420 pixels; a wide table scrolls by itself."""
    with opened(browser, pages[name], viewport={"width": 420, "height": 800}) as page:
        page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= 420
        for drawing in DRAWN[name]:
            box = page.locator(drawing).first.bounding_box()
            assert box["width"] >= 280
            assert box["x"] + box["width"] <= 420


@pytest.mark.parametrize("name", DRAWN)
def test_tables_and_drawings_have_names(browser, pages, name):
    """A screen reader reads them; a drawing's name says its figures."""
    with opened(browser, pages[name]) as page:
        page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
        nameless = page.evaluate(
            "[...document.querySelectorAll('table')].filter(table => !table.caption && !table.ariaLabel).length"
        )
        assert nameless == 0
        assert page.locator("svg[role=img]:not([aria-label])").count() == 0
        for drawing in DRAWN[name]:
            assert any(character.isdigit() for character in page.locator(drawing).get_attribute("aria-label"))


def test_the_folds_of_a_comparison_open_without_a_script(browser, pages):
    """By the keyboard; a print has what is folded, too."""
    with opened(browser, pages["compare"], java_script_enabled=False) as page:
        second = page.locator("details").nth(1)
        assert second.locator("svg").is_hidden()
        second.locator("summary").focus()
        page.keyboard.press("Enter")
        assert second.locator("svg").is_visible()
        assert page.locator("details").nth(2).locator("svg").is_hidden()
    with opened(browser, pages["compare"]) as page:
        folded = page.locator("details").nth(2).locator("table").first
        assert folded.evaluate("table => table.checkVisibility({contentVisibilityAuto: true})") is False
        page.emulate_media(media="print")
        assert folded.evaluate("table => table.checkVisibility({contentVisibilityAuto: true})") is True
