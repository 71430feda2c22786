"""What a report says on a terminal, in JSON, CSV and HTML, and how it is written. No database here."""

import csv
import dataclasses
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from db.findings import FINDINGS
from db.metrics.by_view import ViewRow
from db.metrics.known_patients import KnownPatients
from db.metrics.report_queries import Coverage
from db.metrics.run_metrics import FindingRow, ThresholdRow
from db.metrics.scored_scans import ScoredScans
from producer.report.build import Baselines, Report, Spread
from producer.report.plots import PLOTS, draw_plots, thin_curve
from producer.report.table import UNDEFINED, coverage_lines, print_report, to_json
from producer.report.write import _PAGE, _write_files, to_csv, to_html

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
ONE_CLASS = ThresholdRow(
    finding="Abnormal",
    chosen_by="given",
    threshold=0.5,
    tp=0,
    fp=0,
    fn=0,
    tn=112_120,
    precision=None,
    recall=None,
    specificity=1.0,
    f1=None,
    accuracy=1.0,
    balanced_accuracy=None,
)
PICKED = dataclasses.replace(ONE_CLASS, chosen_by="best_f1", threshold=0.4481)
COVERAGE = Coverage(
    expected=20,
    scored=12,
    rejected={"missing": 2, "truncated": 3},
    quarantined=1,
    pending=2,
    reused=4,
    runtimes={"tensorflow bfloat16": 12},
    duplicates=3,
    unlabelled=1,
    seen_itself=5,
    seen_patient=2,
    used=4,
)
KNOWN = KnownPatients(scans=20, scans_with_patient=20, fitted=9, fitted_with_patient=9)
REPORT = Report(
    run_id=3,
    dataset="sample",
    model="<first>",
    model_sha256="0123456789abcdef" * 4,
    synthetic=False,
    label_set="2017",
    label_set_sha256="89ab" * 16,
    subset="held_out",
    is_partial=False,
    created_at=NOW,
    finished_at=NOW,
    coverage=COVERAGE,
    notes={"colour": 1, "view_unknown": 3},
    patients=KNOWN,
    finding="Abnormal",
    spread=Spread(
        minimum=0.1, lower_quartile=0.2, median=0.3, upper_quartile=0.4, maximum=0.5, standard_deviation=0.125
    ),
    baselines=Baselines(always_positive_f1=None, always_positive_accuracy=0.25, majority_accuracy=0.75),
    thresholds=(ONE_CLASS, PICKED),
    rounded_thresholds={"best_f1": 0.448},
    findings=(FindingRow(finding="Abnormal", auroc=None, average_precision=None, positives=0, negatives=4),),
    views=(
        ViewRow(view="PA", scored=9, positives=1, negatives=2, auroc=0.75),
        ViewRow(view="unknown", scored=3, positives=0, negatives=1, auroc=None),
    ),
    left_out={"other_name": 2},
)


def printed(report: Report) -> str:
    """The report as an 80 column terminal shows it."""
    console = Console(file=io.StringIO(), width=80, highlight=False)
    print_report(report, console)
    return console.file.getvalue()


def scans(labels: np.ndarray) -> ScoredScans:
    """N scans that have these labels (N,) for every finding, and rising scores."""
    matrix = np.tile(labels[:, None], len(FINDINGS))
    scores = np.tile(np.linspace(0, 1, len(labels))[:, None], len(FINDINGS))
    none = np.zeros(len(labels), np.bool_)
    return ScoredScans(
        findings=FINDINGS,
        judged=FINDINGS,
        scores=scores,
        labels=matrix,
        known=np.ones_like(matrix),
        labelled=~none,
        seen_itself=none,
        seen_patient=none,
    )


def test_the_terminal_names_the_scope_of_the_figures():
    """Run, model and its hash, finding, number of scans, subset and label set come before any figure."""
    text = printed(REPORT)
    scope = "Abnormal, 4 held-out scans, label set 2017@89ab89ab"
    assert text.startswith(f"Run 3: dataset sample, model <first> (0123456789ab)\n{scope}\n")


