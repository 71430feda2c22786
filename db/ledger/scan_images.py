"""The image that an outcome is of: where it lies, and by what it is known to be the same still."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from db.ledger.scans import FoundImage
from db.schema.tables import QUARANTINED, REJECTED, SCORED, Model, Outcome, RunScan, Scan

#: How the identity of bytes begins that were hashed. Older programs wrote the ETag of an S3 object instead.
_HASH: Final = "sha256:"


@dataclass(frozen=True, kw_only=True)
class ScanImage:
    """The image of a scan in a run, as its outcome there has it. It may have been deleted or replaced since."""

    scan_id: int
    #: Absolute path or s3:// address; None if the run has no image of the scan.
    location: str | None
    #: `sha256:...` of the bytes that were read for the outcome; None if none were, or an older program hashed none.
    content: str | None
    #: Where `content` is None, what a listing said of the image (`FoundImage.version`); None if it was not checked.
    version: str | None
    #: `pending`, `scored`, `rejected` or `quarantined`.
    state: str
    #: It may be what ended a worker: it is quarantined, or was tried alone and never read to its end.
    is_suspect: bool
    #: Short code of a rejection or quarantine, and its sentence, which holds no names.
    reason: str | None
    detail: str | None
    #: Codes of what is unusual about the image, such as `colour`.
    notes: tuple[str, ...]
    #: The field `preprocessing` of the model's manifest; empty if the manifest has none.
    preprocessing: Mapping[str, Any]


def find_scan_image(connection: Connection, run_id: int, scan_id: int) -> ScanImage | None:
    """The image of a scan in a run; None if the run has no such scan."""
    row = connection.execute(
        select(
            *(Outcome.location, Outcome.content, Outcome.seen_as, Outcome.state, Outcome.reason, Outcome.detail),
            *(Outcome.notes, Outcome.attempts, Scan.location.label("scan_location"), Model.manifest),
        )
        .select_from(RunScan)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .join(Scan, Scan.id == RunScan.scan_id)
        .join(Model, Model.id == Outcome.model_id)
        .where(RunScan.run_id == run_id, RunScan.scan_id == scan_id)
    ).one_or_none()
    return None if row is None else _scan_image(scan_id, row)


def _scan_image(scan_id: int, row: Row[*tuple[Any, ...]]) -> ScanImage:
    is_hashed = row.content is not None and row.content.startswith(_HASH)
    return ScanImage(
        scan_id=scan_id,
        location=_location(row),
        content=row.content if is_hashed else None,
        version=None if is_hashed else _version(row),
        state=row.state,
        is_suspect=row.state == QUARANTINED or (row.state != SCORED and row.content is None and row.attempts > 0),
        reason=row.reason,
        detail=row.detail,
        notes=tuple(row.notes.split(",")) if row.notes else (),
        preprocessing=row.manifest.get("preprocessing", {}),
    )


def _location(row: Row[*tuple[Any, ...]]) -> str | None:
    # A rejection without either was opened without an image. The scan's location came later, or another scan has it.
    is_without = row.state == REJECTED and row.content is None
    location: str | None = row.location or (None if is_without else row.scan_location)
    return location


def _version(row: Row[*tuple[Any, ...]]) -> str | None:
    """The version that the bytes must be of: that which an older program read, or that which a listing gave."""
    listed = FoundImage.from_seen_as(row.seen_as).version if row.seen_as else None
    return row.content or listed
