"""Prints a report to the terminal, or as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from db.metrics.by_view import ViewRow
from db.metrics.run_metrics import BEST_F1, GIVEN, YOUDEN, ThresholdRow
from db.metrics.scored_scans import HELD_OUT
from producer.counted import counted
from producer.ingest.source import describe_left_out
from producer.json_output import as_json
from producer.report.build import Report

#: Shown in place of an undefined rate.
UNDEFINED: Final = "–"
_CHOSEN_BY_NAMES: Final = {BEST_F1: "best F1", YOUDEN: "Youden"}


def print_report(report: Report, console: Console | None = None) -> None:
    """Print the scope of the figures, the threshold table, the distribution of scores and the coverage."""
    console = console or Console(highlight=False)
    for line in _heading_lines(report):
        console.print(line, markup=False)
    if report.label_set is not None:
        console.print()
        console.print(_threshold_table(report))
        console.print("* threshold chosen on these very scans, so its figures are optimistic", markup=False)
        console.print(_auroc_line(report), markup=False)
        console.print(baseline_line(report), markup=False)
    console.print(_spread_line(report), markup=False)
    console.print(_views_line(report), markup=False)
    console.print()
    for description, scans in coverage_lines(report):
        console.print(f"{scans:>12,}  {description}", markup=False)
    if line := left_out_line(report):
        console.print(line, markup=False)


def to_json(report: Report) -> str:
    """The whole report as JSON; the notes and `mixture` are the sentences of the functions below, or null."""
    notes = {
        "mixture": mixed_runtimes_line(report.coverage.runtimes),
        "held_out_note": held_out_note(report),
        "synthetic_note": synthetic_note(report),
    }
    return as_json(asdict(report) | notes) + "\n"


def scope_line(report: Report, finding: str | None = None) -> str:
    """The finding (None: the main one), scans whose label of it is known, and label set that figures are of."""
    name, finding = report.exact_label_set, finding or report.finding
    labels = f"label set {name}" if name is not None else "no label set, so no metrics"
    row = next((row for row in report.findings if row.finding == finding), None)
    scans = report.coverage.used if row is None else row.positives + row.negatives
    return f"{finding}, {scans:,} {describe_subset(report)}, {labels}"


def describe_subset(report: Report) -> str:
    """The scans that figures are of, in words. They are called held out only if patients can be compared."""
    if report.subset != HELD_OUT:
        return "scans including those that the model was fitted or tuned on"
    if report.patients.can_tell_held_out:
        return "held-out scans"
    return "scans that the model was not fitted or tuned on by name (held out by patient cannot be told)"


def held_out_note(report: Report) -> str | None:
    """A sentence if held out by patient cannot be told for every scan, and figures are of held-out scans; else None."""
    return report.patients.note if report.subset == HELD_OUT else None


def synthetic_note(report: Report) -> str | None:
    """A sentence if the model was fitted on synthetic scans; else None."""
    sentence = "The model was fitted on synthetic scans: its scores mean nothing on real ones."
    return sentence if report.synthetic else None


def heading_notes(report: Report) -> list[str]:
    """What a reader must know before any figure, a sentence each."""
    notes = (synthetic_note(report), held_out_note(report), mixed_runtimes_line(report.coverage.runtimes))
    return [note for note in notes if note is not None]


def mixed_runtimes_line(runtimes: Mapping[str, int]) -> str | None:
    """A sentence if scores were computed with several runtimes or precisions, given scans by both; else None."""
    if len(runtimes) < 2:
        return None
    parts = ", ".join(f"{runtime} ({counted(scans, 'scan')})" for runtime, scans in runtimes.items())
    return f"Scores were computed in {len(runtimes)} ways, whose results differ slightly: {parts}."


def coverage_lines(report: Report) -> list[tuple[str, int]]:
    """What became of the run's scans, as description and count. The 2nd to 5th counts add up to the first."""
    coverage = report.coverage
    reasons, runtimes = _format_counts(coverage.rejected), _format_counts(coverage.runtimes)
    return [
        ("expected", coverage.expected),
        (f"scored ({runtimes})" if runtimes else "scored", coverage.scored),
        (f"rejected ({reasons})" if reasons else "rejected", coverage.rejections),
        ("quarantined: the scan kept killing its worker", coverage.quarantined),
        ("pending", coverage.pending),
        ("reused: the outcome is from an earlier run", coverage.reused),
        ("scored, but the image is byte for byte that of another scan of the run", coverage.duplicates),
        *((f"scored, noted as {note}", scans) for note, scans in report.notes.items()),
        *_left_out_lines(report),
        ("used for the figures", coverage.used),
    ]


