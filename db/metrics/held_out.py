"""Finds the scans that a model has seen, and on which it cannot be evaluated: the one rule for runs and the trainer.

A scan is seen if the model was fitted or tuned (subsets `train` and `validation`) on

    (a) the scan itself, in whatever dataset:
        - the same bytes, under whatever name and patient; or
        - the same base name and the same patient, because people move files and rename CSVs; or
        - the same name, if a patient is unknown. There, a base name equals a path that ends in it; two different paths
          are two scans, or all of a folder's `view1.png` would be one scan; or
    (b) a scan of the same patient of the same dataset; or
    (c) a patient to whom (a) leads: another scan of that patient, in the dataset of the scan found by (a).

Every other scan is held out. `tests/support/held_out_cases.py` states the rule case by case.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Select,
    case,
    create_engine,
    func,
    insert,
    literal,
    select,
    tuple_,
    union,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute

from db.schema.tables import SCORED, Base, ModelScan, Outcome, Run, RunScan, Scan

#: Fitting and tuning (early stopping, thresholds) both make metrics optimistic.
FITTED_SUBSETS: Final = ("train", "validation")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanIdentity:
    """All that a scan is recognised by."""

    dataset: str
    image_name: str
    patient_id: str | None
    #: `sha256:...` of the encoded image; None if it is not known.
    content: str | None = None


@dataclass(frozen=True, kw_only=True)
class SeenScans:
    """Which of N scans a model has seen."""

    #: (N,) bool: the model was fitted or tuned on the scan itself.
    itself: NDArray[np.bool_]
    #: (N,) bool: it was fitted or tuned on another scan of the patient, but not on this one.
    patient: NDArray[np.bool_]


def find_seen_scans(scans: Sequence[ScanIdentity], fitted: Iterable[ScanIdentity]) -> SeenScans:
    """Apply the rule of `seen_scans` to scans that are in no ledger, in a database in memory.

    Args:
        scans: N scans; no two have the same dataset and image name.
        fitted: the scans that the model was fitted or tuned on.
    """
    engine = create_engine("sqlite://", hide_parameters=True)
    found = np.full(len(scans), -1)
    with engine.begin() as connection:
        _fill(connection, scans, fitted)
        for number, itself in connection.execute(seen_scans(1)):
            found[number] = itself
    engine.dispose()
    return SeenScans(itself=found == 1, patient=found == 0)


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
    """The scans that rule (a) finds: by bytes in the run, because a run knows its own outcomes; by name anywhere.

    A union of plain IN lists, which both databases hash. With one join and an OR, or with a join to a CTE, SQLite would
    read all 112,120 scans once for each of 80,000 fitted ones.
    """
    columns = (Scan.id, Scan.dataset, Scan.patient_id.label("patient"))
    there = _fitted(run_id, base_name(ModelScan.image_name), ModelScan.patient_id)
    rules = (
        tuple_(base_name(Scan.image_name), Scan.patient_id).in_(there),
        *(Scan.patient_id.is_(None) & same for same in _same_name(run_id)),
        *_same_name(run_id, ModelScan.patient_id.is_(None)),
    )
    by_content = (
        select(*columns)
        .join(RunScan, RunScan.scan_id == Scan.id)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .where(RunScan.run_id == run_id, Outcome.content.in_(_fitted(run_id, ModelScan.content)))
    )
    return union(by_content, *(select(*columns).where(rule) for rule in rules)).cte("itself")


def _same_name(run_id: int, *conditions: ColumnElement[bool]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Either is true of a scan whose name is that of a fitted scan, or one of the names is the other's base name."""
    names, base_names = (
        _fitted(run_id, name).where(*conditions) for name in (ModelScan.image_name, base_name(ModelScan.image_name))
    )
    return Scan.image_name.in_(names.union(base_names)), base_name(Scan.image_name).in_(names)


def _fitted(run_id: int, *columns: Any) -> Select[Any]:
    model = select(Run.model_id).where(Run.id == run_id).scalar_subquery()
    return select(*columns).where(ModelScan.model_id == model, ModelScan.subset.in_(FITTED_SUBSETS))


def base_name(path: InstrumentedAttribute[str]) -> ColumnElement[str]:
    """The part of a path after the last '/', in words that both databases have."""
    # Stripping all characters but '/' from the end leaves the folder.
    folder = func.rtrim(path, func.replace(path, "/", ""))
    return case((path.contains("/"), func.substr(path, func.length(folder) + 1)), else_=path)


def _fill(connection: Connection, scans: Sequence[ScanIdentity], fitted: Iterable[ScanIdentity]) -> None:
    """Write a ledger in which run 1 holds these scans, numbered from 0, under model 1, which was fitted on those."""
    Base.metadata.create_all(
        connection, [Base.metadata.tables[table.__tablename__] for table in (Scan, ModelScan, Run, RunScan, Outcome)]
    )
    run = {"id": 1, "identity": "", "source": "", "sha256": "", "dataset": "", "model_id": 1, "options": {}}
    connection.execute(insert(Run), [run | {"created_at": datetime.now(UTC)}])
    outcome = {"model_id": 1, "revision": 1, "state": SCORED, "attempts": 0}
    values: dict[type[Base], list[dict[str, Any]]] = {
        Scan: [{"id": n, **_name(scan)} for n, scan in enumerate(scans)],
        Outcome: [{"id": n, "scan_id": n, "content": scan.content, **outcome} for n, scan in enumerate(scans)],
        RunScan: [{"run_id": 1, "scan_id": n, "outcome_id": n, "reused": False} for n in range(len(scans))],
        ModelScan: [{"model_id": 1, "subset": "train", "content": one.content, **_name(one)} for one in fitted],
    }
    for table, rows in values.items():
        if rows:
            connection.execute(insert(table), rows)


def _name(scan: ScanIdentity) -> dict[str, str | None]:
    return {"dataset": scan.dataset, "image_name": scan.image_name, "patient_id": scan.patient_id}
