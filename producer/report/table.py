"""Prints a report to the terminal, or as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from db.metrics.aggregate import BEST_F1, GIVEN, YOUDEN
from db.metrics.report_queries import ThresholdRow
from producer.json_output import as_json
from producer.report.report import Report

#: How a person reads what is undefined.
UNDEFINED: Final = "–"
_PICKED: Final = {BEST_F1: "best F1", YOUDEN: "Youden"}


def print_report(report: Report, console: Console | None = None) -> None:
    """Print what the figures are figures of, the threshold table and the coverage."""
    console = console or Console(highlight=False)
    for line in heading(report):
        console.print(line, markup=False)
    if report.label_set is not None:
        console.print()
        console.print(_threshold_table(report))
        console.print("* picked on these very scans, so optimistic", markup=False)
        console.print(auroc_line(report), markup=False)
        console.print(baseline_line(report), markup=False)
    console.print(spread_line(report), markup=False)
    console.print()
    for words, scans in coverage_lines(report):
        console.print(f"{scans:>12,}  {words}", markup=False)


def heading(report: Report) -> list[str]:
    """What the report is a report of, in lines."""
    partial = "PARTIAL, the run is not finished. " if report.is_partial else ""
    return [
        f"{partial}Run {report.run_id}: dataset {report.dataset}, model {report.model} ({report.model_hash})",
        subject(report),
        *filter(None, [mixture(report.coverage.runtimes)]),
    ]


def subject(report: Report, finding: str | None = None) -> str:
    """Which finding (default the main one), scans and labels figures are of."""
    which = "held-out scans" if report.subset == "held_out" else "scans, those that the model has seen included"
    labels = f"label set {report.label_set}" if report.label_set is not None else "no label set, hence no metrics"
    return f"{finding or report.finding}, {report.coverage.used:,} {which}, {labels}"


def mixture(runtimes: Mapping[str, int]) -> str | None:
    """A sentence on scores that were not all computed alike, given scans by runtime and precision; else None."""
    if len(runtimes) < 2:
        return None
    ways = ", ".join(f"{way} {scans:,} scans" for way, scans in runtimes.items())
    return f"Scores were computed in {len(runtimes)} ways, which differ: {ways}."


def coverage_lines(report: Report) -> list[tuple[str, int]]:
    """What became of the run's scans, in words and scans: the first four kinds add up to the expected."""
    coverage = report.coverage
    reasons, runtimes = _counted(coverage.rejected), _counted(coverage.runtimes)
    return [
        ("expected", coverage.expected),
        (f"scored ({runtimes})" if runtimes else "scored", coverage.scored),
        (f"rejected ({reasons})" if reasons else "rejected", coverage.rejections),
        ("quarantined: they kept killing their worker", coverage.quarantined),
        ("pending", coverage.pending),
        ("decided before this run, and reused", coverage.reused),
        *_left_out_lines(report),
        ("in the figures", coverage.used),
    ]


def auroc_line(report: Report) -> str:
    """What needs no threshold, of the main finding."""
    row = next(row for row in report.findings if row.finding == report.finding)
    return (
        f"AUROC {rate(row.auroc)}, average precision {rate(row.average_precision)}: "
        f"{row.positives:,} positive and {row.negatives:,} negative scans"
    )


def spread_line(report: Report) -> str:
    """How far the scores are apart: a model that always answers the same shows here first."""
    spread = report.spread
    if spread is None:
        return "No score, hence no spread"
    return (
        f"Scores from {rate(spread.minimum)} to {rate(spread.maximum)}, quartiles {rate(spread.lower_quartile)}, "
        f"{rate(spread.median)}, {rate(spread.upper_quartile)}, standard deviation {rate(spread.standard_deviation)}"
    )


def baseline_line(report: Report) -> str:
    """What answers that never look would reach."""
    base = report.baselines
    if base is None:
        return ""
    return (
        f"Without a look at the image: always positive has F1 {rate(base.always_positive_f1)} and accuracy "
        f"{rate(base.always_positive_accuracy)}, the majority class accuracy {rate(base.majority_accuracy)}."
    )


def rate(value: float | None) -> str:
    """A rate with three decimals; undefined is a dash, never 0."""
    return UNDEFINED if value is None else f"{value:.3f}"


def threshold_words(row: ThresholdRow) -> str:
    """The threshold, and how it was picked unless it was given."""
    return f"{row.threshold:g}" if row.chosen_by == GIVEN else f"{row.threshold:.3f} {_PICKED[row.chosen_by]}*"


def to_json(report: Report) -> str:
    """The whole report as JSON; `mixture` is the sentence on scores that were not all computed alike, or null."""
    return as_json({**asdict(report), "mixture": mixture(report.coverage.runtimes)}) + "\n"


def _counted(scans: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in scans.items())


def _threshold_table(report: Report) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    for name in ("threshold", "TP", "FP", "FN", "TN", "precision", "recall", "F1", "accuracy"):
        table.add_column(name, justify="left" if name == "threshold" else "right", no_wrap=True)
    for row in report.main_thresholds:
        counts = (f"{count:,}" for count in (row.tp, row.fp, row.fn, row.tn))
        rates = (rate(value) for value in (row.precision, row.recall, row.f1, row.accuracy))
        table.add_row(threshold_words(row), *counts, *rates)
    return table


def _left_out_lines(report: Report) -> list[tuple[str, int]]:
    verb = "left out" if report.subset == "held_out" else "included"
    lines = [
        (f"{verb}: the model was fitted or tuned on the scan", report.coverage.seen_itself),
        (f"{verb}: fitted or tuned on another scan of the patient", report.coverage.seen_patient),
    ]
    if report.coverage.unlabelled is not None:
        lines.insert(0, ("left out: scored, but unlabelled", report.coverage.unlabelled))
    return lines
