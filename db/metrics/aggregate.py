"""The aggregator: computes a run's metrics from its scores and labels, and stores them for the views."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, delete, insert, select

from db.metrics.run_metrics import DEFAULT_THRESHOLDS, FindingRow, RunMetrics, ThresholdRow, compute_metrics
from db.metrics.scored_scans import ALL, HELD_OUT, ScoredScans, read_scored_scans
from db.schema.tables import Run, RunFindingMetric, RunThresholdMetric


def aggregate(connection: Connection, run_id: int, *, thresholds: Sequence[float] = DEFAULT_THRESHOLDS) -> bool:
    """Compute the metrics of a run in which nothing is pending under its own label set, and replace the stored ones.

    Covers both subsets and every finding of the model, at the given thresholds and at the two chosen ones. Idempotent;
    a second caller waits for the first. Runs in the caller's transaction.

    Returns:
        False if there is no label set, hence no metrics, or if the run was pruned in the meantime.
    """
    # Locked before anything is read: `delete_metrics` waits for this transaction, or this one sees what it changed.
    run = _lock(connection, run_id)
    if run is None or run.label_set_id is None:
        return False
    by_subset = _compute_subsets(read_scored_scans(connection, run_id, run.label_set_id), thresholds)
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


def _compute_subsets(scored: ScoredScans, thresholds: Sequence[float]) -> dict[str, RunMetrics]:
    """The metrics of both subsets, which are the same if the model has seen no labelled scan."""
    labelled = scored.labelled
    held_out = labelled & scored.in_subset(HELD_OUT)
    of_all = compute_metrics(scored, thresholds, labelled)
    of_held_out = of_all if np.array_equal(held_out, labelled) else compute_metrics(scored, thresholds, held_out)
    return {ALL: of_all, HELD_OUT: of_held_out}


def _replace(
    connection: Connection,
    table: type[RunThresholdMetric | RunFindingMetric],
    common: dict[str, Any],
    by_subset: dict[str, tuple[ThresholdRow, ...]] | dict[str, tuple[FindingRow, ...]],
) -> None:
    connection.execute(delete(table).where(table.run_id == common["run_id"]))
    rows = [common | {"subset": subset} | asdict(row) for subset, rows in by_subset.items() for row in rows]
    connection.execute(insert(table), rows)
