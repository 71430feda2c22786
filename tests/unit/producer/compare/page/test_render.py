"""The page of a comparison as text: what it says, what it escapes, and that it refers to nothing."""

import re
from dataclasses import replace
from html import unescape
from itertools import pairwise

import pytest

from db.evaluation.estimate import UNDEFINED, Estimate
from producer.compare.files import changed_scans
from producer.compare.format import format_difference, format_p
from producer.compare.page import render_comparison
from producer.compare.sentences import labels_note, multiplicity_note, warnings
from producer.compare.verdict import headline, verdict
from tests.support.comparisons import a_comparison, a_pair

HOSTILE = "</style><script>alert(1)</script><!--'\"&{{7*7}}"
PAIR = a_pair()
COMPARISON = a_comparison(PAIR)


def rendered(comparison=COMPARISON, pair=PAIR):
    return render_comparison(comparison, pair)


def words(page):
    """What a reader sees, in one line."""
    body = re.sub(r"<style>.*?</style>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def with_auroc(comparison, **changed):
    """The comparison with another difference of the main finding's AUROC."""
    auroc = replace(comparison.main.figures["auroc"], **changed)
    main = replace(comparison.main, figures={**comparison.main.figures, "auroc": auroc})
    return replace(comparison, findings={**comparison.findings, comparison.finding: main})


def test_the_page_refers_to_nothing_and_runs_nothing():
    """No address, no font, no image, no script; and a browser is told to refuse any."""
    page = rendered()
    assert not re.findall(r"https?:|[\"'(]//|\bsrc=|\bhref=|@import|url\(|<script|\bon\w+=", page)
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'\"" in page


def test_the_page_begins_with_the_one_difference_and_the_warnings():
    """The first heading is the sentence of terminal and JSON."""
    comparison = replace(COMPARISON, is_partial=True)
    text = words(rendered(comparison))
    before = text.partition("AUROC of each finding")[0]
    assert re.search(r'<body>\s*<header>\s*<h1 id="headline"', rendered())
    assert headline(comparison) in before
    assert len(warnings(comparison)) > 1
    for warning in warnings(comparison):
        assert warning in before
    assert multiplicity_note(comparison) in text


def test_which_run_is_better_is_said_only_if_the_interval_tells():
    """The run of the better model, and how many findings each run is better at."""
    unsure = with_auroc(COMPARISON, p_value=0.05)
    for comparison, side in ((COMPARISON, "second"), (unsure, "")):
        assert f'<h1 id="headline" class="answer {side}">{verdict(comparison)}: <small>' in rendered(comparison)
    aurocs = [one.figures["auroc"] for one in COMPARISON.findings.values()]
    sure = [one.difference.value > 0 for one in aurocs if one.p_value < 0.05]
    assert (
        f"run 7 has the higher AUROC for {sum(sure)} , run 3 for {len(sure) - sum(sure)} , and {15 - len(sure)} are"
    ) in words(rendered())


def test_every_figure_of_every_finding_stands_in_a_table():
    """First, second, their difference and p; of the Brier score, the lower one is better."""
    text = words(rendered())
    for finding, compared in COMPARISON.findings.items():
        for name, figure in compared.figures.items():
            value, _, interval = format_difference(figure.difference).partition(" ")
            side = ""
            if figure.p_value < 0.05:
                side = "second" if (figure.difference.value > 0) != (name == "brier") else "first"
            assert (
                f"{finding.replace('_', ' ')} {figure.first.value:.3f} {figure.second.value:.3f} {value} {interval} "
                f"{format_p(figure.p_value)} {side or '–'}"
            ) in text


def test_the_main_finding_comes_first_and_is_open():
    """The others are there, folded."""
    comparison = replace(COMPARISON, finding="Effusion")
    folds = re.findall(r"<details( open)?>\s*<summary><b>(.*?)</b>", rendered(comparison))
    assert folds[0] == (" open", "Effusion")
    assert [name for name, *_ in map(reversed, folds[1:])] == [
        finding.replace("_", " ") for finding in COMPARISON.findings if finding != "Effusion"
    ]
    assert not any(is_open for is_open, _ in folds[1:])


def test_the_first_scans_that_changed_sides_stand_there_by_their_numbers():
    """With both scores, by whom they are flagged, and the label; a page has 20 of a finding."""
    changed = list(changed_scans(PAIR, "Abnormal", COMPARISON.main.changed))
    text = words(rendered())
    assert f"The first 20 of {len(changed)} scans that changed sides" in text
    rows = [
        f"{scan} {first:.3f} {second:.3f} {'first' if first >= 0.31 else 'second'} {('negative', 'positive')[label]}"
        for scan, first, second, label, _ in changed
    ]
    assert " ".join(rows[:20]) in text
    assert rows[20] not in text


def test_labels_of_two_label_sets_stand_side_by_side():
    """Where they differ, a scan may be positive by one alone."""
    other = replace(PAIR.second, labels=~PAIR.second.labels)
    pair = replace(PAIR, second=other)
    comparison = a_comparison(pair, second={"label_set": "radiologists@1234"})
    text = words(rendered(comparison, pair))
    assert labels_note(comparison) in text
    assert "First label Second label" in text
    assert re.search(r" first (positive negative|negative positive) \d", text)
    assert "Scans with another label in the second label set 1,000 of 1,000" in text
    assert "First label" not in words(rendered())


def test_without_labels_agreement_is_all_there_is():
    """No table or plot of a figure that needs a label, and no run is called better."""
    pair = a_pair(("Abnormal", "Effusion"), labelled=False)
    page = rendered(a_comparison(pair), pair)
    text = words(page)
    agreement = a_comparison(pair).main.agreement
    assert f"Rank correlation 1: both put scans in the same order {agreement.rank_correlation:.3f}" in text
    assert "McNemar's test by patients: p <0.001" in text
    assert 'id="forest"' not in page
    assert not re.search(r"Sensitivity|Right by|higher AUROC|Label [0-9]", text)


@pytest.mark.parametrize("missing", ["interval", "figure"])
def test_a_finding_without_interval_or_figure_is_drawn_without_it(missing):
    """As one of few positive scans: a dot without a line, or no dot."""
    difference = COMPARISON.main.figures["auroc"].difference
    bare = UNDEFINED if missing == "figure" else replace(difference, low=None, high=None)
    page = rendered(with_auroc(COMPARISON, difference=bare, p_value=None))
    forest = re.search(r'<svg id="forest".*?</svg>', page, re.DOTALL)[0]
    assert forest.count("<circle") == (14 if missing == "figure" else 15)
    assert forest.count('class="whisker"') == 14


def test_an_interval_beyond_the_axis_has_an_arrow_that_the_caption_explains():
    """Its end is not where the line ends."""
    difference = COMPARISON.main.figures["auroc"].difference
    wide = with_auroc(COMPARISON, difference=replace(difference, low=-0.9))
    explained = "An arrow: the interval reaches beyond the axis."
    for comparison, arrows in ((COMPARISON, 0), (wide, 1)):
        page = rendered(comparison)
        assert len(re.findall(r'class="whisker" d="[^"]*l-?5 4', page)) == arrows
        assert (explained in words(page)) == bool(arrows)


@pytest.mark.parametrize("reach", [0.01, 0.011, 0.019, 0.024, 0.039, 0.05, 0.3, 0.41, 0.99, 1.0])
def test_the_ticks_of_the_forest_do_not_overlap(reach):
    """A digit is less than 7 of the plot's pixels wide."""
    findings = {
        name: replace(one, figures={**one.figures, "auroc": of_reach(one.figures["auroc"], reach)})
        for name, one in COMPARISON.findings.items()
    }
    forest = re.search(r'<svg id="forest".*?</svg>', rendered(replace(COMPARISON, findings=findings)), re.DOTALL)[0]
    ticks = re.findall(r'<text x="([\d.]+)" y="\d+" text-anchor="middle">(.*?)</text>', forest)
    ends = [(float(x) - 3.5 * len(text), float(x) + 3.5 * len(text)) for x, text in ticks]
    assert len(ends) == 3
    assert all(end < start for (_, end), (start, _) in pairwise(ends))


def of_reach(figure, reach):
    return replace(figure, difference=Estimate(value=0.0, low=-reach, high=reach))


def test_a_bare_difference_is_explained_where_a_row_of_the_page_has_one():
    """Of any finding and figure."""
    hernia = COMPARISON.findings["Hernia"]
    figures = {**hernia.figures, "sensitivity": replace(hernia.figures["sensitivity"], difference=Estimate(value=0.2))}
    bare = {**COMPARISON.findings, "Hernia": replace(hernia, figures=figures)}
    assert "(-): no interval" in words(rendered(replace(COMPARISON, findings=bare)))
    assert "(-)" not in words(rendered())


def test_text_from_data_is_no_markup():
    """Of dataset, model, label set and finding."""
    pair = a_pair((HOSTILE, "Effusion"), scans=60, patients=60)
    names = {"dataset": HOSTILE, "model": HOSTILE, "label_set": HOSTILE}
    page = rendered(a_comparison(pair, first=names, second=names), pair)
    assert HOSTILE not in page
    assert HOSTILE in words(page)
    assert "<script" not in page
    assert page.count("</style>") == 1


def test_the_page_of_fifteen_findings_takes_less_than_400_kilobytes():
    """Of 10,000 scans: more scans fill more squares, and then no more."""
    pair = a_pair(scans=10_000, patients=5_000)
    assert len(rendered(a_comparison(pair), pair).encode()) < 400_000
