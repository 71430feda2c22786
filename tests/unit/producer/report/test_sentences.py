"""What a report says in words."""

from dataclasses import replace

from producer.report.page import render_page
from producer.report.sentences import (
    coverage_lines,
    guess_note,
    headline,
    held_out_note,
    interval_note,
    next_steps,
    own_threshold_note,
)
from producer.report.table import print_report
from tests.support.reports import COVERAGE, KNOWN, a_cohort, a_report, an_unlabelled_report


def test_the_headline_is_the_one_figure_and_what_it_is_of():
    """Finding, scans, patients, label set; the next sentence says what the interval is clustered by."""
    report = a_report()
    auroc = report.main.figures.auroc
    assert headline(report) == (
        f"AUROC {auroc.value:.3f} ({auroc.low:.3f} to {auroc.high:.3f}) for Abnormal on 100 held-out scans of 40 "
        "patients, label set 2017@89ab89ab"
    )
    assert interval_note(report) == "95% intervals are clustered by patient."


def test_where_no_patient_is_known_the_intervals_are_called_too_narrow():
    """The headline counts no patients then."""
    report = a_report(a_cohort(patients=False))
    assert " on 100 held-out scans, label set" in headline(report)
    assert "by scan, too narrow" in interval_note(report)


def test_a_figure_without_an_interval_has_a_reason():
    """Seven scans are too few."""
    report = a_report(a_cohort(scans=7))
    assert "(-) for Abnormal on 7 held-out scans" in headline(report)
    assert interval_note(report) == f"Abnormal has {report.main.figures.no_interval}."
    assert "fewer than 5" in interval_note(report)


def test_findings_whose_auroc_may_be_that_of_guessing_are_named():
    """The scores of `Effusion` are random, those of `Abnormal` are not."""
    assert guess_note(a_report()).startswith("Effusion: not shown to be better than guessing on these scans")
    assert guess_note(an_unlabelled_report()) is None


def test_a_run_without_labels_says_what_to_do_next():
    """Import labels and compare, export, read in SQL; a run with labels needs no such words."""
    labels, export, sql = next_steps(an_unlabelled_report())
    assert "'producer labels --csv FILE --name NAME --dataset sample'" in labels
    assert "'producer report --run 3 --labels NAME'" in labels
    assert "producer export --run 3" in export
    assert "results_wide" in sql and "abnormal" in sql
    assert next_steps(a_report()) == ()


def test_the_median_of_a_run_without_labels_is_of_the_scans_that_it_names():
    """`spread` is of the used scans, and 8 of the 108 scored ones were left out."""
    report = an_unlabelled_report()
    assert headline(report) == (
        "108 scored scans of 116, median score of Abnormal 0.300 on 100 held-out scans; no label set, so there are no "
        "figures"
    )
    everything = replace(report, coverage=replace(report.coverage, used=108))
    assert headline(everything).startswith("108 scored scans of 116, median score of Abnormal 0.300; ")


def test_coverage_adds_up_to_the_expected_scans_and_the_used_ones():
    """Every expected scan has one state, and every scored scan is used or left out."""
    lines = dict(coverage_lines(a_report()))
    assert lines["rejected (missing 2, truncated 3)"] == 5
    assert COVERAGE.expected == COVERAGE.scored + COVERAGE.rejections + COVERAGE.quarantined + COVERAGE.pending
    left_out = sum(count for words, count in lines.items() if words.startswith("left out"))
    assert COVERAGE.scored == left_out + COVERAGE.used
    assert (lines["scored, noted as colour"], lines["scored, noted as view_unknown"]) == (1, 3)


def test_the_report_says_if_scans_that_the_model_was_fitted_on_are_included():
    """With the subset `all` it calls them included, not left out."""
    report = replace(a_report(), subset="all")
    assert "included: the model was fitted or tuned on the scan" in dict(coverage_lines(report))
    scans = "100 scans of 40 patients including those that the model was fitted or tuned on"
    assert scans in headline(report)


def test_own_thresholds_are_not_said_to_be_of_other_scans_if_fitted_ones_are_included(capsys):
    """The subset `all` of a run over the data set of the fit has the validation scans."""
    report = a_report()
    assert own_threshold_note(report).endswith("its validation scans, not on these")
    included = replace(report, subset="all")
    print_report(included)
    told = " ".join(capsys.readouterr().out.split())
    for text in (own_threshold_note(included), told, render_page(included, a_cohort())):
        assert "not on these" not in text
        assert "chosen on its validation scans, which may be among these" in text
    none_seen = replace(included, coverage=replace(report.coverage, seen_itself=0))
    assert own_threshold_note(none_seen) == own_threshold_note(report)


def test_figures_of_a_model_whose_fitted_scans_nobody_knows_are_marked():
    """In the headline, of whichever subset; and what is left out is only what is known."""
    report = replace(a_report(), patients=replace(KNOWN, fitted_scans_unknown=True))
    assert " on 100 scans of 40 patients (held out: unknown), label set 2017" in headline(report)
    everything = (
        " on 100 scans of 40 patients including those that the model was fitted or tuned on (held out: unknown)"
    )
    assert everything in headline(replace(report, subset="all"))
    assert "left out: the model is known to be fitted or tuned on the scan" in dict(coverage_lines(report))
    for subset in ("held_out", "all"):
        assert held_out_note(replace(report, subset=subset)) == report.patients.note


def test_a_threshold_that_the_publisher_states_is_not_called_chosen(capsys):
    """Terminal and page say whose it is."""
    report = a_report(own_thresholds={"Effusion": {"published": 0.1}})
    assert own_threshold_note(report) == "the model's own threshold: stated by its publisher"
    print_report(report)
    told = capsys.readouterr().out + render_page(report, a_cohort())
    assert "validation" not in told
    assert "stated by its publisher" in told
