"""Reads what is registered of a DICOM file: never a name, a birth date, an accession number or free text."""

from typing import BinaryIO, Final

from pydicom.dataset import Dataset

from db.errors import PermanentError
from db.ledger.scans import ImageHeader
from worker.dicom.dataset import parse_dicom

#: The elements that are read; all others are skipped.
_TAGS: Final = (
    *("SOPInstanceUID", "PatientID", "PatientSex", "PatientAge", "ViewPosition", "Manufacturer", "StudyDate"),
    *("TransferSyntaxUID",),
)


def read_header(content: bytes | BinaryIO) -> ImageHeader:
    """Read the header of a DICOM file, without its pixels.

    Raises:
        PermanentError: `truncated`, or `not_image` if it names no SOP instance.
    """
    return header_of(parse_dicom(content, tags=_TAGS, with_pixels=False))


def header_of(_dataset: Dataset) -> ImageHeader:
    """What a parsed file says of its scan.

    Raises:
        PermanentError: `not_image`: it names no SOP instance.
    """
    raise PermanentError("unsupported", "DICOM headers are not read yet")
