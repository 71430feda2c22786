"""Prints an evaluation as tables on the terminal, at most 80 columns wide."""

from collections.abc import Iterable, Iterator
from textwrap import fill
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from db.evaluation.evaluate import (
    GIVEN,
    PUBLISHED,
    Evaluation,
    Figures,
    FindingEvaluation,
    ThresholdFigures,
    describe_clusters,
)
from db.evaluation.format import format_estimate, format_rate, format_threshold, name_threshold
from db.evaluation.sentences import NO_BETTER_THAN_GUESSING, guessed_findings
from db.findings import ABNORMAL
from worker.entry_point import printable

_WIDTH: Final = 80
#: Two figures with intervals leave 30 columns. Where names and counts take more, the table would break figures.
_CASES_WIDTH: Final = 12
_GROUP_WIDTH: Final = 15


def print_tables(evaluation: Evaluation) -> None:
    """Print to stdout each finding's AUROC and average precision, then all figures of the main finding."""
    console = Console(width=None if Console().is_terminal else _WIDTH, highlight=False)
    main = choose_main_finding(evaluation.findings)
    result = evaluation.findings[main]
    print(f"{evaluation.scans:,} scans of {format_patients(evaluation)}")
    print(f"95% intervals, {describe_clusters(evaluation)}\n")
    console.print(_findings_table(evaluation))
    _print_lines(missing_intervals({finding: one.figures for finding, one in evaluation.findings.items()}))
    if guessed := guessed_findings(evaluation):
        print(f"{', '.join(guessed)}: {NO_BETTER_THAN_GUESSING}")
    _print_titled(console, f"{main} calibration", _calibration_table(result.figures))
    _print_titled(console, f"{main} at thresholds", _thresholds_table(result))
    if own := own_thresholds(result):
        origin = (
            "stated by the model's publisher" if _are_published(result) else "chosen on the model's validation scans"
        )
        print(f"{origin}: {', '.join(own)}")
    if result.groups:
        _print_titled(console, f"{main} by group", _groups_table(result))
    _print_lines(missing_intervals(groups_of(result)))
    _print_titled(console, f"{main} without the image", _baselines_table(result))


def choose_main_finding(findings: Iterable[str]) -> str:
    """The finding that has all of its figures shown: `Abnormal`, else the model's first."""
    scored = list(findings)
    return ABNORMAL if ABNORMAL in scored else scored[0]


def has_unknown_labels(evaluation: Evaluation) -> bool:
    """Whether a finding's label is unknown for a scan."""
    return any(result.figures.scans < evaluation.scans for result in evaluation.findings.values())


def format_patients(evaluation: Evaluation) -> str:
    """`9 patients`, `9 patients and 3 scans without a patient id`, or `unknown patients`."""
    if not evaluation.patients:
        return "unknown patients"
    without = evaluation.scans_without_patient
    return f"{evaluation.patients:,} patients" + (f" and {without:,} scans without a patient id" if without else "")


def groups_of(result: FindingEvaluation) -> dict[str, Figures]:
    """A finding's figures by kind and name of the group, such as `view PA`."""
    return {f"{kind} {name}": figures for kind, groups in result.groups.items() for name, figures in groups.items()}


def missing_intervals(figures: dict[str, Figures]) -> Iterator[str]:
    """Why each finding or group without intervals has none, a sentence each."""
    return (f"{name}: {one.no_interval}" for name, one in figures.items() if one.no_interval)


def own_thresholds(result: FindingEvaluation) -> list[str]:
    """The model's own thresholds with their names, such as `0.372 (best F1)`."""
    return [
        f"{format_threshold(at.rates.threshold)} ({name_threshold(at.chosen_by)})"
        for at in result.thresholds
        if at.chosen_by != GIVEN
    ]


def _are_published(result: FindingEvaluation) -> bool:
    """Whether the model's own thresholds are its publisher's. A fit chooses its own, so a model has one kind."""
    return any(at.chosen_by == PUBLISHED for at in result.thresholds)


def format_cases(figures: Figures) -> str:
    """`52 of 433`: the scans with a positive label, of those with a known one."""
    return f"{figures.positives:,} of {figures.scans:,}"


def correct_scans(at: ThresholdFigures) -> str:
    """`302 of 433`: how many scans are predicted as they are labelled."""
    rates = at.rates
    return f"{rates.tp + rates.tn:,} of {rates.tp + rates.fp + rates.fn + rates.tn:,}"


def _print_titled(console: Console, title: str, table: Table) -> None:
    print(f"\n{title}")
    console.print(table)


def _print_lines(lines: Iterator[str]) -> None:
    for line in lines:
        print(line)


def _findings_table(evaluation: Evaluation) -> Table:
    table = _table("finding", "cases", "AUROC", "average precision")
    for finding, result in evaluation.findings.items():
        figures = result.figures
        cases = format_cases(figures) if has_unknown_labels(evaluation) else f"{figures.positives:,}"
        estimates = (format_estimate(figure) for figure in (figures.auroc, figures.average_precision))
        table.add_row(finding, fill(cases, _CASES_WIDTH), *estimates)
    if evaluation.mean_auroc.value is not None:
        table.add_row("mean of findings", "", format_estimate(evaluation.mean_auroc), "")
    return table


def _calibration_table(figures: Figures) -> Table:
    table = _table("", "")
    for name, figure in (
        ("Brier score", figures.brier),
        ("calibration slope", figures.calibration_slope),
        ("calibration intercept", figures.calibration_intercept),
        ("observed over expected", figures.observed_over_expected),
    ):
        table.add_row(name, format_estimate(figure))
    return table


def _thresholds_table(result: FindingEvaluation) -> Table:
    """Two lines for each threshold, because five figures with intervals are wider than a terminal."""
    table = _table("at", "precision (PPV)\nF1", "recall (sensitivity)\naccuracy", "specificity\ncorrect scans")
    for at in result.thresholds:
        rates = at.rates
        above = (format_estimate(figure) for figure in (rates.precision, rates.recall, rates.specificity))
        below = (format_estimate(rates.f1), format_estimate(rates.accuracy), correct_scans(at))
        cells = (f"{first}\n{second}" for first, second in zip(above, below, strict=True))
        table.add_row(format_threshold(rates.threshold), *cells)
    return table


def _groups_table(result: FindingEvaluation) -> Table:
    table = _table("group", "cases", "AUROC", "observed over expected")
    for name, figures in groups_of(result).items():
        estimates = (format_estimate(figure) for figure in (figures.auroc, figures.observed_over_expected))
        # A manufacturer's name is neither markup nor a control sequence.
        shown = Text(fill(printable(name), _GROUP_WIDTH))
        table.add_row(shown, fill(format_cases(figures), _GROUP_WIDTH), *estimates)
    return table


def _baselines_table(result: FindingEvaluation) -> Table:
    table = _table("baseline", "AUROC", "F1 at 0.5", "accuracy at 0.5")
    for name, baseline in result.baselines.items():
        rates = (format_rate(baseline.f1), format_rate(baseline.accuracy))
        table.add_row(name.replace("_", " "), format_estimate(baseline.auroc), *rates)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, show_header=any(columns))
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    return table
