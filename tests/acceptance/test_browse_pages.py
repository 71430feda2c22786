"""The pages of `producer browse` in a real browser: what they show beside SQL and the films, and how they are used."""

import re
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect
from sqlalchemy import text

from db.engine.session import read_transaction
from db.ledger.models import find_model
from db.ledger.scan_images import find_scan_image
from tests.support.browse_ledger import (
    CHANGED,
    DELETED,
    FINDINGS,
    FIRST,
    FLAT,
    FLAT_SHAPE,
    HOSTILE,
    LATERAL,
    LEFT,
    MISSING,
    OF_PATIENT,
    RIGHT,
    SCANS,
    SECOND,
    SHAPE,
    SIDE,
    THRESHOLDS,
    YOUNGEST,
    make_browse_ledger,
)
from tests.support.browse_server import browse_server
from tests.support.browser import chromium, contrasts, visited

EFFUSION = FINDINGS[1]
PHONE = {"viewport": {"width": 420, "height": 800}, "has_touch": True}
#: An image of a film that is there no more is answered by an error, which the page says in words.
IMAGES = re.compile(r"/scans/\d+/(film\.png|input\.png|thumbnail)$")
#: Of what has the focus: what it is, whether it is drawn around, and whether it can be seen.
FOCUS = """() => {
  const it = document.activeElement, box = it.getBoundingClientRect(), style = getComputedStyle(it);
  const inside = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
  const drawn = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
  return {name: it.tagName + "#" + it.id + " " + (it.getAttribute("href") ?? it.getAttribute("name") ?? ""),
          seen: it === document.body || (inside && drawn && box.width > 4 && box.height > 4)};
}"""

#: The pixels of a canvas: red, green, blue and opacity.
PIXELS = "it => [...it.getContext('2d').getImageData(0, 0, it.width, it.height).data]"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return make_browse_ledger(tmp_path_factory.mktemp("browse"))


@pytest.fixture(scope="module")
def server(ledger):
    with browse_server(ledger.url, ledger.home) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def cookies(browser, server):
    """Those of a browser in which the printed address was opened."""
    with visited(browser, server.base) as page:
        page.goto(server.address)
        return page.context.storage_state()


@pytest.fixture
def session(browser, server, cookies):
    """Opens an empty page with a session."""

    def session(**options):
        return visited(browser, server.base, IMAGES.search, storage_state=cookies, **options)

    return session


@pytest.fixture
def page(session):
    with session() as page:
        yield page


@pytest.fixture
def rows(server):
    """The rows that a query of the second run finds in SQL."""

    def rows(columns, where="TRUE", order="scan_id", view="results_wide"):
        of_run = f"run_id = {SECOND} AND" if view == "results_wide" else ""
        query = f"SELECT {columns} FROM {view} WHERE {of_run} {where} ORDER BY {order}"
        with read_transaction(server.context.reading) as connection:
            found = [tuple(row) for row in connection.execute(text(query))]
        return [row[0] if len(row) == 1 else row for row in found]

    return rows


@pytest.fixture
def highest(rows):
    """The scan with the highest score, and that score."""
    return rows("scan_id, abnormal", "state = 'scored'", "abnormal DESC, scan_id")[0]


@pytest.fixture
def address(server, ledger):
    """The address of a scan's page, by its number in the ledger."""

    def address(number, **query):
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        return f"{server.base}/runs/{SECOND}/scans/{ledger.scan_ids[number]}?{asked}"

    return address


def listed(page):
    """The scans of a worklist's page."""
    return page.eval_on_selector_all("#worklist tbody tr", "all => all.map(row => Number(row.dataset.scan))")


def parameters(page):
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def box_of(page, selector):
    """Left, top, width and height in pixels of the screen."""
    box = page.locator(selector).bounding_box()
    return [box["x"], box["y"], box["width"], box["height"]]


def shown_film(page):
    """uint8 (height, width): the film as it is drawn."""
    picture = page.locator("#film-image").screenshot()
    return cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE)


def mapped(context, scan):
    """The maps of a scan's film, computed without the page."""
    with context.read() as connection:
        image, model = find_scan_image(connection, SECOND, scan), find_model(connection, None)
    return context.maps.maps_of(model.sha256, context.films.pixels(image))


def cells_of(page, selector):
    """The text of each cell of rows."""
    return page.eval_on_selector_all(selector, "all => all.map(row => [...row.cells].map(it => it.innerText.trim()))")