def _left_out_lines(report: Report) -> list[tuple[str, int]]:
    verb = "left out" if report.subset == HELD_OUT else "included"
    known = "" if report.patients.can_tell_held_out else ", as far as patient ids tell"
    lines = [
        (f"{verb}: the model was fitted or tuned on the scan", report.coverage.seen_itself),
        (f"{verb}: the model was fitted or tuned on another scan of the patient{known}", report.coverage.seen_patient),
    ]
    if report.coverage.unlabelled is not None:
        lines.insert(0, ("left out: scored, but without a label", report.coverage.unlabelled))
    return lines


def left_out_line(report: Report) -> str:
    """What the listing of the source left out; empty if it left out nothing."""
    return f"Left out of the source: {describe_left_out(report.left_out)}." if report.left_out else ""


def baseline_line(report: Report) -> str:
    """The metrics of predictions that ignore the image; empty without a label set."""
    base = report.baselines
    if base is None:
        return ""
    return (
        f"Baselines that ignore the image: always positive has F1 {format_rate(base.always_positive_f1)} and accuracy "
        f"{format_rate(base.always_positive_accuracy)}, the majority class has accuracy "
        f"{format_rate(base.majority_accuracy)}."
    )


def format_rate(value: float | None) -> str:
    """A rate with three decimals; undefined is a dash, never 0."""
    return UNDEFINED if value is None else f"{value:.3f}"


def format_threshold(row: ThresholdRow, report: Report) -> str:
    """The threshold of a row of the main finding, and by what criterion it was chosen unless it was given."""
    if row.chosen_by == GIVEN:
        return f"{row.threshold:g}"
    rounded = np.format_float_positional(report.rounded_thresholds[row.chosen_by], min_digits=3)
    return f"{rounded} {_CHOSEN_BY_NAMES[row.chosen_by]}*"


def _heading_lines(report: Report) -> list[str]:
    partial = "PARTIAL: the run is not finished. " if report.is_partial else ""
    return [
        f"{partial}Run {report.run_id}: dataset {report.dataset}, model {report.model} ({report.model_hash})",
        scope_line(report),
        *heading_notes(report),
    ]


def _threshold_table(report: Report) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    for name in ("threshold", "TP", "FP", "FN", "TN", "precision", "recall", "F1", "accuracy"):
        table.add_column(name, justify="left" if name == "threshold" else "right", no_wrap=True)
    for row in report.main_thresholds:
        counts = (f"{count:,}" for count in (row.tp, row.fp, row.fn, row.tn))
        rates = (format_rate(value) for value in (row.precision, row.recall, row.f1, row.accuracy))
        table.add_row(format_threshold(row, report), *counts, *rates)
    return table


def _auroc_line(report: Report) -> str:
    row = next((row for row in report.findings if row.finding == report.finding), None)
    if row is None:
        return "The label set says of no scan whether it has a finding that the model scores."
    return (
        f"AUROC {format_rate(row.auroc)}, average precision {format_rate(row.average_precision)}, "
        f"on {row.positives:,} positive and {row.negatives:,} negative scans"
    )


def _spread_line(report: Report) -> str:
    spread = report.spread
    if spread is None:
        return "No score is used for the figures."
    quartiles = (spread.lower_quartile, spread.median, spread.upper_quartile)
    return (
        f"Scores range from {format_rate(spread.minimum)} to {format_rate(spread.maximum)}, quartiles "
        f"{', '.join(map(format_rate, quartiles))}, standard deviation {format_rate(spread.standard_deviation)}"
    )


def _views_line(report: Report) -> str:
    groups = (f"{row.view} {row.scored:,}{_view_auroc(row)}" for row in report.views)
    return f"Scored scans by view: {', '.join(groups) or 'none'}"


def _view_auroc(row: ViewRow) -> str:
    if row.auroc is None:
        return ""
    return f" (AUROC {format_rate(row.auroc)} of {row.positives:,} positive and {row.negatives:,} negative)"


def _format_counts(scans: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in scans.items())
