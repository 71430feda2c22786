"""An evaluation as a person reads it on a terminal."""

from rich.console import Console
from rich.table import Table

from db.bootstrap import Figure
from trainer.evaluation import Evaluation
from trainer.progress import in_words


def show(evaluation: Evaluation) -> None:
    """Print an evaluation to stdout: AUROC of each finding, then the first finding at thresholds."""
    console = Console(width=None if Console().is_terminal else 110)
    intervals = f"95% intervals from {evaluation.bootstrap_rounds} draws of patients"
    areas = Table(
        title=f"{evaluation.scans} test scans of {evaluation.patients} patients, {intervals}", title_justify="left"
    )
    for column in ("finding", "with it", "AUROC", "average precision", "calibration error"):
        areas.add_column(column, justify="left" if column == "finding" else "right")
    for finding, one in evaluation.findings.items():
        areas.add_row(finding, str(one.positives), *(figure(of) for of in (one.auroc, one.average_precision, one.ece)))
    if evaluation.mean_auroc.value is not None:
        areas.add_row("mean of NIH's findings", "", figure(evaluation.mean_auroc), "", "")
    console.print(areas)
    console.print(_thresholds(evaluation))


def figure(of: Figure) -> str:
    """`0.703 (0.674 to 0.731)`."""
    if of.low is None or of.high is None:
        return in_words(of.value)
    return f"{in_words(of.value)} ({in_words(of.low)} to {in_words(of.high)})"


def _thresholds(evaluation: Evaluation) -> Table:
    lead, one = next(iter(evaluation.findings.items()))
    table = Table(title=f"{lead} at thresholds", title_justify="left")
    for column in ("threshold", "precision", "recall", "F1", "accuracy", "correct"):
        table.add_column(column, justify="left" if column == "threshold" else "right")
    named = [(f"{name} {at['threshold']:.3f}", at) for name, at in one.at_thresholds.items()]
    for title, at in [*named, *((f"{at['threshold']}", at) for at in one.table)]:
        rates = (in_words(at[rate]) for rate in ("precision", "recall", "f1", "accuracy"))
        table.add_row(title, *rates, f"{at['correct']} of {one.scans}")
    majority = one.baselines["majority"]["accuracy"]
    table.caption = f"always the majority: accuracy {in_words(majority)}"
    return table
