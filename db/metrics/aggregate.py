"""The aggregator: computes a run's metrics from its scores and labels, and stores them for the views."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, Row, delete, func, insert, select

from db.metrics.formulas import ConfusionMatrix, RocCurve, roc_curve
from db.metrics.scored_scans import ALL, HELD_OUT, ScoredScans, read_scored_scans
from db.schema.tables import PENDING, Outcome, Run, RunFindingMetric, RunScan, RunThresholdMetric

#: The thresholds of the mini project's table.
DEFAULT_THRESHOLDS: Final = (0.3, 0.4, 0.5, 0.6, 0.7)
#: How a threshold was chosen: given by the caller, or as the best of a criterion. The latter are chosen on the same
#: scans that they are measured on, so their rows are optimistic.
GIVEN: Final = "given"
BEST_F1: Final = "best_f1"
YOUDEN: Final = "youden"


def aggregate(
    connection: Connection,
    run_id: int,
    *,
    label_set_id: int | None = None,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
) -> bool:
    """Compute a run's metrics under a label set (by default its own), and replace the stored ones.

    Covers both subsets and every finding of the model, at the given thresholds and at the two chosen ones. Idempotent;
    a second caller waits for the first. Runs in the caller's transaction.

    Returns:
        False if there is no label set, hence no metrics, or if the run was pruned in the meantime.
    """
    run = _lock(connection, run_id)
    label_set_id = run.label_set_id if run and label_set_id is None else label_set_id
    if run is None or label_set_id is None:
        return False
    # Checked before the scores are read: complete metrics may be marked partial, but never partial ones complete.
    common = {
        "run_id": run_id,
        "label_set_id": label_set_id,
        "computed_at": datetime.now(UTC),
        "is_partial": has_pending(connection, run_id),
    }
    scored = read_scored_scans(connection, run_id, label_set_id)
    by_threshold, by_finding = _metric_rows(scored, tuple(dict.fromkeys(thresholds)))
    _replace(connection, RunThresholdMetric, common, by_threshold)
    _replace(connection, RunFindingMetric, common, by_finding)
    return True


def is_current(
    connection: Connection,
    run_id: int,
    label_set_id: int | None,
    *,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
) -> bool:
    """Whether the stored metrics equal what `aggregate` would compute now.

    They do not if they are missing, at other thresholds, older than an outcome of the run, or partial: an outcome that
    was decided since may bear the earlier time of another machine's clock. Without a label set there is nothing to
    compute, and the answer is True.
    """
    if label_set_id is None:
        return True
    stored = select(RunFindingMetric.computed_at, RunFindingMetric.is_partial).where(
        RunFindingMetric.run_id == run_id, RunFindingMetric.label_set_id == label_set_id
    )
    row = connection.execute(stored.limit(1)).first()
    if row is None or row.is_partial:
        return False
    if _given_thresholds(connection, run_id, label_set_id) != set(thresholds):
        return False
    newest = connection.execute(
        select(func.max(Outcome.scored_at))
        .join(RunScan, RunScan.outcome_id == Outcome.id)
        .where(RunScan.run_id == run_id)
    ).scalar()
    return newest is None or newest <= row.computed_at


def has_pending(connection: Connection, run_id: int) -> bool:
    """Whether an outcome of the run is still pending."""
    pending = (
        select(Outcome.id)
        .join(RunScan, RunScan.outcome_id == Outcome.id)
        .where(RunScan.run_id == run_id, Outcome.state == PENDING)
    )
    return connection.execute(pending.limit(1)).first() is not None


def _given_thresholds(connection: Connection, run_id: int, label_set_id: int) -> set[float]:
    """The thresholds of the stored metrics that a caller had given."""
    metric = RunThresholdMetric
    given = select(metric.threshold).where(
        metric.run_id == run_id, metric.label_set_id == label_set_id, metric.chosen_by == GIVEN
    )
    return set(connection.execute(given.distinct()).scalars())


def _lock(connection: Connection, run_id: int) -> Row[int | None] | None:
    """Lock the run and read its own label set; None if the run is gone.

    Without the lock, two aggregators of one run would both insert on PostgreSQL; SQLite has one writer anyway.
    """
    row = select(Run.label_set_id).where(Run.id == run_id).with_for_update(key_share=True)
    return connection.execute(row).first()


def _metric_rows(scored: ScoredScans, given: Sequence[float]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    by_threshold, by_finding = [], []
    for key, curve in _roc_curves(scored):
        by_threshold += [key | row for row in _threshold_rows(curve, given)]
        by_finding.append(key | _finding_row(curve))
    return by_threshold, by_finding


def _roc_curves(scored: ScoredScans) -> Iterator[tuple[dict[str, str], RocCurve]]:
    """The curve of every finding in both subsets, by its key. Both subsets share it if the model has seen no scan."""
    labelled = scored.labelled
    held_out = labelled & scored.in_subset(HELD_OUT)
    are_equal = np.array_equal(held_out, labelled)
    for finding in scored.findings:
        curve = roc_curve(*scored.labels_and_scores(finding, labelled))
        yield {"subset": ALL, "finding": finding}, curve
        if not are_equal:
            curve = roc_curve(*scored.labels_and_scores(finding, held_out))
        yield {"subset": HELD_OUT, "finding": finding}, curve


def _threshold_rows(curve: RocCurve, given: Sequence[float]) -> Iterator[dict[str, Any]]:
    for chosen_by, threshold in _thresholds(curve, given):
        yield {"chosen_by": chosen_by, "threshold": threshold} | _rates(curve.confusion_matrix_at(threshold))


def _finding_row(curve: RocCurve) -> dict[str, Any]:
    return {name: getattr(curve, name) for name in ("auroc", "average_precision", "positives", "negatives")}


def _thresholds(curve: RocCurve, given: Sequence[float]) -> Iterator[tuple[str, float]]:
    for threshold in given:
        yield GIVEN, threshold
    for chosen_by, best in ((BEST_F1, curve.best_f1_threshold), (YOUDEN, curve.youden_threshold)):
        if best is not None:
            yield chosen_by, best


def _rates(counts: ConfusionMatrix) -> dict[str, Any]:
    names = ("tp", "fp", "fn", "tn", "precision", "recall", "specificity", "f1", "accuracy", "balanced_accuracy")
    return {name: getattr(counts, name) for name in names}


def _replace(
    connection: Connection,
    table: type[RunThresholdMetric | RunFindingMetric],
    common: dict[str, Any],
    rows: list[dict[str, Any]],
) -> None:
    connection.execute(
        delete(table).where(table.run_id == common["run_id"], table.label_set_id == common["label_set_id"])
    )
    connection.execute(insert(table), [common | row for row in rows])
