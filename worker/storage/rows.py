"""Completes the rows of a CSV with what the headers of its DICOM files say."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from db.errors import UserError
from db.labels.csv_file import LabelRow
from worker.storage.matching import Listing


def rows_with_headers(rows: Sequence[LabelRow], listing: Listing) -> tuple[LabelRow, ...]:
    """Name each row by its image, and fill what it does not say from the header.

    A row that names a file gets the file's SOP Instance UID as its image name. Patient, view, sex and age are the
    header's where the row has none. Where both name a patient the row's stays, see `contradicted_patients`.

    Raises:
        UserError: two rows name one image and say different things of it.
    """
    by_name: dict[str, LabelRow] = {}
    for row in rows:
        completed = _completed(row, listing)
        first = by_name.setdefault(completed.image_name, completed)
        if first != completed:
            raise UserError(
                f"two rows of the CSV are of the image with SOP Instance UID {completed.image_name}, and differ; one "
                f"names {row.image_name!r}: delete the row that is wrong"
            )
    return tuple(by_name.values())


def contradicted_patients(rows: Sequence[LabelRow], listing: Listing) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the rows that name another patient than the header of their image.

    Args:
        rows: as `rows_with_headers` completed them.
        listing: their images.

    Returns:
        Image name, and the header's and the row's patient.
    """
    for row in rows:
        image = listing.images.get(row.image_name)
        patient = image.header.patient_id if image and image.header else None
        if patient and row.patient_id and patient != row.patient_id:
            yield row.image_name, (patient, row.patient_id)


def _completed(row: LabelRow, listing: Listing) -> LabelRow:
    name = listing.image_names.get(row.image_name, row.image_name)
    image = listing.images.get(name)
    if image is None or image.header is None:
        return row
    header = image.header
    return replace(
        row,
        image_name=name,
        patient_id=row.patient_id or header.patient_id,
        view=row.view or header.view,
        sex=row.sex or header.sex,
        age_years=header.age_years if row.age_years is None else row.age_years,
    )
