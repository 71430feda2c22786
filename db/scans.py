"""Registers scans and label sets from a labels file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from db.labels_csv import LabelRow, LabelsFile
from db.schema import Label, LabelSet, Scan

#: What a later CSV or listing brings up to date.
_SCAN_COLUMNS: Final = ("location", "version", "patient_id", "view", "sex", "age_years", "follow_up")


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundImage:
    """Where an image lies, and what the listing says of its bytes."""

    #: Absolute path or s3:// address.
    location: str
    #: `etag:...` of an object, `stat:size-mtime` of a file; None where nobody looked.
    version: str | None = None


def register_scans(
    connection: Connection, dataset: str, rows: Sequence[LabelRow], found: Mapping[str, FoundImage]
) -> dict[str, int]:
    """Insert the dataset's new scans, bring known ones up to date, and return image name to scan id for `rows`.

    What is known is only ever replaced by something newer, never by nothing: work that was sent before must still
    find its image, and a folder without a CSV knows no patients.
    """
    # Sorted, so that two producers take their row locks in one order.
    values = [_scan_values(dataset, row, found) for row in sorted(rows, key=lambda row: row.image_name)]
    statement = upsert(connection, Scan.__table__)
    updated: dict[str, Any] = {
        name: func.coalesce(statement.excluded[name], getattr(Scan, name)) for name in _SCAN_COLUMNS
    }
    connection.execute(statement.on_conflict_do_update(index_elements=["dataset", "image_name"], set_=updated), values)
    wanted = {row.image_name for row in rows}
    known = connection.execute(select(Scan.image_name, Scan.id).where(Scan.dataset == dataset))
    return {name: scan_id for name, scan_id in known if name in wanted}


def import_labels(connection: Connection, file: LabelsFile, rows: Iterable[LabelRow], ids: Mapping[str, int]) -> int:
    """The label set of this file, imported once; an edited file becomes a label set of its own.

    Returns:
        The label set's id.
    """
    name = _label_set_name(connection, file)
    found = connection.execute(select(LabelSet.id).where(LabelSet.name == name)).scalar()
    if found is None:
        values = {"name": name, "sha256": file.sha256, "imported_at": datetime.now(UTC)}
        found = connection.execute(insert(LabelSet).returning(LabelSet.id), values).scalar_one()
    labels = [
        {"label_set_id": found, "scan_id": ids[row.image_name], "finding": finding}
        for row in rows
        for finding in row.findings
    ]
    if labels:
        # A run of the first N rows imported only those; the rest of the same file may follow.
        connection.execute(upsert(connection, Label.__table__).on_conflict_do_nothing(), labels)
    return int(found)


def upsert(connection: Connection, table: Any) -> "postgresql.Insert | sqlite.Insert":
    """INSERT in the dialect that knows ON CONFLICT."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _scan_values(dataset: str, row: LabelRow, found: Mapping[str, FoundImage]) -> dict[str, Any]:
    image = found.get(row.image_name)
    return {
        "dataset": dataset,
        "image_name": row.image_name,
        "location": image and image.location,
        "version": image and image.version,
        "patient_id": row.patient_id,
        "view": row.view,
        "sex": row.sex,
        "age_years": row.age_years,
        "follow_up": row.follow_up,
    }


def _label_set_name(connection: Connection, file: LabelsFile) -> str:
    """The dataset's name, unless another file took it: then with the file's hash."""
    holder = connection.execute(select(LabelSet.sha256).where(LabelSet.name == file.dataset)).scalar()
    return file.dataset if holder in (None, file.sha256) else f"{file.dataset}@{file.sha256[:8]}"
