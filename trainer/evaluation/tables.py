"""An evaluation as a person reads it on a terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from db.metrics.bootstrap import Estimate
from trainer.console.progress import in_words
from trainer.evaluation.evaluator import Evaluation


def show(evaluation: Evaluation) -> None:
    """Print an evaluation to stdout: AUROC of each finding, then the first finding at thresholds."""
    console = Console(width=None if Console().is_terminal else 100)
    intervals = f"95% intervals from {evaluation.bootstrap_rounds} draws of patients"
    areas = _table(f"{evaluation.scans} scans of {evaluation.patients} patients, {intervals}")
    # Eighty columns: it fits every terminal.
    for column in ("finding", "with it", "AUROC", "avg. prec.", "calib. err."):
        areas.add_column(column, justify="left" if column == "finding" else "right")
    for finding, one in evaluation.findings.items():
        others = (in_words(of.value) for of in (one.average_precision, one.ece))
        areas.add_row(finding, str(one.positives), figure(one.auroc), *others)
    if evaluation.mean_auroc.value is not None:
        areas.add_row("mean of findings", "", figure(evaluation.mean_auroc), "", "")
    console.print(areas)
    console.print()
    console.print(_thresholds(evaluation))


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)


def figure(of: Estimate) -> str:
    """`0.703 (0.674 to 0.731)`."""
    if of.low is None or of.high is None:
        return in_words(of.value)
    return f"{in_words(of.value)} ({in_words(of.low)} to {in_words(of.high)})"


def _thresholds(evaluation: Evaluation) -> Table:
    lead, one = next(iter(evaluation.findings.items()))
    table = _table(f"{lead} at thresholds")
    for column in ("threshold", "precision", "recall", "F1", "accuracy", "correct"):
        table.add_column(column, justify="left" if column == "threshold" else "right")
    named = [(f"{name} {at['threshold']:.3f}", at) for name, at in one.at_thresholds.items()]
    for title, at in [*named, *((f"{at['threshold']}", at) for at in one.table)]:
        rates = (in_words(at[rate]) for rate in ("precision", "recall", "f1", "accuracy"))
        table.add_row(title, *rates, f"{at['correct']} of {one.scans}")
    majority = one.baselines["majority"]["accuracy"]
    table.caption_justify = "left"
    table.caption = f"accuracy at 0.5: {figure(one.accuracy)}; of always the majority: {in_words(majority)}"
    return table
