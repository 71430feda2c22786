"""Prints a comparison to the terminal, in 80 columns."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from db.evaluation.comparison import Changes, Difference, FindingComparison
from db.evaluation.format import format_rate, format_threshold, name_threshold
from db.evaluation.run_pair import RunPair
from producer.compare.build import RunComparison
from producer.compare.files import changed_scans
from producer.compare.format import format_difference, format_p, format_range
from producer.compare.sentences import (
    FIGURES,
    coverage_line,
    direction_note,
    headline,
    interval_note,
    multiplicity_note,
    run_lines,
    warnings,
)
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


def changed_rows(comparison: RunComparison, pair: RunPair) -> list[tuple[int, str, str, str, str]]:
    """The scans of the main finding whose prediction changed: id, both scores and both labels, as text."""
    rows = changed_scans(pair, comparison.finding, comparison.main.changed)
    return [
        (scan_id, *map(format_rate, scores), *("unknown" if label is None else str(label) for label in labels))
        for scan_id, *rest in rows
        for scores, labels in ((rest[:2], rest[2:]),)
    ]


def _heading(comparison: RunComparison) -> Iterator[str]:
    yield headline(comparison)
    yield from run_lines(comparison)
    yield interval_note(comparison)
    yield direction_note(comparison)
    yield from warnings(comparison)


def _tables(comparison: RunComparison) -> Iterator[Table | str]:
    findings, main = comparison.findings, comparison.main
    aurocs = {name: one.figures["auroc"] for name, one in findings.items() if one.judged_scans}
    if aurocs:
        yield from ("", _difference_table("AUROC", aurocs))
    if main.judged_scans:
        yield from ("", f"{comparison.finding} at {_thresholds(comparison)}:")
        yield _difference_table(comparison.finding, {title: main.figures[name] for name, title in FIGURES.items()})
    yield from ("", "How far both scores of a scan are apart, 95% limits of agreement, and rank correlation:")
    yield _agreement_table(findings)
    yield from ("", "Scans that are flagged, each run at its model's threshold:")
    yield _changes_table("flagged", {name: one.flagged for name, one in findings.items()})
    correct = {name: one.correct for name, one in findings.items() if one.correct is not None}
    if correct:
        yield from ("", "Scans whose prediction is what the label says:")
        yield _changes_table("right", correct)


def _notes(comparison: RunComparison) -> Iterator[str]:
    yield ""
    yield multiplicity_note(comparison)
    yield coverage_line(comparison)


def _thresholds(comparison: RunComparison) -> str:
    main, finding = comparison.main, comparison.finding
    texts = [
        f"{format_threshold(threshold)} ({name_threshold(run.chosen_by[finding])}, run {run.run_id})"
        for run, threshold in (
            (comparison.first, main.first_threshold),
            (comparison.second, main.second_threshold),
        )
    ]
    return " and ".join(texts)


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
