"""Nightly runs: which run belongs to which night, and which producer sends a run's summary.

A night is a text `JOB SCHEDULE DATE`, such as `3fa9c1d2e4b5 02:00 Europe/Berlin 2026-11-25`. All nights of a job begin
with the job's digest and a space; all nights of a schedule begin with job, schedule and a space.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, exists, func, select, update
from sqlalchemy.orm import aliased

from db.schema.tables import QUARANTINED, REJECTED, SCORED, Outcome, Run, RunScan

#: Older runs get no summary: a webhook that works again after months must not receive a hundred of them.
_MAX_SUMMARY_AGE: Final = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class OwnWork:
    """What a run decided itself, in scans; it reused all other outcomes."""

    #: Scans that had no outcome before, under any model.
    new: int
    scored: int
    #: By reason code.
    rejected: dict[str, int]
    quarantined: int


def run_of_night(connection: Connection, night: str) -> int | None:
    """The id of the run that was opened for this night, or None."""
    return connection.execute(select(Run.id).where(Run.night == night)).scalar()


def assign_night(connection: Connection, run_id: int, night: str) -> None:
    """Assign a night to a run. A run that is still open on its schedule's next night then belongs to that night."""
    series = night.rsplit(" ", 1)[0]
    mine = Run.night.is_(None) | Run.night.startswith(f"{series} ", autoescape=True)
    connection.execute(update(Run).where(Run.id == run_id, mine).values(night=night))


def night_of(connection: Connection, run_id: int) -> str:
    """The last word of a run's night: its date, or its date and time. Empty if it has no night."""
    night = connection.execute(select(Run.night).where(Run.id == run_id)).scalar()
    return (night or "").rsplit(" ", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class NightlyRun:
    """The run of a night."""

    id: int
    #: The last word of `Run.night`, see `night_of`.
    night: str


def latest_nights(connection: Connection, run_id: int, limit: int) -> list[NightlyRun]:
    """A night and the nights before it, at most `limit` in all, in their order; empty if the run is no night.

    They are the nights of the same job under the same model. Those before it have ended: their runs are closed or
    stopped.
    """
    found = connection.execute(select(Run.night, Run.model_id).where(Run.id == run_id)).first()
    if found is None or found.night is None:
        return []
    mine = Run.night.startswith(f"{found.night.split(' ')[0]} ", autoescape=True)
    earlier = (Run.id < run_id) & (Run.model_id == found.model_id) & mine & _has_ended()
    nights = select(Run.id, Run.night).where(earlier | (Run.id == run_id)).order_by(Run.id.desc()).limit(limit)
    latest = [NightlyRun(id=key, night=str(night).rsplit(" ", 1)[-1]) for key, night in connection.execute(nights)]
    return latest[::-1]


def latest_ended_night(connection: Connection, job: str | None = None) -> int | None:
    """The run of the latest night that is closed or stopped, of a job or of all; None if there is none."""
    mine = Run.night.is_not(None) if job is None else Run.night.startswith(f"{job} ", autoescape=True)
    return connection.execute(select(func.max(Run.id)).where(mine, _has_ended())).scalar()


def _has_ended() -> ColumnElement[bool]:
    return Run.finished_at.is_not(None) | Run.stopped_at.is_not(None)


def own_work_of(connection: Connection, run_id: int) -> OwnWork:
    """Count what a run decided itself."""
    of_run = select(Outcome.state, Outcome.reason, func.count())
    of_run = of_run.join(RunScan, RunScan.outcome_id == Outcome.id).where(RunScan.run_id == run_id, ~RunScan.reused)
    rows = connection.execute(of_run.group_by(Outcome.state, Outcome.reason).order_by(Outcome.reason)).all()
    counts = {(state, reason or ""): count for state, reason, count in rows}
    return OwnWork(
        new=_count_new(connection, run_id),
        scored=sum(count for (state, _), count in counts.items() if state == SCORED),
        rejected={reason: count for (state, reason), count in counts.items() if state == REJECTED},
        quarantined=sum(count for (state, _), count in counts.items() if state == QUARANTINED),
    )


def _count_new(connection: Connection, run_id: int) -> int:
    older = aliased(Outcome)
    has_older = exists().where(older.scan_id == RunScan.scan_id, older.id < RunScan.outcome_id)
    new = select(func.count()).where(RunScan.run_id == run_id, ~RunScan.reused, ~has_older)
    return connection.execute(new.select_from(RunScan)).scalar_one()


def latest_night(connection: Connection, series: str) -> date | None:
    """The date of the latest night of a job and schedule, given as `JOB SCHEDULE`; None if there was none yet."""
    nights = select(func.max(Run.night)).where(Run.night.startswith(f"{series} ", autoescape=True))
    latest = connection.execute(nights).scalar()
    return date.fromisoformat(latest.rsplit(" ", 1)[-1]) if latest else None


def runs_to_summarise(connection: Connection, job: str) -> list[int]:
    """The runs of a job that were closed or stopped within the last week, and whose summary no producer has claimed."""
    closed = func.coalesce(Run.finished_at, Run.stopped_at) > datetime.now(UTC) - _MAX_SUMMARY_AGE
    mine = Run.night.startswith(f"{job} ", autoescape=True)
    return list(connection.execute(select(Run.id).where(mine, closed, Run.summarised_at.is_(None))).scalars())


def claim_summary(connection: Connection, run_id: int) -> bool:
    """Claim the sending of a run's summary. Of several callers, one gets True and sends it."""
    claim = update(Run).where(Run.id == run_id, Run.summarised_at.is_(None)).values(summarised_at=datetime.now(UTC))
    return connection.execute(claim).rowcount == 1


def release_summary(connection: Connection, run_id: int) -> None:
    """Give up the claim because nothing was sent, so that a later attempt can send the summary."""
    connection.execute(update(Run).where(Run.id == run_id).values(summarised_at=None))