def unloaded(page):
    """The images that a person would see as broken."""
    return page.evaluate(
        """[...document.images]
        .filter(image => image.checkVisibility() && image.complete && !image.naturalWidth).map(image => image.src)"""
    )


def tab_to(page, selector, most=60):
    """Press Tab until an element has the focus; everything on the way must be seen."""
    for _ in range(most):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        assert focus["seen"], focus["name"]
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector}: not reached in {most} steps")


def test_clicks_lead_from_the_printed_address_to_a_scan_and_back(browser, server, highest):
    """The page asks nobody else, says nothing to its console, and drops the token from the address."""
    with visited(browser, server.base, IMAGES.search) as page:
        page.goto(server.address)
        assert page.url == f"{server.base}/"
        expect(page.locator("#runs tr")).to_have_count(2)
        page.locator(f"#run-{SECOND}").get_by_role("link", name="worklist").click()
        page.locator("#worklist a.open").first.click()
        expect(page.locator("h1")).to_contain_text(f"Scan {highest[0]}")
        expect(page.locator("#place")).to_have_text(f"1 of {SCANS}")
        page.locator("#next").click()
        expect(page.locator("#place")).to_have_text(f"2 of {SCANS}")
        page.locator("#worklist").click()
        expect(page.locator("#worklist a.open").first).to_have_text(str(highest[0]))
        page.get_by_role("link", name="nightread").click()
        expect(page.locator("#runs tr")).to_have_count(2)


def test_the_form_sorts_and_filters_as_sql_does_and_the_address_holds_it(page, server, rows):
    """Reloading the page, and opening its address elsewhere, give the same scans."""
    page.goto(f"{server.base}/runs/{SECOND}")
    page.locator("[data-sort=score]").click()
    assert parameters(page) == {"sort": "ascending"}
    assert listed(page) == rows("scan_id", order="abnormal NULLS LAST, scan_id")[:50]

    form = page.locator("#filters")
    for name, value in (("finding", EFFUSION), ("label", "1"), ("view", "PA"), ("state", "scored")):
        form.locator(f"[name={name}]").select_option(value)
    form.locator("[name=low]").fill("0.3")
    form.get_by_role("button").click()
    page.locator("#selected", has_text="selected").wait_for()
    asked = {"finding": EFFUSION, "sort": "ascending", "label": "1", "view": "PA", "state": "scored", "low": "0.3"}
    assert parameters(page) == asked
    wanted = rows("scan_id", "effusion >= 0.3 AND effusion_label = 1 AND view = 'PA'", "effusion, scan_id")
    assert 3 < len(wanted) < SCANS / 2
    assert listed(page) == wanted
    page.reload()
    assert listed(page) == wanted

    page.locator("[data-filter=label]").click()
    page.locator("[name=verdict]").select_option("wrong")
    form.get_by_role("button").click()
    wrong = f"(effusion >= {THRESHOLDS[EFFUSION]}) != effusion_label AND effusion >= 0.3 AND view = 'PA'"
    expect(page.locator("[data-filter=verdict]")).to_have_count(1)
    assert listed(page) == rows("scan_id", wrong, "effusion, scan_id") != []


def test_the_first_the_next_and_the_last_page_are_those_of_the_list(page, server, rows):
    """50 scans are on a page, and the last page has the rest."""
    ordered = rows("scan_id", order="abnormal DESC NULLS LAST, scan_id")
    page.goto(f"{server.base}/runs/{SECOND}")
    pager = page.get_by_role("navigation", name="Pages", exact=True)
    expect(pager.locator(".place")).to_have_text(f"1 to 50 of {SCANS}")
    pager.locator("a[data-page=last]").click()
    expect(pager.locator(".place")).to_have_text(f"51 to {SCANS} of {SCANS}")
    assert listed(page) == ordered[50:]
    assert pager.locator("a[data-page=next]").count() == 0
    pager.locator("a[data-page=previous]").click()
    assert listed(page) == ordered[:50]


