"""What the ledger has of one scan: its outcome, scores and labels in a run, its other runs, its patient's scans."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Date, RowMapping, column, func, select, table, true
from sqlalchemy.orm import aliased

from db.findings import ABNORMAL, FINDINGS, NIH_FINDINGS, column_of
from db.schema.label_history import is_label_of
from db.schema.tables import UNCERTAIN, Label, LabelSet, Outcome, Run, RunScan, Scan, UtcDateTime

#: Scans of a patient that are shown before and after the one that is looked at.
_NEIGHBOURS: Final = 25
#: The latest runs of a scan that are shown.
_MAX_RUNS: Final = 50
_FACTS: Final = ("scan_id", "dataset", "image_name", "patient_id", "view", "sex", "age_years", "follow_up")
_OUTCOME: Final = ("state", "reason", "detail", "label_set", "revision", "runtime", "precision", "scored_at")
_HEADER: Final = ("sop_instance_uid", "manufacturer", "transfer_syntax", "study_date")
_TYPES: Final[Mapping[str, Any]] = {
    "run_id": BigInteger(),
    "scan_id": BigInteger(),
    "scored_at": UtcDateTime(),
    "study_date": Date(),
}
_SCORES: Final = tuple(map(column_of, FINDINGS))
_LABELS: Final = tuple(f"{name}_label" for name in _SCORES)
_VIEW_COLUMNS: Final = (*_FACTS, *_OUTCOME, *_HEADER, *_SCORES, *_LABELS, "run_id", "model", "notes", "held_out")
_WIDE: Final = table("results_wide", *(column(name, _TYPES.get(name)) for name in _VIEW_COLUMNS))


@dataclass(frozen=True, kw_only=True)
class DicomHeader:
    """The fields that the ledger keeps of a DICOM file's header."""

    sop_instance_uid: str | None
    manufacturer: str | None
    #: UID.
    transfer_syntax: str | None
    study_date: date | None


@dataclass(frozen=True, kw_only=True)
class ScanDetails:
    """A scan in a run. None is not known."""

    scan_id: int
    dataset: str
    image_name: str
    patient_id: str | None
    view: str | None
    sex: str | None
    age_years: float | None
    follow_up: int | None
    #: `pending`, `scored`, `rejected` or `quarantined`; with a rejection's or quarantine's code and its sentence.
    state: str
    reason: str | None
    detail: str | None
    #: Codes of what is unusual about the image.
    notes: tuple[str, ...]
    #: Whether the run's model has not seen the scan.
    held_out: bool | None
    label_set: str | None
    #: Of the outcome, from 1.
    revision: int
    runtime: str | None
    precision: str | None
    scored_at: datetime | None
    header: DicomHeader
    #: In [0, 1], by finding; one without a score is missing.
    scores: Mapping[str, float]
    #: `POSITIVE`, `NEGATIVE` or `UNCERTAIN`, by finding; an unlabelled one is missing.
    labels: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class RunScore:
    """The score of one finding that a scan has in a run."""

    run_id: int
    model: str
    #: Of the outcome: how often the model was asked for this scan, from 1.
    revision: int
    runtime: str | None
    precision: str | None
    state: str
    score: float | None


@dataclass(frozen=True, kw_only=True)
class PatientScan:
    """A scan of a patient, with the score and the label of one finding in the run that is named."""

    scan_id: int
    #: None if no run has the scan any more; then it has no score and no label here.
    run_id: int | None
    model: str | None
    view: str | None
    study_date: date | None
    follow_up: int | None
    age_years: float | None
    state: str | None
    score: float | None
    #: `POSITIVE` or `NEGATIVE`; None if it is uncertain or not known.
    label: int | None


@dataclass(frozen=True, kw_only=True)
class PatientScans:
    """Some of a patient's scans in time."""

    scans: tuple[PatientScan, ...]
    #: How many come before the first and after the last of these.
    before: int
    after: int


def find_scan_details(connection: Connection, run_id: int, scan_id: int) -> ScanDetails | None:
    """A scan in a run; None if the run has no such scan."""
    query = select(*_WIDE.c).where(_WIDE.c.run_id == run_id, _WIDE.c.scan_id == scan_id)
    row = connection.execute(query).mappings().first()
    return None if row is None else _details(row, _uncertain_findings(connection, run_id, scan_id))


def scores_in_runs(connection: Connection, run_id: int, scan_id: int, finding: str) -> list[RunScore]:
    """The scores of a finding that a scan has in a run and in its latest runs, the newest run first."""
    columns = (_WIDE.c[name] for name in ("run_id", "model", "revision", "runtime", "precision", "state"))
    runs = [run_id, *_latest_runs_of(connection, scan_id)]
    query = (
        select(*columns, _WIDE.c[column_of(finding)].label("score"))
        .where(_WIDE.c.run_id.in_(runs), _WIDE.c.scan_id == scan_id)
        .order_by(_WIDE.c.run_id.desc())
    )
    return [RunScore(**row) for row in connection.execute(query).mappings()]


