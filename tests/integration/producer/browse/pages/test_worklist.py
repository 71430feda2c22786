"""The worklist of a run over HTTP: what is on its pages, in its CSV and in its addresses, beside a recount in SQL."""

import csv
import io
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import text

from tests.support.browse_server import browse_server
from tests.support.report_ledger import ReportedRun, make_report_ledger

HOSTILE = '"><img src=x onerror=alert(1)>\u202e'


class Parsed(HTMLParser):
    """The tags of a page with their attributes, as a browser would see them."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def having(self, name):
        return [attributes for _, attributes in self.tags if name in attributes]

    @property
    def scans(self):
        return [int(one["data-scan"]) for one in self.having("data-scan")]

    def link(self, name, value):
        return next((one["href"] for one in self.having("href") if one.get(name) == value), None)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    url = f"sqlite:///{home / 'nightread.sqlite'}"
    make_report_ledger(url, ReportedRun(image_prefix=HOSTILE))
    with browse_server(url, home) as server:
        yield server


def whole_list(server, path):
    """The scans of all pages of a list, by the links to the next one, and how many each page has."""
    pages = []
    while path:
        page = Parsed(server.get(path).text)
        pages.append(page.scans)
        path = page.link("rel", "next")
    return [scan for scans in pages for scan in scans], list(map(len, pages))


@pytest.mark.parametrize(
    ("address", "condition", "order"),
    [
        ("", "true", "abnormal IS NULL, abnormal DESC"),
        ("sort=ascending&finding=Effusion", "true", "effusion IS NULL, effusion"),
        ("sort=scan&state=rejected&reason=truncated", "state = 'rejected' AND reason = 'truncated'", "1"),
        ("label=0&verdict=wrong&low=0.4", "abnormal_label = 0 AND abnormal >= 0.4", "abnormal DESC"),
        (
            "finding=Effusion&verdict=wrong&threshold=0.3",
            "effusion_label IS NOT NULL AND effusion IS NOT NULL AND (effusion >= 0.3) <> (effusion_label = 1)",
            "effusion DESC",
        ),
        (
            "view=PA&sex=F&age_from=40&age_to=80&held_out=1",
            "view = 'PA' AND sex = 'F' AND age_years BETWEEN 40 AND 80 AND held_out",
            "abnormal IS NULL, abnormal DESC",
        ),
    ],
)
def test_pages_and_csv_list_the_scans_that_sql_finds(server, address, condition, order):
    """All pages of a list, and its CSV, have the scans that the view `results_wide` has, in the same order."""
    query = f"SELECT scan_id FROM results_wide WHERE run_id = 1 AND {condition} ORDER BY {order}, scan_id"
    with server.context.read() as connection:
        expected = list(connection.execute(text(query)).scalars())
    scans, lengths = whole_list(server, f"/runs/1?{address}")
    assert scans == expected
    assert all(length == 50 for length in lengths[:-1])
    assert expected, "the recount selects nothing"

    first_page = Parsed(server.get(f"/runs/1?{address}").text)
    answer = server.get(first_page.link("id", "csv"))
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [int(row["scan_id"]) for row in rows] == expected
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="run_1_')


def test_an_address_holds_the_whole_state_and_nothing_else(server):
    """A form's empty fields leave the address; a scan's link has the same state; removing each filter ends at none."""
    sent = "/runs/1?finding=Effusion&label=1&verdict=wrong&threshold=&low=&high=0.9&view=PA&sex=&review=&sort=ascending"
    answer = server.get(sent)
    state = {"finding": "Effusion", "label": "1", "verdict": "wrong", "high": "0.9", "view": "PA", "sort": "ascending"}
    assert _state(answer.url) == state
    page = Parsed(answer.text)
    assert all(_state(one["href"]) == state for one in page.having("href") if one.get("class") == "open")

    path = page.link("id", "clear")
    assert _state(path) == {"finding": "Effusion", "sort": "ascending"}
    while chips := page.having("data-filter"):
        path = chips[0]["href"]
        page = Parsed(server.get(path).text)
    assert path == Parsed(answer.text).link("id", "clear")


def test_a_page_after_the_last_is_the_last(server):
    """Page 999 shows the last page, and the links of its scans lead back to it."""
    page = Parsed(server.get("/runs/1?page=999").text)
    assert page.scans == Parsed(server.get("/runs/1?page=6").text).scans
    assert {_state(one["href"])["page"] for one in page.having("href") if one.get("class") == "open"} == {"6"}


def test_a_list_without_scans_says_which_filter_empties_it(server):
    """Of a view that no scan has and a label that many have, the view is named, with the scans that come back."""
    page = server.get("/runs/1?view=OBLIQUE&label=1")
    (removal,) = Parsed(page.text).having("data-removal")
    assert removal["data-removal"] == "view"
    positives, _ = whole_list(server, removal["href"])
    assert f": {len(positives)} scans" in page.text


def test_an_address_that_makes_no_sense_gets_a_sentence_and_a_way_on(server):
    """Status 400, what is wrong, and a link to the list without filters."""
    answer = server.get("/runs/1?low=0.9&high=%3Cscript%3E")
    assert answer.status == 400
    assert "high=" in answer.text
    assert "<script>" not in answer.text
    assert '<a href="/runs/1">' in answer.text


def test_names_are_text_on_the_page(server):
    """An image name that is HTML makes no element, and is shown as it is."""
    page = server.get("/runs/1").text
    parsed = Parsed(page)
    assert not parsed.having("onerror")
    assert {one["title"].startswith(HOSTILE) for one in parsed.having("title") if one.get("class") == "name"} == {True}


def _state(address):
    return {name: value for name, (value,) in parse_qs(urlsplit(address).query, keep_blank_values=True).items()}