def test_the_terminal_table_fits_eighty_columns_with_the_largest_counts():
    """A count of 112,120 is not cut off, and undefined rates are a dash."""
    largest = dataclasses.replace(PICKED, tp=112_120, fp=112_120, fn=112_120)
    lines = printed(dataclasses.replace(REPORT, thresholds=(largest,))).splitlines()
    row = next(line for line in lines if line.startswith("0.448 best F1*"))
    assert row.split()[3:] == ["112,120"] * 4 + [UNDEFINED, UNDEFINED, UNDEFINED, "1.000"]


def test_coverage_adds_up_to_the_expected_scans_and_the_used_ones():
    """Every expected scan has one state, and every scored scan is used or left out."""
    lines = dict(coverage_lines(REPORT))
    assert lines["rejected (missing 2, truncated 3)"] == 5
    assert COVERAGE.expected == COVERAGE.scored + COVERAGE.rejections + COVERAGE.quarantined + COVERAGE.pending
    assert COVERAGE.scored == sum(count for words, count in lines.items() if words.startswith("left out")) + 4


def test_every_form_of_the_report_says_that_scores_have_two_precisions():
    """It gives the number of scans for each before any figure, and no sentence for a single precision."""
    mixed = {"openvino 2026.4.1 bfloat16": 1_004, "openvino 2026.4.1 int8": 8}
    report = dataclasses.replace(REPORT, coverage=dataclasses.replace(COVERAGE, scored=1_012, runtimes=mixed))
    ways = "openvino 2026.4.1 bfloat16 (1,004 scans), openvino 2026.4.1 int8 (8 scans)."
    sentence = f"Scores were computed in 2 ways, whose results differ slightly: {ways}"
    assert json.loads(to_json(report))["mixture"] == sentence
    assert f"<strong>{sentence}" in to_html(report, {})
    assert sentence in " ".join(printed(report).partition("threshold ")[0].split())
    assert json.loads(to_json(REPORT))["mixture"] is None
    assert "2 ways" not in to_html(REPORT, {}) + printed(REPORT)


def test_every_form_of_the_report_says_that_the_model_was_fitted_on_synthetic_scans():
    """It says so before any figure; of other models no form speaks of synthetic scans."""
    report = dataclasses.replace(REPORT, synthetic=True)
    sentence = "The model was fitted on synthetic scans: its scores mean nothing on real ones."
    assert json.loads(to_json(report))["synthetic_note"] == sentence
    assert f"<strong>{sentence}</strong>" in to_html(report, {})
    assert sentence in printed(report).partition("threshold ")[0]
    assert json.loads(to_json(REPORT))["synthetic_note"] is None
    assert "synthetic" not in to_html(REPORT, {}) + printed(REPORT)


def test_every_form_of_the_report_shows_unknown_views_apart():
    """With their own AUROC, and without labels with their number alone."""
    assert [row["view"] for row in json.loads(to_json(REPORT))["views"]] == ["PA", "unknown"]
    line = "Scored scans by view: PA 9 (AUROC 0.750 of 1 positive and 2 negative), unknown 3"
    assert line in " ".join(printed(REPORT).split())
    row = f"<tr><td>unknown</td><td>3</td><td>0</td><td>1</td><td>{UNDEFINED}</td></tr>"
    assert row in to_html(REPORT, {}).replace("\n", "")
    views = tuple(dataclasses.replace(row, auroc=None) for row in REPORT.views)
    unlabelled = dataclasses.replace(REPORT, label_set=None, baselines=None, thresholds=(), findings=(), views=views)
    assert "Scored scans by view: PA 9, unknown 3\n" in printed(unlabelled)
    assert "<tr><td>unknown</td><td>3</td></tr>" in to_html(unlabelled, {}).replace("\n", "")


