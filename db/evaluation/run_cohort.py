"""Reads the scored scans of a run as a cohort: their patients, and their groups by view, sex, age and manufacturer."""

from typing import Any

from sqlalchemy import Connection, Select, select

from db.engine.session import STREAMING
from db.evaluation.cohort import (
    AGE,
    MANUFACTURER,
    SEX,
    UNKNOWN,
    VIEW,
    Cohort,
    age_band,
    group_kinds,
    number_patients,
    sex_group,
    view_group,
)
from db.metrics.scored_scans import ScoredScans
from db.schema.tables import SCORED, Outcome, RunScan, Scan, Scores


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
        named = {VIEW: view_group(view), SEX: sex_group(sex), AGE: age_band(age), MANUFACTURER: maker or UNKNOWN}
        for kind, name in named.items():
            kinds[kind].append(once.setdefault(name, name))
    patients, has_patient = number_patients(patient_ids)
    return Cohort(
        findings=findings,
        scores=scored.scores[:, columns],
        labels=scored.labels[:, columns],
        known=scored.known[:, columns],
        patients=patients,
        has_patient=has_patient,
        groupings=group_kinds(kinds),
    )


def _query(run_id: int) -> Select[*tuple[Any, ...]]:
    """The scans that `read_scored_scans` reads, in its order."""
    return (
        select(Scan.dataset, Scan.patient_id, Scan.view, Scan.sex, Scan.age_years, Scan.manufacturer)
        .join(RunScan, RunScan.scan_id == Scan.id)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .join(Scores, Scores.outcome_id == Outcome.id)
        .where(RunScan.run_id == run_id, Outcome.state == SCORED)
        .order_by(RunScan.scan_id)
    )
