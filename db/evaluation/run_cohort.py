"""Reads the scored scans of a run as a cohort: their patients, and their groups by view, sex, age and manufacturer."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, case, func, select
from sqlalchemy.orm import InstrumentedAttribute

from db.engine.session import STREAMING
from db.evaluation.cohort import (
    AGE,
    MANUFACTURER,
    SEX,
    UNKNOWN,
    VIEW,
    Cohort,
    Grouping,
    age_band,
    group_by,
    number_patients,
)
from db.metrics.scored_scans import ScoredScans
from db.schema.tables import SCORED, Outcome, RunScan, Scan, Scores

#: The group of what is known but is none of the groups that have a name: a column of views may hold any text.
OTHER: Final = "other"
_VIEWS: Final = ("PA", "AP", "LATERAL")
_SEXES: Final = ("F", "M")
#: Manufacturers that are groups of their own: the most frequent ones.
_MANUFACTURERS: Final = 8


def read_cohort(connection: Connection, run_id: int, scored: ScoredScans) -> Cohort:
    """Read the patients and groups of a run's N scored scans. Kinds of groups of which nothing is known are left out.

    Args:
        connection: a `read_transaction`, in which `scored` was read, too.
        run_id: the run.
        scored: its scans; their order is the cohort's. Findings that the label set does not judge are left out if it
            judges any.
    """
    findings = scored.judged or scored.findings
    columns = [scored.findings.index(finding) for finding in findings]
    kinds: dict[str, list[str]] = {VIEW: [], SEX: [], AGE: [], MANUFACTURER: []}
    patient_ids: list[str | None] = []
    # Every row has strings of its own. Equal ones are kept once, or a million scans would take 300 MB.
    once: dict[str, str] = {}
    for dataset, patient, view, sex, age, maker in connection.execute(_query(run_id), execution_options=STREAMING):
        # A patient id is one patient's only within a dataset.
        key = None if patient is None else f"{dataset}\0{patient}"
        patient_ids.append(None if key is None else once.setdefault(key, key))
        for kind, name in ((VIEW, view), (SEX, sex), (AGE, age_band(age)), (MANUFACTURER, maker or UNKNOWN)):
            kinds[kind].append(once.setdefault(name, name))
    patients, has_patient = number_patients(patient_ids)
    return Cohort(
        findings=findings,
        scores=scored.scores[:, columns],
        labels=scored.labels[:, columns],
        known=scored.known[:, columns],
        patients=patients,
        has_patient=has_patient,
        groupings={kind: _group(kind, names) for kind, names in kinds.items() if {*names} - {UNKNOWN}},
    )


def _query(run_id: int) -> Select[*tuple[Any, ...]]:
    """The scans that `read_scored_scans` reads, in its order."""
    return (
        select(
            Scan.dataset,
            Scan.patient_id,
            _known_or_other(Scan.view, _VIEWS),
            _known_or_other(Scan.sex, _SEXES),
            Scan.age_years,
            Scan.manufacturer,
        )
        .join(RunScan, RunScan.scan_id == Scan.id)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .join(Scores, Scores.outcome_id == Outcome.id)
        .where(RunScan.run_id == run_id, Outcome.state == SCORED)
        .order_by(RunScan.scan_id)
    )


def _known_or_other(column: InstrumentedAttribute[str | None], names: Sequence[str]) -> Any:
    """Text of unknown content as one of the names, `other` or `unknown`."""
    named = case({name: name for name in names}, value=func.upper(column), else_=OTHER)
    return case((column.is_(None), UNKNOWN), else_=named)


def _group(kind: str, names: Sequence[str]) -> Grouping:
    if kind != MANUFACTURER:
        return group_by(names, order={VIEW: (*_VIEWS, OTHER), SEX: (*_SEXES, OTHER)}.get(kind, ()))
    counts = Counter(name for name in names if name not in {UNKNOWN, OTHER})
    frequent = [name for name, _ in counts.most_common(_MANUFACTURERS)]
    kept = {*frequent, UNKNOWN}
    return group_by([name if name in kept else OTHER for name in names], order=(*frequent, OTHER))
