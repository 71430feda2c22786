"""The summary of a nightly run: counts and rates that may be sent out, without names of scans, files or patients."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from db.ledger.nightly_runs import night_of
from db.ledger.runs import find_run, rate_of_run
from producer.report.build import Report
from producer.report.table import describe_subset, format_rate, mixed_runtimes_line


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
    #: Between the run's first and last score; None if it scored fewer than 2 scans.
    scans_per_second: float | None
    #: The finding and scans that the figures below are of; all of these are None for a run without labels.
    finding: str | None
    subset: str | None
    #: The subset in words, which call it held out only if patients can be compared.
    subset_name: str | None
    #: In [0, 1]; None if only one class is present.
    auroc: float | None
    positives: int | None
    negatives: int | None


def summarise(connection: Connection, report: Report) -> Summary:
    """Make the summary of a run that is finished, cancelled or stopped, from its report."""
    run, coverage = find_run(connection, report.run_id), report.coverage
    ended = run.finished_at or run.stopped_at or run.created_at
    figures = next((row for row in report.findings if row.finding == report.finding), None)
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
        auroc=figures.auroc if figures else None,
        positives=figures.positives if figures else None,
        negatives=figures.negatives if figures else None,
    )


def headline(summary: Summary) -> str:
    """The summary in one line."""
    failed = sum(summary.rejected.values()) + summary.quarantined
    return (
        f"run {summary.run_id}, night {summary.night}, {_end_state(summary)}: "
        f"{summary.scored:,} of {summary.expected:,} scans scored, {failed:,} rejected or quarantined"
    )


def to_text(summary: Summary) -> str:
    """The summary as text, one fact per line."""
    reasons = ", ".join(f"{reason} {scans:,}" for reason, scans in summary.rejected.items())
    state, mixed = _end_state(summary), mixed_runtimes_line(summary.runtimes)
    lines = [
        f"Run {summary.run_id}, night {summary.night}, {state}",
        *([f"Stopped because: {summary.stop_reason}"] if summary.stop_reason else []),
        f"Model {summary.model} ({summary.model_sha256[:12]})",
        *([mixed] if mixed else []),
        "",
        f"{summary.expected:>12,}  expected",
        f"{summary.scored:>12,}  scored",
        f"{sum(summary.rejected.values()):>12,}  rejected{f' ({reasons})' if reasons else ''}",
        f"{summary.quarantined:>12,}  quarantined",
        f"{summary.pending:>12,}  pending",
        f"{summary.reused:>12,}  reused: the outcome is from an earlier run",
        "",
        f"Opened {summary.created_at:%Y-%m-%d %H:%M} UTC, {state} {summary.finished_at:%Y-%m-%d %H:%M} UTC",
        _duration_line(summary),
        *([_accuracy_line(summary)] if summary.finding is not None else []),
    ]
    return "\n".join(lines) + "\n"


def _end_state(summary: Summary) -> str:
    if summary.stop_reason:
        return "stopped"
    return "cancelled" if summary.cancelled else "finished"


def _duration_line(summary: Summary) -> str:
    duration = f"Duration {summary.seconds:,.0f} s"
    rate = summary.scans_per_second
    return duration if rate is None else f"{duration}, {rate:,.1f} scans/s from the first score to the last"


def _accuracy_line(summary: Summary) -> str:
    return (
        f"{summary.finding} on {summary.subset_name}: AUROC {format_rate(summary.auroc)}, "
        f"{summary.positives:,} positive and {summary.negatives:,} negative"
    )
