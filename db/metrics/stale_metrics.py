"""Deletes stored metrics when something that they rest on changes, and which scans of a run are held out.

These rest on outcomes and scores, on labels, and on what makes a scan seen: names, patients and the models' splits.
Whoever changes one of these calls `delete_metrics` in the same transaction. Closing computes the metrics again.
"""

from sqlalchemy import ColumnElement, Connection, delete, select, update

from db.schema.tables import Run, RunFindingMetric, RunThresholdMetric


def delete_metrics(connection: Connection, runs: ColumnElement[bool]) -> None:
    """Delete what `aggregate` stored of the runs that fulfil a condition. `close_finished_runs` computes it again.

    It locks the runs until the caller's transaction ends, those without metrics too: one of them may be closing now,
    and would store metrics of what was there before. Either this waits for `aggregate` and deletes what it stored, or
    `aggregate` waits and sees what the caller changed.

    Args:
        connection: in the caller's transaction, which holds `lock_for_enqueue` and no lock of an outcome.
        runs: a condition on `Run`.
    """
    concerned = select(Run.id).where(runs).order_by(Run.id)
    ids = connection.execute(concerned.with_for_update(key_share=True, of=Run)).scalars().all()
    for table in (RunThresholdMetric, RunFindingMetric):
        connection.execute(delete(table).where(table.run_id.in_(ids)))
    connection.execute(update(Run).where(Run.id.in_(ids)).values(can_tell_held_out=None))
