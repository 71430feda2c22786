"""The page of a report in a real browser: what it shows under its slider, how it is used, and what it never does."""

import csv
import io
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import text

from db.engine.session import make_engine, read_transaction
from db.evaluation.estimate import Estimate
from db.evaluation.evaluate import figures_of
from db.evaluation.format import format_estimate, format_rate
from db.evaluation.rates import rates_at
from db.evaluation.run_cohort import read_cohort
from db.metrics.scored_scans import read_scored_scans
from producer.report.table import print_report
from producer.report.write import write_report
from tests.support.browser import chromium, contrasts, opened
from tests.support.report_ledger import ReportedRun, make_report_ledger

THRESHOLDS = [hundredth / 100 for hundredth in range(101)]
COUNTS = ("tp", "fp", "fn", "tn")
RATES = ("precision", "recall", "specificity", "npv", "f1", "accuracy", "balanced_accuracy", "net_benefit")
FIGURES = (
    *("auroc", "average_precision", "brier"),
    *("calibration_slope", "calibration_intercept", "observed_over_expected"),
)
PLOTS = ("roc", "precision-recall", "calibration", "scores", "net-benefit", "groups")
#: A scan's group of each kind, in SQL.
GROUPS = {
    "all": "'all'",
    "view": "CASE WHEN view IS NULL THEN 'unknown' ELSE view END",
    "sex": "COALESCE(sex, 'unknown')",
    "age": (
        "CASE WHEN age_years IS NULL THEN 'unknown' WHEN age_years < 18 THEN '0-17' WHEN age_years < 40 THEN '18-39' "
        "WHEN age_years < 60 THEN '40-59' WHEN age_years < 80 THEN '60-79' ELSE '80+' END"
    ),
    "manufacturer": "COALESCE(manufacturer, 'unknown')",
}
#: Markup, a script, quotes, a name that does not end, and text from right to left that turns what follows it around.
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
    "'\"`${alert(1)}{{7*7}}&lt;b&gt;<!--",
    "long" * 60,
    "\u202eשלום\u2066 gpj.exe",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Written:
    """A ledger with one run, and the report on it."""

    url: str
    folder: Path
    report: object
    cohort: object

    @property
    def page(self):
        return self.folder / "index.html"

    def rows(self, query, **values):
        engine = make_engine(self.url)
        with read_transaction(engine) as connection:
            found = [tuple(row) for row in connection.execute(text(query), values)]
        engine.dispose()
        return found


def written(folder, run):
    """Make the ledger of a run and its report."""
    url, out = f"sqlite:///{folder / 'nightread.sqlite'}", folder / "report"
    make_report_ledger(url, run)
    engine = make_engine(url)
    with read_transaction(engine) as connection:
        report = write_report(connection, 1, out)
        scored = read_scored_scans(connection, 1, 1 if run.labelled else None)
        cohort = read_cohort(connection, 1, scored).filter(scored.labelled & scored.in_subset(report.subset))
    engine.dispose()
    return Written(url=url, folder=out, report=report, cohort=cohort)


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A run of 300 scans with labels."""
    return written(tmp_path_factory.mktemp("labelled"), ReportedRun())


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    """The same run without a label set."""
    return written(tmp_path_factory.mktemp("unlabelled"), ReportedRun(labelled=False))


#: Chooses a finding and a group, moves the slider over all its values, and reads what stands there each time.
SWEEP = """([finding, group]) => {
  const choose = (id, value) => {
    const control = document.getElementById(id);
    control.value = value;
    for (const kind of ["input", "change"]) control.dispatchEvent(new Event(kind, {bubbles: true}));
  };
  const read = kind => Object.fromEntries(
    [...document.querySelectorAll(`[data-${kind}]`)].map(place => [place.dataset[kind], place.textContent.trim()]));
  choose("finding", finding);
  choose("group", group);
  const slider = document.getElementById("threshold");
  const steps = [];
  for (let step = 0; step <= 100; step++) {
    slider.value = step;
    slider.dispatchEvent(new Event("input", {bubbles: true}));
    steps.push({
      threshold: document.getElementById("threshold-value").textContent.trim(), ...read("count"), ...read("rate")});
  }
  return {steps, figures: read("figure")};
}"""
OPTIONS = "id => [...document.getElementById(id).options].map(option => option.value)"


def swept(page, finding, group="all"):
    return page.evaluate(SWEEP, [finding, group])


@cache
def sql_counts(report, kind):
    """By finding, group of a kind and threshold: the counts in SQL, over the view that people query."""
    query = f"""
        WITH judged AS (SELECT finding, {GROUPS[kind]} AS part, label, score FROM results
                        WHERE run_id = 1 AND label IS NOT NULL AND held_out IS NOT 0)
        SELECT finding, part, value, SUM(label = 1 AND score >= value), SUM(label = 0 AND score >= value),
               SUM(label = 1 AND score < value), SUM(label = 0 AND score < value)
        FROM judged, json_each(:thresholds) GROUP BY finding, part, value
    """
    rows = report.rows(query, thresholds=json.dumps(THRESHOLDS))
    return {(finding, part, threshold): counts for finding, part, threshold, *counts in rows}


def sample_of(report, finding, group):
    """The scans of one option of the page's choice of groups."""
    if group == "all":
        return report.cohort.sample(finding)
    kind, name = group.split("/", 1)
    grouping = report.cohort.groupings[kind]
    return report.cohort.sample(finding, grouping.places == grouping.names.index(name))


