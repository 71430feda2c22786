"""The page as text: what it says without scripts, what it escapes, and that it refers to nothing."""

import json
import re
from dataclasses import replace
from html import unescape
from importlib.resources import files

import pytest

from db.evaluation.cohort import group_by
from db.evaluation.format import format_estimate, format_threshold
from producer.report.page import page_data, render_page
from producer.report.sentences import coverage_lines, headline, next_steps
from tests.support.reports import a_cohort, a_report, an_unlabelled_report

HOSTILE = "</script><script>alert(1)</script><!--'\"&"


def rendered(report=None, cohort=None):
    return render_page(report or a_report(cohort), cohort or a_cohort())


def words(page):
    """What a reader sees without scripts, in one line."""
    body = re.sub(r"<(script|style|noscript)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_the_page_begins_with_the_one_figure_and_what_it_is_of():
    """It is the first heading, and the first text of the body."""
    report = a_report()
    page = rendered(report)
    assert headline(report) in unescape(re.search(r'<h1 id="headline">(.*?)</h1>', page)[1])
    assert re.search(r"<body>\s*<header>\s*<h1", page)


def test_the_template_style_and_script_take_less_than_eighty_kilobytes():
    """Beside the data; 150 KB were asked for."""
    parts = [file for file in files("producer.report.page").iterdir() if file.name.endswith((".j2", ".css", ".js"))]
    assert len(parts) > 5
    assert sum(len(file.read_bytes()) for file in parts) < 80_000


def test_the_page_refers_to_nothing_outside():
    """No address, no font, no image, no import; and a browser is told to refuse any."""
    page = rendered()
    assert not re.findall(r"https?:|[\"'(]//|\bsrc=|\bhref=|@import|url\(|\bfetch\(|XMLHttp|import\(", page)
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page


def test_text_from_data_ends_no_script_and_is_no_markup():
    """Of dataset, model, label set, group and image: in the data and in the tables."""
    cohort = a_cohort()
    maker = group_by([HOSTILE if place % 2 else "unknown" for place in range(len(cohort.scores))])
    cohort = replace(cohort, groupings={"manufacturer": maker})
    report = a_report(cohort, dataset=HOSTILE, model=HOSTILE, label_set=HOSTILE)
    page = rendered(report, cohort)
    assert HOSTILE not in page
    assert HOSTILE in words(page)
    assert page.count("<script") == page.count("</script>") == 2
    embedded = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    assert json.loads(embedded) == page_data(report, cohort)
    assert f"manufacturer/{HOSTILE}" in json.loads(embedded)["findings"]["Abnormal"]["groups"]
    unlabelled = an_unlabelled_report()
    rows = (replace(unlabelled.worklist[0], image_name=HOSTILE),)
    page = rendered(replace(unlabelled, worklist=rows))
    assert HOSTILE not in page
    assert HOSTILE in words(page)


def test_without_scripts_the_tables_have_the_figures():
    """The main finding at each threshold, every finding, and what became of the scans."""
    report = a_report()
    text = words(rendered(report))
    for row in report.main.thresholds:
        rates = (row.rates.precision, row.rates.recall, row.rates.f1, row.rates.accuracy)
        counts = (row.rates.tp, row.rates.fp, row.rates.fn, row.rates.tn)
        assert " ".join([*(f"{count:,}" for count in counts), *map(format_estimate, rates)]) in text
        assert f" {format_threshold(row.rates.threshold)} " in text
    for finding, evaluation in report.evaluation.findings.items():
        figures = evaluation.figures
        row = f"{finding} {figures.positives} {figures.negatives} {format_estimate(figures.auroc)}"
        assert f"{row} {format_estimate(figures.average_precision)}" in text
    for description, scans in coverage_lines(report):
        assert f"{scans:,} {description}" in text
    for baseline in report.main.baselines.values():
        assert format_estimate(baseline.auroc) in text
    assert report.precision_note in text
    assert "Not a medical device" in text


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"is_partial": True}, "PARTIAL. The run is not finished: 2 of 116 scans are pending"),
        ({"synthetic": True}, "The model was fitted on synthetic scans"),
        ({"subset": "all"}, "which makes its figures too good"),
    ],
)
def test_a_warning_stands_above_the_figures(changed, sentence):
    """And is not there without its cause."""
    assert sentence in words(rendered(a_report(**changed))).partition("at each threshold")[0]
    assert sentence not in words(rendered())


def test_intervals_by_scan_and_missing_ones_are_warnings():
    """Clustered ones are a quiet note."""
    warning = re.compile(r'<p class="warning">([^<]*)</p>')
    assert not [text for text in warning.findall(rendered()) if "interval" in text and "holds 0.5" not in text]
    assert "95% intervals are clustered by patient" in words(rendered())
    unknown = a_cohort(patients=False)
    assert any("too narrow" in text for text in warning.findall(rendered(cohort=unknown)))
    few = a_cohort(scans=6)
    assert any("Abnormal has no interval" in text for text in warning.findall(rendered(cohort=few)))


def test_a_run_without_labels_has_its_worklist_and_what_to_do_next():
    """And no table, plot or control that needs a label."""
    report = an_unlabelled_report()
    page = rendered(report)
    for row in report.worklist:
        assert f"{row.scan_id} {row.score:.3f} {row.image_name}" in words(page)
    assert "This page names images" in words(page) and "This page names images" not in words(rendered())
    for step in next_steps(report):
        assert step in words(page)
    assert 'id="plot-scores"' in page
    assert not re.search(r'data-rate="|data-count="|data-figure="|id="plot-roc"', page.partition("<script")[0])


def test_a_report_of_no_scan_is_a_page_all_the_same():
    """Every scan was left out, or none is scored."""
    nothing = a_cohort().filter(a_cohort().has_patient & False)
    report = a_report(nothing, spread=None)
    report = replace(report, coverage=replace(report.coverage, used=0))
    assert "No scan is left to judge the model by." in words(rendered(report, nothing))
    assert "What became of the scans" in words(
        rendered(replace(an_unlabelled_report(), worklist=(), spread=None), nothing)
    )
    assert "No score is used. " in words(rendered(report, nothing))


def test_the_mean_auroc_says_that_abnormal_is_not_in_it():
    """`Abnormal` stands in the table above it; it would count the other findings twice."""
    report = a_report()
    mean = format_estimate(report.evaluation.mean_auroc)
    assert mean == format_estimate(report.evaluation.findings["Effusion"].figures.auroc)
    assert f"Mean AUROC of the findings other than Abnormal: {mean}" in words(rendered(report))
    alone = replace(report.evaluation, findings={"Effusion": report.evaluation.findings["Effusion"]})
    assert f"Mean AUROC of the findings: {mean}" in words(
        rendered(replace(report, finding="Effusion", evaluation=alone))
    )


def test_figures_are_called_too_good_only_if_a_scan_was_seen():
    """The subset `all` of a run that the model has never seen is the held-out one."""
    report = a_report(subset="all")
    unseen = replace(report, coverage=replace(report.coverage, seen_itself=0, seen_patient=0))
    assert "which makes its figures too good" in words(rendered(report))
    assert "which makes its figures too good" not in words(rendered(unseen))
