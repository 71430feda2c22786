"""What a report says in words. Terminal, page, JSON and messages have the same sentences."""

from collections.abc import Mapping
from shlex import quote

from db.counted import counted
from db.drift.sentences import describe_drift
from db.evaluation.evaluate import PUBLISHED
from db.evaluation.format import format_estimate, format_rate
from db.evaluation.sentences import NO_BETTER_THAN_GUESSING, guessed_findings
from db.findings import column_of
from db.metrics.known_patients import HELD_OUT_UNKNOWN, KnownPatients
from db.metrics.scored_scans import HELD_OUT
from producer.report.build import Report


def headline(report: Report) -> str:
    """The one figure, with its interval, and what it is of: finding, scans, patients and label set."""
    if report.evaluation is None:
        return f"{_describe_scores(report)}; no label set, so there are no figures"
    if report.main is None:
        return "The label set says of no scan whether it has a finding that the model scores."
    figures = report.main.figures
    scans = describe_subset(report)
    # A scan without a patient id may be of a patient that is counted already.
    if not report.evaluation.scans_without_patient:
        scans = scans.replace("scans", f"scans of {counted(figures.patients, 'patient')}", 1)
    return (
        f"AUROC {format_estimate(figures.auroc)} for {report.finding} on {figures.scans:,} {scans}, "
        f"label set {report.exact_label_set}"
    )


def describe_subset(report: Report) -> str:
    """The scans that a report's figures are of, in words."""
    return describe_scans(report.subset, report.patients)


def describe_scans(subset: str, patients: KnownPatients) -> str:
    """The scans of a subset in words. They are called held out only if patients can be compared."""
    scans = "scans" if subset == HELD_OUT else "scans including those that the model was fitted or tuned on"
    if patients.fitted_scans_unknown:
        return f"{scans} ({HELD_OUT_UNKNOWN})"
    if subset != HELD_OUT:
        return scans
    if patients.can_tell_held_out:
        return "held-out scans"
    return "scans that the model was not fitted or tuned on by name (held out by patient cannot be told)"


def interval_note(report: Report) -> str | None:
    """What the intervals are clustered by, or why the main finding has none; None without figures."""
    if report.main is None:
        return None
    reason = report.main.figures.no_interval
    return f"95% intervals are {report.clusters}." if reason is None else f"{report.finding} has {reason}."


def own_threshold_note(report: Report) -> str:
    """What the mark at a threshold says that is not a given one."""
    note = f"the model's own threshold: {threshold_origin(report)}"
    if PUBLISHED in _threshold_names(report):
        return note
    is_apart = report.subset == HELD_OUT or not report.coverage.seen_itself
    return f"{note}, {'not on these' if is_apart else 'which may be among these'}"


def threshold_origin(report: Report) -> str:
    """Where the model's own thresholds come from: its fit chose them, or its publisher states them."""
    return "stated by its publisher" if PUBLISHED in _threshold_names(report) else "chosen on its validation scans"


def guess_note(report: Report) -> str | None:
    """A sentence if the AUROC of some findings may be that of guessing; else None."""
    guessed = [] if report.evaluation is None else guessed_findings(report.evaluation)
    return f"{', '.join(guessed)}: {NO_BETTER_THAN_GUESSING}." if guessed else None


def held_out_note(report: Report) -> str | None:
    """What to say if held out cannot be told for every scan, and figures are of such scans; else None.

    It is said of all scans too if nobody knows all those that the model was fitted on.
    """
    is_concerned = report.subset == HELD_OUT or report.patients.fitted_scans_unknown
    return report.patients.note if is_concerned else None


def synthetic_note(report: Report) -> str | None:
    """A sentence if the model was fitted on synthetic scans; else None."""
    sentence = "The model was fitted on synthetic scans: its scores mean nothing on real ones."
    return sentence if report.synthetic else None


def drift_note(report: Report) -> str | None:
    """Whether the night drifted, and by what, as a line; None for a run without `nights`."""
    return None if report.night is None else describe_drift(report.night, name_manufacturer=True)


def heading_notes(report: Report) -> list[str]:
    """What a reader must know before any other figure, a sentence each."""
    notes = (synthetic_note(report), held_out_note(report), mixed_runtimes_line(report.coverage.runtimes))
    return [note for note in (*notes, guess_note(report)) if note is not None]


