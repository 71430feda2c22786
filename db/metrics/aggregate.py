"""The aggregator: computes a run's metrics and which of its scans are held out, and stores them for the views."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from db.metrics.held_out import seen_scans
from db.metrics.known_patients import read_known_patients
from db.metrics.run_metrics import DEFAULT_THRESHOLDS, FindingRow, RunMetrics, ThresholdRow, compute_metrics
from db.metrics.scored_scans import ALL, HELD_OUT, ScoredScans, read_scored_scans
from db.schema.tables import Run, RunFindingMetric, RunScan, RunThresholdMetric


def aggregate(connection: Connection, run_id: int, *, thresholds: Sequence[float] = DEFAULT_THRESHOLDS) -> bool:
    """Compute what is stored of a run in which nothing is pending, and replace what was stored before.

    That is which of its scans are held out, and its metrics under its own label set: of both subsets and every finding
    of the model that the label set judges, at the given thresholds and at the two chosen ones. If nobody knows all
    scans that the model was fitted on, there are no metrics of held-out scans. Idempotent; a second caller waits for
    the first. Runs in the caller's transaction.

    Returns:
        False if there is no label set, hence no metrics, or if the run was pruned in the meantime.
    """
    # Locked before anything is read: `delete_metrics` waits for this transaction, or this one sees what it changed.
    run = _lock(connection, run_id)
    if run is None:
        return False
    patients = read_known_patients(connection, run_id)
    _store_seen_scans(connection, run_id, can_tell=patients.can_tell_held_out)
    if run.label_set_id is None:
        return False
    by_subset = _compute_subsets(read_scored_scans(connection, run_id, run.label_set_id), thresholds)
    if patients.fitted_scans_unknown:
        # The views show no sentence beside a figure, so they have none that is called held out.
        del by_subset[HELD_OUT]
    common = {
        "run_id": run_id,
        "label_set_id": run.label_set_id,
        "computed_at": datetime.now(UTC),
        "is_partial": False,
    }
    _replace(connection, RunThresholdMetric, common, {name: rows.thresholds for name, rows in by_subset.items()})
    _replace(connection, RunFindingMetric, common, {name: rows.findings for name, rows in by_subset.items()})
    return True


def _lock(connection: Connection, run_id: int) -> Row[int | None] | None:
    """Lock the run and read its own label set; None if the run is gone.

    Without the lock, two aggregators of one run would both insert on PostgreSQL; SQLite has one writer anyway.
    """
    row = select(Run.label_set_id).where(Run.id == run_id).with_for_update(key_share=True)
    return connection.execute(row).first()


def _store_seen_scans(connection: Connection, run_id: int, *, can_tell: bool) -> None:
    """Store which scans of a run its model has seen, and whether that can be told."""
    is_seen = RunScan.scan_id.in_(select(seen_scans(run_id).subquery().c.scan_id))
    # Most scans stay as they are, and a row that is not written costs nothing.
    changes = update(RunScan).where(RunScan.run_id == run_id, RunScan.seen != is_seen)
    connection.execute(changes.values(seen=~RunScan.seen))
    connection.execute(update(Run).where(Run.id == run_id).values(can_tell_held_out=can_tell))


def _compute_subsets(scored: ScoredScans, thresholds: Sequence[float]) -> dict[str, RunMetrics]:
    """The metrics of both subsets, which are the same if the model has seen no labelled scan."""
    held_out = scored.in_subset(HELD_OUT)
    of_all = compute_metrics(scored, thresholds)
    of_held_out = of_all if held_out[scored.labelled].all() else compute_metrics(scored, thresholds, held_out)
    return {ALL: of_all, HELD_OUT: of_held_out}


def _replace(
    connection: Connection,
    table: type[RunThresholdMetric | RunFindingMetric],
    common: dict[str, Any],
    by_subset: dict[str, tuple[ThresholdRow, ...]] | dict[str, tuple[FindingRow, ...]],
) -> None:
    connection.execute(delete(table).where(table.run_id == common["run_id"]))
    rows = [common | {"subset": subset} | asdict(row) for subset, rows in by_subset.items() for row in rows]
    if rows:
        connection.execute(insert(table), rows)
