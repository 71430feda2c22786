"""Prints a comparison to the terminal, in 80 columns."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from db.evaluation.comparison import Changes, Difference, FindingComparison
from db.evaluation.estimate import Estimate
from db.evaluation.evaluate import GIVEN
from db.evaluation.format import format_rate
from db.evaluation.run_pair import RunPair
from producer.compare.build import RunComparison
from producer.compare.files import changed_scans
from producer.compare.format import format_difference, format_p, format_range
from producer.compare.sentences import (
    FIGURES,
    bare_note,
    coverage_line,
    describe_thresholds,
    direction_note,
    interval_note,
    label_titles,
    labels_note,
    multiplicity_note,
    run_lines,
    threshold_note,
    warnings,
)
from producer.compare.verdict import headline
from producer.report.table import plain_table
from worker.entry_point import printable

#: In both tables of figures.
_DIFFERENCE_TITLES: Final = ("first", "second", "difference (95% interval)", "p")
_CHANGES_TITLES: Final = ("both", "only first", "only second", "neither", "p")


def print_comparison(comparison: RunComparison, console: Console | None = None) -> None:
    """Print the one difference and what it is of, the tables of figures, agreement and predictions, and the notes."""
    console = console or Console(highlight=False)
    for part in (*_heading(comparison), *_tables(comparison), *_notes(comparison)):
        if isinstance(part, Table):
            console.print(part)
        else:
            console.print(printable(part), markup=False)


def changed_titles(comparison: RunComparison) -> tuple[str, ...]:
    """The titles of `changed_rows`."""
    return ("scan", "first", "second", *label_titles(comparison, comparison.main))


def changed_rows(comparison: RunComparison, pair: RunPair) -> list[tuple[Any, ...]]:
    """The scans of the main finding whose prediction changed: the id, then both scores and the labels as text."""
    labels = len(label_titles(comparison, comparison.main))
    return [
        (scan_id, format_rate(first), format_rate(second), *map(_label, of_scan[:labels]))
        for scan_id, first, second, *of_scan in changed_scans(pair, comparison.finding, comparison.main.changed)
    ]


def _label(label: int | None) -> str:
    return "unknown" if label is None else str(label)


def _heading(comparison: RunComparison) -> Iterator[str]:
    yield headline(comparison)
    yield from run_lines(comparison)
    yield interval_note(comparison)
    yield from filter(None, (bare_note(_shown(comparison)),))
    yield direction_note(comparison)
    yield from warnings(comparison)


def _shown(comparison: RunComparison) -> Iterator[Estimate]:
    """The differences of the tables."""
    for one in comparison.findings.values():
        yield from (one.figures["auroc"].difference, one.agreement.mean_difference)
    yield from (figure.difference for figure in comparison.main.figures.values())


def _tables(comparison: RunComparison) -> Iterator[Table | str]:
    findings, main = comparison.findings, comparison.main
    aurocs = {name: one.figures["auroc"] for name, one in findings.items() if one.judged_scans}
    if aurocs:
        yield from ("", _difference_table("AUROC", aurocs))
    if main.judged_scans:
        yield from ("", f"{comparison.finding} at {describe_thresholds(comparison, comparison.finding)}:")
        yield _difference_table(comparison.finding, {title: main.figures[name] for name, title in FIGURES.items()})
        yield from filter(None, (threshold_note([main]), labels_note(comparison)))
    yield from ("", "How far both scores of a scan are apart, 95% limits of agreement, and rank correlation:")
    yield _agreement_table(findings)
    yield from ("", f"Scans that are flagged{_at_thresholds(comparison)}:")
    yield _changes_table("flagged", {name: one.flagged for name, one in findings.items()})
    correct = {name: one.correct for name, one in findings.items() if one.correct is not None}
    if correct:
        yield from ("", "Scans whose prediction is what the label says:")
        yield _changes_table("right", correct)


def _notes(comparison: RunComparison) -> Iterator[str]:
    yield ""
    yield multiplicity_note(comparison)
    yield coverage_line(comparison)


def _at_thresholds(comparison: RunComparison) -> str:
    """Each finding has thresholds of its own, unless a number was given for all."""
    if comparison.first.chosen_by[comparison.finding] != GIVEN:
        return ", each run at its model's threshold"
    return f" at {describe_thresholds(comparison, comparison.finding)}"


def _difference_table(title: str, rows: Mapping[str, Difference]) -> Table:
    cells = (
        (
            name,
            format_rate(one.first.value),
            format_rate(one.second.value),
            format_difference(one.difference),
            format_p(one.p_value),
        )
        for name, one in rows.items()
    )
    return plain_table((title, *_DIFFERENCE_TITLES), cells)


def _agreement_table(findings: Mapping[str, FindingComparison]) -> Table:
    cells = (
        (
            name,
            format_difference(one.agreement.mean_difference),
            format_range(one.agreement.low, one.agreement.high),
            format_rate(one.agreement.rank_correlation),
        )
        for name, one in findings.items()
    )
    return plain_table(("scores", "mean difference", "limits", "rank corr."), cells)


def _changes_table(title: str, rows: Mapping[str, Changes]) -> Table:
    cells = ((name, *_counts(one), format_p(one.p_value)) for name, one in rows.items())
    return plain_table((title, *_CHANGES_TITLES), cells)


def _counts(changes: Changes) -> Sequence[str]:
    return [f"{count:,}" for count in (changes.both, changes.only_first, changes.only_second, changes.neither)]