def test_the_film_is_drawn_at_full_resolution_with_the_window_of_dicom(page, address):
    """Two known gray levels are on the screen as the formula gives them; the model's input is beside it."""
    page.goto(address(FLAT))
    expect(page.locator("#film-size")).to_contain_text(f"{FLAT_SHAPE[1]} × {FLAT_SHAPE[0]} pixels")
    assert page.eval_on_selector("#film-image", "it => [it.naturalHeight, it.naturalWidth]") == [*FLAT_SHAPE]
    assert page.eval_on_selector("#input-image", "it => [it.naturalHeight, it.naturalWidth]") == [SIDE, SIDE]
    for width, level, inverted in ((256, 128, False), (62, 128, False), (62, 128, True)):
        page.fill("#window", str(width))
        page.fill("#level", str(level))
        if inverted:
            page.click("#invert")
        drawn = shown_film(page)
        for column, gray in ((1, LEFT), (3, RIGHT)):
            # DICOM PS3.3, C.11.2.1.2, for gray levels from 0 to 255.
            wanted = np.clip(((gray - (level - 0.5)) / (width - 1) + 0.5) * 255, 0, 255)
            wanted = 255 - wanted if inverted else wanted
            assert abs(drawn[drawn.shape[0] // 2, drawn.shape[1] * column // 4] - wanted) <= 1, (width, level, gray)
    page.click("#reset")
    assert (page.input_value("#window"), page.input_value("#level")) == ("256", "128")
    expect(page.locator("#invert")).to_have_attribute("aria-pressed", "false")


def test_the_film_is_enlarged_around_its_middle_and_its_pixels_at_one_to_one(page, address):
    """A key, a button and the wheel do it, and resetting fits it into its frame again."""
    page.goto(address(FLAT))
    fitted = box_of(page, "#film-image")
    assert fitted[3] == pytest.approx(box_of(page, "#film")[3], abs=1)
    page.click("#zoom-in")
    zoomed = box_of(page, "#film-image")
    assert zoomed[2:] == pytest.approx([1.25 * side for side in fitted[2:]], rel=1e-3)
    assert zoomed[0] + zoomed[2] / 2 == pytest.approx(fitted[0] + fitted[2] / 2, abs=1)
    page.locator("#film").hover()
    page.mouse.wheel(0, -200)
    expect(page.locator("#film-image")).not_to_have_css("width", f"{zoomed[2]}px")
    page.keyboard.press("1")
    assert box_of(page, "#film-image")[2:] == pytest.approx([FLAT_SHAPE[1], FLAT_SHAPE[0]])
    expect(page.locator("#zoom")).to_have_text("100%")
    page.keyboard.press("r")
    assert box_of(page, "#film-image") == pytest.approx(fitted, abs=0.5)


def test_a_map_adds_up_to_the_logit_of_the_recorded_score_and_lies_over_the_film(page, server, highest):
    """The cells on the page are those of the answer; blue is negative and orange is positive."""
    scan, recorded = highest
    page.goto(f"{server.base}/runs/{SECOND}/scans/{scan}")
    with page.expect_response("**/map*") as asked:
        page.click("#show-map")
    answer = asked.value.json()
    cells = np.array(answer["cells"])
    np.testing.assert_allclose(cells, mapped(server.context, scan).cells[0])
    assert cells.mean() + answer["bias"] == pytest.approx(answer["logit"], rel=1e-5)
    assert 1 / (1 + np.exp(-answer["logit"])) == pytest.approx(recorded, abs=1e-5)
    said = page.locator("#map-text")
    expect(said).to_contain_text("It says where the score came from, not where disease is.")
    expect(said).to_contain_text(f"recorded: {recorded:.3f}")
    expect(said).to_contain_text("Checked: the sum is the network's logit")
    page.locator("#map-cells summary").click()
    shown = [[cell.replace("−", "-") for cell in row] for row in cells_of(page, ".cells-table tr")]
    assert shown == [[f"{value:.3f}" for value in row] for row in cells]

    for canvas in ("#input-map", "#film-map"):
        colours = np.array(page.eval_on_selector(canvas, PIXELS)).reshape(4, 4, 4)
        assert ((colours[..., 0] > colours[..., 2]) == (cells > 0))[colours[..., 3] > 0].all()
        # The premultiplied colour of a canvas is not exact, its opacity is.
        assert np.abs(colours[..., 3] - 255 * np.abs(cells) / np.abs(cells).max()).max() <= 1
    left, top, width, height = box_of(page, "#film-image")
    side = min(width, height)
    # The model saw the film's central square.
    assert width / height == pytest.approx(SHAPE[1] / SHAPE[0], rel=1e-3)
    square = [left + (width - side) / 2, top + (height - side) / 2, side, side]
    assert box_of(page, "#film-map") == pytest.approx(square, abs=0.5)
    page.click("#zoom-in")
    assert box_of(page, "#film-map")[2] == pytest.approx(side * 1.25, rel=1e-3)
    page.keyboard.press("m")
    expect(page.locator("#film-map")).to_be_hidden()


def test_below_the_threshold_there_is_no_map(page, server, rows):
    """A sentence stands in place of the button, and the program gives none either."""
    scan = rows("scan_id", f"abnormal < {THRESHOLDS['Abnormal']}", "abnormal DESC")[0]
    page.goto(f"{server.base}/runs/{SECOND}/scans/{scan}")
    expect(page.locator("#no-map")).to_contain_text("Abnormal scores below 0.5125")
    assert page.locator("#show-map").count() == 0
    assert server.get(f"/runs/{SECOND}/scans/{scan}/map").status == 400


def test_a_review_is_on_the_page_in_the_list_and_in_sql(page, server, address, ledger, rows):
    """By the button and by the key; a comment with markup is text."""
    agreed, disagreed = ledger.scan_ids[20], ledger.scan_ids[21]
    page.goto(address(20))
    page.fill("#review [name=comment]", HOSTILE[0])
    page.get_by_role("button", name="Agree", exact=True).click()
    expect(page.locator("#reviews tbody tr")).to_have_count(1)
    expect(page.locator("#reviews tbody")).to_contain_text(HOSTILE[0])
    page.goto(address(21, finding=EFFUSION))
    page.keyboard.press("d")
    expect(page.locator("#reviews tbody")).to_contain_text("disagree")
    expect(page.locator("#reviews tbody")).to_contain_text(EFFUSION)
    found = rows("scan_id, finding, verdict, comment, threshold", f"scan_id IN ({agreed}, {disagreed})", view="reviews")
    assert found == [
        (agreed, "Abnormal", "agree", HOSTILE[0], THRESHOLDS["Abnormal"]),
        (disagreed, EFFUSION, "disagree", None, THRESHOLDS[EFFUSION]),
    ]
    for scan, finding, verdict in ((agreed, "Abnormal", "agree"), (disagreed, EFFUSION, "disagree")):
        page.goto(f"{server.base}/runs/{SECOND}?finding={finding}&review={verdict}")
        assert listed(page) == [scan]
        expect(page.locator("[data-review]")).to_have_text(verdict)
    assert page.title() != "owned"


def test_the_keyboard_alone_leads_from_the_runs_to_a_review(page, server, rows, highest):
    """What has the focus is drawn and in sight at every step."""
    page.goto(server.base)
    tab_to(page, f"#run-{SECOND} a[href='/runs/{SECOND}']")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{SECOND}")
    opening = page.locator("#worklist a.open")
    for key, row in (("j", 0), ("j", 1), ("k", 0)):
        page.keyboard.press(key)
        expect(opening.nth(row)).to_be_focused()
        assert page.evaluate(FOCUS)["seen"]
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text(f"Scan {highest[0]}")
    page.wait_for_load_state()
    page.keyboard.press("n")
    expect(page.locator("#place")).to_have_text(f"2 of {SCANS}")
    scan = int(page.url.partition("?")[0].rpartition("/")[2])
    tab_to(page, "#review [name=comment]")
    page.keyboard.type("and a bad one")
    tab_to(page, "#review [value=bad_image]")
    page.keyboard.press("Enter")
    expect(page.locator("#reviews tbody")).to_contain_text("and a bad one")
    assert rows("verdict, comment", f"scan_id = {scan}", view="reviews") == [("bad_image", "and a bad one")]


def test_no_key_is_lost_when_a_list_is_reviewed_scan_by_scan(page, server, rows):
    """`a` and at once `n`: each scan gets one review, although each review takes its scan off the list."""
    path = f"/runs/{SECOND}?finding=Effusion&review=none&sort=ascending"
    page.goto(server.base + path)
    page.locator("#worklist a.open").first.click()
    seen = []
    for _ in range(3):
        page.wait_for_load_state()
        expect(page.locator("#next")).to_be_visible()
        seen.append(int(page.url.partition("?")[0].rpartition("/")[2]))
        with page.expect_navigation():
            page.keyboard.press("a")
            page.keyboard.press("n")
    assert len(set(seen)) == 3
    stored = rows("scan_id, verdict, finding", f"scan_id IN {tuple(seen)} AND comment IS NULL", view="reviews")
    assert sorted(stored) == [(scan, "agree", "Effusion") for scan in sorted(seen)]


@pytest.mark.parametrize(("scheme", "screen"), [("light", PHONE), ("dark", {})], ids=["light phone", "dark desk"])
def test_every_page_can_be_read_in_light_and_dark_without_scrolling_sideways(session, server, highest, scheme, screen):
    """At 420 and at 1280 pixels, with a map open; the contrast of every text is at least 4.5."""
    scan = f"/runs/{SECOND}/scans/{highest[0]}"
    with session(color_scheme=scheme, **screen) as page:
        for path in ("/", f"/runs/{SECOND}?state=scored&low=0.1", f"/runs/{SECOND}?reason=view&view=AP&low=1", scan):
            page.goto(server.base + path)
            if path == scan:
                page.click("#show-map")
                page.locator("#map-cells summary").click()
            assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"], path
            measured = contrasts(page, "body *")
            assert len(measured) > 10
            assert measured[0][0] >= 4.5, (path, measured[:5])


def test_a_film_that_cannot_be_shown_is_a_sentence(page, server, ledger, address):
    """And no broken image, neither on its own page nor in the list."""
    sentences = {
        CHANGED: "the image at this place has changed since the run read it",
        DELETED: "there is no file",
        MISSING: "missing: no image of this name",
    }
    for number, sentence in sentences.items():
        page.goto(address(number))
        expect(page.locator("#no-film")).to_contain_text(sentence)
        expect(page.locator("#input-image")).to_be_hidden()
        assert unloaded(page) == [], sentence
    # By their ages, these three are alone in the list.
    page.goto(f"{server.base}/runs/{SECOND}?age_from={YOUNGEST + CHANGED}&age_to={YOUNGEST + DELETED}")
    assert set(listed(page)) == {ledger.scan_ids[number] for number in sentences}
    expect(page.locator(".film")).to_have_count(3)
    expect(page.locator(".film img")).to_have_count(0)


def test_a_rejected_lateral_shows_its_film_and_why_it_has_no_score(page, address, rows):
    """It can be called bad, but there is no prediction to agree with."""
    page.goto(address(LATERAL))
    ((reason, detail),) = rows("reason, detail", "reason = 'view'")
    expect(page.locator("#rejection")).to_have_text(f"Rejected, {reason}: {detail}")
    expect(page.locator("#prediction")).to_have_text("no score")
    expect(page.locator("#film-size")).to_contain_text(f"{SHAPE[1]} × {SHAPE[0]}")
    assert unloaded(page) == []
    assert [button.get_attribute("value") for button in page.locator("#review button").all()] == ["bad_image"]


def test_the_scans_of_a_patient_and_the_runs_of_a_scan_are_beside_it(page, address, ledger, rows):
    """In the order of time, with the scores that SQL has."""
    number = OF_PATIENT[1]
    page.goto(address(number))
    scans = [ledger.scan_ids[one] for one in OF_PATIENT]
    scored = dict(rows("scan_id, abnormal", f"scan_id IN ({', '.join(map(str, scans))})"))
    shown = cells_of(page, "#patient tbody tr")
    assert [int(re.match(r"\d+", cells[0])[0]) for cells in shown] == scans
    assert [cells[4] for cells in shown] == [f"{scored[scan]:.3f}" for scan in scans]
    page.locator("#runs-of-scan").get_by_role("link", name=str(FIRST), exact=True).click()
    expect(page.locator("#runs-of-scan tr[aria-current]")).to_contain_text(f"{FIRST}, this one")
    expect(page.locator("#score")).to_have_text(f"{scored[ledger.scan_ids[number]]:.3f}")


def test_hostile_names_are_text_on_every_page(session, server, ledger):
    """Of datasets, label sets, images, patients and views: markup, quotes, very long, and from right to left."""
    with session(**PHONE) as page:
        scans = ledger.scan_ids[: len(HOSTILE)]
        lists = ("/", f"/runs/{SECOND}?age_to={YOUNGEST + len(HOSTILE)}")
        for path in (*lists, *(f"/runs/{SECOND}/scans/{scan}" for scan in scans)):
            page.goto(server.base + path)
            assert HOSTILE[0] in page.locator("body").text_content(), path
            assert page.title() != "owned", path
            assert page.locator("img[src=x], script:not([src])").count() == 0, path
            assert page.evaluate("document.documentElement.scrollWidth") <= 420, path
            for scan, name in zip(scans, HOSTILE, strict=True):
                if path == lists[1]:
                    shown = page.text_content(f"#scan-{scan}")
                    assert [f"{name}_" in shown, shown.count(name[:90]) >= 3] == [True, True]
                elif path.endswith(f"/{scan}"):
                    assert f"{name}_" in page.text_content("#image-name")
                    # The patient's and the view.
                    assert page.text_content("#facts").count(name[:90]) >= 2