def test_every_form_of_the_report_counts_notes_and_what_the_source_left_out():
    """Each note has its own line, for a scan may have several; what was left out is no scan."""
    lines = dict(coverage_lines(REPORT))
    assert (lines["scored, noted as colour"], lines["scored, noted as view_unknown"]) == (1, 3)
    as_json = json.loads(to_json(REPORT))
    assert (as_json["notes"], as_json["left_out"]) == (REPORT.notes, {"other_name": 2})
    for form in (printed(REPORT), to_html(REPORT, {})):
        assert "scored, noted as view_unknown" in form
        assert "Left out of the source: 2 files not named like an image." in form
    assert "Left out of" not in printed(dataclasses.replace(REPORT, left_out=None))


def test_a_chosen_threshold_is_shown_with_the_digits_that_it_needs():
    """Three digits would show 0.99991 as 1.000, at which nothing is positive."""
    report = dataclasses.replace(REPORT, rounded_thresholds={"best_f1": 0.99991})
    assert "\n0.99991 best F1*" in printed(report)
    assert "<td>0.99991 best F1*</td>" in to_html(report, {})
    assert "<td>0.448 best F1*</td>" in to_html(REPORT, {})
    tiny = dataclasses.replace(REPORT, rounded_thresholds={"best_f1": 1e-05})
    assert "\n0.00001 best F1*" in printed(tiny)


@pytest.mark.parametrize("unknown", ["scans_with_patient", "fitted_with_patient"])
def test_no_form_of_the_report_calls_scans_held_out_where_no_patient_is_known(unknown):
    """Each says instead that held out by patient cannot be told; with `all`, nothing is said to be held out anyway."""
    report = dataclasses.replace(REPORT, patients=dataclasses.replace(KNOWN, **{unknown: 0}))
    note = report.patients.note
    assert json.loads(to_json(report))["held_out_note"] == note
    assert f"<strong>{note}</strong>" in to_html(report, {})
    assert [row["held_out_note"] for row in csv.DictReader(io.StringIO(to_csv(report)))] == [note] * 2
    text = " ".join(printed(report).split())
    assert note in text.partition("threshold ")[0]
    scope = "4 scans that the model was not fitted or tuned on by name (held out by patient cannot be told)"
    for form in (text, " ".join(to_html(report, {}).split())):
        assert scope in form
        assert "held-out" not in form
        assert "another scan of the patient, as far as patient ids tell" in form
    everything = dataclasses.replace(report, subset="all")
    assert json.loads(to_json(everything))["held_out_note"] is None
    assert "cannot be told" not in to_html(everything, {}) + printed(everything)


def test_a_report_in_which_some_patients_are_unknown_says_of_how_many_scans():
    """Its scans are called held out, and the note limits it."""
    report = dataclasses.replace(REPORT, patients=dataclasses.replace(KNOWN, scans_with_patient=15))
    text = " ".join(printed(report).split())
    assert "4 held-out scans" in text
    assert "cannot be told for all scans: 5 of the 20 scans have no patient id." in text
    assert json.loads(to_json(REPORT))["held_out_note"] is None


def test_the_report_says_if_scans_that_the_model_was_fitted_on_are_included():
    """With the subset `all` it calls them included, not left out."""
    words = [words for words, _ in coverage_lines(dataclasses.replace(REPORT, subset="all"))]
    assert "included: the model was fitted or tuned on the scan" in words
    assert "4 scans including those that the model was fitted or tuned on" in " ".join(
        printed(dataclasses.replace(REPORT, subset="all")).split()
    )


def test_undefined_is_null_in_json_empty_in_csv_and_a_dash_on_the_page():
    """Never 0."""
    row = json.loads(to_json(REPORT))["thresholds"][0]
    assert (row["precision"], row["accuracy"]) == (None, 1.0)
    cells = next(csv.DictReader(io.StringIO(to_csv(REPORT))))
    assert (cells["precision"], cells["f1"], cells["accuracy"]) == ("", "", "1.0")
    assert f"<td>{UNDEFINED}</td>" in to_html(REPORT, {})


