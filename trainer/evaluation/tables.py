"""Prints an evaluation as tables on the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from db.metrics.bootstrap import Estimate
from trainer.console.progress import format_figure
from trainer.evaluation.evaluator import Evaluation


def print_tables(evaluation: Evaluation) -> None:
    """Print to stdout the AUROC of each finding, then the first finding's figures at thresholds."""
    console = Console(width=None if Console().is_terminal else 100)
    console.print(_findings_table(evaluation))
    console.print()
    console.print(_thresholds_table(evaluation))


def format_interval(figure: Estimate) -> str:
    """`0.703 (0.674 to 0.731)`."""
    if figure.low is None or figure.high is None:
        return format_figure(figure.value)
    return f"{format_figure(figure.value)} ({format_figure(figure.low)} to {format_figure(figure.high)})"


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
        table.add_row(finding, str(result.positives), format_interval(result.auroc), *others)
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
