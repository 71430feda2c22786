"""The summary of a nightly run: counts and rates that may be sent out, without names of scans, files or patients."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from db.counted import counted
from db.drift.sentences import ALARM, describe_drift, describe_shift
from db.evaluation.estimate import Estimate
from db.evaluation.format import format_estimate
from db.ledger.nightly_runs import night_of, own_work_of
from db.ledger.outcomes import CONFLICT
from db.ledger.runs import find_run, rate_of_run
from producer.ingest.source import describe_left_out
from producer.report.build import Report
from producer.report.sentences import describe_subset, interval_note, mixed_runtimes_line


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A run that has ended. Its fields are the keys of the webhook's JSON, so they are public interface.

    It leaves out source, dataset and label set: they are paths or file names, and those may hold names of patients.
    """

    run_id: int
    #: The date, or with `--now` the moment in UTC.
    night: str
    model: str
    model_sha256: str
    #: A person cancelled the run.
    cancelled: bool
    #: Why workers stopped the run; None if they did not.
    stop_reason: str | None
    #: Scans: expected = scored + all rejected + quarantined + pending.
    expected: int
    scored: int
    #: Of the scored scans, by "runtime precision".
    runtimes: dict[str, int]
    #: By reason code.
    rejected: dict[str, int]
    quarantined: int
    #: 0, unless the run is stopped, or is cancelled and shares scans with an open run.
    pending: int
    #: Of the expected scans, those whose outcome is from an earlier run.
    reused: int
    created_at: datetime
    #: When the run was finished, cancelled or stopped.
    finished_at: datetime
    #: Seconds from `created_at` to `finished_at`.
    seconds: float
    #: Between the run's first and last batch; None if it scored too little to measure, see `db.rates`.
    scans_per_second: float | None
    #: The finding and scans that the figures below are of; all of these are None for a run without labels.
    finding: str | None
    subset: str | None
    #: The subset in words, which call it held out only if patients can be compared and all fitted scans are known.
    subset_name: str | None
    #: In [0, 1]; None if only one class is present.
    auroc: float | None
    #: The ends of its 95% interval; None if it has none.
    auroc_low: float | None
    auroc_high: float | None
    #: What the interval is clustered by, or why there is none, as a sentence.
    interval_note: str | None
    positives: int | None
    negatives: int | None
    #: Of the expected scans, those that had no outcome before, under any model.
    new_scans: int
    #: The run's own outcomes: those that it did not reuse. By these `--now` exits with 0 or 3.
    scored_tonight: int
    #: By reason code.
    rejected_tonight: dict[str, int]
    quarantined_tonight: int
    #: Of the rejected scans, also those of earlier nights, the ones that a person must settle.
    conflicts: int
    #: Entries of the folder or prefix that were left out, by reason; None if that is not known.
    left_out: dict[str, int] | None
    #: Of the scored scans, those of which each of these things was noted, by code.
    notes: dict[str, int]
    #: Whether the night's scans differ from those of its reference; None if that was not judged.
    drift_alarm: bool | None
    #: How often like nights differ as much; rough where there is no alarm.
    drift_p_value: float | None
    #: What shifted most, in words that name no manufacturer.
    drift_shift: str | None
    #: Why it was not judged, as a sentence.
    drift_not_judged: str | None
    #: Scans that the night was compared with.
    drift_reference_scans: int | None
    #: All this in a line, with what to do after an alarm; like all of these None if the run is no night.
    drift_note: str | None

    @property
    def failed_tonight(self) -> int:
        """Scans that the run itself rejected or quarantined."""
        return sum(self.rejected_tonight.values()) + self.quarantined_tonight


