"""Prints an evaluation as tables on the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from db.metrics.bootstrap import Figure
from trainer.console.progress import format_figure
from trainer.evaluation.evaluator import Evaluation


def print_tables(evaluation: Evaluation) -> None:
    """Print to stdout the AUROC of each finding, then the first finding's figures at thresholds."""
    console = Console(width=None if Console().is_terminal else 100)
    console.print(_findings_table(evaluation))
    console.print()
    console.print(_thresholds_table(evaluation))


def format_interval(figure: Figure) -> str:
    """`0.703 (0.674 to 0.731)`."""
    if figure.low is None or figure.high is None:
        return format_figure(figure.value)
    return f"{format_figure(figure.value)} ({format_figure(figure.low)} to {format_figure(figure.high)})"


def _findings_table(evaluation: Evaluation) -> Table:
    intervals = f"95% intervals from {evaluation.bootstrap_rounds} bootstrap draws of patients"
    table = _table(f"{evaluation.scans} scans of {evaluation.patients} patients, {intervals}")
    # The table is at most 80 columns wide, which fits every terminal.
    for column in ("finding", "positives", "AUROC", "avg. prec.", "calib. err."):
        table.add_column(column, justify="left" if column == "finding" else "right")
    for finding, its in evaluation.findings.items():
        others = (format_figure(figure.value) for figure in (its.average_precision, its.ece))
        table.add_row(finding, str(its.positives), format_interval(its.auroc), *others)
    if evaluation.mean_auroc.value is not None:
        table.add_row("mean of findings", "", format_interval(evaluation.mean_auroc), "", "")
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)


def _thresholds_table(evaluation: Evaluation) -> Table:
    finding, its = next(iter(evaluation.findings.items()))
    table = _table(f"{finding} at thresholds")
    for column in ("threshold", "precision", "recall", "F1", "accuracy", "correct"):
        table.add_column(column, justify="left" if column == "threshold" else "right")
    named = [(f"{name} {at['threshold']:.3f}", at) for name, at in its.at_thresholds.items()]
    for title, at in [*named, *((f"{at['threshold']}", at) for at in its.table)]:
        rates = (format_figure(at[rate]) for rate in ("precision", "recall", "f1", "accuracy"))
        table.add_row(title, *rates, f"{at['correct']} of {its.scans}")
    majority = format_figure(its.baselines["majority"]["accuracy"])
    table.caption_justify = "left"
    table.caption = f"accuracy at 0.5: {format_interval(its.accuracy)}; of always predicting the majority: {majority}"
    return table
