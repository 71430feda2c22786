"""Parses DICOM files with pydicom, and turns whatever it raises for a damaged one into a rejection."""

import re
import struct
import warnings
import zlib
from collections.abc import Sequence
from io import BytesIO
from math import isfinite
from typing import Any, BinaryIO, Final

from pydicom import config, dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue

from db.errors import PermanentError

_MAGIC_OFFSET: Final = 128
#: A DICOM file without a preamble begins with an element of group 0002 or 0008, whose type is two letters or whose
#: length is short. Some real files begin with one stray byte.
_WITHOUT_PREAMBLE: Final = re.compile(rb"[\0-\x20]?[\x02\x08]\0[\0-\xff]\0(?:[A-Z]{2}|[\0-\xff]\0\0\0)")
#: Bytes from which `is_dicom` tells.
SNIFFED_BYTES: Final = _MAGIC_OFFSET + 4
#: What pydicom raises for a damaged file, found by experiment.
DAMAGE_ERRORS: Final = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, AttributeError),
    *(NotImplementedError, RecursionError, MemoryError, InvalidDicomError, struct.error, zlib.error),
)

# Real headers break the standard's rules for values; what is used of them is checked where it is used.
config.settings.reading_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", module="pydicom")


def is_dicom(head: bytes) -> bool:
    """Whether content that begins with these `SNIFFED_BYTES` is DICOM, with or without a preamble."""
    return head[_MAGIC_OFFSET:SNIFFED_BYTES] == b"DICM" or _WITHOUT_PREAMBLE.match(head) is not None


def parse_dicom(
    content: bytes | BinaryIO, *, tags: Sequence[str] | None = None, with_pixels: bool = True
) -> FileDataset:
    """Parse a file that `is_dicom` accepts.

    Args:
        content: the whole content, or a file that is read as far as needed.
        tags: keywords of the elements to keep; None keeps all.
        with_pixels: False stops before the pixel data.

    Raises:
        PermanentError: `truncated`, the file is damaged.
    """
    file = BytesIO(content) if isinstance(content, bytes) else content
    try:
        return dcmread(file, force=True, stop_before_pixels=not with_pixels, specific_tags=list(tags) if tags else None)
    except DAMAGE_ERRORS as error:
        raise PermanentError(
            "truncated", "the DICOM file is truncated or damaged: its header cannot be read"
        ) from error


def text_of(dataset: Dataset, keyword: str) -> str | None:
    """The first value of an element as text without spaces around it; None if it is absent, empty or damaged."""
    return next((text for value in _values(dataset, keyword) if (text := str(value).strip(" \0"))), None)


def numbers_of(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """The values of a numeric element; () if it is absent, empty or damaged, or one of them is not finite."""
    try:
        numbers = tuple(float(value) for value in _values(dataset, keyword))
    except DAMAGE_ERRORS:
        return ()
    return numbers if all(map(isfinite, numbers)) else ()


def _values(dataset: Dataset, keyword: str) -> list[Any]:
    try:
        # pydicom converts the bytes only now.
        value = dataset.get(keyword)
    except DAMAGE_ERRORS:
        return []
    if value is None:
        return []
    # pydicom gives the descriptor of a LUT as a list.
    return list(value) if isinstance(value, MultiValue | list) else [value]
