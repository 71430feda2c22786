"""Stops a run in which too many scans fail, and resumes it once a person has mended the cause.

A stopped run is still open, and its pending scans stay pending. Workers skip them (`outcomes.is_wanted`) unless another
run waits for them too.
"""

from datetime import UTC, datetime

from sqlalchemy import Connection, exists, select, update

from db.ledger.open_run import RunRequest, lock_for_enqueue, take_up
from db.ledger.outcomes import PASSING_REASONS
from db.schema.tables import PENDING, REJECTED, Outcome, Run, RunScan


def stop_run(connection: Connection, run_id: int, reason: str) -> bool:
    """Stop an open run that still has pending scans.

    Args:
        connection: its transaction is the caller's and holds no lock of an outcome: `cancel_run` locks runs first.
        run_id: the run.
        reason: a sentence that names no scan.

    Returns:
        Whether this call stopped it.
    """
    waits = exists().where(RunScan.run_id == Run.id, Outcome.id == RunScan.outcome_id, Outcome.state == PENDING)
    is_going = (Run.id == run_id) & Run.finished_at.is_(None) & Run.stopped_at.is_(None)
    stopping = update(Run).where(is_going, waits).values(stopped_at=datetime.now(UTC), stop_reason=reason)
    return connection.execute(stopping).rowcount == 1


def resume_run(connection: Connection, run_id: int) -> bool:
    """Resume a stopped run. Scans that it rejected for a reason that may have passed become due again in it.

    Their outcomes stay, and the run waits for new revisions. The caller sends what is pending.

    Returns:
        Whether this call resumed it; False where the run is not stopped, or is finished.
    """
    lock_for_enqueue(connection)
    stopped = (Run.id == run_id) & Run.finished_at.is_(None) & Run.stopped_at.is_not(None)
    # Its end, or another stop, gets a summary of its own.
    values = {"stopped_at": None, "stop_reason": None, "resumed_at": datetime.now(UTC), "summarised_at": None}
    if connection.execute(update(Run).where(stopped).values(values)).rowcount == 0:
        return False
    take_up(connection, run_id, _request_of(connection, run_id), _passing(connection, run_id))
    return True


def _request_of(connection: Connection, run_id: int) -> RunRequest:
    columns = (Run.source, Run.sha256, Run.dataset, Run.model_id, Run.label_set_id, Run.options)
    return RunRequest(**connection.execute(select(*columns).where(Run.id == run_id)).mappings().one())


def _passing(connection: Connection, run_id: int) -> frozenset[int]:
    """The run's scans that are rejected for a reason that may have passed."""
    passing = (Outcome.state == REJECTED) & Outcome.reason.in_(PASSING_REASONS)
    scans = select(RunScan.scan_id).join(Outcome, Outcome.id == RunScan.outcome_id)
    return frozenset(connection.execute(scans.where(RunScan.run_id == run_id, passing)).scalars())
