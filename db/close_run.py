"""Closes runs: nothing pending, metrics computed, marked finished, in one transaction."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, select, update

from db.engine.session import read_transaction
from db.ledger.runs import is_to_close, nothing_pending
from db.metrics.aggregate import aggregate
from db.schema.tables import Run


def close_finished_runs(engine: Engine, outcome_ids: Sequence[int] | None = None) -> list[int]:
    """Close and aggregate the open runs in which nothing is pending: those of these outcomes, or all.

    It also computes the metrics of finished runs that lack them (see `db.metrics.stale_metrics`). Each run has one
    transaction: a finished run has its metrics, even if the caller dies half-way.

    Returns:
        The runs that this call closed.
    """
    with read_transaction(engine) as connection:
        candidates = nothing_pending(connection, outcome_ids)
    return [run_id for run_id in candidates if _close_and_aggregate(engine, run_id)]


def _close_and_aggregate(engine: Engine, run_id: int) -> bool:
    with engine.begin() as connection:
        is_mine = close_run(connection, run_id)
        # Asked under the lock of `close_run`: another process may have computed the metrics meanwhile.
        if is_mine or connection.execute(select(Run.id).where(Run.id == run_id, is_to_close())).first():
            aggregate(connection, run_id)
    return is_mine


def close_run(connection: Connection, run_id: int) -> bool:
    """Close an open run in which nothing is pending.

    In a transaction of its own: inside the ones that record outcomes, two last workers would each see the other's
    outcome as pending.

    Returns:
        Whether this call closed it. Of several callers one does.
    """
    # Locked first: a producer may be adding scans to it, which only a statement that begins afterwards sees.
    connection.execute(select(Run.id).where(Run.id == run_id).with_for_update(key_share=True))
    is_over = Run.finished_at.is_(None) & is_to_close()
    closing = update(Run).where(Run.id == run_id, is_over).values(finished_at=datetime.now(UTC))
    return connection.execute(closing).rowcount == 1
