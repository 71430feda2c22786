"""Forgets a patient: deletes all of their rows, and on SQLite the traces that deleted rows leave in the file."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, Delete, Engine, Select, delete, insert, or_, select, union

from db.engine.sqlite import BUSY_TIMEOUT_SECONDS
from db.errors import UserError, WorkStopped
from db.labels.csv_file import normalise_patient_id
from db.labels.text import InvalidLabels
from db.ledger.open_run import lock_for_enqueue
from db.metrics.stale_metrics import delete_metrics
from db.schema.tables import (
    Forgotten,
    Label,
    Model,
    ModelScan,
    Outcome,
    Review,
    Run,
    RunScan,
    Scan,
    Scores,
)


@dataclass(frozen=True, kw_only=True)
class ForgetResult:
    """What `forget_patient` deleted."""

    scans: int
    outcomes: int
    #: Rows, of all label sets: a scan with two findings has two, and successive label sets share a row.
    labels: int
    #: Names of the models whose split had the patient: their artifacts' `split.csv` still names them.
    models: tuple[str, ...]
    #: The runs that lost scans.
    runs: tuple[int, ...]


def forget_patient(engine: Engine, patient_id: str, dataset: str | None = None) -> ForgetResult:
    """Delete a patient's scans, outcomes, scores, labels and reviews, and their rows in the models' splits.

    One transaction deletes them and the metrics that rest on them, and records that a patient was forgotten. A worker
    that holds one of the scans finds it gone and drops it. Runs may have become complete or lack their metrics: the
    caller closes them.

    SQLite's file is then rewritten, because deleted rows stay readable in its free space. That needs disk space for a
    copy, and writers wait for it. If a reader stays for more than a minute, the old pages remain until a later
    checkpoint. On PostgreSQL the rows remain on disk until autovacuum runs, and in its WAL and backups as long as those
    are kept.

    Args:
        engine: the ledger.
        patient_id: as in a CSV; `00000013` is `13`.
        dataset: the patient's dataset; None means the only dataset that has this id.

    Raises:
        UserError: it is not an id (see `normalise_patient_id`), no patient has it, or several datasets have it and
            none was named; nothing was written.
        WorkStopped: the patient is forgotten, but SQLite's file could not be rewritten.
    """
    with engine.begin() as connection:
        # Waits for a producer that is opening a run, which may be linking these scans.
        lock_for_enqueue(connection)
        forgotten = _forget_rows(connection, _find_patient(connection, patient_id, dataset))
    if engine.dialect.name == "sqlite":
        _vacuum(engine)
    return forgotten


@dataclass(frozen=True, kw_only=True)
class _Patient:
    """Selects a patient's rows."""

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
        # Some CSVs on which models were fitted name no patients.
        names = select(Scan.image_name).where(Scan.id.in_(self.scans))
        known = or_(ModelScan.patient_id == self.id, ModelScan.image_name.in_(names))
        return (ModelScan.dataset == self.dataset) & known


def _find_patient(connection: Connection, patient_id: str, dataset: str | None) -> _Patient:
    try:
        known = normalise_patient_id(patient_id)
    except InvalidLabels as error:
        raise UserError(f"the patient id {error}") from error
    if known is None:
        raise UserError("no patient id was given; give one as it is in the CSV")
    holders = union(*(select(table.dataset).where(table.patient_id == known) for table in (Scan, ModelScan)))
    datasets = sorted(connection.execute(holders).scalars())
    if dataset is None and len(datasets) > 1:
        raise UserError(f"patient {known} is in several datasets; choose one with --dataset: {', '.join(datasets)}")
    if not datasets or dataset not in (None, *datasets):
        raise UserError(f"no patient {known} in {'the ledger' if dataset is None else f'dataset {dataset!r}'}")
    return _Patient(id=known, dataset=dataset or datasets[0])


def _forget_rows(connection: Connection, patient: _Patient) -> ForgetResult:
    runs = _lock_runs(connection, patient)
    fitted = select(ModelScan.model_id).where(patient.in_splits)
    # Without the patient's rows in a model's split, its runs may count other scans as held out.
    delete_metrics(connection, Run.id.in_(runs) | Run.model_id.in_(fitted))
    # Locked in the order of ids, as `record_outcomes` does; scores that were recorded first are deleted too.
    connection.execute(patient.outcomes.order_by(Outcome.id).with_for_update())
    names = select(Model.name).where(Model.id.in_(fitted)).order_by(Model.name)
    models = tuple(connection.execute(names).scalars())
    counts = _delete_rows(connection, patient)
    connection.execute(insert(Forgotten).values(forgotten_at=datetime.now(UTC), **counts))
    return ForgetResult(**counts, models=models, runs=runs)


def _lock_runs(connection: Connection, patient: _Patient) -> tuple[int, ...]:
    """Lock and return the patient's runs, so that no aggregator is writing to them."""
    losing = select(RunScan.run_id).where(RunScan.outcome_id.in_(patient.outcomes))
    runs = select(Run.id).where(Run.id.in_(losing)).order_by(Run.id).with_for_update(key_share=True)
    return tuple(connection.execute(runs).scalars())


def _delete_rows(connection: Connection, patient: _Patient) -> dict[str, int]:
    """Delete the rows that refer to the scans, then the scans; returns the numbers that `ForgetResult` reports."""

    def count_deleted(statement: Delete) -> int:
        return connection.execute(statement).rowcount

    count_deleted(delete(Scores).where(Scores.outcome_id.in_(patient.outcomes)))
    count_deleted(delete(RunScan).where(RunScan.outcome_id.in_(patient.outcomes)))
    count_deleted(delete(ModelScan).where(patient.in_splits))
    count_deleted(delete(Review).where(Review.scan_id.in_(patient.scans)))
    outcomes = count_deleted(delete(Outcome).where(Outcome.scan_id.in_(patient.scans)))
    labels = count_deleted(delete(Label).where(Label.scan_id.in_(patient.scans)))
    scans = count_deleted(delete(Scan).where(Scan.id.in_(patient.scans)))
    return {"scans": scans, "outcomes": outcomes, "labels": labels}


def _vacuum(engine: Engine) -> None:
    """Rewrite SQLite's file without free space, and empty its `-wal` file.

    `secure_delete` is not enough: it does not remove the remains of earlier updates and page splits.
    """
    try:
        # Not through a SQLAlchemy connection, which would begin a transaction first: VACUUM refuses to run in one.
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute(f"PRAGMA busy_timeout = {round(1000 * BUSY_TIMEOUT_SECONDS)}")
            connection.cursor().execute("VACUUM")
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        file = engine.url.database
        sentence = f"the patient is forgotten, but {file} cannot be rewritten ({error}); run VACUUM on it"
        raise WorkStopped(sentence) from error
