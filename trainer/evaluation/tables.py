"""Prints an evaluation as tables on the terminal."""

from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from db.metrics.bootstrap import Estimate
from trainer.console.progress import format_figure
from trainer.evaluation.evaluator import Evaluation

#: What a finding's figures say if the interval of its AUROC holds that of guessing.
NO_BETTER_THAN_GUESSING: Final = "no better than guessing on these scans (the interval of AUROC holds 0.5)"
_GUESSING: Final = 0.5


def print_tables(evaluation: Evaluation) -> None:
    """Print to stdout the AUROC of each finding, then the first finding's figures at thresholds."""
    console = Console(width=None if Console().is_terminal else 100)
    console.print(_findings_table(evaluation))
    if guessed := guessed_findings(evaluation):
        print(f"{', '.join(guessed)}: {NO_BETTER_THAN_GUESSING}")
    console.print()
    console.print(_thresholds_table(evaluation))


def format_interval(figure: Estimate) -> str:
    """`0.703 (0.674 to 0.731)`; without an interval `0.703 (-)`."""
    if figure.value is None:
        return format_figure(None)
    if figure.low is None or figure.high is None:
        return f"{format_figure(figure.value)} (-)"
    return f"{format_figure(figure.value)} ({format_figure(figure.low)} to {format_figure(figure.high)})"


def guessed_findings(evaluation: Evaluation) -> list[str]:
    """The findings whose interval of AUROC holds 0.5, which is the AUROC of guessing."""
    aurocs = {finding: result.auroc for finding, result in evaluation.findings.items()}
    return [
        finding
        for finding, auroc in aurocs.items()
        if auroc.low is not None and auroc.high is not None and auroc.low <= _GUESSING <= auroc.high
    ]


def has_unknown_labels(evaluation: Evaluation) -> bool:
    """Whether a finding's label is unknown for a scan."""
    return any(result.scans < evaluation.scans for result in evaluation.findings.values())


def format_patients(evaluation: Evaluation) -> str:
    """`9 patients`, `9 patients and 3 scans without a patient id`, or `unknown patients`."""
    if not evaluation.patients:
        return "unknown patients"
    without = evaluation.scans_without_patient
    return f"{evaluation.patients} patients" + (f" and {without} scans without a patient id" if without else "")


def drawn_by(evaluation: Evaluation) -> str:
    """What the bootstrap draws: `patients`, or `scans` where no patient is known."""
    return "patients" if evaluation.patients else "scans"


def _findings_table(evaluation: Evaluation) -> Table:
    intervals = f"95% intervals from {evaluation.bootstrap_rounds} draws of {drawn_by(evaluation)}"
    table = _table(f"{evaluation.scans} scans of {format_patients(evaluation)}, {intervals}")
    # The table is at most 80 columns wide, which fits every terminal.
    for column in ("finding", "cases", "AUROC", "avg. prec.", "calib. err."):
        table.add_column(column, justify="left" if column == "finding" else "right")
    for finding, result in evaluation.findings.items():
        others = (format_figure(figure.value) for figure in (result.average_precision, result.ece))
        cases = f"{result.positives} of {result.scans}" if has_unknown_labels(evaluation) else str(result.positives)
        table.add_row(finding, cases, format_interval(result.auroc), *others)
    if evaluation.mean_auroc.value is not None:
        table.add_row("mean of findings", "", format_interval(evaluation.mean_auroc), "", "")
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)


def _thresholds_table(evaluation: Evaluation) -> Table:
    finding, result = next(iter(evaluation.findings.items()))
    table = _table(f"{finding} at thresholds")
    for column in ("threshold", "precision", "recall", "F1", "accuracy", "correct"):
        table.add_column(column, justify="left" if column == "threshold" else "right")
    named = [(f"{name} {rates['threshold']:.3f}", rates) for name, rates in result.at_thresholds.items()]
    for title, rates in [*named, *((f"{rates['threshold']}", rates) for rates in result.table)]:
        columns = (format_figure(rates[name]) for name in ("precision", "recall", "f1", "accuracy"))
        table.add_row(title, *columns, f"{rates['correct']} of {result.scans}")
    majority = format_figure(result.baselines["majority"]["accuracy"])
    table.caption_justify = "left"
    table.caption = f"accuracy at 0.5: {format_interval(result.accuracy)}; majority baseline: {majority}"
    return table