def test_each_csv_row_names_its_run_model_label_set_and_subset():
    """A row that is copied elsewhere can still be told apart."""
    for row in csv.DictReader(io.StringIO(to_csv(REPORT))):
        names = ("run_id", "model", "label_set", "label_set_sha256", "subset")
        assert [row[name] for name in names] == ["3", "<first>", "2017", "89ab" * 16, "held_out"]


def test_the_page_marks_a_partial_report_and_no_other():
    """PARTIAL is in the title and in a box."""
    assert "PARTIAL" not in to_html(REPORT, {})
    assert to_html(dataclasses.replace(REPORT, is_partial=True, finished_at=None), {}).count("PARTIAL") == 2


def test_the_page_without_labels_does_not_speak_of_thresholds():
    """It has neither a threshold table nor its footnote."""
    unlabelled = dataclasses.replace(REPORT, label_set=None, baselines=None, thresholds=(), findings=())
    assert "threshold" in to_html(REPORT, {}).lower()
    assert "threshold" not in to_html(unlabelled, {}).lower()


def test_the_page_needs_no_other_file():
    """Plots are embedded, names are escaped, nothing is fetched."""
    page = to_html(REPORT, {"roc.png": b"png"})
    assert 'src="data:image/png;base64,' in page
    assert "&lt;first&gt;" in page
    assert "http" not in page


@pytest.mark.parametrize(
    ("labels", "drawn"),
    [
        pytest.param([True, False, True, False], set(PLOTS), id="both classes"),
        pytest.param([True, True], {"scores.png"}, id="one class"),
        pytest.param([], set(), id="no scan"),
    ],
)
def test_only_plots_that_show_something_are_drawn(labels, drawn):
    """A ROC curve needs both classes, a distribution needs a scan."""
    plots = draw_plots(REPORT, scans(np.array(labels, np.bool_)))
    assert set(plots) == drawn
    assert all(content.startswith(b"\x89PNG") for content in plots.values())


def test_a_curve_keeps_every_point_that_can_be_told_apart():
    """Of a million points some thousands are kept: both ends, and a point within half a pixel of each dropped one."""
    x = np.linspace(0, 1, 1_000_001)
    y = np.abs(np.sin(9 * x)) ** 4
    kept_x, kept_y = thin_curve(x, y)
    assert len(kept_x) == len(kept_y) < 20_000
    assert (kept_x[[0, -1]].tolist(), kept_y[[0, -1]].tolist()) == ([x[0], x[-1]], [y[0], y[-1]])
    before = np.searchsorted(kept_x, x, side="right") - 1
    assert np.hypot(x - kept_x[before], y - kept_y[before]).max() < 1 / 1000
    few = np.array([0.0, 0.0, 0.5, 1.0]), np.array([0.0, 0.5, 0.5, 1.0])
    assert [part.tolist() for part in thin_curve(*few)] == [part.tolist() for part in few]


def test_a_report_replaces_its_own_files_and_leaves_others_alone(tmp_path: Path):
    """A plot of an earlier report that this one does not have is deleted; a person's file stays."""
    for name in ("roc.png", _PAGE, "notes.txt"):
        (tmp_path / name).write_text("old")
    _write_files(tmp_path, {_PAGE: b"new"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {_PAGE: "new", "notes.txt": "old"}


def test_a_report_that_cannot_be_written_whole_leaves_the_earlier_one(tmp_path: Path):
    """One of its files cannot be written, so none appears."""
    (tmp_path / _PAGE).write_text("old")
    with pytest.raises(OSError, match="No such file"):
        _write_files(tmp_path, {"nowhere/roc.png": b"new", _PAGE: b"new"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {_PAGE: "old"}