def assert_is_what_sql_counts_and_the_evaluation_gives(shown, report, finding, group):
    kind, _, name = group.partition("/")
    counted, sample = sql_counts(report, kind), sample_of(report, finding, group)
    rates = rates_at(sample, THRESHOLDS)
    for step, (threshold, at) in enumerate(zip(THRESHOLDS, rates, strict=True)):
        seen = shown["steps"][step]
        assert seen["threshold"] == f"{threshold:.2f}"
        assert [seen[count] for count in COUNTS] == [
            f"{value:,}" for value in counted[finding, name or kind, threshold]
        ], (finding, group, threshold)
        for rate in RATES:
            assert seen[rate] == as_shown(getattr(at, rate)), (finding, group, threshold, rate)
    figures = figures_of(sample)
    assert shown["figures"] == {name: as_shown(getattr(figures, name)) for name in FIGURES}


def as_shown(figure):
    return format_estimate(figure) if isinstance(figure, Estimate) else format_rate(figure)


def test_counts_rates_and_figures_of_every_finding_are_those_of_sql_and_of_the_evaluation(browser, labelled):
    """At each of the 101 thresholds, of which many lie on a score: a score that equals it is a prediction."""
    on_a_threshold = labelled.rows("SELECT COUNT(*) FROM results WHERE score = ROUND(score * 100) / 100")
    assert on_a_threshold[0][0] > 500
    with opened(browser, labelled.page) as page:
        findings = page.evaluate(OPTIONS, "finding")
        assert set(findings) == set(labelled.report.evaluation.findings)
        assert findings[0] == labelled.report.finding
        for finding in findings:
            assert_is_what_sql_counts_and_the_evaluation_gives(swept(page, finding), labelled, finding, "all")


@pytest.mark.slow
def test_counts_rates_and_figures_of_every_group_are_those_of_sql_and_of_the_evaluation(browser, labelled):
    """Of two findings, one of them rare, in every view, sex, age band and of every manufacturer."""
    with opened(browser, labelled.page) as page:
        groups = page.evaluate(OPTIONS, "group")
        expected = {f"{kind}/{part}" for kind in GROUPS for _, part, _ in sql_counts(labelled, kind)}
        assert set(groups) == (expected - {"all/all"}) | {"all"}
        for finding in ("Effusion", "Hernia"):
            for group in groups:
                if group == "all" or len(sample_of(labelled, finding, group).labels):
                    shown = swept(page, finding, group)
                    assert_is_what_sql_counts_and_the_evaluation_gives(shown, labelled, finding, group)


