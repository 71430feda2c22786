"""What a comparison says in words. Terminal, page and JSON have the same sentences."""

from collections.abc import Iterator
from typing import Final

from db.counted import counted
from db.evaluation.cohort import MIN_OF_EACH_CLASS
from db.evaluation.comparison import Difference, FindingComparison
from db.evaluation.format import format_rate
from db.metrics.scored_scans import HELD_OUT
from producer.compare.build import ComparedRun, RunComparison
from producer.compare.format import SIGNIFICANT, format_difference, format_p, format_range
from producer.report.sentences import describe_scans, mixed_runtimes_line

#: The figures by name, as people call them.
FIGURES: Final = {"auroc": "AUROC", "sensitivity": "sensitivity", "specificity": "specificity", "brier": "Brier score"}


def headline(comparison: RunComparison) -> str:
    """The one difference, with its interval and p, and what it is of: finding, runs, scans, patients and labels."""
    main, finding = comparison.main, comparison.finding
    auroc = main.figures["auroc"]
    if not main.judged_scans:
        return f"{_describe_scores(comparison)}; no label, so nothing tells which run is better"
    p_value = "" if auroc.p_value is None else f", p {format_p(auroc.p_value)}"
    return (
        f"AUROC for {finding}: run {comparison.second.run_id} has {format_rate(auroc.second.value)}, run "
        f"{comparison.first.run_id} has {format_rate(auroc.first.value)}; difference "
        f"{format_difference(auroc.difference)}{p_value}, on {_describe_used(comparison)}, "
        f"{_describe_labels(comparison)}"
    )


def run_lines(comparison: RunComparison) -> tuple[str, str]:
    """A line for each run: its number, model, dataset, label set and how its scores were computed."""
    return _run_line("first", comparison.first), _run_line("second", comparison.second)


def direction_note(comparison: RunComparison) -> str:
    """Which way a difference points."""
    return (
        f"Differences are second minus first: above 0, run {comparison.second.run_id} has the higher figure. "
        "Of Brier scores, the lower one is better."
    )


def interval_note(comparison: RunComparison) -> str:
    """What the intervals are clustered by, or why the main finding's figures have none."""
    reason = comparison.main.no_interval
    if reason is not None:
        return f"{comparison.finding} has {reason}."
    note = f"95% intervals and p are paired by scan and {comparison.clusters}."
    differences = [figure.difference for figure in comparison.main.figures.values()]
    if any(one.value is not None and one.low is None for one in differences):
        note += f" A difference to which fewer than {MIN_OF_EACH_CLASS} patients add anything has none."
    return note


def multiplicity_note(comparison: RunComparison) -> str:
    """How many p values the comparison has, and how many of them chance alone puts below 0.05."""
    p_values = [p for one in comparison.findings.values() for p in _p_values(one) if p is not None]
    if not p_values:
        return "No p can be given."
    below = sum(p < SIGNIFICANT for p in p_values)
    return (
        f"Of {counted(len(p_values), 'p value')} over all findings, {below:,} {'is' if below == 1 else 'are'} below "
        f"{SIGNIFICANT}; if nothing differed, chance alone would give about {len(p_values) * SIGNIFICANT:.1f}. "
        "None is corrected for their number."
    )


def warnings(comparison: RunComparison) -> list[str]:
    """What a reader must know before any figure, a sentence each."""
    return list(_warnings(comparison))


def coverage_line(comparison: RunComparison) -> str:
    """How many scans each run scored, both did, and are compared."""
    first, second = comparison.first, comparison.second
    left_out = "left out" if comparison.subset == HELD_OUT else "included"
    return (
        f"Scored scans: {first.scored:,} of run {first.run_id}, {second.scored:,} of run {second.run_id}, "
        f"{comparison.common:,} of both; {comparison.seen:,} that a model has seen are {left_out}; "
        f"{comparison.used:,} are compared."
    )


