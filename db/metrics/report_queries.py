"""Reads what a report shows of a run beside its metrics: the counts of its scans, and the label set."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, false, func, select

from db.errors import UserError
from db.findings import column_of
from db.metrics.scored_scans import ALL, Mask, ScoredScans
from db.schema.label_history import EXACT_NAME
from db.schema.tables import (
    PENDING,
    QUARANTINED,
    REJECTED,
    SCORED,
    LabelSet,
    Model,
    Outcome,
    Run,
    RunScan,
    Scan,
    Scores,
)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What became of a run's scans, in scans: expected = scored + rejected + quarantined + pending."""

    expected: int
    scored: int
    #: Rejected scans by reason code.
    rejected: dict[str, int]
    quarantined: int
    pending: int
    #: Scans whose outcome existed before the run was opened.
    reused: int
    #: Scored scans by runtime and numeric precision, such as "openvino bfloat16".
    runtimes: dict[str, int]
    #: Scored scans whose image is byte for byte that of another scored scan of the run.
    duplicates: int
    #: Scored scans without a row in the label set. None without a label set.
    unlabelled: int | None
    #: Eligible scans (see `eligible_scans`) on which the model itself was fitted or tuned.
    seen_itself: int
    #: Eligible scans of which it was fitted or tuned on only another scan of the patient.
    seen_patient: int
    #: Eligible scans in the subset: those that the metrics are computed on, each finding's where its label is known.
    used: int

    @property
    def rejections(self) -> int:
        """Rejected scans of any reason."""
        return sum(self.rejected.values())


def read_coverage(
    connection: Connection, run_id: int, scored: ScoredScans, label_set_id: int | None, subset: str
) -> Coverage:
    """Count what became of a run's scans, and which scored ones the metrics leave out."""
    rows = connection.execute(
        select(Outcome.state, Outcome.reason, Outcome.runtime, Outcome.precision, RunScan.reused, func.count())
        .join(RunScan, RunScan.outcome_id == Outcome.id)
        .where(RunScan.run_id == run_id)
        .group_by(Outcome.state, Outcome.reason, Outcome.runtime, Outcome.precision, RunScan.reused)
    ).all()
    states, reasons, runtimes, reused = Counter[str](), Counter[str](), Counter[str](), 0
    for state, reason, runtime, number_type, was_reused, scans in rows:
        states[state] += scans
        reused += scans if was_reused else 0
        if state == REJECTED:
            reasons[reason or "unknown"] += scans
        if state == SCORED:
            runtimes[_name_runtime(runtime, number_type)] += scans
    return Coverage(
        expected=states.total(),
        scored=states[SCORED],
        rejected=dict(sorted(reasons.items())),
        quarantined=states[QUARANTINED],
        pending=states[PENDING],
        reused=reused,
        runtimes=dict(sorted(runtimes.items())),
        duplicates=_count_duplicates(connection, run_id),
        **_exclusion_counts(scored, label_set_id, subset),
    )


def read_runtimes(connection: Connection, run_id: int) -> dict[str, int]:
    """A run's scored scans by runtime and numeric precision, as `Coverage.runtimes`."""
    rows = connection.execute(
        select(Outcome.runtime, Outcome.precision, func.count())
        .join(RunScan, RunScan.outcome_id == Outcome.id)
        .where(RunScan.run_id == run_id, Outcome.state == SCORED)
        .group_by(Outcome.runtime, Outcome.precision)
    )
    return dict(sorted((_name_runtime(runtime, number_type), scans) for runtime, number_type, scans in rows))


def _name_runtime(runtime: str | None, number_type: str | None) -> str:
    return f"{runtime or 'unknown'} {number_type or ''}".strip()


@dataclass(frozen=True, kw_only=True)
class LabelSetInfo:
    """A label set. Those of later files may have the same name."""

    id: int
    name: str
    sha256: str