def choose(page, *, finding=None, group=None, threshold=None):
    for control, value in (("finding", finding), ("group", group)):
        if value is not None:
            page.select_option(f"#{control}", value)
    if threshold is not None:
        page.evaluate(
            "step => { const slider = document.getElementById('threshold'); slider.value = step;"
            " for (const kind of ['input', 'change']) slider.dispatchEvent(new Event(kind, {bubbles: true})); }",
            round(threshold * 100),
        )


def state(page):
    """What the controls say, and the counts."""
    return page.evaluate(
        "() => [...['finding', 'group', 'threshold'].map(id => document.getElementById(id).value),"
        " ...[...document.querySelectorAll('[data-count]')].map(place => place.textContent)]"
    )


def places_of_marks(page):
    """By plot, where its mark is on the screen; plots without one are left out."""
    return page.evaluate("""() => Object.fromEntries([...document.querySelectorAll("svg[id^=plot-]")].flatMap(plot =>
        [...plot.querySelectorAll(".mark")].slice(0, 1).map(mark => {
          const {x, y, width, height} = mark.getBoundingClientRect();
          return [plot.id, [x + width / 2, y + height / 2]];
        })))""")


@pytest.mark.slow
def test_the_models_own_thresholds_can_be_chosen(browser, labelled):
    """Each is a button, gives the counts at exactly this threshold, and is part of the address."""
    sample = labelled.cohort.sample("Effusion")
    with opened(browser, labelled.page) as page:
        choose(page, finding="Effusion")
        for name, threshold in (("Youden", 0.2471), ("best F1", 0.35)):
            page.get_by_role("button", name=name).click()
            (at,) = rates_at(sample, [threshold])
            assert state(page)[3:] == [f"{getattr(at, count):,}" for count in ("tp", "fn", "fp", "tn")]
            assert page.text_content("[data-rate=recall]") == as_shown(at.recall)
        chosen = state(page)
        page.reload()
        assert state(page) == chosen


def test_the_marks_move_with_the_slider(browser, labelled):
    """On the ROC and precision-recall curves, and on the scores and net benefit, whose axis is the threshold."""
    with opened(browser, labelled.page) as page:
        places = []
        for threshold in (0.2, 0.6):
            choose(page, finding="Effusion", threshold=threshold)
            places.append(places_of_marks(page))
        low, high = places
        assert {"plot-roc", "plot-precision-recall", "plot-scores", "plot-net-benefit"} <= low.keys()
        assert low["plot-roc"][0] > high["plot-roc"][0]
        assert low["plot-roc"][1] < high["plot-roc"][1]
        assert low["plot-precision-recall"][0] > high["plot-precision-recall"][0]
        for plot in ("plot-scores", "plot-net-benefit"):
            assert low[plot][0] < high[plot][0]


def test_the_address_follows_the_choice_and_restores_it(browser, labelled):
    """Also in a page that is open: a pasted address or the browser's Back."""
    with opened(browser, labelled.page) as page:
        choose(page, finding="Effusion", group="view/AP", threshold=0.35)
        page.wait_for_url(lambda url: "0.35" in url)
        address, chosen = "#" + page.url.partition("#")[2], state(page)
        assert address == "#finding=Effusion&group=view/AP&threshold=0.35"
        assert chosen[:3] == ["Effusion", "view/AP", "35"]
        page.evaluate("location.hash = '#finding=Hernia&group=sex/F&threshold=0.10'")
        page.locator("h2", has_text="Hernia").wait_for()
        assert state(page)[:3] == ["Hernia", "sex/F", "10"]
    with opened(browser, labelled.page, address) as page:
        assert state(page) == chosen


@pytest.mark.parametrize(
    ("address", "chosen"),
    [
        ("#finding=effusion&threshold=youden", ["Effusion", "all", "youden"]),
        ("#finding=HERNIA&threshold=.3", ["Hernia", "all", "0.30"]),
        ("#threshold=best_f1", ["Abnormal", "all", "best f1"]),
    ],
)
def test_an_address_may_name_things_as_people_write_them(browser, labelled, address, chosen):
    """Case does not matter, and the names of the files do as well as those of the page."""
    with opened(browser, labelled.page, address) as page:
        page.locator("#finding").focus()
        page.keyboard.press("Tab")
        assert state(page)[:2] == chosen[:2]
        own = page.locator("#own-thresholds button[aria-pressed=true]").all_inner_texts()
        assert chosen[2] in (own[0].lower() if own else page.locator("#threshold-value").inner_text())
        assert page.locator("#address-note").is_hidden()