def scans_of_patient(connection: Connection, run_id: int, scan: ScanDetails, finding: str) -> PatientScans | None:
    """The scans of a scan's patient around it, and itself, in time: by study date, follow-up number and age.

    Each has the score of this run, or if the run does not have it, of the latest run that does.

    Returns:
        None if the patient is not known.
    """
    if scan.patient_id is None:
        return None
    around = _scans_around(connection, scan)
    runs = _run_of_each(connection, run_id, [row["scan_id"] for row in around])
    scored = _read_scored(connection, runs, finding)
    without = dict.fromkeys(("run_id", "model", "state", "score", "label"))
    facts = ("scan_id", "view", "study_date", "follow_up", "age_years")
    scans = tuple(
        PatientScan(**{name: row[name] for name in facts} | scored.get(row["scan_id"], without)) for row in around
    )
    # The scan itself is one of them, unless it was forgotten in the meantime.
    total = around[0]["total"] if around else 0
    before = around[0]["place"] - 1 if around else 0
    return PatientScans(scans=scans, before=before, after=total - before - len(scans))


def _details(row: RowMapping, uncertain: frozenset[str]) -> ScanDetails:
    scores = {finding: row[column_of(finding)] for finding in FINDINGS}
    labels = {finding: row[f"{column_of(finding)}_label"] for finding in FINDINGS}
    labels |= {finding: UNCERTAIN for finding in uncertain if labels[finding] is None}
    return ScanDetails(
        **{name: row[name] for name in (*_FACTS, *_OUTCOME)},
        notes=tuple(row["notes"].split(",")) if row["notes"] else (),
        held_out=None if row["held_out"] is None else bool(row["held_out"]),
        header=DicomHeader(**{name: row[name] for name in _HEADER}),
        scores={finding: score for finding, score in scores.items() if score is not None},
        labels={finding: label for finding, label in labels.items() if label is not None},
    )


def _uncertain_findings(connection: Connection, run_id: int, scan_id: int) -> frozenset[str]:
    """The findings of which the run's labels say that they are uncertain, which the view has as NULL."""
    query = (
        select(Label.finding)
        .join(LabelSet, is_label_of())
        .join(Run, Run.label_set_id == LabelSet.id)
        .where(Run.id == run_id, Label.scan_id == scan_id, Label.value == UNCERTAIN, Label.finding.in_(FINDINGS))
    )
    found = frozenset(connection.execute(query).scalars())
    return found | {ABNORMAL} if found & set(NIH_FINDINGS) else found


def _latest_runs_of(connection: Connection, scan_id: int) -> list[int]:
    # By its outcomes: `run_scans` has no index by scan.
    query = (
        select(RunScan.run_id)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .where(Outcome.scan_id == scan_id)
        .order_by(RunScan.run_id.desc())
        .limit(_MAX_RUNS)
    )
    return list(connection.execute(query).scalars())


def _scans_around(connection: Connection, scan: ScanDetails) -> Sequence[RowMapping]:
    """The patient's scans up to `_NEIGHBOURS` places from this one, with their `place` from 1 and the `total`."""
    order = (Scan.study_date.nulls_last(), Scan.follow_up.nulls_last(), Scan.age_years.nulls_last(), Scan.id)
    ranked = (
        select(
            *(Scan.id.label("scan_id"), Scan.view, Scan.study_date, Scan.follow_up, Scan.age_years),
            func.row_number().over(order_by=order).label("place"),
            func.count().over().label("total"),
        )
        .where(Scan.dataset == scan.dataset, Scan.patient_id == scan.patient_id)
        .cte("ranked")
    )
    here = aliased(ranked)
    distance = func.abs(ranked.c.place - here.c.place)
    query = (
        select(ranked)
        .join(here, true())
        .where(here.c.scan_id == scan.scan_id, distance <= _NEIGHBOURS)
        .order_by(ranked.c.place)
    )
    return connection.execute(query).mappings().all()


def _run_of_each(connection: Connection, run_id: int, scan_ids: Sequence[int]) -> dict[int, int]:
    """For each of these scans this run if it has the scan, otherwise the latest run that does."""
    query = (
        select(Outcome.scan_id, RunScan.run_id)
        .join(RunScan, RunScan.outcome_id == Outcome.id)
        .where(Outcome.scan_id.in_(scan_ids))
        .order_by(RunScan.run_id == run_id, RunScan.run_id)
    )
    # Later ones overwrite earlier ones.
    return {row.scan_id: row.run_id for row in connection.execute(query)}


def _read_scored(connection: Connection, runs: Mapping[int, int], finding: str) -> dict[int, dict[str, Any]]:
    """Score and label of one finding by scan, each in its run."""
    name = column_of(finding)
    columns = [_WIDE.c.run_id, _WIDE.c.model, _WIDE.c.state, _WIDE.c[name], _WIDE.c[f"{name}_label"]]
    scored: dict[int, dict[str, Any]] = {}
    # A query for each run: SQLite reads all scans of all runs to find pairs of both.
    for run_id in set(runs.values()):
        scans = [scan for scan, run in runs.items() if run == run_id]
        query = select(_WIDE.c.scan_id, *columns).where(_WIDE.c.run_id == run_id, _WIDE.c.scan_id.in_(scans))
        for scan_id, *values in connection.execute(query):
            scored[scan_id] = dict(zip(("run_id", "model", "state", "score", "label"), values, strict=True))
    return scored
