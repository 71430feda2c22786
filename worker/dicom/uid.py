"""Tells whether a text may be a DICOM UID. It does not import pydicom, so listing files stays quick."""

import re
from typing import Final

VALID_UID: Final = re.compile(r"(?=[\d.]{1,64}\Z)\d+(\.\d+)+", re.ASCII)


def is_uid(text: str) -> bool:
    """Whether a text may be a UID: numbers with dots between them, of at most 64 characters."""
    return VALID_UID.fullmatch(text) is not None
