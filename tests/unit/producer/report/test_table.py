"""What a report says on a terminal of 80 columns."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from db.drift.sentences import describe_drift
from db.evaluation.evaluate import GIVEN
from db.evaluation.format import UNDEFINED, format_estimate
from producer.report.table import print_report
from tests.support.reports import COVERAGE, KNOWN, a_cohort, a_report, an_unlabelled_report, some_nights


def printed(report):
    """The report as an 80 column terminal shows it."""
    console = Console(file=io.StringIO(), width=80, highlight=False)
    print_report(report, console)
    return console.file.getvalue()


def words_of(report):
    """The same in one line, because the terminal wraps long ones."""
    return " ".join(printed(report).split())


def with_counts(report, **counts):
    """The report with other counts at every threshold of its main finding."""
    rows = tuple(replace(row, rates=replace(row.rates, **counts)) for row in report.main.thresholds)
    findings = report.evaluation.findings | {report.finding: replace(report.main, thresholds=rows)}
    return replace(report, evaluation=replace(report.evaluation, findings=findings))


def test_the_terminal_begins_with_the_scope_and_the_one_figure():
    """Run, model and its hash; then the AUROC of the main finding with its interval."""
    report = a_report()
    first, second, _ = printed(report).split("\n", 2)
    assert first == "Run 3: dataset sample, model <first> (0123456789ab)"
    assert second.startswith(f"AUROC {format_estimate(report.main.figures.auroc)} for Abnormal on 100 held-out scans")
    assert printed(replace(report, is_partial=True)).startswith("PARTIAL: the run is not finished. Run 3")


def test_the_threshold_table_has_the_given_thresholds_and_the_models_own():
    """Each with its counts and four rates; a sentence says what the own ones were chosen on."""
    report = a_report()
    lines = printed(report).splitlines()
    for row, start in zip(
        report.main.thresholds, ("0.3 ", "0.5 ", "0.3021 best F1*", "0.99991 sensitivity 90*"), strict=True
    ):
        rates = row.rates
        cells = next(line for line in lines if line.startswith(start)).removeprefix(start).split()
        assert cells[:4] == [str(count) for count in (rates.tp, rates.fp, rates.fn, rates.tn)]
        assert cells[4:] == [
            UNDEFINED if one.value is None else f"{one.value:.3f}"
            for one in (rates.precision, rates.recall, rates.f1, rates.accuracy)
        ]
    note = "* the model's own threshold: chosen on its validation scans, not on these"
    assert note in lines
    given = replace(report.main, thresholds=tuple(row for row in report.main.thresholds if row.chosen_by == GIVEN))
    alone = replace(report, evaluation=replace(report.evaluation, findings={"Abnormal": given}))
    assert note not in printed(alone)


def test_every_rate_has_its_interval_below_the_table():
    """Also specificity and NPV, which the user's table has not."""
    report = a_report()
    text = printed(report)
    for row in report.main.thresholds:
        for name in ("precision", "recall", "f1", "accuracy", "specificity", "npv"):
            estimate = getattr(row.rates, name)
            if estimate.low is not None:
                assert f"{estimate.low:.3f} to {estimate.high:.3f}" in text


def test_every_table_fits_eighty_columns_with_the_largest_counts():
    """No count is cut off."""
    report = with_counts(a_report(prevalence={"Abnormal": 0.05}), tp=102_120, fp=12_120, fn=12_120, tn=12_120)
    lines = printed(report).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.split()[-8:-4] == ["102,120", "12,120", "12,120", "12,120"] for line in lines) == 4


def test_the_other_figures_baselines_and_groups_stand_below():
    """Each with its interval, or with the reason why it has none."""
    report = a_report()
    lines = printed(report).splitlines()
    figures = report.main.figures
    for name, figure in {
        "average precision": figures.average_precision,
        "Brier score": figures.brier,
        "calibration slope, at best 1": figures.calibration_slope,
        "calibration intercept, at best 0": figures.calibration_intercept,
        "observed over expected, at best 1": figures.observed_over_expected,
    }.items():
        line = next(line for line in lines if line.startswith(name))
        assert line.removeprefix(name).strip() == format_estimate(figure)
    for name in ("majority", "view only", "metadata only"):
        base = report.main.baselines[name.replace(" ", "_")]
        assert format_estimate(base.auroc) in next(line for line in lines if line.startswith(name))
    for name, group in report.main.groups["view"].items():
        line = next(line for line in lines if line.startswith(f"view {name}"))
        assert format_estimate(group.auroc) in line and f" {group.scans} " in line
    assert "(-): no interval, with fewer than 5 positive or negative scans or patients" in lines


