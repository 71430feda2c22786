"""Gathers a run's report from SQL. No patient and no image name is in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import Connection

from db.errors import UserError
from db.findings import ABNORMAL
from db.ledger.runs import find_run, progress
from db.metrics.aggregate import DEFAULT_THRESHOLDS, GIVEN, aggregate, is_current
from db.metrics.formulas import ConfusionMatrix
from db.metrics.report_queries import (
    Coverage,
    FindingRow,
    ThresholdRow,
    eligible_scans,
    find_label_set,
    read_coverage,
    read_finding_rows,
    read_threshold_rows,
)
from db.metrics.scored_scans import SUBSETS, ScoredScans, read_scored_scans


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How far scores are apart, each in [0, 1]. A model that always answers the same shows here first."""

    minimum: float
    lower_quartile: float
    median: float
    upper_quartile: float
    maximum: float
    #: Of the population: divided by N.
    standard_deviation: float


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """What answers that never look at the image would reach; a model has to beat them."""

    always_positive_f1: float | None
    always_positive_accuracy: float | None
    majority_accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that a report says. Its figures are of `coverage.used` scans, those of one subset."""

    run_id: int
    dataset: str
    model: str
    model_sha256: str
    label_set: str | None
    #: `held_out` leaves out what the model was fitted or tuned on; `all` does not.
    subset: str
    #: The run still waits for scans: every figure may change.
    is_partial: bool
    created_at: datetime
    finished_at: datetime | None
    coverage: Coverage
    #: The finding that spread and baselines speak of: `Abnormal` where the model scores it.
    finding: str
    #: None without a scan.
    spread: Spread | None
    #: None without a label set.
    baselines: Baselines | None
    #: By finding; given thresholds first, then those picked on these scans.
    thresholds: tuple[ThresholdRow, ...]
    findings: tuple[FindingRow, ...]

    @property
    def model_hash(self) -> str:
        """The 12 hex digits that people know a model by."""
        return self.model_sha256[:12]

    @property
    def main_thresholds(self) -> tuple[ThresholdRow, ...]:
        """The thresholds of the main finding."""
        return tuple(row for row in self.thresholds if row.finding == self.finding)


def gather(
    connection: Connection,
    run_id: int,
    *,
    partial: bool,
    label_set: str | None,
    subset: str,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
) -> tuple[Report, ScoredScans]:
    """A run's report and the scans that its figures are of; `label_set` names another than the run's own.

    Stored metrics that are not current, or at other thresholds, are computed anew. The counts of an unfinished run are
    of one moment only where the transaction sees one: SQLite's does, PostgreSQL's under REPEATABLE READ.

    Raises:
        UserError: no such run, label set or subset, a label set of other scans, or the run is not finished and
            `partial` was not asked for.
    """
    if subset not in SUBSETS:
        raise UserError(f"no subset {subset!r}; there are: {', '.join(SUBSETS)}")
    run = find_run(connection, run_id)
    is_partial = _check_finished(connection, run_id, partial=partial)
    labels = find_label_set(connection, run_id, label_set)
    label_set_id = labels[0] if labels else None
    if not is_current(connection, run_id, label_set_id, thresholds=thresholds):
        aggregate(connection, run_id, label_set_id=label_set_id, thresholds=thresholds)
    scored = read_scored_scans(connection, run_id, label_set_id)
    if label_set is not None and len(scored.labelled) and not scored.labelled.any():
        raise UserError(
            f"label set {label_set!r} labels none of the {len(scored.labelled):,} scored scans of run {run_id}"
        )
    used = scored.filter(eligible_scans(scored, label_set_id) & scored.in_subset(subset))
    main = ABNORMAL if ABNORMAL in used.findings else used.findings[0]
    by_threshold, findings = _read_metrics(connection, run_id, label_set_id, subset)
    report = Report(
        run_id=run.id,
        dataset=run.dataset,
        model=run.model,
        model_sha256=run.model_sha256,
        label_set=labels[1] if labels else None,
        subset=subset,
        is_partial=is_partial,
        created_at=run.created_at,
        finished_at=run.finished_at,
        coverage=read_coverage(connection, run_id, scored, label_set_id, subset),
        finding=main,
        spread=_spread(used, main),
        baselines=_baselines(used, main) if labels else None,
        thresholds=by_threshold,
        findings=findings,
    )
    return report, used


def _check_finished(connection: Connection, run_id: int, *, partial: bool) -> bool:
    counts = progress(connection, run_id)
    if counts.pending and not partial:
        raise UserError(
            f"run {run_id} is not finished: {counts.pending:,} of {counts.expected:,} scans are pending "
            "('producer status' follows it; --partial reports what is there)"
        )
    return counts.pending > 0


def _read_metrics(
    connection: Connection, run_id: int, label_set_id: int | None, subset: str
) -> tuple[tuple[ThresholdRow, ...], tuple[FindingRow, ...]]:
    if label_set_id is None:
        return (), ()
    thresholds = read_threshold_rows(connection, run_id, label_set_id, subset)
    thresholds.sort(key=lambda row: (row.finding, row.chosen_by != GIVEN, row.threshold))
    return tuple(thresholds), tuple(read_finding_rows(connection, run_id, label_set_id, subset))


def _spread(used: ScoredScans, finding: str) -> Spread | None:
    _, scores = used.labels_and_scores(finding)
    if not len(scores):
        return None
    minimum, lower, median, upper, maximum = np.quantile(scores, (0, 0.25, 0.5, 0.75, 1)).tolist()
    return Spread(
        minimum=minimum,
        lower_quartile=lower,
        median=median,
        upper_quartile=upper,
        maximum=maximum,
        standard_deviation=float(scores.std()),
    )


def _baselines(used: ScoredScans, finding: str) -> Baselines:
    labels, _ = used.labels_and_scores(finding)
    positives, negatives = int(labels.sum()), int((~labels).sum())
    always = ConfusionMatrix(tp=positives, fp=negatives, fn=0, tn=0)
    never = ConfusionMatrix(tp=0, fp=0, fn=positives, tn=negatives)
    return Baselines(
        always_positive_f1=always.f1,
        always_positive_accuracy=always.accuracy,
        majority_accuracy=(always if positives > negatives else never).accuracy,
    )
