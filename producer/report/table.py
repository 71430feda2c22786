"""Prints a report to the terminal, in 80 columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from db.evaluation.cohort import MIN_OF_EACH_CLASS
from db.evaluation.evaluate import GIVEN, Baseline, Figures, ThresholdFigures
from db.evaluation.format import format_estimate, format_interval, format_rate, format_threshold, name_threshold
from producer.report.build import Report
from producer.report.sentences import (
    coverage_lines,
    drift_note,
    heading_notes,
    headline,
    interval_note,
    left_out_line,
    next_steps,
    own_threshold_note,
    spread_line,
    views_line,
)
from worker.entry_point import printable

_NO_INTERVAL: Final = f"(-): no interval, with fewer than {MIN_OF_EACH_CLASS} positive or negative scans or patients"


def print_report(report: Report, console: Console | None = None) -> None:
    """Print the one figure and what it is of, the threshold table, the other figures, and the coverage."""
    console = console or Console(highlight=False)
    for part in (*_heading(report), *_figures(report), *_worklist(report), *_scores_and_coverage(report)):
        if isinstance(part, Table):
            console.print(part)
        else:
            console.print(printable(part), markup=False)


def _heading(report: Report) -> Iterator[str]:
    partial = "PARTIAL: the run is not finished. " if report.is_partial else ""
    yield f"{partial}Run {report.run_id}: dataset {report.dataset}, model {report.model} ({report.model_hash})"
    yield headline(report)
    if note := interval_note(report):
        yield note
    yield from heading_notes(report)
    if drift := drift_note(report):
        yield drift


def _figures(report: Report) -> Iterator[Table | str]:
    """The tables of the main finding, and of the findings whose prevalence is stated."""
    if report.evaluation is None or report.main is None:
        return
    main = report.main
    yield from ("", _threshold_table(main.thresholds))
    if any(row.chosen_by != GIVEN for row in main.thresholds):
        yield f"* {own_threshold_note(report)}"
    yield from ("", "95% intervals of these rates (recall is also called sensitivity):")
    yield _interval_table(main.thresholds)
    yield from ("", _rate_table(main.thresholds))
    for finding, result in report.evaluation.findings.items():
        if stated := next((row.at_prevalence for row in result.thresholds if row.at_prevalence), None):
            yield from ("", f"{finding} where its prevalence is {stated.prevalence:g}:")
            yield _prevalence_table(result.thresholds)
    yield from ("", _figure_table(report.finding, main.figures))
    yield from ("", _baseline_table(main.baselines))
    groups = {
        f"{kind} {name}": figures
        for kind, by_name in main.groups.items()
        # A single group has the figures of all scans.
        if len(by_name) > 1
        for name, figures in by_name.items()
    }
    if groups:
        yield from ("", _group_table(groups))
        if any(figures.no_interval for figures in groups.values()):
            yield _NO_INTERVAL


def _worklist(report: Report) -> Iterator[Table | str]:
    if report.worklist:
        rows = ((f"{row.scan_id}", format_rate(row.score)) for row in report.worklist)
        yield from ("", f"The highest scores of {report.finding} (the page has the names of these images):")
        yield plain_table(("scan", "score"), rows)
    if steps := next_steps(report):
        yield ""
        yield from steps


def _scores_and_coverage(report: Report) -> Iterator[str]:
    yield ""
    yield spread_line(report)
    yield views_line(report)
    yield report.precision_note
    yield ""
    for description, scans in coverage_lines(report):
        yield f"{scans:>12,}  {description}"
    if line := left_out_line(report):
        yield line


def _threshold_table(rows: Sequence[ThresholdFigures]) -> Table:
    titles = ("threshold", "TP", "FP", "FN", "TN", "precision", "recall", "F1", "accuracy")
    return plain_table(
        titles,
        (
            (
                _name(row),
                *(f"{count:,}" for count in (row.rates.tp, row.rates.fp, row.rates.fn, row.rates.tn)),
                *(
                    format_rate(rate.value)
                    for rate in (row.rates.precision, row.rates.recall, row.rates.f1, row.rates.accuracy)
                ),
            )
            for row in rows
        ),
    )


def _interval_table(rows: Sequence[ThresholdFigures]) -> Table:
    cells = (
        (
            _name(row),
            *map(format_interval, (row.rates.precision, row.rates.recall, row.rates.f1, row.rates.accuracy)),
        )
        for row in rows
    )
    titles = ("threshold", "precision (PPV)", "recall", "F1", "accuracy")
    return plain_table(titles, cells)


def _rate_table(rows: Sequence[ThresholdFigures]) -> Table:
    cells = (
        (
            _name(row),
            format_estimate(row.rates.specificity),
            format_estimate(row.rates.npv),
            format_rate(row.rates.net_benefit),
        )
        for row in rows
    )
    return plain_table(("threshold", "specificity", "NPV", "net benefit"), cells)


def _prevalence_table(rows: Sequence[ThresholdFigures]) -> Table:
    stated = ((row, row.at_prevalence) for row in rows if row.at_prevalence is not None)
    cells = ((_name(row), format_estimate(at.precision), format_estimate(at.npv)) for row, at in stated)
    return plain_table(("threshold", "precision (PPV)", "NPV"), cells)


def _figure_table(finding: str, figures: Figures) -> Table:
    rows = (
        ("AUROC", figures.auroc),
        ("average precision", figures.average_precision),
        ("Brier score", figures.brier),
        ("calibration slope, at best 1", figures.calibration_slope),
        ("calibration intercept, at best 0", figures.calibration_intercept),
        ("observed over expected, at best 1", figures.observed_over_expected),
    )
    title = f"{finding}, {figures.positives:,} positive and {figures.negatives:,} negative scans"
    return plain_table((title, "value (95% interval)"), ((name, format_estimate(figure)) for name, figure in rows))


def _baseline_table(baselines: Mapping[str, Baseline]) -> Table:
    rows = (
        (name.replace("_", " "), format_estimate(base.auroc), format_rate(base.f1), format_rate(base.accuracy))
        for name, base in baselines.items()
    )
    return plain_table(("without the image", "AUROC", "F1 at 0.5", "accuracy at 0.5"), rows)


def _group_table(groups: Mapping[str, Figures]) -> Table:
    rows = (
        (name, f"{figures.scans:,}", f"{figures.positives:,}", format_estimate(figures.auroc))
        for name, figures in groups.items()
    )
    return plain_table(("group", "scans", "positive", "AUROC"), rows)


def _name(row: ThresholdFigures) -> str:
    """A threshold, with its name and a mark unless it was given."""
    threshold = format_threshold(row.rates.threshold)
    return threshold if row.chosen_by == GIVEN else f"{threshold} {name_threshold(row.chosen_by)}*"


def plain_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of plain text, in which only the first column may be wrapped."""
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    for place, name in enumerate(titles):
        table.add_column(name, justify="right" if place else "left", no_wrap=place > 0, overflow="fold")
    for cells in rows:
        # Names of thresholds and manufacturers come from files: they are neither markup nor control sequences.
        table.add_row(*(Text(printable(cell).replace("\n", " ")) for cell in cells))
    return table