def test_an_address_may_give_a_threshold_of_the_models_own_as_it_is_shown(browser, labelled):
    """Rounded to a position of the slider, it would have other counts than the terminal's."""
    with opened(browser, labelled.page) as page:
        shown = page.locator("#threshold-value").inner_text()
        counts = state(page)
    with opened(browser, labelled.page, f"#threshold={shown}") as page:
        assert state(page) == counts


def test_the_page_says_what_of_an_address_it_does_not_have(browser, labelled):
    """Or a reader would take one finding for another; the next choice takes the sentence away."""
    with opened(browser, labelled.page, "#finding=Nonsense&group=view/Oblique&threshold=30%25") as page:
        note = page.locator("#address-note")
        asked = "finding Nonsense and group view/Oblique and threshold 30%"
        assert note.inner_text() == f"The address asks for {asked}, which this page does not have."
        choose(page, finding="Effusion")
        assert note.is_hidden()


def test_a_finger_that_scrolls_over_a_plot_moves_no_threshold(browser, labelled):
    """A tap does, and so does a mouse that is dragged."""
    with opened(browser, labelled.page, viewport={"width": 390, "height": 800}, has_touch=True) as page:
        plot = page.locator("#plot-scores")
        plot.scroll_into_view_if_needed()
        before = page.locator("#threshold-value").inner_text()
        for kind in ("pointerdown", "pointermove"):
            plot.dispatch_event(kind, {"pointerType": "touch", "buttons": 1, "pointerId": 1, "clientX": 200})
        assert page.locator("#threshold-value").inner_text() == before
        plot.tap(position={"x": 100, "y": 60})
        assert page.locator("#threshold-value").inner_text() != before


def test_a_wrong_address_shows_the_page_as_without_one(browser, labelled):
    """What it names and the page has not is ignored, and is no error."""
    addresses = (
        "#finding=Nonsense&group=view/Oblique&threshold=1.7",
        "#finding=__proto__&group=constructor&threshold=NaN",
        "#%E0%A4%A",
        "#<img src=x onerror=alert(1)>&finding=&threshold=",
    )
    with opened(browser, labelled.page) as page:
        usual = state(page)
        for address in addresses:
            page.goto(labelled.page.as_uri() + address)
            page.reload()
            assert state(page) == usual, address


def test_the_keyboard_alone_reaches_and_moves_every_control(browser, labelled):
    """Tab goes from finding to group to slider, which the arrows move; focus is seen at each."""
    with opened(browser, labelled.page) as page:
        reached = []
        for _ in range(12):
            page.keyboard.press("Tab")
            focused, outline = page.evaluate("""() => {
              const style = getComputedStyle(document.activeElement);
              const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
              return [document.activeElement.id, seen || style.boxShadow !== "none"];
            }""")
            reached.append(focused)
            assert outline, f"focus is not seen at {focused or 'an element without an id'}"
            if focused == "threshold":
                break
        assert [one for one in reached if one in {"finding", "group", "threshold"}] == ["finding", "group", "threshold"]
        before = state(page)
        page.keyboard.press("ArrowRight")
        assert int(state(page)[2]) == int(before[2]) + 1
        page.keyboard.press("Home")
        fn, tn = page.text_content("[data-count=fn]"), page.text_content("[data-count=tn]")
        assert (state(page)[2], fn, tn) == ("0", "0", "0")
        page.focus("#finding")
        page.keyboard.press("ArrowDown")
        assert state(page)[0] != before[0]


