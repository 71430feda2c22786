"""Prunes old runs, and the outcomes, label sets and labels that only those runs still showed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import CompoundSelect, Connection, Engine, Select, delete, exists, func, select, union
from sqlalchemy.orm import aliased

from db.engine.session import read_transaction
from db.ledger.open_run import lock_for_enqueue
from db.schema.label_history import is_label_of
from db.schema.tables import (
    PENDING,
    Label,
    LabelSet,
    Outcome,
    Run,
    RunFindingMetric,
    RunScan,
    RunThresholdMetric,
    Scores,
)

#: Range of outcome or scan ids per transaction, small enough that other writers wait only for a moment.
_IDS_PER_TRANSACTION: Final = 50_000


@dataclass(frozen=True, kw_only=True)
class PruneResult:
    """Numbers of deleted rows."""

    runs: int
    outcomes: int
    label_sets: int
    #: Rows: a scan with two findings has two.
    labels: int


def prune_runs(engine: Engine, older_than: timedelta, *, now: datetime | None = None) -> PruneResult:
    """Delete old finished runs with their metrics, then every superseded outcome and label that no run shows any more.

    The latest finished run of each dataset and model stays, however old, because people ask for its report; a cancelled
    run does not count as one. The newest outcome of each scan and model stays too, even if no run shows it: without it,
    the next enqueue would score the scan again. A label set goes if it is as old, no run is judged by it, and its name
    has a later one; then the labels go that belong to no label set. Scans, models and reviews stay.

    Each run and each slice of the rows is deleted in a transaction of its own; after an interruption, the next call
    does the rest. Later rows reuse the space; neither database returns it to the disk by itself.

    Args:
        engine: the ledger.
        older_than: minimum age of a run, since it was opened, and of a label set, since it was imported.
        now: the present, with a time zone; None means the clock's time.
    """
    limit = (now or datetime.now(UTC)).astimezone(UTC) - older_than
    with read_transaction(engine) as connection:
        runs = connection.execute(_old_runs(limit)).scalars().all()
        newest = connection.execute(select(func.max(Outcome.id))).scalar() or 0
    for run_id in runs:
        with engine.begin() as connection:
            _delete_run(connection, run_id)
    return PruneResult(
        runs=len(runs),
        outcomes=sum(_delete_superseded(engine, newest)),
        label_sets=_delete_label_sets(engine, limit),
        labels=sum(_delete_labels(engine)),
    )


def _old_runs(limit: datetime) -> Select[int]:
    ended = Run.finished_at.is_not(None)
    latest = select(func.max(Run.id)).where(ended, Run.cancelled_at.is_(None)).group_by(Run.dataset, Run.model_id)
    return select(Run.id).where(ended, Run.created_at < limit, Run.id.not_in(latest)).order_by(Run.id)


def _delete_run(connection: Connection, run_id: int) -> None:
    # Waits for a report that is storing this run's metrics; a later report finds no run.
    connection.execute(select(Run.id).where(Run.id == run_id).with_for_update())
    for table in (RunThresholdMetric, RunFindingMetric, RunScan):
        connection.execute(delete(table).where(table.run_id == run_id))
    connection.execute(delete(Run).where(Run.id == run_id))


def _delete_superseded(engine: Engine, newest: int) -> Iterator[int]:
    """Delete superseded outcomes with ids up to `newest`; yields the number that each transaction deleted."""
    for first in range(1, newest + 1, _IDS_PER_TRANSACTION):
        outcome_ids = _superseded().where(Outcome.id.between(first, first + _IDS_PER_TRANSACTION - 1))
        with engine.begin() as connection:
            # Waits for a producer that is opening a run, which may be linking outcomes that were the newest to it.
            lock_for_enqueue(connection)
            connection.execute(delete(Scores).where(Scores.outcome_id.in_(outcome_ids)))
            yield connection.execute(delete(Outcome).where(Outcome.id.in_(outcome_ids))).rowcount


def _superseded() -> Select[int]:
    """Decided outcomes that no run shows, and that are not the newest of their scan and model."""
    newer = aliased(Outcome)
    same = (newer.scan_id == Outcome.scan_id) & (newer.model_id == Outcome.model_id)
    return select(Outcome.id).where(
        Outcome.state != PENDING,
        ~exists().where(RunScan.outcome_id == Outcome.id),
        exists().where(same, newer.revision > Outcome.revision),
    )


def _delete_label_sets(engine: Engine, limit: datetime) -> int:
    """Delete the old label sets that nothing rests on; returns how many. The latest of each name stays."""
    latest = select(func.max(LabelSet.id)).group_by(LabelSet.series_id)
    used: CompoundSelect[int] = union(
        select(Run.label_set_id).where(Run.label_set_id.is_not(None)),
        select(RunThresholdMetric.label_set_id),
        select(RunFindingMetric.label_set_id),
    )
    old = delete(LabelSet).where(LabelSet.imported_at < limit, LabelSet.id.not_in(latest), LabelSet.id.not_in(used))
    with engine.begin() as connection:
        # Waits for a producer that is opening a run, which may be judged by one of them.
        lock_for_enqueue(connection)
        return connection.execute(old).rowcount


def _delete_labels(engine: Engine) -> Iterator[int]:
    """Delete the labels that belong to no label set; yields the number that each transaction deleted."""
    # The latest label set has all labels that did not end.
    is_gone = Label.until_id.is_not(None) & ~exists().where(is_label_of())
    with read_transaction(engine) as connection:
        ranges = select(Label.series_id, func.min(Label.scan_id), func.max(Label.scan_id)).where(is_gone)
        found = connection.execute(ranges.group_by(Label.series_id)).all()
    for series_id, lowest, highest in found:
        for first in range(lowest, highest + 1, _IDS_PER_TRANSACTION):
            in_slice = Label.scan_id.between(first, first + _IDS_PER_TRANSACTION - 1)
            with engine.begin() as connection:
                lock_for_enqueue(connection)
                yield connection.execute(delete(Label).where(Label.series_id == series_id, in_slice, is_gone)).rowcount
