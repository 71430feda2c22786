"""Builds a run's report from SQL. It holds no patient id and no image name."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import Connection

from db.errors import UserError
from db.ledger.models import find_model
from db.ledger.runs import count_notes, find_run, left_out_of, progress
from db.metrics.by_view import ViewRow, read_view_groups, view_rows
from db.metrics.formulas import ConfusionMatrix
from db.metrics.known_patients import KnownPatients, read_known_patients
from db.metrics.report_queries import (
    Coverage,
    eligible_scans,
    find_label_set,
    read_coverage,
)
from db.metrics.run_metrics import DEFAULT_THRESHOLDS, GIVEN, FindingRow, RunMetrics, ThresholdRow, compute_metrics
from db.metrics.scored_scans import SUBSETS, ScoredScans, read_scored_scans
from db.schema.label_history import exact_name
from producer.report.main_finding import choose_finding, round_threshold


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The distribution of the main finding's scores, each in [0, 1]; it shows a model that always gives one score."""

    minimum: float
    lower_quartile: float
    median: float
    upper_quartile: float
    maximum: float
    #: Divided by N, not by N - 1.
    standard_deviation: float


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """Metrics of predictions that ignore the image, in [0, 1]; a model has to beat them. None where undefined."""

    always_positive_f1: float | None
    always_positive_accuracy: float | None
    majority_accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a report shows. Its fields are keys of report.json. Its metrics are of the `coverage.used` scans."""

    run_id: int
    dataset: str
    model: str
    model_sha256: str
    #: The model was fitted on synthetic scans.
    synthetic: bool
    label_set: str | None
    #: Of its file: later files may have a label set of the same name.
    label_set_sha256: str | None
    #: `held_out` leaves out scans and patients that the model was fitted or tuned on; `all` includes them.
    subset: str
    #: Scans of the run are pending, so every figure may change.
    is_partial: bool
    created_at: datetime
    finished_at: datetime | None
    coverage: Coverage
    #: Scored scans of which each of these things was noted, by code.
    notes: dict[str, int]
    #: Without patient ids, `held_out` leaves out scans by their names alone.
    patients: KnownPatients
    #: The main finding, of `spread` and `baselines`: the one that was asked for, or `Abnormal` if the model scores it,
    #: else the model's first; if the label set judges some of the model's findings, of these.
    finding: str
    #: None if no scan is used.
    spread: Spread | None
    #: None without a label set.
    baselines: Baselines | None
    #: By finding that the label set judges; the given thresholds first, then those chosen on these very scans.
    thresholds: tuple[ThresholdRow, ...]
    #: The chosen thresholds of the main finding by `chosen_by`, with as few decimals as give the same counts.
    rounded_thresholds: dict[str, float]
    findings: tuple[FindingRow, ...]
    #: Of the main finding, by view; views that no scored scan has are left out.
    views: tuple[ViewRow, ...]
    #: Entries of the source's folder or prefix that were left out, by reason; None if that is not known.
    left_out: dict[str, int] | None

    @property
    def model_hash(self) -> str:
        """The first 12 hex digits of the model's sha256."""
        return self.model_sha256[:12]

    @property
    def exact_label_set(self) -> str | None:
        """The name by which `--labels` finds this very label set; None without one."""
        if self.label_set is None or self.label_set_sha256 is None:
            return None
        return exact_name(self.label_set, self.label_set_sha256)

    @property
    def main_thresholds(self) -> tuple[ThresholdRow, ...]:
        """The rows of the main finding."""
        return tuple(row for row in self.thresholds if row.finding == self.finding)


def build_report(
    connection: Connection,
    run_id: int,
    *,
    partial: bool,
    label_set: str | None,
    subset: str,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
    finding: str | None = None,
) -> tuple[Report, ScoredScans]:
    """Build a run's report from its scores and labels; it writes nothing and needs no stored metrics.

    Args:
        connection: a `read_transaction`: its counts add up only if it sees one moment.
        run_id: the run.
        partial: build it for an unfinished run, too.
        label_set: the label set to judge by, see `find_label_set`.
        subset: `held_out` or `all`.
        thresholds: each in [0, 1].
        finding: the main finding, see `choose_finding`.

    Returns:
        The report, and the scans that its metrics are of.

    Raises:
        UserError: there is no such run, label set, subset or finding, the label set labels none of the run's scored
            scans, or the run is not finished and `partial` is false.
    """
    if subset not in SUBSETS:
        raise UserError(f"no subset {subset!r}; there are: {', '.join(SUBSETS)}")
    run = find_run(connection, run_id)
    is_partial = _check_finished(connection, run_id, partial=partial)
    labels = find_label_set(connection, run_id, label_set)
    label_set_id = labels.id if labels else None
    scored = read_scored_scans(connection, run_id, label_set_id)
    if label_set is not None:
        _check_labelled(scored, run_id, label_set)
    is_used = eligible_scans(scored, label_set_id) & scored.in_subset(subset)
    used = scored.filter(is_used)
    main = choose_finding(used.judged or used.findings, finding)
    metrics = compute_metrics(used, thresholds) if labels else RunMetrics()
    report = Report(
        run_id=run.id,
        dataset=run.dataset,
        model=run.model,
        model_sha256=run.model_sha256,
        synthetic=find_model(connection, run.model_sha256).synthetic,
        label_set=labels.name if labels else None,
        label_set_sha256=labels.sha256 if labels else None,
        subset=subset,
        is_partial=is_partial,
        created_at=run.created_at,
        finished_at=run.finished_at,
        coverage=read_coverage(connection, run_id, scored, label_set_id, subset),
        notes=count_notes(connection, run_id),
        patients=read_known_patients(connection, run_id),
        finding=main,
        spread=_spread(used, main),
        baselines=_baselines(used, main) if labels else None,
        thresholds=metrics.thresholds,
        rounded_thresholds=_rounded_thresholds(used, main, metrics.thresholds),
        findings=metrics.findings,
        views=view_rows(scored, read_view_groups(connection, run_id), is_used, main),
        left_out=left_out_of(connection, run_id),
    )
    return report, used


def _rounded_thresholds(used: ScoredScans, finding: str, rows: Sequence[ThresholdRow]) -> dict[str, float]:
    _, scores = used.labels_and_scores(finding)
    chosen = (row for row in rows if row.finding == finding and row.chosen_by != GIVEN)
    return {row.chosen_by: round_threshold(row.threshold, scores) for row in chosen}


def _check_finished(connection: Connection, run_id: int, *, partial: bool) -> bool:
    """Whether scans of the run are pending, which only `partial` allows."""
    counts = progress(connection, run_id)
    if counts.pending and not partial:
        raise UserError(
            f"run {run_id} is not finished: {counts.pending:,} of {counts.expected:,} scans are pending; "
            "wait for it with 'producer status --watch', or add --partial to report the scans that are done"
        )
    return counts.pending > 0


def _check_labelled(scored: ScoredScans, run_id: int, label_set: str) -> None:
    if len(scored.labelled) and not scored.labelled.any():
        raise UserError(
            f"label set {label_set!r} labels none of the {len(scored.labelled):,} scored scans of run {run_id}"
        )


def _spread(used: ScoredScans, finding: str) -> Spread | None:
    scores = used.scores_of(finding)
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
