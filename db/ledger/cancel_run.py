"""Cancels a run: pending scans that no other run needs are rejected, so that no worker scores them."""

from datetime import UTC, datetime

from sqlalchemy import Engine, Select, exists, select, update
from sqlalchemy.orm import aliased

from db.errors import UserError
from db.ledger.open_run import lock_for_enqueue
from db.ledger.runs import find_run
from db.schema.tables import PENDING, REJECTED, Outcome, Run, RunScan


def cancel_run(engine: Engine, run_id: int) -> int:
    """Close a run as cancelled, and reject as `cancelled` its pending scans that no other open run waits for.

    Scans that another run waits for stay pending and count for both runs; outcomes that workers record meanwhile stay.
    `cancelled` may pass: the next run makes those scans due again. Other runs may have become complete: the caller
    closes them.

    Returns:
        How many scans were rejected.

    Raises:
        UserError: there is no such run, or it is finished already.
    """
    now = datetime.now(UTC)
    rejection = {
        "state": REJECTED,
        "reason": "cancelled",
        "detail": "its run was cancelled before it was scored",
        "scored_at": now,
    }
    with engine.begin() as connection:
        # A producer may be opening a run that waits for these outcomes: after this lock its run is visible here.
        lock_for_enqueue(connection)
        run = find_run(connection, run_id)
        still_open = (Run.id == run.id) & Run.finished_at.is_(None)
        closed = connection.execute(update(Run).where(still_open).values(finished_at=now, cancelled_at=now))
        if closed.rowcount == 0:
            raise UserError(f"run {run.id} is finished already")
        return connection.execute(update(Outcome).where(Outcome.id.in_(_only_of(run.id))).values(rejection)).rowcount


def _only_of(run_id: int) -> Select[int]:
    """The pending outcomes of a run that no other open run waits for."""
    other = aliased(RunScan)
    wanted_elsewhere = exists().where(
        other.outcome_id == Outcome.id, other.run_id != run_id, Run.id == other.run_id, Run.finished_at.is_(None)
    )
    return (
        select(Outcome.id)
        .join(RunScan, RunScan.outcome_id == Outcome.id)
        .where(RunScan.run_id == run_id, Outcome.state == PENDING, ~wanted_elsewhere)
        # Locked in the order of ids, as `record_outcomes` does.
        .order_by(Outcome.id)
        .with_for_update(of=Outcome)
    )
