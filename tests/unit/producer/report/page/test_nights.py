"""The last nights on the page of a report."""

import re
from html import unescape

from db.drift.sentences import describe_drift, describe_shift
from producer.report.page import render_page
from tests.support.reports import a_cohort, a_report, some_nights

HOSTILE = "</title><script>alert(1)</script>'\"&"


def rendered(nights):
    return render_page(a_report(nights=nights), a_cohort())


def words(page):
    """What a reader sees without scripts, in one line."""
    body = re.sub(r"<(script|style|noscript)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_each_night_has_a_row_the_latest_first():
    """With its run, scans, largest shift, p, and whether there is an alarm; one that is not judged says why."""
    quiet, _, alarm = some_nights()
    text = words(rendered(some_nights()))
    largest = [describe_shift(night.largest, name_manufacturer=True) for night in (alarm, quiet)]
    assert (
        f"2026-01-03 33 1,000 {largest[0]} <= 0.001 alarm "
        "2026-01-02 32 12 not judged: only 12 scans were decided – – "
        f"2026-01-01 31 1,000 {largest[1]} 0.400 no"
    ) in text
    assert "Last 3 nights" in text
    assert "The rest of this page is of the whole source; the night's own are 1,000 scans." in text


def test_an_alarm_is_a_warning_above_the_figures_and_the_section_says_what_to_do():
    """That of the report's own night; an earlier night's has been sent before."""
    nights = some_nights()
    warning = re.compile(r'<p class="warning">([^<]*)</p>')
    short = f"ALARM: drift: {describe_shift(nights[-1].largest, name_manufacturer=True)}."
    assert unescape(warning.findall(rendered(nights))[0]) == short
    assert words(rendered(nights)).count(describe_drift(nights[-1], name_manufacturer=True)) == 1
    earlier = rendered(nights[::-1])
    assert not any("ALARM" in text for text in warning.findall(earlier))
    assert describe_drift(nights[0], name_manufacturer=True) in words(earlier)


def test_scores_and_mix_of_the_night_stand_beside_the_reference():
    """Means, Kolmogorov-Smirnov and PSI of each finding; the share of each group and reason, in deviations."""
    text = words(rendered(some_nights()))
    assert "this night beside the 30 nights before it (30,000 scans)" in text
    assert "Abnormal 0.310 0.210 0.105 0.043 +6.5" in text
    shares = "rejected as truncated 0.4% 0.4% +0.0 view AP 57% 35% +14.2 manufacturer FUJIFILM 70% 60% -2.5"
    assert shares in text


def test_the_strip_has_a_bar_for_each_judged_night():
    """An alarm has a mark beside its colour, and what is drawn is said in words."""
    strip = re.search(r'<svg id="strip".*?</svg>', rendered(some_nights()), re.DOTALL)[0]
    assert (strip.count('<path class="quiet-night"'), strip.count('<path class="alarm"')) == (1, 1)
    assert (strip.count("▲"), strip.count('class="unjudged"')) == (1, 1)
    heard = "2026-01-01 2.5; 2026-01-02 not judged; 2026-01-03 14.2, alarm"
    assert re.search(r'aria-label="(.*?)"', strip)[1] == f"Largest shift of each night, in deviations: {heard}"


def test_a_manufacturers_name_is_no_markup():
    """It comes from a header."""
    page = rendered(some_nights(manufacturer=HOSTILE)[:1])
    assert HOSTILE not in page
    assert page.count(unescape(HOSTILE)) == 0
    assert f"manufacturer {HOSTILE} 70% 60%" in words(page)


def test_a_run_that_is_no_night_has_no_nights_on_its_page():
    assert 'id="strip"' not in rendered(())
