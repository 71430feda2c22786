"""Nights: which run was opened for which, and who sends a run's summary.

A night is a text of words, `JOB SCHEDULE DATE`: `3fa9c1d2e4b5 02:00 Europe/Berlin 2026-11-25`. All nights of a job
begin with its digest and a blank, those of one schedule with both.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select, update

from db.schema.tables import Run

#: Whoever mends a webhook after months wants no hundred summaries.
_STALE: Final = timedelta(days=7)


def run_of_night(connection: Connection, night: str) -> int | None:
    """The run that was opened for this night, or None."""
    return connection.execute(select(Run.id).where(Run.night == night)).scalar()


def note_night(connection: Connection, run_id: int, night: str) -> None:
    """Note which night a run is of. One that is still open in the schedule's next night is that one's from then on."""
    series = night.rsplit(" ", 1)[0]
    mine = Run.night.is_(None) | Run.night.startswith(f"{series} ", autoescape=True)
    connection.execute(update(Run).where(Run.id == run_id, mine).values(night=night))


def night_of(connection: Connection, run_id: int) -> str:
    """The last word of a run's night, its date or moment; empty where it has none."""
    night = connection.execute(select(Run.night).where(Run.id == run_id)).scalar()
    return (night or "").rsplit(" ", 1)[-1]


def latest_night(connection: Connection, series: str) -> date | None:
    """The date of the latest night of a job and schedule, `JOB SCHEDULE`; None where there was none yet."""
    nights = select(func.max(Run.night)).where(Run.night.startswith(f"{series} ", autoescape=True))
    latest = connection.execute(nights).scalar()
    return date.fromisoformat(latest.rsplit(" ", 1)[-1]) if latest else None


def to_summarise(connection: Connection, job: str) -> list[int]:
    """The runs of a job's nights that are closed or stopped, since a week at most, and whose summary nobody claimed."""
    closed = func.coalesce(Run.finished_at, Run.stopped_at) > datetime.now(UTC) - _STALE
    mine = Run.night.startswith(f"{job} ", autoescape=True)
    return list(connection.execute(select(Run.id).where(mine, closed, Run.summarised_at.is_(None))).scalars())


def claim_summary(connection: Connection, run_id: int) -> bool:
    """Whether the caller is the one who sends the summary: of any number of callers one is told yes."""
    mine = update(Run).where(Run.id == run_id, Run.summarised_at.is_(None)).values(summarised_at=datetime.now(UTC))
    return connection.execute(mine).rowcount == 1


def release_summary(connection: Connection, run_id: int) -> None:
    """Give a claim back: nothing was sent, and a later try may."""
    connection.execute(update(Run).where(Run.id == run_id).values(summarised_at=None))
