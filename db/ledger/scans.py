"""Registers scans with what a CSV or an image listing says of each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, select

from db.engine.bulk_insert import insert_rows
from db.engine.session import STREAMING
from db.errors import UserError
from db.labels.csv_file import LabelRow, LabelsFile
from db.metrics.held_out import base_name
from db.metrics.stale_metrics import delete_metrics
from db.schema.tables import ModelScan, Outcome, Run, Scan

#: Columns that a later CSV or listing updates.
_UPDATED_COLUMNS: Final = (
    *("location", "patient_id", "view", "sex", "age_years", "follow_up"),
    *("sop_instance_uid", "manufacturer", "transfer_syntax", "study_date"),
)
#: How the words of a version begin; no location begins so.
_VERSION_WORDS: Final = ("etag:", "stat:")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageHeader:
    """What the header of a DICOM file says of its scan. It holds no name, birth date, accession number or free text."""

    #: None if the file has no valid one; then the scan's image name is the file's, as that of any other image.
    sop_instance_uid: str | None = None
    #: Without leading zeros, as `Scan.patient_id`.
    patient_id: str | None = None
    #: As `worker.dicom.header.named_view` names it; None if the header does not say.
    view: str | None = None
    #: `M`, `F` or `O`.
    sex: str | None = None
    age_years: float | None = None
    manufacturer: str | None = None
    #: The UID of its encoding.
    transfer_syntax: str | None = None
    study_date: date | None = None
    #: The header says that the film shows no patient. It is not stored.
    synthetic: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundImage:
    """The location of an image, and the version that its listing gives."""

    #: Absolute path or s3:// address.
    location: str
    #: `stat:SIZE-MODIFIED` of a file, `etag:ETAG stat:SIZE-MODIFIED` of an S3 object; None if it was not checked.
    version: str | None = None
    #: Of a DICOM file whose header can be read; its SOP Instance UID is the scan's image name.
    header: ImageHeader | None = None

    @property
    def instance(self) -> str | None:
        """The SOP Instance UID, which is the scan's image name; None if it has none or is not DICOM."""
        return self.header.sop_instance_uid if self.header else None

    @property
    def seen_as(self) -> str | None:
        """Version and location. If a later listing gives the same, the image counts as unchanged and is not read."""
        return self.version and f"{self.version} {self.location}"

    @classmethod
    def from_seen_as(cls, seen_as: str) -> "FoundImage":
        """The image that was seen so. The versions of older programs say only `etag:ETAG` of an S3 object."""
        words = seen_as.split(" ")
        count = len([*takewhile(lambda word: word.startswith(_VERSION_WORDS), words)])
        return cls(location=" ".join(words[count:]), version=" ".join(words[:count]) or None)


def register_scans(
    connection: Connection, dataset: str, rows: Sequence[LabelRow], found: Mapping[str, FoundImage]
) -> dict[str, int]:
    """Insert the dataset's new scans, update the known ones, and return the scan id of each row by image name.

    A known value is only replaced by a newer one, never by NULL: work that was sent before must still find its image,
    and a folder without a CSV names no patients.

    If patients become known, other scans may count as seen by a model: the metrics that may rest on that are deleted,
    and the caller closes runs afterwards, see `delete_metrics`.
    """
    if not rows:
        return {}
    newest_before = connection.execute(select(func.max(Scan.id))).scalar() or 0
    learned = _learns_patients(connection, dataset, rows)
    # Sorted, so that two producers lock rows in the same order and cannot deadlock.
    values = (_scan_values(dataset, row, found) for row in sorted(rows, key=lambda row: row.image_name))
    insert_rows(connection, Scan.__table__, values, key=("dataset", "image_name"), update=_UPDATED_COLUMNS)
    delete_metrics(connection, _may_see_other_scans(dataset, None if learned else newest_before))
    # Reuses the rows' own strings as keys: a second copy of each name would take about 100 bytes per scan.
    ids = dict.fromkeys((row.image_name for row in rows), 0)
    for name, scan_id in _names_and_ids(connection, dataset):
        if name in ids:
            ids[name] = scan_id
    return ids


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """A scan of the ledger that a source takes for another one: the name is the same, and something else is not."""

    scan_id: int
    image_name: str
    #: The ledger's and the source's, where the bytes differ or cannot be compared; else None.
    locations: tuple[str, str] | None
    #: The ledger's and the source's, where they differ; else None.
    patients: tuple[str, str] | None

    @property
    def sentence(self) -> str:
        """What differs, without any name."""
        if self.patients:
            return "the source names another patient for this scan than the ledger"
        return "the source has another image of this name in another place"


def find_conflicts(
    connection: Connection,
    dataset: str,
    rows: Sequence[LabelRow],
    found: Mapping[str, FoundImage],
    *,
    moved: Mapping[str, str],
    correct_patients: bool = False,
) -> dict[str, Conflict]:
    """Find the rows that name a known scan of a dataset, but mean another one; by image name.

    Args:
        connection: in the transaction that registers the other rows.
        dataset: the dataset's name.
        rows: of the source.
        found: the source's images, by name.
        moved: where the ledger knew those scans whose images lie elsewhere now and are still the same, by name.
        correct_patients: take the patients of the rows for right.
    """
    patients = {row.image_name: row.patient_id for row in rows}
    query = select(Scan.id, Scan.image_name, Scan.location, Scan.patient_id).where(Scan.dataset == dataset)
    conflicts = {}
    for scan_id, name, location, patient in connection.execute(query, execution_options=STREAMING):
        if name not in patients:
            continue
        now = found[name].location if name in found else None
        places = (location, now) if location and now and location not in (now, moved.get(name)) else None
        given = None if correct_patients else patients[name]
        people = (patient, given) if patient and given and patient != given else None
        if places or people:
            conflicts[name] = Conflict(scan_id=scan_id, image_name=name, locations=places, patients=people)
    return conflicts


