"""Forgets a patient: deletes what the ledger holds about them, and on SQLite the traces that deleting leaves."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, Delete, Engine, Select, delete, insert, or_, select, union

from db.engine.sqlite import BUSY_TIMEOUT_SECONDS
from db.errors import UserError, WorkStopped
from db.labels.csv_file import normalise_patient_id
from db.ledger.open_run import lock_for_enqueue
from db.metrics.aggregate import GIVEN, aggregate
from db.schema.tables import Forgotten as ForgottenRow
from db.schema.tables import (
    Label,
    Model,
    ModelScan,
    Outcome,
    Run,
    RunFindingMetric,
    RunScan,
    RunThresholdMetric,
    Scan,
    Scores,
)


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """How much of a patient there was."""

    scans: int
    outcomes: int
    #: Rows: a scan with two findings has two in each label set.
    labels: int
    #: Names of the models whose split has the patient: their artifacts still say so.
    models: tuple[str, ...]
    #: The runs that lost scans.
    runs: tuple[int, ...]


def forget_patient(engine: Engine, patient_id: str, dataset: str | None = None) -> Forgotten:
    """Delete a patient's scans, outcomes, scores and labels, and what model splits say of them.

    All in one transaction, with the metrics that they were part of and a row that says that somebody was forgotten.
    Those metrics are computed anew afterwards, a run at a time; where that is cut short, the report does it. A worker
    that holds one of the scans finds it gone and drops it. Runs may have become complete by this: the caller closes
    them.

    SQLite's file is then rewritten, for deleted rows stay readable in its free space: that takes room for a copy, and
    writers wait for it. Readers that stay for more than a minute leave the old pages there until a later checkpoint. On
    PostgreSQL the rows stay on disk until autovacuum comes by, and in its WAL and backups as long as those are kept.

    Args:
        engine: the ledger.
        patient_id: as in a CSV; `00000013` is `13`.
        dataset: whose patient; None is the only dataset that has the id.

    Raises:
        UserError: nobody has the id, or several datasets do and none was named; nothing was written.
        WorkStopped: the patient is forgotten, but SQLite's file could not be rewritten.
    """
    with engine.begin() as connection:
        # A producer in the middle of opening a run may be linking these very scans.
        lock_for_enqueue(connection)
        forgotten, figures = _forget(connection, _find(connection, patient_id, dataset))
    for stored in figures:
        with engine.begin() as connection:
            aggregate(connection, stored.run_id, label_set_id=stored.label_set_id, thresholds=stored.thresholds)
    if engine.dialect.name == "sqlite":
        _rewrite(engine)
    return forgotten


@dataclass(frozen=True, kw_only=True)
class _Patient:
    """Which rows are a patient's."""

    id: str
    dataset: str

    @property
    def scans(self) -> Select[int]:
        return select(Scan.id).where(Scan.dataset == self.dataset, Scan.patient_id == self.id)

    @property
    def outcomes(self) -> Select[int]:
        return select(Outcome.id).where(Outcome.scan_id.in_(self.scans))

    @property
    def in_splits(self) -> ColumnElement[bool]:
        # Some CSVs that models are fitted on name no patients.
        names = select(Scan.image_name).where(Scan.id.in_(self.scans))
        known = or_(ModelScan.patient_id == self.id, ModelScan.image_name.in_(names))
        return (ModelScan.dataset == self.dataset) & known


@dataclass(frozen=True, kw_only=True)
class _Figures:
    """That a run had metrics: under which label set, at which given thresholds."""

    run_id: int
    label_set_id: int
    thresholds: tuple[float, ...]


