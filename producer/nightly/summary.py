"""What a night came to, in a form that may leave the house: counts and rates, no name of a scan, file or patient."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from db.ledger.nightly_runs import night_of
from db.ledger.runs import find_run, rate_of_run
from db.metrics.scored_scans import HELD_OUT
from producer.report.report import Report
from producer.report.table import mixture, rate


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A run's end. Its fields are the webhook's JSON, hence public interface.

    Neither source nor dataset nor label set is named: each is a path or a file's name, and those may name patients.
    """

    run_id: int
    #: The date, or the moment of `--now` in UTC.
    night: str
    model: str
    model_sha256: str
    #: A person stopped the run.
    cancelled: bool
    #: Why workers stopped it; None where it came to its end.
    stop_reason: str | None
    #: Scans: expected = scored + all rejected + quarantined + pending.
    expected: int
    scored: int
    #: Of the scored, by "runtime precision".
    runtimes: dict[str, int]
    #: By reason code.
    rejected: dict[str, int]
    quarantined: int
    #: 0, but where the run was stopped, or is cancelled and shares scans with one that is open.
    pending: int
    #: Of all: the outcome was there before.
    reused: int
    created_at: datetime
    #: When it was finished, cancelled or stopped.
    finished_at: datetime
    #: Seconds from its opening to its end.
    seconds: float
    #: Between its first and its last score; None where it scored fewer than 2.
    scans_per_second: float | None
    #: What the figures are figures of; all None for a run without labels.
    finding: str | None
    subset: str | None
    #: In [0, 1]; None where only one class is present.
    auroc: float | None
    positives: int | None
    negatives: int | None


def summarise(connection: Connection, report: Report) -> Summary:
    """The summary of a run that is closed or stopped, from its report."""
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
        # Two machines' clocks, or one that was set back since.
        seconds=max(0.0, (ended - run.created_at).total_seconds()),
        scans_per_second=rate_of_run(connection, run.id),
        finding=report.finding if figures else None,
        subset=report.subset if figures else None,
        auroc=figures.auroc if figures else None,
        positives=figures.positives if figures else None,
        negatives=figures.negatives if figures else None,
    )


def headline(summary: Summary) -> str:
    """The whole night in one line."""
    lost = sum(summary.rejected.values()) + summary.quarantined
    return (
        f"run {summary.run_id}, night {summary.night}, {_end(summary)}: "
        f"{summary.scored:,} of {summary.expected:,} scans scored, {lost:,} not"
    )


def to_text(summary: Summary) -> str:
    """The summary for a person, a line a fact."""
    reasons = ", ".join(f"{reason} {scans:,}" for reason, scans in summary.rejected.items())
    lines = [
        f"Run {summary.run_id}, night {summary.night}, {_end(summary)}",
        *([f"Stopped: {summary.stop_reason}"] if summary.stop_reason else []),
        f"Model {summary.model} ({summary.model_sha256[:12]})",
        *filter(None, [mixture(summary.runtimes)]),
        "",
        f"{summary.expected:>12,}  expected",
        f"{summary.scored:>12,}  scored",
        f"{sum(summary.rejected.values()):>12,}  rejected{f' ({reasons})' if reasons else ''}",
        f"{summary.quarantined:>12,}  quarantined",
        f"{summary.pending:>12,}  pending",
        f"{summary.reused:>12,}  decided before this run, and reused",
        "",
        f"Opened {summary.created_at:%Y-%m-%d %H:%M} UTC, {_end(summary)} {summary.finished_at:%Y-%m-%d %H:%M} UTC",
        _pace(summary),
    ]
    if summary.finding is not None:
        lines.append(_figures(summary))
    return "\n".join(lines) + "\n"


def _end(summary: Summary) -> str:
    if summary.stop_reason:
        return "stopped"
    return "cancelled" if summary.cancelled else "finished"


def _pace(summary: Summary) -> str:
    took = f"{summary.seconds:,.0f} s from its opening to its end"
    speed = summary.scans_per_second
    return took if speed is None else f"{took}, {speed:,.1f} scans/s while it scored"


def _figures(summary: Summary) -> str:
    which = "held-out scans" if summary.subset == HELD_OUT else "all scans"
    return (
        f"{summary.finding} on {which}: AUROC {rate(summary.auroc)}, "
        f"{summary.positives:,} positive and {summary.negatives:,} negative"
    )