def summarise(connection: Connection, report: Report) -> Summary:
    """Make the summary of a run that is finished, cancelled or stopped, from its report."""
    run, coverage = find_run(connection, report.run_id), report.coverage
    ended = run.finished_at or run.stopped_at or run.created_at
    figures = report.main.figures if report.main else None
    own = own_work_of(connection, run.id)
    drift = report.night
    return Summary(
        run_id=run.id,
        night=night_of(connection, run.id),
        model=run.model,
        model_sha256=run.model_sha256,
        cancelled=run.cancelled_at is not None,
        stop_reason=run.stop_reason if run.is_stopped else None,
        expected=coverage.expected,
        scored=coverage.scored,
        runtimes=coverage.runtimes,
        rejected=coverage.rejected,
        quarantined=coverage.quarantined,
        pending=coverage.pending,
        reused=coverage.reused,
        created_at=run.created_at,
        finished_at=ended,
        # Negative if the clocks of two machines differ, or one was set back.
        seconds=max(0.0, (ended - run.created_at).total_seconds()),
        scans_per_second=rate_of_run(connection, run.id),
        finding=report.finding if figures else None,
        subset=report.subset if figures else None,
        subset_name=describe_subset(report) if figures else None,
        auroc=figures.auroc.value if figures else None,
        auroc_low=figures.auroc.low if figures else None,
        auroc_high=figures.auroc.high if figures else None,
        interval_note=interval_note(report),
        positives=figures.positives if figures else None,
        negatives=figures.negatives if figures else None,
        new_scans=own.new,
        scored_tonight=own.scored,
        rejected_tonight=own.rejected,
        quarantined_tonight=own.quarantined,
        conflicts=coverage.rejected.get(CONFLICT, 0),
        left_out=report.left_out,
        notes=report.notes,
        drift_alarm=drift.is_alarm if drift else None,
        drift_p_value=drift.p_value if drift else None,
        drift_shift=describe_shift(drift.largest, name_manufacturer=False) if drift and drift.largest else None,
        drift_not_judged=drift.not_judged if drift else None,
        drift_reference_scans=drift.reference_scans if drift else None,
        drift_note=describe_drift(drift, name_manufacturer=False) if drift else None,
    )


def headline(summary: Summary) -> str:
    """The summary in one line."""
    alarm = f"{ALARM}: {summary.drift_shift}; " if summary.drift_alarm else ""
    return (
        f"{alarm}run {summary.run_id}, night {summary.night}, {_end_state(summary)}: "
        f"tonight {summary.scored_tonight:,} scored, {summary.failed_tonight:,} rejected or quarantined; "
        f"in all {summary.scored:,} of {counted(summary.expected, 'scan')} scored"
    )


def to_text(summary: Summary) -> str:
    """The summary as text, one fact per line."""
    state, mixed = _end_state(summary), mixed_runtimes_line(summary.runtimes)
    lines = [
        f"Run {summary.run_id}, night {summary.night}, {state}",
        *([f"Stopped because: {summary.stop_reason}"] if summary.stop_reason else []),
        f"Model {summary.model} ({summary.model_sha256[:12]})",
        *([mixed] if mixed else []),
        "",
        "Tonight",
        f"{summary.new_scans:>12,}  new: no outcome before",
        f"{summary.scored_tonight:>12,}  scored",
        _rejected_line(summary.rejected_tonight),
        f"{summary.quarantined_tonight:>12,}  quarantined",
        f"{summary.conflicts:>12,}  conflicts, also of earlier nights, that a person must settle",
        _left_out_line(summary.left_out),
        *(["", summary.drift_note] if summary.drift_note else []),
        "",
        "The whole source",
        f"{summary.expected:>12,}  expected",
        f"{summary.scored:>12,}  scored",
        *(f"{scans:>12,}  scored, noted as {note}" for note, scans in summary.notes.items()),
        _rejected_line(summary.rejected),
        f"{summary.quarantined:>12,}  quarantined",
        f"{summary.pending:>12,}  pending",
        f"{summary.reused:>12,}  reused: the outcome is from an earlier run",
        "",
        f"Opened {summary.created_at:%Y-%m-%d %H:%M} UTC, {state} {summary.finished_at:%Y-%m-%d %H:%M} UTC",
        _duration_line(summary),
        *([_accuracy_line(summary)] if summary.finding is not None else []),
    ]
    return "\n".join(lines) + "\n"


def _rejected_line(rejected: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{reason} {scans:,}" for reason, scans in rejected.items())
    return f"{sum(rejected.values()):>12,}  rejected{f' ({reasons})' if reasons else ''}"


def _left_out_line(left_out: Mapping[str, int] | None) -> str:
    if left_out is None:
        return "              entries left out: not known"
    words = describe_left_out(left_out)
    return f"{sum(left_out.values()):>12,}  entries left out{f' ({words})' if words else ''}"


def _end_state(summary: Summary) -> str:
    if summary.stop_reason:
        return "stopped"
    return "cancelled" if summary.cancelled else "finished"


def _duration_line(summary: Summary) -> str:
    duration = f"Duration {summary.seconds:,.0f} s"
    rate = summary.scans_per_second
    return duration if rate is None else f"{duration}, {rate:,.1f} scans/s from the first batch to the last"


def _accuracy_line(summary: Summary) -> str:
    auroc = Estimate(value=summary.auroc, low=summary.auroc_low, high=summary.auroc_high)
    return (
        f"{summary.finding} on {summary.subset_name}: AUROC {format_estimate(auroc)}, "
        f"{summary.positives:,} positive and {summary.negatives:,} negative. {summary.interval_note}"
    )