def known_instances(connection: Connection, dataset: str, *, with_study_date: bool) -> dict[str, str]:
    """The SOP Instance UIDs of DICOM whose headers were read before, by `FoundImage.seen_as`.

    Args:
        connection: of the ledger.
        dataset: the dataset's name.
        with_study_date: only of scans whose study date is known.
    """
    query = select(Outcome.seen_as, Scan.sop_instance_uid).join(Scan, Scan.id == Outcome.scan_id)
    query = query.where(Scan.dataset == dataset, Scan.sop_instance_uid == Scan.image_name, Outcome.seen_as.is_not(None))
    if with_study_date:
        query = query.where(Scan.study_date.is_not(None))
    return {row.seen_as: row.sop_instance_uid for row in connection.execute(query, execution_options=STREAMING)}


def scans_of_patients(connection: Connection, dataset: str, patients: Mapping[str, str]) -> set[str]:
    """The image names of those scans of a dataset that are of the patients given, by image name."""
    if not patients:
        return set()
    query = select(Scan.image_name, Scan.patient_id).where(Scan.dataset == dataset, Scan.patient_id.is_not(None))
    rows = connection.execute(query, execution_options=STREAMING)
    return {row.image_name for row in rows if patients.get(row.image_name) == row.patient_id}


def add_patient_ids(connection: Connection, dataset: str, file: LabelsFile) -> int:
    """Give each scan of the dataset without a patient the one that the file names. A known patient stays.

    Figures of the dataset's runs are deleted if a patient was added, because another scan may be held out now.

    Args:
        connection: in the caller's transaction, which holds the lock of `lock_for_enqueue`.
        dataset: of the scans.
        file: its rows of other scans are skipped.

    Returns:
        How many scans got a patient.

    Raises:
        UserError: the file names another patient than the one that a scan has; nothing was written.
    """
    named = {row.image_name: row.patient_id for row in file.rows if row.patient_id is not None}
    query = select(Scan.image_name, Scan.patient_id).where(Scan.dataset == dataset).order_by(Scan.image_name)
    scans = [row for row in connection.execute(query, execution_options=STREAMING) if row.image_name in named]
    _refuse_other_patients(file, dataset, {row.image_name: (row.patient_id, named[row.image_name]) for row in scans})
    added = [
        {"dataset": dataset, "image_name": row.image_name, "patient_id": named[row.image_name]}
        for row in scans
        if row.patient_id is None
    ]
    insert_rows(connection, Scan.__table__, added, key=("dataset", "image_name"), update=("patient_id",))
    if added:
        delete_metrics(connection, _may_see_other_scans(dataset, None))
    return len(added)


def _refuse_other_patients(file: LabelsFile, dataset: str, pairs: Mapping[str, tuple[str | None, str]]) -> None:
    """Check pairs of the patient that is known and the one that the file names, by image name."""
    others = {name: (known, other) for name, (known, other) in pairs.items() if known not in {None, other}}
    if others:
        name, (known, other) = next(iter(others.items()))
        raise UserError(
            f"{file.path}: {len(others):,} images are of other patients in dataset {dataset!r}, such as {name!r}, of"
            f" patient {other!r} here and of patient {known!r} there; correct the file, or name its --dataset"
        )


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


def _may_see_other_scans(dataset: str, newest_before: int | None) -> ColumnElement[bool]:
    """The runs of a dataset of which other scans may be held out now (see `db.metrics.held_out`).

    Args:
        dataset: the dataset whose scans were registered.
        newest_before: scans with greater ids are new; None if known scans got patients.
    """
    models = select(ModelScan.model_id)
    if newest_before is not None:
        # A new scan changes what other scans are only if a model was fitted on it: then its patient is seen.
        is_new = (Scan.id > newest_before) & (Scan.dataset == dataset) & Scan.patient_id.is_not(None)
        new = select(base_name(Scan.image_name)).where(is_new)
        models = models.where(base_name(ModelScan.image_name).in_(new))
    return (Run.dataset == dataset) & Run.model_id.in_(models)


def _names_and_ids(connection: Connection, dataset: str) -> Iterator[tuple[str, int]]:
    query = select(Scan.image_name, Scan.id).where(Scan.dataset == dataset)
    return ((row.image_name, row.id) for row in connection.execute(query, execution_options=STREAMING))


def _scan_values(dataset: str, row: LabelRow, found: Mapping[str, FoundImage]) -> dict[str, Any]:
    image = found.get(row.image_name)
    header = image and image.header
    return {
        "dataset": dataset,
        "image_name": row.image_name,
        "location": image and image.location,
        "patient_id": row.patient_id,
        "view": row.view,
        "sex": row.sex,
        "age_years": row.age_years,
        "follow_up": row.follow_up,
        "sop_instance_uid": header and header.sop_instance_uid,
        "manufacturer": header and header.manufacturer,
        "transfer_syntax": header and header.transfer_syntax,
        "study_date": header and header.study_date,
    }
