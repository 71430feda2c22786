"""Reads what is registered of a DICOM file: never a name, a birth date, an accession number or free text.

A value that is not what its element must hold counts as absent, because people type into these fields.
"""

import re
from collections.abc import Mapping
from datetime import date
from typing import BinaryIO, Final

from pydicom.dataset import Dataset

from db.labels.cells import normalise_patient_id, parse_age
from db.labels.text import InvalidLabels
from db.ledger.scans import ImageHeader
from worker.dicom.dataset import DAMAGE_ERRORS, parse_dicom, text_of

#: The elements that are read; all others are skipped.
_TAGS: Final = (
    *("SOPClassUID", "SOPInstanceUID", "StudyDate", "Manufacturer", "PatientID", "PatientSex", "PatientAge"),
    *("ViewPosition", "ViewCodeSequence"),
)
_UID: Final = re.compile(r"(?=[\d.]{1,64}\Z)\d+(\.\d+)+", re.ASCII)
#: With or without a unit, which some vendors leave out.
_AGE: Final = re.compile(r"\d{1,3}[YMWD]?", re.ASCII)
#: The dots are those of ACR-NEMA, DICOM's predecessor.
_DATE: Final = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)", re.ASCII)
#: A company's name. A person's name in DICOM has `^` between its parts.
_MANUFACTURER: Final = re.compile(r"[\w .,;:&/()+*'-]{1,64}")
_MAX_PATIENT_ID_LENGTH: Final = 64
LATERAL: Final = "LATERAL"

#: By the words of View Position (PS3.3 C.8.1.3 and C.8.11.5, and what vendors write); decubitus views show the side.
_VIEWS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("PA", "AP"), ""),
    **dict.fromkeys(("LATERAL", "LAT", "LL", "RL", "LLD", "RLD", "LLAT", "RLAT"), "LATERAL"),
    **dict.fromkeys(("OBLIQUE", "OBL", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO"), "OBLIQUE"),
}
#: By code of CID 4010, in SNOMED CT and in its older notation.
_VIEWS_BY_CODE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("272479007", "R-10214", "R-40888"), "PA"),
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("399067008", "R-102CD"), "LATERAL"),
    **dict.fromkeys(("399173006", "R-10236", "399198007", "R-10232"), "LATERAL"),
}


def read_header(content: bytes | BinaryIO) -> ImageHeader:
    """Read the header of a DICOM file, without its pixels.

    Raises:
        PermanentError: `truncated`, it cannot be read.
    """
    return header_of(parse_dicom(content, tags=_TAGS, with_pixels=False))


def header_of(dataset: Dataset) -> ImageHeader:
    """What a parsed file says of its scan."""
    meta = getattr(dataset, "file_meta", Dataset())
    return ImageHeader(
        sop_instance_uid=_uid(text_of(dataset, "SOPInstanceUID")),
        patient_id=_patient_id(text_of(dataset, "PatientID")),
        view=view_of(dataset),
        sex=_sex(text_of(dataset, "PatientSex")),
        age_years=_age(text_of(dataset, "PatientAge")),
        manufacturer=_matching(_MANUFACTURER, text_of(dataset, "Manufacturer")),
        transfer_syntax=_uid(text_of(meta, "TransferSyntaxUID")),
        study_date=_date(text_of(dataset, "StudyDate")),
    )


def view_of(dataset: Dataset) -> str | None:
    """`PA`, `AP`, `LATERAL` or `OBLIQUE`; None if the header does not say, or says two of them."""
    text = text_of(dataset, "ViewPosition")
    return _view_of_code(dataset) if text is None else normal_view(text)


def normal_view(text: str) -> str | None:
    """`PA`, `AP`, `LATERAL` or `OBLIQUE`, of a view as people write it; None if it is none or two of them."""
    words = re.split(r"[^A-Z]+", text.upper())
    views = {_VIEWS[word] or word for word in words if word in _VIEWS}
    return views.pop() if len(views) == 1 else None


def _view_of_code(dataset: Dataset) -> str | None:
    try:
        code = text_of(dataset["ViewCodeSequence"][0], "CodeValue")
    except DAMAGE_ERRORS:
        # Absent, empty or damaged.
        return None
    return _VIEWS_BY_CODE.get(code or "")


def _patient_id(text: str | None) -> str | None:
    if text is None or len(text) > _MAX_PATIENT_ID_LENGTH or not text.isprintable():
        return None
    try:
        return normalise_patient_id(text)
    except InvalidLabels:
        # A spreadsheet shortened it on its way into the archive.
        return None


def _sex(text: str | None) -> str | None:
    return text if text in ("M", "F", "O") else None


def _age(text: str | None) -> float | None:
    age = _matching(_AGE, text)
    return parse_age(age) if age else None


def _date(text: str | None) -> date | None:
    found = _DATE.fullmatch(text or "")
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


def _uid(text: str | None) -> str | None:
    return _matching(_UID, text)


def _matching(pattern: re.Pattern[str], text: str | None) -> str | None:
    return text if text and pattern.fullmatch(text) else None