@pytest.mark.parametrize("scans", [0, 1, 5])
def test_a_report_of_hardly_any_scan_can_be_read(scans):
    """Its undefined figures are dashes."""
    report = a_report(a_cohort(scans=scans))
    assert format_estimate(report.main.figures.auroc) in printed(report).splitlines()[1]
    assert f"positive and {report.main.figures.negatives} negative scans" in printed(report)


def test_names_from_files_are_text():
    """A manufacturer's name is neither markup nor a line break."""
    assert "manufacturer [red]A B" in printed(a_report())


def test_a_stated_prevalence_has_a_table_of_its_own():
    """Of any finding, not only the main one."""
    report = a_report(prevalence={"Effusion": 0.05})
    table = printed(report).partition("Effusion where its prevalence is 0.05:")[2]
    for row in report.evaluation.findings["Effusion"].thresholds:
        assert format_estimate(row.at_prevalence.precision) in table
        assert format_estimate(row.at_prevalence.npv) in table
    assert "prevalence" not in printed(a_report())


def test_the_terminal_says_that_scores_have_two_precisions():
    """It gives the number of scans for each before any table, and no sentence for a single precision."""
    mixed = {"openvino 2026.4.1 bfloat16": 1_004, "openvino 2026.4.1 int8": 8}
    report = a_report(coverage=replace(COVERAGE, runtimes=mixed))
    ways = "openvino 2026.4.1 bfloat16 (1,004 scans), openvino 2026.4.1 int8 (8 scans)."
    assert (
        f"Scores were computed in 2 ways, whose results differ slightly: {ways}"
        in words_of(report).partition(" threshold ")[0]
    )
    assert "2 ways" not in printed(a_report())
    assert a_report().precision_note in words_of(a_report())


def test_the_terminal_says_before_any_table_that_a_model_is_synthetic():
    """Of other models it does not speak of synthetic scans."""
    report = replace(a_report(), synthetic=True)
    sentence = "The model was fitted on synthetic scans: its scores mean nothing on real ones."
    assert sentence in words_of(report).partition(" threshold ")[0]
    assert "synthetic" not in printed(a_report())


def test_views_notes_and_left_out_files_are_counted():
    """A scan of unknown view is never taken for PA."""
    text = printed(a_report())
    assert "All scored scans by view: PA 90, unknown 18\n" in text
    assert "           3  scored, noted as view_unknown\n" in text
    assert "Left out of the source: 2 files not named like an image.\n" in text
    assert "Left out of" not in printed(replace(a_report(), left_out=None))


@pytest.mark.parametrize("unknown", ["scans_with_patient", "fitted_with_patient"])
def test_scans_are_not_called_held_out_where_no_patient_is_known(unknown):
    """It says instead that held out by patient cannot be told; with `all`, nothing is said to be held out anyway."""
    report = a_report(a_cohort(patients=False), patients=replace(KNOWN, **{unknown: 0}))
    text = words_of(report)
    assert report.patients.note in text.partition(" threshold ")[0]
    assert "100 scans that the model was not fitted or tuned on by name (held out by patient cannot be told)" in text
    assert "held-out" not in text
    assert "another scan of the patient, as far as patient ids tell" in text
    assert "cannot be told" not in printed(replace(report, subset="all"))


def test_a_report_in_which_some_patients_are_unknown_says_of_how_many_scans():
    """Its scans are called held out, and the note limits it."""
    text = words_of(a_report(patients=replace(KNOWN, scans_with_patient=111)))
    assert "100 held-out scans" in text
    assert "cannot be told for all scans: 5 of the 116 scans have no patient id." in text


def test_a_run_without_labels_shows_its_worklist_and_what_to_do_next():
    """Scans by number, not by name, and no word of thresholds."""
    text = printed(an_unlabelled_report())
    assert "\n4711 0.900\n4712 0.890\n4713 0.880\n" in text
    assert "0000471" not in text
    assert "threshold" not in text
    assert "'producer export --run 3 --wide --out scores.csv'" in words_of(an_unlabelled_report())


def test_a_night_says_in_a_line_whether_it_drifted():
    """With an alarm or without; other runs say nothing of it."""
    nights = some_nights()
    assert describe_drift(nights[-1], name_manufacturer=True) in words_of(a_report(nights=nights))
    assert describe_drift(nights[0], name_manufacturer=True) in words_of(a_report(nights=nights[:1]))
    assert "night" not in words_of(a_report())