def test_a_screen_reader_hears_what_each_control_and_plot_is(browser, labelled):
    """Controls and plots have names, a plot's name says its figures, and changes are told without being asked for."""
    with opened(browser, labelled.page) as page:
        tree = page.locator("body").aria_snapshot()
        for role in ("combobox", "slider", "table", "img"):
            named = re.findall(rf"^ *- '?{role} \".+", tree, re.MULTILINE)
            # What is drawn within an image is no image of its own.
            nameless = re.findall(rf"^ *- {role}:?$", tree, re.MULTILINE) if role != "img" else []
            assert (bool(named), nameless) == (True, []), role
        drawings = page.locator("svg:not(svg svg):not([aria-hidden=true])")
        assert drawings.count() == len(PLOTS)
        for plot in PLOTS:
            figure = page.locator(f"svg#plot-{plot}")
            assert figure.get_attribute("role") == "img"
            assert re.search(r"\d", figure.get_attribute("aria-label")), plot
        choose(page, finding="Effusion", threshold=0.3)
        assert "0.30" in page.get_attribute("#threshold", "aria-valuetext")
        # Told once after the last change of several.
        page.locator("[aria-live=polite]", has_text="threshold 0.30").wait_for(state="attached")
        heard = page.locator("#plot-roc").get_attribute("aria-label")
        auroc = page.text_content("[data-figure=auroc]").split()[0]
        assert auroc in heard
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.locator("h1").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_light_and_dark(browser, labelled, scheme):
    """Contrast of at least 4.5 with what lies behind it, at both schemes."""
    with opened(browser, labelled.page, color_scheme=scheme) as page:
        measured = contrasts(page, "body *")
        assert len(measured) > 50
        assert measured[0][0] >= 4.5, measured[:5]
        # Both schemes are real: the page follows what the reader's system asks for.
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.emulate_media(color_scheme={"light": "dark", "dark": "light"}[scheme])
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != background


def test_a_phone_shows_the_page_without_scrolling_sideways(browser, labelled):
    """At 420 pixels; a wide table may scroll by itself, and a control is large enough for a finger."""
    with opened(browser, labelled.page, viewport={"width": 420, "height": 800}, has_touch=True) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 420
        for plot in PLOTS:
            box = page.locator(f"#plot-{plot}").bounding_box()
            assert box["width"] >= 280, plot
            assert box["x"] + box["width"] <= 420, plot
        for control in ("finding", "group", "threshold"):
            assert page.locator(f"#{control}").bounding_box()["height"] >= 24


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.slow), "dark"])
def test_the_print_has_the_plots_and_not_the_controls(browser, labelled, scheme):
    """On paper a control does nothing; a reader with a dark screen still prints dark on white."""
    with opened(browser, labelled.page, color_scheme=scheme) as page:
        page.emulate_media(media="print")
        for control in ("finding", "group", "threshold"):
            assert page.locator(f"#{control}").is_hidden()
        for plot in PLOTS:
            assert page.locator(f"#plot-{plot}").is_visible()
        assert contrasts(page, "body *")[0][0] >= 4.5
        assert page.evaluate("getComputedStyle(document.body).color.match(/\\d+/g).every(part => part < 100)")
        assert page.pdf().startswith(b"%PDF")


def test_without_scripts_the_headline_and_the_tables_are_there(browser, labelled):
    """Whoever forbids scripts, or reads a mail's attachment, still has the figures."""
    with opened(browser, labelled.page, java_script_enabled=False) as page:
        main = labelled.report.evaluation.findings[labelled.report.finding]
        shown = page.locator("body").inner_text()
        assert as_shown(main.figures.auroc) in page.locator("#headline").inner_text()
        for row in main.thresholds:
            assert as_shown(row.rates.recall) in shown
        for finding, evaluation in labelled.report.evaluation.findings.items():
            assert finding in shown
            assert as_shown(evaluation.figures.auroc) in shown


