"""Reads what a report says about a run: how its scans fared, and its stored metrics."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from db.errors import UserError
from db.metrics.formulas import Labels
from db.metrics.scored_scans import ALL, ScoredScans
from db.schema.tables import (
    PENDING,
    QUARANTINED,
    REJECTED,
    SCORED,
    LabelSet,
    Outcome,
    Run,
    RunFindingMetric,
    RunScan,
    RunThresholdMetric,
)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What became of a run's scans, in scans: expected = scored + rejected + quarantined + pending."""

    expected: int
    scored: int
    #: By reason code.
    rejected: dict[str, int]
    quarantined: int
    pending: int
    #: Of all: the outcome was there before the run.
    reused: int
    #: Of the scored, by "runtime precision", such as "openvino bfloat16".
    runtimes: dict[str, int]
    #: Of the scored: without a row in the label set. None without a label set.
    unlabelled: int | None
    #: Of the scored that count: the model was fitted or tuned on the scan itself ...
    seen_itself: int
    #: ... or only on another scan of its patient.
    seen_patient: int
    #: Scored, labelled where there is a label set, and in the subset: what the figures are figures of.
    used: int

    @property
    def rejections(self) -> int:
        """Rejected scans, whatever the reason."""
        return sum(self.rejected.values())


@dataclass(frozen=True, kw_only=True)
class ThresholdRow:
    """One finding at one threshold; undefined is None."""

    finding: str
    #: `given`, `best_f1` or `youden`.
    chosen_by: str
    threshold: float
    tp: int
    fp: int
    fn: int
    tn: int
    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None
    accuracy: float | None
    balanced_accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class FindingRow:
    """What needs no threshold, for one finding; None where only one class is present."""

    finding: str
    auroc: float | None
    average_precision: float | None
    positives: int
    negatives: int


def read_coverage(
    connection: Connection, run_id: int, scored: ScoredScans, label_set_id: int | None, subset: str
) -> Coverage:
    """Count what became of a run's scans, and which of the scored ones the figures leave out."""
    rows = connection.execute(
        select(Outcome.state, Outcome.reason, Outcome.runtime, Outcome.precision, RunScan.reused, func.count())
        .join(RunScan, RunScan.outcome_id == Outcome.id)
        .where(RunScan.run_id == run_id)
        .group_by(Outcome.state, Outcome.reason, Outcome.runtime, Outcome.precision, RunScan.reused)
    ).all()
    states, reasons, runtimes, reused = Counter[str](), Counter[str](), Counter[str](), 0
    for state, reason, runtime, precision, was_reused, scans in rows:
        states[state] += scans
        reused += scans if was_reused else 0
        if state == REJECTED:
            reasons[reason or "unknown"] += scans
        if state == SCORED:
            runtimes[f"{runtime or 'unknown'} {precision or ''}".strip()] += scans
    return Coverage(
        expected=states.total(),
        scored=states[SCORED],
        rejected=dict(sorted(reasons.items())),
        quarantined=states[QUARANTINED],
        pending=states[PENDING],
        reused=reused,
        runtimes=dict(sorted(runtimes.items())),
        **_left_out(scored, label_set_id, subset),
    )


def read_threshold_rows(connection: Connection, run_id: int, label_set_id: int, subset: str) -> list[ThresholdRow]:
    """The stored rates, by finding (A to Z) and threshold."""
    metric = RunThresholdMetric
    rows = connection.execute(
        select(
            metric.finding,
            metric.chosen_by,
            metric.threshold,
            *(metric.tp, metric.fp, metric.fn, metric.tn),
            *(metric.precision, metric.recall, metric.specificity),
            *(metric.f1, metric.accuracy, metric.balanced_accuracy),
        )
        .where(metric.run_id == run_id, metric.label_set_id == label_set_id, metric.subset == subset)
        .order_by(metric.finding, metric.threshold, metric.chosen_by)
    )
    return [ThresholdRow(**row) for row in rows.mappings()]


def read_finding_rows(connection: Connection, run_id: int, label_set_id: int, subset: str) -> list[FindingRow]:
    """The stored areas under curves, by finding (A to Z)."""
    metric = RunFindingMetric
    rows = connection.execute(
        select(metric.finding, metric.auroc, metric.average_precision, metric.positives, metric.negatives)
        .where(metric.run_id == run_id, metric.label_set_id == label_set_id, metric.subset == subset)
        .order_by(metric.finding)
    )
    return [FindingRow(**row) for row in rows.mappings()]


def find_label_set(connection: Connection, run_id: int, name: str | None) -> tuple[int, str] | None:
    """The label set of this name, or else the run's own; None where it has none.

    Raises:
        UserError: no label set has this name.
    """
    query = select(LabelSet.id, LabelSet.name)
    if name is None:
        query = query.join(Run, Run.label_set_id == LabelSet.id).where(Run.id == run_id)
    else:
        query = query.where(LabelSet.name == name)
    row = connection.execute(query).first()
    if row is None and name is not None:
        known = ", ".join(connection.execute(select(LabelSet.name).order_by(LabelSet.name)).scalars())
        raise UserError(f"no label set {name!r}; there are: {known or 'none'}")
    return None if row is None else (row.id, row.name)


def counted(scored: ScoredScans, label_set_id: int | None) -> Labels:
    """(N,) bool: the scans that can count at all. A label set leaves out those that it says nothing about."""
    return scored.labelled if label_set_id is not None else scored.in_subset(ALL)


def _left_out(scored: ScoredScans, label_set_id: int | None, subset: str) -> dict[str, Any]:
    can_count = counted(scored, label_set_id)
    return {
        "unlabelled": None if label_set_id is None else int((~scored.labelled).sum()),
        "seen_itself": int((can_count & scored.seen_itself).sum()),
        "seen_patient": int((can_count & scored.seen_patient).sum()),
        "used": int((can_count & scored.in_subset(subset)).sum()),
    }
