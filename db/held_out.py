"""The rule that says which scans a model has seen, and so cannot be judged on.

A scan is seen when the model was fitted or tuned (subsets `train` and `validation`) on

    (a) the scan itself: the same image name and no other patient, in whatever dataset,
        for NIH's file names identify a scan and people rename CSVs; or
    (b) a scan of the same patient of the same dataset; or
    (c) a patient to whom (a) leads: another scan of that patient, in the dataset of the scan found by (a).

Every other scan is held out.
"""

from typing import Final

from sqlalchemy import CTE, Select, and_, func, literal, or_, select, union, union_all

from db.schema import ModelScan, Run, RunScan, Scan

#: Fitting and tuning (early stopping, thresholds) both make figures optimistic.
_USED: Final = ("train", "validation")


def seen_scans(run_id: int) -> Select[int, int]:
    """The run's scans that its model has seen: scan id, and 1 for the scan itself or 0 for another of its patient.

    Joins and unions only: databases hash these, while an OR over two IN lists compares every pair.
    """
    fitted = _fitted(run_id)
    itself = _themselves(fitted)
    patients = union(select(fitted.c.dataset, fitted.c.patient_id), select(itself.c.dataset, itself.c.patient_id)).cte(
        "seen_patients"
    )
    of_patient = select(Scan.id, literal(0).label("itself")).join(
        patients, and_(patients.c.dataset == Scan.dataset, patients.c.patient_id == Scan.patient_id)
    )
    seen = union_all(select(itself.c.id, literal(1).label("itself")), of_patient).subquery("seen")
    return (
        select(RunScan.scan_id, func.max(seen.c.itself))
        .join(seen, seen.c.id == RunScan.scan_id)
        .where(RunScan.run_id == run_id)
        .group_by(RunScan.scan_id)
    )


def _fitted(run_id: int) -> CTE:
    return (
        select(ModelScan.dataset, ModelScan.image_name, ModelScan.patient_id)
        .join(Run, Run.model_id == ModelScan.model_id)
        .where(Run.id == run_id, ModelScan.subset.in_(_USED))
        .cte("fitted")
    )


def _themselves(fitted: CTE) -> CTE:
    no_other_patient = or_(
        fitted.c.patient_id == Scan.patient_id, fitted.c.patient_id.is_(None), Scan.patient_id.is_(None)
    )
    return (
        select(Scan.id, Scan.dataset, Scan.patient_id)
        .join(fitted, and_(fitted.c.image_name == Scan.image_name, no_other_patient))
        .cte("itself")
    )
