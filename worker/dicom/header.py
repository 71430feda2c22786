"""Reads what is registered of a DICOM file: never a name, a birth date, an accession number or free text.

A value that is not what its element must hold counts as absent, because people type into these fields.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import BinaryIO, Final

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID, MediaStorageDirectoryStorage

from db.errors import PermanentError
from db.labels.cells import normalise_patient_id, parse_age
from db.labels.text import InvalidLabels
from db.ledger.scans import ImageHeader
from worker.dicom.dataset import DAMAGE_ERRORS, UNDEFINED_LENGTH, parse_dicom, sop_class_of, text_of, values_of
from worker.dicom.uid import VALID_UID, is_uid

#: The elements that are read; all others are skipped.
_TAGS: Final = (
    *("SOPClassUID", "SOPInstanceUID", "StudyDate", "Manufacturer", "PatientID", "PatientSex", "PatientAge"),
    *("ViewPosition", "ViewCodeSequence", "SyntheticData"),
)
#: With or without a unit, which some vendors leave out.
_AGE: Final = re.compile(r"\d{1,3}[YMWD]?", re.ASCII)
#: The dots are those of ACR-NEMA, DICOM's predecessor.
_DATE: Final = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)", re.ASCII)
#: A company's name. A person's name in DICOM has `^` between its parts.
_MANUFACTURER: Final = re.compile(r"[\w .,;:&/()+*'-]{1,64}")
_MAX_PATIENT_ID_LENGTH: Final = 64
#: What an anonymised archive writes instead of every patient's id. As an id it would make all its films one patient's.
_NO_PATIENT: Final = re.compile(r"[0\s*?._-]*|X+|ANON(YM\w*)?|UNKNOWN|NONE|NULL|N/?A|NO ?(ID|NAME)", re.IGNORECASE)
LATERAL: Final = "LATERAL"
_DECUBITUS: Final = "DECUBITUS"

#: By the words of View Position (PS3.3 C.8.1.3 and C.8.11.5), and what vendors and public data sets write. In a lateral
#: decubitus view the patient lies on the side, and the beam is frontal.
_VIEWS: Final[Mapping[str, str]] = {
    **{view: view for view in ("PA", "AP", "FRONTAL")},
    **dict.fromkeys(("LATERAL", "LAT", "L", "LL", "RL", "LLAT", "RLAT"), LATERAL),
    **dict.fromkeys(("OBLIQUE", "OBL", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO"), "OBLIQUE"),
    **dict.fromkeys(("LLD", "RLD", "DECUB", "DECUBITUS"), _DECUBITUS),
}
#: By code of CID 4010, in SNOMED CT and in its older notation.
_VIEWS_BY_CODE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("272479007", "R-10214", "R-40888"), "PA"),
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("399067008", "R-102CD"), "LATERAL"),
    **dict.fromkeys(("399173006", "R-10236", "399198007", "R-10232"), "LATERAL"),
}


class NoImage(StrEnum):
    """DICOM that holds no image. The values are keys of JSON, so they are public interface."""

    #: The list of the files of a CD.
    DICOMDIR = "dicomdir"
    #: A report, a presentation state, a waveform: such objects lie beside the films of a study.
    OTHER = "dicom_without_image"


def read_header(content: bytes | BinaryIO) -> ImageHeader | NoImage:
    """Read the header of a DICOM file, without its pixels.

    Raises:
        PermanentError: `truncated`, it cannot be read.
    """
    dataset = parse_dicom(content, tags=_TAGS, with_pixels=False)
    if not all(map(_is_whole, dataset.values())):
        # A UID that is cut short would be that of another film.
        raise PermanentError("truncated", "the DICOM file is truncated: its header ends too early")
    return _no_image(dataset) or header_of(dataset)


def header_of(dataset: Dataset) -> ImageHeader:
    """What a parsed file says of its scan."""
    meta = getattr(dataset, "file_meta", Dataset())
    return ImageHeader(
        sop_instance_uid=_uid(text_of(dataset, "SOPInstanceUID")),
        patient_id=_patient_id(values_of(dataset, "PatientID")),
        view=view_of(dataset),
        sex=_sex(text_of(dataset, "PatientSex")),
        age_years=_age(text_of(dataset, "PatientAge")),
        manufacturer=_matching(_MANUFACTURER, text_of(dataset, "Manufacturer")),
        transfer_syntax=_matching(VALID_UID, text_of(meta, "TransferSyntaxUID")),
        study_date=_date(text_of(dataset, "StudyDate")),
        synthetic=text_of(dataset, "SyntheticData") == "YES",
    )


def _no_image(dataset: FileDataset) -> NoImage | None:
    """What else a file is by its SOP class; None for an image, and for a class that the standard does not know."""
    uid = UID(sop_class_of(dataset))
    if uid == MediaStorageDirectoryStorage:
        return NoImage.DICOMDIR
    return NoImage.OTHER if uid.type == "SOP Class" and "Image" not in uid.name else None


def _is_whole(element: RawDataElement | DataElement) -> bool:
    if not isinstance(element, RawDataElement) or element.length == UNDEFINED_LENGTH:
        return True
    return len(element.value or b"") == element.length


def view_of(dataset: Dataset) -> str | None:
    """One of `named_view`; None if the header does not say, or says two of them."""
    text = text_of(dataset, "ViewPosition")
    return _view_of_code(dataset) if text is None else named_view(text)


def named_view(text: str) -> str | None:
    """The view that a text such as `AP supine` names: `PA`, `AP`, `FRONTAL`, `LATERAL`, `OBLIQUE` or `DECUBITUS`.

    Returns:
        None if it names none of them, or two.
    """
    words = re.split(r"[^A-Z]+", text.upper())
    views = {_VIEWS[word] for word in words if word in _VIEWS}
    if views == {LATERAL, _DECUBITUS}:
        return _DECUBITUS
    return views.pop() if len(views) == 1 else None


def _view_of_code(dataset: Dataset) -> str | None:
    try:
        code = text_of(dataset["ViewCodeSequence"][0], "CodeValue")
    except DAMAGE_ERRORS:
        # Absent, empty or damaged.
        return None
    return _VIEWS_BY_CODE.get(code or "")


def _patient_id(values: Sequence[object]) -> str | None:
    # Of several, which an id with a backslash is taken for, the first may be another patient's.
    text = str(values[0]).strip(" \0") if len(values) == 1 else ""
    if len(text) > _MAX_PATIENT_ID_LENGTH or not text.isprintable() or _NO_PATIENT.fullmatch(text):
        return None
    try:
        return normalise_patient_id(text)
    except InvalidLabels:
        # A spreadsheet shortened it on its way into the archive.
        return None


def _sex(text: str | None) -> str | None:
    return next((sex for sex in ("M", "F", "O") if sex == text), None)


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
    return text if text and is_uid(text) else None


def _matching(pattern: re.Pattern[str], text: str | None) -> str | None:
    # Interned: many thousand headers repeat the same few words.
    return sys.intern(text) if text and pattern.fullmatch(text) else None
