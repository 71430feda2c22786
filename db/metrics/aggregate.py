"""The aggregator: a run's metrics from its scores and labels, written where the views show them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, Row, delete, func, insert, select

from db.metrics.formulas import Counts, Ranked, rank
from db.metrics.scored_scans import ALL, HELD_OUT, ScoredScans, read_scored
from db.schema.tables import PENDING, Outcome, Run, RunFindingMetric, RunScan, RunThresholdMetric

DEFAULT_THRESHOLDS: Final = (0.3, 0.4, 0.5, 0.6, 0.7)
GIVEN: Final = "given"
#: Picked on the very scans that they are then measured on: their rows are optimistic.
BEST_F1: Final = "best_f1"
YOUDEN: Final = "youden"


def aggregate(
    connection: Connection,
    run_id: int,
    *,
    label_set_id: int | None = None,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
) -> bool:
    """Compute a run's metrics under a label set (default its own), in place of those there were.

    Both subsets, every finding of the model, at the given thresholds and at the two picked ones. Idempotent; a second
    caller waits for the first. The transaction is the caller's.

    Returns:
        False where the run has no label set, hence no metrics; or is gone, for somebody pruned it meanwhile.
    """
    run = _lock(connection, run_id)
    label_set_id = run.label_set_id if run and label_set_id is None else label_set_id
    if run is None or label_set_id is None:
        return False
    # Asked before the scores are read: at worst full metrics are called partial, never partial ones full.
    stamp = {
        "run_id": run_id,
        "label_set_id": label_set_id,
        "computed_at": datetime.now(UTC),
        "is_partial": has_pending(connection, run_id),
    }
    scored = read_scored(connection, run_id, label_set_id)
    by_threshold, by_finding = _metric_rows(scored, tuple(dict.fromkeys(thresholds)))
    _replace(connection, RunThresholdMetric, stamp, by_threshold)
    _replace(connection, RunFindingMetric, stamp, by_finding)
    return True


def is_current(
    connection: Connection,
    run_id: int,
    label_set_id: int | None,
    *,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
) -> bool:
    """Whether the stored metrics are those that `aggregate` would compute now.

    They are not when missing, at other thresholds, older than an outcome of the run, or partial: what was decided since
    may bear the time of a clock that is behind. Without a label set there is nothing to compute.
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
    """Whether the run still waits for an outcome."""
    pending = (
        select(Outcome.id)
        .join(RunScan, RunScan.outcome_id == Outcome.id)
        .where(RunScan.run_id == run_id, Outcome.state == PENDING)
    )
    return connection.execute(pending.limit(1)).first() is not None


def _given_thresholds(connection: Connection, run_id: int, label_set_id: int) -> set[float]:
    """Where the stored metrics were computed, but for the thresholds that were picked."""
    metric = RunThresholdMetric
    given = select(metric.threshold).where(
        metric.run_id == run_id, metric.label_set_id == label_set_id, metric.chosen_by == GIVEN
    )
    return set(connection.execute(given.distinct()).scalars())


def _lock(connection: Connection, run_id: int) -> Row[int | None] | None:
    """The run with its own label set. Two aggregators of one run would both insert; SQLite has one writer anyway."""
    row = select(Run.label_set_id).where(Run.id == run_id).with_for_update(key_share=True)
    return connection.execute(row).first()


def _metric_rows(scored: ScoredScans, given: Sequence[float]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    by_threshold, by_finding = [], []
    for key, ranked in _rank_slices(scored):
        by_threshold += [key | row for row in _threshold_rows(ranked, given)]
        by_finding.append(key | _finding_row(ranked))
    return by_threshold, by_finding


def _rank_slices(scored: ScoredScans) -> Iterator[tuple[dict[str, str], Ranked]]:
    """Every finding of both subsets by its key, sorted once; where the model has seen nothing, once for both."""
    labelled = scored.labelled
    held_out = labelled & scored.in_subset(HELD_OUT)
    same = np.array_equal(held_out, labelled)
    for finding in scored.findings:
        of_all = rank(*scored.of(finding, labelled))
        yield {"subset": ALL, "finding": finding}, of_all
        yield {"subset": HELD_OUT, "finding": finding}, of_all if same else rank(*scored.of(finding, held_out))


def _threshold_rows(ranked: Ranked, given: Sequence[float]) -> Iterator[dict[str, Any]]:
    for chosen_by, threshold in _thresholds(ranked, given):
        yield {"chosen_by": chosen_by, "threshold": threshold} | _rates(ranked.count_at(threshold))


def _finding_row(ranked: Ranked) -> dict[str, Any]:
    return {name: getattr(ranked, name) for name in ("auroc", "average_precision", "positives", "negatives")}


def _thresholds(ranked: Ranked, given: Sequence[float]) -> Iterator[tuple[str, float]]:
    for threshold in given:
        yield GIVEN, threshold
    for chosen_by, picked in ((BEST_F1, ranked.best_f1_threshold), (YOUDEN, ranked.youden_threshold)):
        if picked is not None:
            yield chosen_by, picked


def _rates(counts: Counts) -> dict[str, Any]:
    names = ("tp", "fp", "fn", "tn", "precision", "recall", "specificity", "f1", "accuracy", "balanced_accuracy")
    return {name: getattr(counts, name) for name in names}


def _replace(
    connection: Connection,
    table: type[RunThresholdMetric | RunFindingMetric],
    stamp: dict[str, Any],
    rows: list[dict[str, Any]],
) -> None:
    connection.execute(
        delete(table).where(table.run_id == stamp["run_id"], table.label_set_id == stamp["label_set_id"])
    )
    connection.execute(insert(table), [stamp | row for row in rows])