def test_hostile_names_are_shown_and_do_nothing(browser, tmp_path):
    """Of the dataset, the model, a manufacturer and an image: markup, quotes, very long, and from right to left."""
    script, quotes, long, turned = HOSTILE
    names = {"dataset": script, "model": quotes + long, "manufacturers": (script, quotes, long, turned)}
    run = ReportedRun(scans=120, patients=60, findings=("Abnormal", "Effusion"), **names)
    report = written(tmp_path, run)
    with opened(browser, report.page, viewport={"width": 420, "height": 800}) as page:
        assert page.title() != "owned"
        assert page.locator("script:not([type]), script[type='text/javascript']").count() <= 1
        assert page.locator("img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 420
        shown = page.locator("body").text_content()
        assert script in shown
        assert quotes in shown
        groups = page.evaluate(OPTIONS, "group")
        assert {f"manufacturer/{name}" for name in (script, quotes, turned)} <= set(groups)
        choose(page, group=f"manufacturer/{script}", threshold=0.4)
        chosen = state(page)
        page.reload()
        assert state(page) == chosen
        assert page.title() != "owned"


def test_a_run_without_labels_shows_its_scores_and_what_to_do_next(browser, unlabelled):
    """Coverage, how the scores are distributed, the first scans of the worklist, and how to add labels."""
    with opened(browser, unlabelled.page) as page:
        shown = page.locator("body").inner_text()
        assert page.locator("#plot-scores").is_visible()
        assert page.locator("[data-rate], [data-count], #plot-roc").count() == 0
        rows = unlabelled.rows(
            "SELECT scan_id, image_name, score FROM results WHERE finding = :finding ORDER BY score DESC LIMIT 5",
            finding=unlabelled.report.finding,
        )
        for scan_id, image_name, score in rows:
            assert str(scan_id) in shown
            assert image_name in shown
            assert as_shown(score) in shown
        assert "--labels" in shown
        measured = contrasts(page, "body *")
        assert measured[0][0] >= 4.5, measured[:5]
    with opened(browser, unlabelled.page, viewport={"width": 420, "height": 800}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 420


@pytest.mark.slow
def test_the_hostile_image_of_a_worklist_does_nothing(browser, tmp_path):
    """A run without labels names images, which come from whoever wrote the folder."""
    report = written(
        tmp_path, ReportedRun(scans=120, patients=60, labelled=False, image_prefix=HOSTILE[0] + HOSTILE[1])
    )
    with opened(browser, report.page, viewport={"width": 420, "height": 800}) as page:
        assert page.title() != "owned"
        assert page.locator("img").count() == 0
        assert HOSTILE[0] in page.locator("body").text_content()
        assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_terminal_json_csv_and_page_have_the_same_numbers(browser, labelled):
    """Each number that two of them share: at the given thresholds and the model's own."""
    stored = json.loads((labelled.folder / "report.json").read_text())
    evaluated, main = stored["evaluation"]["findings"], stored["finding"]
    rows = list(csv.DictReader(io.StringIO((labelled.folder / "thresholds.csv").read_text())))
    assert {row["finding"] for row in rows} == set(evaluated)
    console = Console(file=io.StringIO(), width=200, highlight=False)
    print_report(labelled.report, console)
    terminal = console.file.getvalue()
    with opened(browser, labelled.page) as page:
        for finding, of_finding in evaluated.items():
            steps = swept(page, finding)["steps"]
            of_csv = [row for row in rows if row["finding"] == finding]
            assert len(of_csv) == len(of_finding["thresholds"])
            for row, at in zip(of_csv, of_finding["thresholds"], strict=True):
                rates = at["rates"]
                assert row["chosen_by"] == at["chosen_by"]
                assert float(row["threshold"]) == rates["threshold"]
                assert [int(row[count]) for count in COUNTS] == [rates[count] for count in COUNTS]
                for rate in RATES[:-1]:
                    assert number(row[rate]) == rates[rate]["value"]
                    assert number(row[f"{rate}_low"]) == rates[rate]["low"]
                    assert number(row[f"{rate}_high"]) == rates[rate]["high"]
                if at["chosen_by"] == "given":
                    seen = steps[round(rates["threshold"] * 100)]
                    assert [seen[count] for count in COUNTS] == [f"{rates[count]:,}" for count in COUNTS]
                    for rate in RATES[:-1]:
                        assert seen[rate] == as_shown(Estimate(**rates[rate]))
                if finding == main:
                    for rate in ("precision", "recall", "f1", "accuracy"):
                        assert as_shown(rates[rate]["value"]) in terminal
        assert as_shown(Estimate(**evaluated[main]["figures"]["auroc"])) in terminal


def number(text):
    return float(text) if text else None