def _warnings(comparison: RunComparison) -> Iterator[str]:
    runs = (comparison.first, comparison.second)
    if comparison.is_partial:
        yield "PARTIAL: a run is not finished, so every figure may change."
    if synthetic := {run.model: None for run in runs if run.synthetic}:
        yield f"Fitted on synthetic scans: {', '.join(synthetic)}. Such scores mean nothing on real scans."
    if comparison.held_out_note is not None:
        yield comparison.held_out_note
    if (same := _same_outcomes_note(comparison)) is not None:
        yield same
    if comparison.other_bytes:
        yield (
            f"Of {comparison.other_bytes:,} of the {comparison.common:,} scans of both runs, the image was changed "
            "between the runs, so its scores are of two images."
        )
    if runs[0].label_set != runs[1].label_set:
        yield "Each run is judged by a label set of its own, so a difference may be one of labels; --labels takes one."
    yield from _runtime_notes(*runs)
    for run, findings in zip(runs, (comparison.only_first, comparison.only_second), strict=True):
        if findings:
            yield f"Not compared, because only model {run.model} of run {run.run_id} scores it: {', '.join(findings)}."


def _runtime_notes(first: ComparedRun, second: ComparedRun) -> Iterator[str]:
    for run in (first, second):
        if mixed := mixed_runtimes_line(run.runtimes):
            yield f"Run {run.run_id}: {mixed}"
    # Of one model, runtime or precision may be what a person compares.
    if first.model_sha256 != second.model_sha256 and first.runtimes.keys() != second.runtimes.keys():
        yield "The runs were not scored by the same runtime and precision, which changes scores a little, too."


def _same_outcomes_note(comparison: RunComparison) -> str | None:
    same, common = comparison.same_outcomes, comparison.common
    if not same:
        return None
    if same < common:
        return f"{same:,} of the {common:,} scans of both runs have one outcome in both, so their scores cannot differ."
    if comparison.first.label_set != comparison.second.label_set:
        return "Both runs hold the very same outcomes, so scores cannot differ: only labels do."
    return "Both runs hold the very same outcomes, so nothing can differ; 'enqueue --rescore' scores them again."


def _run_line(place: str, run: ComparedRun) -> str:
    runtimes = " and ".join(run.runtimes) or "nothing"
    labels = "no label set" if run.label_set is None else f"label set {run.label_set}"
    return (
        f"{place}: run {run.run_id}, model {run.model} ({run.model_hash}), dataset {run.dataset}, {labels}, "
        f"scored by {runtimes}"
    )


def _describe_scores(comparison: RunComparison) -> str:
    agreement = comparison.main.agreement
    return (
        f"Scores for {comparison.finding} differ by {format_difference(agreement.mean_difference)} on average, limits "
        f"of agreement {format_range(agreement.low, agreement.high)}, rank correlation "
        f"{format_rate(agreement.rank_correlation)}, on {_describe_scans(comparison)}"
    )


def _describe_used(comparison: RunComparison) -> str:
    judged, scans = comparison.main.judged_scans, _describe_scans(comparison)
    return scans if judged == comparison.used else f"{judged:,} labelled ones of {scans}"


def _describe_scans(comparison: RunComparison) -> str:
    """The compared scans and their patients. A scan without a patient id may be of a patient that is counted."""
    runs = (comparison.first, comparison.second)
    # Of two models, the longer words have a reservation that the other's have not.
    in_words = [describe_scans(comparison.subset, run.patients) for run in runs]
    scans = f"{comparison.used:,} {max(in_words, key=len)}"
    if comparison.clusters != "clustered by patient":
        return scans
    return scans.replace("scans", f"scans of {counted(comparison.patients, 'patient')}", 1)


def _describe_labels(comparison: RunComparison) -> str:
    """The label sets that judge both runs."""
    first, second = comparison.first, comparison.second
    if first.label_set == second.label_set:
        return "no label set" if first.label_set is None else f"label set {first.label_set}"
    return f"label set {first.label_set} for run {first.run_id} and {second.label_set} for run {second.run_id}"


def _p_values(finding: FindingComparison) -> Iterator[float | None]:
    yield finding.flagged.p_value
    yield None if finding.correct is None else finding.correct.p_value
    figures: tuple[Difference, ...] = tuple(finding.figures.values())
    yield from (figure.p_value for figure in figures)
