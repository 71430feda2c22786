"""Registers scans with what a CSV or an image listing says of each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, select

from db.engine.bulk_insert import insert_rows
from db.engine.session import STREAMING
from db.labels.csv_file import LabelRow
from db.metrics.stale_metrics import delete_metrics
from db.schema.tables import ModelScan, Run, Scan

#: Columns that a later CSV or listing updates.
_UPDATED_COLUMNS: Final = ("location", "patient_id", "view", "sex", "age_years", "follow_up")


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundImage:
    """The location of an image, and the version that its listing gives."""

    #: Absolute path or s3:// address.
    location: str
    #: `etag:...` of an S3 object, `stat:size-mtime` of a file; None if it was not checked.
    version: str | None = None

    @property
    def seen_as(self) -> str | None:
        """Version and location. If a later listing gives the same, the image counts as unchanged and is not read."""
        return self.version and f"{self.version} {self.location}"


def register_scans(
    connection: Connection, dataset: str, rows: Sequence[LabelRow], found: Mapping[str, FoundImage]
) -> dict[str, int]:
    """Insert the dataset's new scans, update the known ones, and return the scan id of each row by image name.

    A known value is only replaced by a newer one, never by NULL: work that was sent before must still find its image,
    and a folder without a CSV names no patients.

    If patients become known, other scans may count as seen by a model: the metrics that may rest on that are deleted,
    and the caller closes runs afterwards, see `delete_metrics`.
    """
    learned = _learns_patients(connection, dataset, rows)
    newest_before = connection.execute(select(func.max(Scan.id))).scalar() or 0
    # Sorted, so that two producers lock rows in the same order and cannot deadlock.
    values = (_scan_values(dataset, row, found) for row in sorted(rows, key=lambda row: row.image_name))
    insert_rows(connection, Scan.__table__, values, key=("dataset", "image_name"), update=_UPDATED_COLUMNS)
    delete_metrics(connection, _may_see_other_scans(dataset, newest_before, learned=learned))
    # Reuses the rows' own strings as keys: a second copy of each name would take about 100 bytes per scan.
    ids = dict.fromkeys((row.image_name for row in rows), 0)
    for name, scan_id in _names_and_ids(connection, dataset):
        if name in ids:
            ids[name] = scan_id
    return ids


def scan_ids_by_name(connection: Connection, dataset: str) -> dict[str, int]:
    """The id of every scan of a dataset, by image name."""
    return dict(_names_and_ids(connection, dataset))


def list_datasets(connection: Connection) -> list[str]:
    """The names of all datasets, A to Z."""
    return list(connection.execute(select(Scan.dataset).distinct().order_by(Scan.dataset)).scalars())


def _learns_patients(connection: Connection, dataset: str, rows: Sequence[LabelRow]) -> bool:
    """Whether a row gives a known scan another patient than it has."""
    given = {row.image_name: row.patient_id for row in rows if row.patient_id is not None}
    if not given:
        return False
    known = select(Scan.image_name, Scan.patient_id).where(Scan.dataset == dataset)
    with connection.execute(known, execution_options=STREAMING) as scans:
        return any(given.get(name, patient) != patient for name, patient in scans)


def _may_see_other_scans(dataset: str, newest_before: int, *, learned: bool) -> ColumnElement[bool]:
    """The runs of a dataset of which other scans may be held out now (see `db.metrics.held_out`)."""
    models = select(ModelScan.model_id)
    if not learned:
        # A new scan changes what other scans are only if a model was fitted on it: then its patient is seen.
        is_new = (Scan.id > newest_before) & (Scan.dataset == dataset) & Scan.patient_id.is_not(None)
        models = models.join(Scan, Scan.image_name == ModelScan.image_name).where(is_new)
    return (Run.dataset == dataset) & Run.model_id.in_(models)


def _names_and_ids(connection: Connection, dataset: str) -> Iterator[tuple[str, int]]:
    query = select(Scan.image_name, Scan.id).where(Scan.dataset == dataset)
    return ((row.image_name, row.id) for row in connection.execute(query, execution_options=STREAMING))


def _scan_values(dataset: str, row: LabelRow, found: Mapping[str, FoundImage]) -> dict[str, Any]:
    image = found.get(row.image_name)
    return {
        "dataset": dataset,
        "image_name": row.image_name,
        "location": image and image.location,
        "patient_id": row.patient_id,
        "view": row.view,
        "sex": row.sex,
        "age_years": row.age_years,
        "follow_up": row.follow_up,
    }
