"""What a comparison says in words beside its headline. Terminal, page and JSON have the same sentences."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from db.counted import counted
from db.evaluation.cohort import MIN_OF_EACH_CLASS
from db.evaluation.comparison import Difference, FindingComparison
from db.evaluation.estimate import Estimate
from db.evaluation.evaluate import GIVEN
from db.evaluation.format import format_threshold, name_threshold
from db.metrics.scored_scans import HELD_OUT
from producer.compare.build import ComparedRun, RunComparison
from producer.compare.format import SIGNIFICANT
from producer.report.sentences import mixed_runtimes_line

#: The figures by name, as people call them.
FIGURES: Final = {"auroc": "AUROC", "sensitivity": "sensitivity", "specificity": "specificity", "brier": "Brier score"}


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
    return f"95% intervals and p are paired by scan and {comparison.clusters}."


def bare_note(shown: Iterable[Estimate]) -> str | None:
    """What `(-)` says, if any of the differences that are shown has no interval; else None."""
    if all(one.value is None or one.low is not None for one in shown):
        return None
    few = MIN_OF_EACH_CLASS
    return (
        f"(-): no interval and no p, because fewer than {few} scans or patients are positive or negative, or fewer "
        f"than {few} patients add to the difference."
    )


def threshold_note(compared: Iterable[FindingComparison]) -> str | None:
    """What to know of sensitivity and specificity if the runs predict at different thresholds; else None."""
    if all(one.first_threshold == one.second_threshold for one in compared):
        return None
    return "Sensitivity and specificity differ by threshold as well as by model."


def describe_thresholds(comparison: RunComparison, finding: str) -> str:
    """`0.3`, `0.3 (Youden)`, or `0.3 (Youden, run 3) and 0.25 (best F1, run 7)`."""
    compared, runs = comparison.findings[finding], (comparison.first, comparison.second)
    thresholds = (compared.first_threshold, compared.second_threshold)
    names = [run.chosen_by[finding] for run in runs]
    if len({*zip(thresholds, names, strict=True)}) == 1:
        text = format_threshold(thresholds[0])
        return text if names[0] == GIVEN else f"{text} ({name_threshold(names[0])})"
    return " and ".join(
        f"{format_threshold(threshold)} ({name_threshold(name)}, run {run.run_id})"
        for threshold, name, run in zip(thresholds, names, runs, strict=True)
    )


def labels_note(comparison: RunComparison) -> str | None:
    """How many judged scans have another label under the second label set: of the main finding, and where any has."""
    if not comparison.main.judged_scans or comparison.first.label_set == comparison.second.label_set:
        return None
    names = [comparison.finding, *(name for name in comparison.findings if name != comparison.finding)]
    texts = [
        f"{name} {one.labels_changed or 0:,} of {one.judged_scans:,}"
        for name, one in ((name, comparison.findings[name]) for name in names)
        if one.labels_changed or name == comparison.finding
    ]
    return f"Scans with another label in the label set of run {comparison.second.run_id}: {', '.join(texts)}."


def label_titles(comparison: RunComparison, compared: FindingComparison) -> tuple[str, ...]:
    """The titles of a scan's labels: none without labels, and one where one label set judges both runs."""
    if not compared.judged_scans:
        return ()
    is_one = comparison.first.label_set == comparison.second.label_set
    return ("label",) if is_one else ("first label", "second label")


def multiplicity_note(comparison: RunComparison) -> str:
    """How many p values the comparison has, of AUROC and in all, and how many chance alone puts below 0.05."""
    findings = comparison.findings.values()
    aurocs = [p for one in findings if (p := one.figures["auroc"].p_value) is not None]
    p_values = [p for one in findings for p in _p_values(one) if p is not None]
    if not p_values:
        return "No p can be given."
    of_auroc = _count_small(aurocs, "of AUROC") if aurocs else "No AUROC has a p value."
    return f"{of_auroc} {_count_small(p_values, 'in all')} None is corrected for their number."


def _count_small(p_values: Sequence[float], which: str) -> str:
    below = sum(p < SIGNIFICANT for p in p_values)
    return (
        f"Of {counted(len(p_values), 'p value')} {which}, {below:,} {'is' if below == 1 else 'are'} below "
        f"{SIGNIFICANT}; if nothing differed, chance alone would give about {len(p_values) * SIGNIFICANT:.1f}."
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
    # If all outcomes are the same, that is said already.
    if runs[0].label_set != runs[1].label_set and comparison.same_outcomes < comparison.common:
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


def _p_values(finding: FindingComparison) -> Iterator[float | None]:
    yield finding.flagged.p_value
    yield None if finding.correct is None else finding.correct.p_value
    figures: tuple[Difference, ...] = tuple(finding.figures.values())
    yield from (figure.p_value for figure in figures)
