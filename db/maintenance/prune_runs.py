"""Prunes old runs, and the outcomes that only they still showed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Engine, Select, delete, exists, func, select
from sqlalchemy.orm import aliased

from db.engine.session import read_transaction
from db.ledger.open_run import lock_for_enqueue
from db.schema.tables import PENDING, Outcome, Run, RunFindingMetric, RunScan, RunThresholdMetric, Scores

#: Outcome ids that one transaction looks through: nobody waits for it longer than a moment.
_PIECE: Final = 50_000


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """How much was deleted."""

    runs: int
    outcomes: int


def prune_runs(engine: Engine, older_than: timedelta, *, now: datetime | None = None) -> Pruned:
    """Delete old finished runs with their metrics, then every outcome that no run shows and a newer one has replaced.

    Of each dataset and model the latest run that came to its end stays, however old: its report is what people ask for.
    Of each scan and model the newest outcome stays too, though no run may show it any more: it says that the scan needs
    no scoring, and without it the next enqueue would score everything again. Scans, labels and models stay.

    Each run and each piece of the outcomes is a transaction of its own; cut short, the next call does the rest. The
    space is used again by later rows; neither database gives it back to the disk by itself.

    Args:
        engine: the ledger.
        older_than: since a run was opened.
        now: with a time zone; None is the present.
    """
    limit = (now or datetime.now(UTC)).astimezone(UTC) - older_than
    with read_transaction(engine) as connection:
        runs = connection.execute(_old_runs(limit)).scalars().all()
        newest = connection.execute(select(func.max(Outcome.id))).scalar() or 0
    for run_id in runs:
        with engine.begin() as connection:
            _delete_run(connection, run_id)
    return Pruned(runs=len(runs), outcomes=sum(_delete_replaced(engine, newest)))


def _old_runs(limit: datetime) -> Select[int]:
    ended = Run.finished_at.is_not(None)
    latest = select(func.max(Run.id)).where(ended, Run.cancelled_at.is_(None)).group_by(Run.dataset, Run.model_id)
    return select(Run.id).where(ended, Run.created_at < limit, Run.id.not_in(latest)).order_by(Run.id)


def _delete_run(connection: Connection, run_id: int) -> None:
    # A report of this run that is just storing metrics is waited for; a later one finds no run.
    connection.execute(select(Run.id).where(Run.id == run_id).with_for_update())
    for table in (RunThresholdMetric, RunFindingMetric, RunScan):
        connection.execute(delete(table).where(table.run_id == run_id))
    connection.execute(delete(Run).where(Run.id == run_id))


def _delete_replaced(engine: Engine, newest: int) -> Iterator[int]:
    """Delete the outcomes up to this id that nothing needs; gives how many, piece by piece."""
    for first in range(1, newest + 1, _PIECE):
        piece = _replaced().where(Outcome.id.between(first, first + _PIECE - 1))
        with engine.begin() as connection:
            # A producer in the middle of opening a run may be linking what it saw as the newest.
            lock_for_enqueue(connection)
            connection.execute(delete(Scores).where(Scores.outcome_id.in_(piece)))
            yield connection.execute(delete(Outcome).where(Outcome.id.in_(piece))).rowcount


def _replaced() -> Select[int]:
    """Outcomes that no run shows and that are not the newest of their scan under their model."""
    newer = aliased(Outcome)
    same = (newer.scan_id == Outcome.scan_id) & (newer.model_id == Outcome.model_id)
    return select(Outcome.id).where(
        Outcome.state != PENDING,
        ~exists().where(RunScan.outcome_id == Outcome.id),
        exists().where(same, newer.revision > Outcome.revision),
    )
