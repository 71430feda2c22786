"""Finds the scans of a run that its model has seen, and on which it cannot be evaluated.

A scan is seen if the model was fitted or tuned (subsets `train` and `validation`) on

    (a) the scan itself: the same image name and no other patient, in whatever dataset,
        because NIH's file names identify a scan and people rename CSVs; or
    (b) a scan of the same patient of the same dataset; or
    (c) a patient to whom (a) leads: another scan of that patient, in the dataset of the scan found by (a).

Every other scan is held out.
"""

from typing import Any, Final

from sqlalchemy import CTE, Select, and_, func, literal, select, tuple_, union, union_all
from sqlalchemy.orm import InstrumentedAttribute

from db.schema.tables import ModelScan, Run, RunScan, Scan

#: Fitting and tuning (early stopping, thresholds) both make metrics optimistic.
_FITTED_SUBSETS: Final = ("train", "validation")


def seen_scans(run_id: int) -> Select[int, int]:
    """Select the run's seen scans: scan id, and 1 if the scan itself was seen, 0 if only another of its patient."""
    itself = _directly_seen(run_id)
    patients = _fitted(run_id, ModelScan.dataset, ModelScan.patient_id).union(
        select(itself.c.dataset, itself.c.patient)
    )
    of_patient = select(Scan.id, literal(0)).where(tuple_(Scan.dataset, Scan.patient_id).in_(patients))
    seen = union_all(select(itself.c.id, literal(1).label("itself")), of_patient).subquery("seen")
    return (
        select(RunScan.scan_id, func.max(seen.c.itself))
        .join(seen, seen.c.id == RunScan.scan_id)
        .where(RunScan.run_id == run_id)
        .group_by(RunScan.scan_id)
    )


def _directly_seen(run_id: int) -> CTE:
    """The scans that rule (a) finds, in any run.

    A union of plain IN lists, which both databases hash. With one join and an OR, or with a join to a CTE, SQLite would
    read all 112,120 scans once for each of 80,000 fitted ones.
    """
    same_patient = tuple_(Scan.image_name, Scan.patient_id).in_(
        _fitted(run_id, ModelScan.image_name, ModelScan.patient_id)
    )
    unknown_here = and_(Scan.patient_id.is_(None), Scan.image_name.in_(_fitted(run_id, ModelScan.image_name)))
    unknown_there = Scan.image_name.in_(_fitted(run_id, ModelScan.image_name).where(ModelScan.patient_id.is_(None)))
    columns = (Scan.id, Scan.dataset, Scan.patient_id.label("patient"))
    return union(*(select(*columns).where(rule) for rule in (same_patient, unknown_here, unknown_there))).cte("itself")


def _fitted(run_id: int, *columns: InstrumentedAttribute[Any]) -> Select[Any]:
    model = select(Run.model_id).where(Run.id == run_id).scalar_subquery()
    return select(*columns).where(ModelScan.model_id == model, ModelScan.subset.in_(_FITTED_SUBSETS))