def find_label_set(connection: Connection, run_id: int, name: str | None) -> LabelSetInfo | None:
    """The label set to judge a run by; None if that is the run's own, and it has none.

    Args:
        connection: only reads.
        run_id: the run.
        name: None or the name of the run's own label set means that one. Any other name means its latest label set,
            and `NAME@HASH` the one of a file whose sha256 begins with these 8 digits or more.

    Raises:
        UserError: no label set has this name.
    """
    own = select(Run.label_set_id).where(Run.id == run_id).scalar_subquery()
    is_own = LabelSet.id == own
    named = is_own if name is None else _is_named(name)
    first = (case((LabelSet.name == name, 0), else_=1), case((is_own, 0), else_=1), LabelSet.id.desc())
    query = select(LabelSet.id, LabelSet.name, LabelSet.sha256).where(named).order_by(*first)
    row = connection.execute(query.limit(1)).mappings().first()
    if row is None and name is not None:
        names = select(LabelSet.name).distinct().order_by(LabelSet.name)
        known = ", ".join(connection.execute(names).scalars())
        raise UserError(f"no label set {name!r}; there are: {known or 'none'}")
    return None if row is None else LabelSetInfo(**row)


def _is_named(name: str) -> ColumnElement[bool]:
    exact = EXACT_NAME.fullmatch(name)
    is_exact = (LabelSet.name == exact["name"]) & LabelSet.sha256.startswith(exact["hash"]) if exact else false()
    return (LabelSet.name == name) | is_exact


def eligible_scans(scored: ScoredScans, label_set_id: int | None) -> Mask:
    """(N,) bool: the scans that metrics can count. A label set excludes the scans that it does not label."""
    return scored.labelled if label_set_id is not None else scored.in_subset(ALL)


@dataclass(frozen=True, kw_only=True)
class WorklistRow:
    """A scored scan among those with the highest scores."""

    scan_id: int
    #: In [0, 1].
    score: float
    #: It may hold a patient id, so it is for the reader's eyes, and is not written to report.json.
    image_name: str


def read_worklist(connection: Connection, run_id: int, finding: str, length: int) -> tuple[WorklistRow, ...]:
    """The run's scored scans with the highest scores of a finding, highest first; ties by scan id."""
    score = getattr(Scores, column_of(finding))
    query = (
        select(Scan.id.label("scan_id"), score.label("score"), Scan.image_name)
        .join(RunScan, RunScan.scan_id == Scan.id)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .join(Scores, Scores.outcome_id == Outcome.id)
        .where(RunScan.run_id == run_id, Outcome.state == SCORED)
        .order_by(score.desc(), Scan.id)
        .limit(length)
    )
    return tuple(WorklistRow(**row) for row in connection.execute(query).mappings())


def read_own_thresholds(connection: Connection, run_id: int) -> dict[str, dict[str, float]]:
    """The thresholds of a run's model by finding and name, from its manifest: chosen on its validation scans."""
    manifest = connection.execute(select(Model.manifest).join(Run).where(Run.id == run_id)).scalar_one()
    return dict(manifest.get("thresholds", {}))


def _count_duplicates(connection: Connection, run_id: int) -> int:
    shared = (
        select(func.count().label("scans"))
        .select_from(RunScan)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .where(RunScan.run_id == run_id, Outcome.state == SCORED, Outcome.content.is_not(None))
        .group_by(Outcome.content)
        .having(func.count() > 1)
        .subquery()
    )
    return int(connection.execute(select(func.coalesce(func.sum(shared.c.scans), 0))).scalar_one())


def _exclusion_counts(scored: ScoredScans, label_set_id: int | None, subset: str) -> dict[str, Any]:
    eligible = eligible_scans(scored, label_set_id)
    return {
        "unlabelled": None if label_set_id is None else int((~scored.labelled).sum()),
        "seen_itself": int((eligible & scored.seen_itself).sum()),
        "seen_patient": int((eligible & scored.seen_patient).sum()),
        "used": int((eligible & scored.in_subset(subset)).sum()),
    }