def _find(connection: Connection, patient_id: str, dataset: str | None) -> _Patient:
    known = normalise_patient_id(patient_id)
    if known is None:
        raise UserError("no patient id was given")
    holders = union(*(select(table.dataset).where(table.patient_id == known) for table in (Scan, ModelScan)))
    datasets = sorted(connection.execute(holders).scalars())
    if dataset is None and len(datasets) > 1:
        raise UserError(f"patient {known} is in several datasets, say which with --dataset: {', '.join(datasets)}")
    if not datasets or dataset not in (None, *datasets):
        raise UserError(f"no patient {known} in {'the ledger' if dataset is None else f'dataset {dataset!r}'}")
    return _Patient(id=known, dataset=dataset or datasets[0])


def _forget(connection: Connection, patient: _Patient) -> tuple[Forgotten, list[_Figures]]:
    runs = _lock(connection, patient)
    figures = _take_figures(connection, runs)
    names = select(Model.name).where(Model.id.in_(select(ModelScan.model_id).where(patient.in_splits)))
    models = tuple(connection.execute(names.order_by(Model.name)).scalars())
    counts = _delete(connection, patient)
    connection.execute(insert(ForgottenRow).values(forgotten_at=datetime.now(UTC), **counts))
    return Forgotten(**counts, models=models, runs=runs), figures


def _lock(connection: Connection, patient: _Patient) -> tuple[int, ...]:
    """The runs that lose scans; neither an aggregator nor a worker is amid any of them when this returns."""
    losing = select(RunScan.run_id).where(RunScan.outcome_id.in_(patient.outcomes))
    runs = select(Run.id).where(Run.id.in_(losing)).order_by(Run.id).with_for_update(key_share=True)
    found = tuple(connection.execute(runs).scalars())
    # Locked in the order of ids, as `record_outcomes` does; scores that were recorded first are deleted too.
    connection.execute(patient.outcomes.order_by(Outcome.id).with_for_update())
    return found


def _take_figures(connection: Connection, runs: tuple[int, ...]) -> list[_Figures]:
    """Delete the runs' metrics, and return which there were."""
    metric = RunThresholdMetric
    rows = connection.execute(
        select(metric.run_id, metric.label_set_id, metric.threshold)
        .where(metric.run_id.in_(runs), metric.chosen_by == GIVEN)
        .distinct()
        .order_by(metric.threshold)
    )
    stored: dict[tuple[int, int], list[float]] = {}
    for run_id, label_set_id, threshold in rows:
        stored.setdefault((run_id, label_set_id), []).append(threshold)
    for table in (RunThresholdMetric, RunFindingMetric):
        connection.execute(delete(table).where(table.run_id.in_(runs)))
    return [_Figures(run_id=key[0], label_set_id=key[1], thresholds=tuple(given)) for key, given in stored.items()]


def _delete(connection: Connection, patient: _Patient) -> dict[str, int]:
    """Delete whatever refers to the scans, then the scans; returns how many of each that counts."""

    def rows(statement: Delete) -> int:
        return connection.execute(statement).rowcount

    rows(delete(Scores).where(Scores.outcome_id.in_(patient.outcomes)))
    rows(delete(RunScan).where(RunScan.outcome_id.in_(patient.outcomes)))
    rows(delete(ModelScan).where(patient.in_splits))
    outcomes = rows(delete(Outcome).where(Outcome.scan_id.in_(patient.scans)))
    labels = rows(delete(Label).where(Label.scan_id.in_(patient.scans)))
    scans = rows(delete(Scan).where(Scan.id.in_(patient.scans)))
    return {"scans": scans, "outcomes": outcomes, "labels": labels}


def _rewrite(engine: Engine) -> None:
    """Write SQLite's file anew, without free space, and empty its `-wal` file.

    `secure_delete` would not do: it leaves what earlier updates and page splits left behind.
    """
    try:
        # Below SQLAlchemy, whose connections begin a transaction first: VACUUM knows none.
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute(f"PRAGMA busy_timeout = {round(1000 * BUSY_TIMEOUT_SECONDS)}")
            connection.cursor().execute("VACUUM")
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        file = engine.url.database
        raise WorkStopped(f"the patient is forgotten, but {file} cannot be rewritten ({error}): VACUUM it") from error