def mixed_runtimes_line(runtimes: Mapping[str, int]) -> str | None:
    """A sentence if scores were computed with several runtimes or precisions, given scans by both; else None."""
    if len(runtimes) < 2:
        return None
    parts = ", ".join(f"{runtime} ({counted(scans, 'scan')})" for runtime, scans in runtimes.items())
    return f"Scores were computed in {len(runtimes)} ways, whose results differ slightly: {parts}."


def coverage_lines(report: Report) -> list[tuple[str, int]]:
    """What became of the run's scans, as description and count. The 2nd to 5th counts add up to the first."""
    coverage = report.coverage
    reasons, runtimes = _format_counts(coverage.rejected), _format_counts(coverage.runtimes)
    return [
        ("expected", coverage.expected),
        (f"scored ({runtimes})" if runtimes else "scored", coverage.scored),
        (f"rejected ({reasons})" if reasons else "rejected", coverage.rejections),
        ("quarantined: the scan kept killing its worker", coverage.quarantined),
        ("pending", coverage.pending),
        ("reused: the outcome is from an earlier run", coverage.reused),
        ("scored, but the image is byte for byte that of another scan of the run", coverage.duplicates),
        *((f"scored, noted as {note}", scans) for note, scans in report.notes.items()),
        *_left_out_lines(report),
        ("used for the figures" if report.evaluation is not None else "used for what is said of scores", coverage.used),
    ]


def left_out_line(report: Report) -> str:
    """What the listing of the source left out; empty if it left out nothing."""
    if not report.left_out:
        return ""
    # It imports pydicom, which takes longer than most reports.
    from producer.ingest.source import describe_left_out

    return f"Left out of the source: {describe_left_out(report.left_out)}."


def spread_line(report: Report) -> str:
    """The range, quartiles and deviation of the main finding's scores."""
    spread = report.spread
    if spread is None:
        return "No score is used"
    quartiles = (spread.lower_quartile, spread.median, spread.upper_quartile)
    return (
        f"Scores of {report.finding} on the used scans range from {format_rate(spread.minimum)} to "
        f"{format_rate(spread.maximum)}, quartiles "
        f"{', '.join(map(format_rate, quartiles))}, standard deviation {format_rate(spread.standard_deviation)}"
    )


def views_line(report: Report) -> str:
    """All scored scans by view."""
    groups = ", ".join(f"{view} {scans:,}" for view, scans in report.views.items())
    return f"All scored scans by view: {groups or 'none'}"


def next_steps(report: Report) -> tuple[str, ...]:
    """What to do next with a run that is not compared with labels, a sentence each; empty for others."""
    if report.evaluation is not None:
        return ()
    run, column, dataset = report.run_id, column_of(report.finding), quote(report.dataset)
    label = f"'producer labels --csv FILE --name NAME --dataset {dataset}'"
    compare = f"'producer report --run {run} --labels NAME'"
    return (
        f"To compare with labels: import them with {label}, then {compare}.",
        f"To write all scores to a file: 'producer export --run {run} --wide --out scores.csv'.",
        f"To read them in SQL: the view results_wide has a row for each scan of run {run}, with its score in {column}.",
    )


def _left_out_lines(report: Report) -> list[tuple[str, int]]:
    verb = "left out" if report.subset == HELD_OUT else "included"
    unknown = report.patients.fitted_scans_unknown
    was = "is known to be" if unknown else "was"
    known = "" if unknown or report.patients.can_tell_held_out else ", as far as patient ids tell"
    lines = [
        (f"{verb}: the model {was} fitted or tuned on the scan", report.coverage.seen_itself),
        (
            f"{verb}: the model {was} fitted or tuned on another scan of the patient{known}",
            report.coverage.seen_patient,
        ),
    ]
    if report.coverage.unlabelled is not None:
        lines.insert(0, ("left out: scored, but without a label", report.coverage.unlabelled))
    return lines


def _threshold_names(report: Report) -> set[str]:
    findings = report.evaluation.findings.values() if report.evaluation is not None else ()
    return {row.chosen_by for one in findings for row in one.thresholds}


def _describe_scores(report: Report) -> str:
    coverage = report.coverage
    scans = f"{counted(coverage.scored, 'scored scan')} of {coverage.expected:,}"
    if report.spread is None:
        return scans
    of = "" if coverage.used == coverage.scored else f" on {coverage.used:,} {describe_subset(report)}"
    return f"{scans}, median score of {report.finding} {format_rate(report.spread.median)}{of}"


def _format_counts(scans: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in scans.items())
