"""Registers scans: what a CSV or a listing says of each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select

from db.engine.bulk_insert import insert_rows
from db.engine.session import STREAMING
from db.labels.csv_file import LabelRow
from db.schema.tables import Scan

#: What a later CSV or listing brings up to date.
_SCAN_COLUMNS: Final = ("location", "patient_id", "view", "sex", "age_years", "follow_up")


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundImage:
    """Where an image lies, and what the listing says of its bytes."""

    #: Absolute path or s3:// address.
    location: str
    #: `etag:...` of an object, `stat:size-mtime` of a file; None where nobody looked.
    version: str | None = None

    @property
    def seen_as(self) -> str | None:
        """What a later listing must say again for the image to count as the same unread."""
        return self.version and f"{self.version} {self.location}"


def register_scans(
    connection: Connection, dataset: str, rows: Sequence[LabelRow], found: Mapping[str, FoundImage]
) -> dict[str, int]:
    """Insert the dataset's new scans, bring known ones up to date, and return image name to scan id for `rows`.

    What is known is only ever replaced by something newer, never by nothing: work that was sent before must still
    find its image, and a folder without a CSV knows no patients.
    """
    # Sorted, so that two producers take their row locks in one order.
    values = (_scan_values(dataset, row, found) for row in sorted(rows, key=lambda row: row.image_name))
    insert_rows(connection, Scan.__table__, values, key=("dataset", "image_name"), update=_SCAN_COLUMNS)
    # The names that are there already: a second copy of each would be a tenth of a kilobyte a scan.
    ids = dict.fromkeys((row.image_name for row in rows), 0)
    for name, scan_id in _names_and_ids(connection, dataset):
        if name in ids:
            ids[name] = scan_id
    return ids


def scan_ids(connection: Connection, dataset: str) -> dict[str, int]:
    """Image name to scan id of every scan of a dataset."""
    return dict(_names_and_ids(connection, dataset))


def datasets(connection: Connection) -> list[str]:
    """Every dataset's name, A to Z."""
    return list(connection.execute(select(Scan.dataset).distinct().order_by(Scan.dataset)).scalars())


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
