"""Parses DICOM files with pydicom, and turns whatever it raises for a damaged one into a rejection."""

import logging
import re
import struct
import warnings
import zlib
from collections.abc import Sequence
from io import BytesIO
from math import isfinite
from os import SEEK_SET
from typing import Any, BinaryIO, Final, cast

from pydicom import config, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as ItemSequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from db.errors import PermanentError

_MAGIC_OFFSET: Final = 128
#: A DICOM file without a preamble begins with an element of group 0002 or 0008, whose type is two letters or whose
#: length is short; the second form is of big endian. Some real files begin with one stray byte.
_WITHOUT_PREAMBLE: Final = re.compile(
    rb"([\0-\x20]?)(?:[\x02\x08]\0[\0-\xff]\0(?:[A-Z]{2}|[\0-\xff]\0\0\0)|\0[\x02\x08]\0[\0-\xff][A-Z]{2})", re.DOTALL
)
#: Bytes from which `is_dicom` tells.
SNIFFED_BYTES: Final = _MAGIC_OFFSET + 4
#: The greatest size of a header, without elements that are not read, and of how many reads: an element takes 2 or 3.
_MAX_HEADER_BYTES: Final = 8 << 20
_MAX_HEADER_READS: Final = 100_000
#: A larger element is not read: pixel data stays where it is, and others are dropped.
_MAX_ELEMENT_BYTES: Final = 1 << 20
_PIXEL_DATA: Final = 0x7FE00010
_META_GROUP: Final = 2
#: The length of an element that ends with a delimiter.
UNDEFINED_LENGTH: Final = 0xFFFFFFFF
#: The transfer syntax stands within the first bytes of a file.
_META_BYTES: Final = 2048
#: Far more than the largest film; a stream of zeros inflates a thousandfold.
_MAX_INFLATED_BYTES: Final = 1 << 28
#: What pydicom raises for a damaged file, found by experiment.
DAMAGE_ERRORS: Final = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, AttributeError),
    *(NotImplementedError, RecursionError, MemoryError, struct.error, zlib.error),
    *(InvalidDicomError, BytesLengthException),
)

# Real headers break the standard's rules for values; what is used of them is checked where it is used.
config.settings.reading_validation_mode = config.IGNORE
# Its warnings and log lines may quote a patient's values.
warnings.filterwarnings("ignore", module=r"pydicom|worker\.dicom")
logging.getLogger("pydicom").disabled = True


def is_dicom(head: bytes) -> bool:
    """Whether content that begins with these `SNIFFED_BYTES` is DICOM, with or without a preamble."""
    return has_preamble(head) or _WITHOUT_PREAMBLE.match(head) is not None


def has_preamble(head: bytes) -> bool:
    """Whether DICOM begins with its preamble and prefix, as files should; nothing else does."""
    return head[_MAGIC_OFFSET:SNIFFED_BYTES] == b"DICM"


class BoundedFile:
    """A file of which no more than a header's bytes are read, whatever its elements claim; pixel data is skipped."""

    def __init__(self, content: bytes | BinaryIO) -> None:
        self._content = content if isinstance(content, bytes) else None
        self._file = BytesIO(content) if isinstance(content, bytes) else content
        self._remaining, self._remaining_reads = _MAX_HEADER_BYTES, _MAX_HEADER_READS
        self.seek, self.tell = self._file.seek, self._file.tell

    def read(self, size: int = -1, /) -> bytes:
        """Read as a file does.

        Raises:
            ValueError: the header is too large, or all of the file is asked for.
        """
        if size < 0:
            # pydicom would inflate it, without a limit.
            raise ValueError("the header is too large to be deflated")
        content = self._file.read(size)
        self._remaining -= len(content)
        self._remaining_reads -= 1
        if self._remaining < 0 or self._remaining_reads < 0:
            raise ValueError("the header is too large")
        return content

    def content(self) -> memoryview:
        """The whole content of a file in memory, which is not copied."""
        if self._content is None:
            raise TypeError("the file is not in memory")
        return memoryview(self._content)


def parse_dicom(
    content: bytes | BinaryIO, *, tags: Sequence[str] | None = None, with_pixels: bool = True
) -> FileDataset:
    """Parse a file that `is_dicom` accepts.

    Args:
        content: the whole content, or a file that is read as far as needed. Pixels need the whole content.
        tags: keywords of the elements to keep; None keeps all.
        with_pixels: False stops before the pixel data.

    Raises:
        PermanentError: `truncated`, the file is damaged; `too_large`, it inflates to more than 256 MB.
    """
    try:
        content = _without_stray_byte(content)
        inflated = _inflated(content, with_pixels=with_pixels)
        dataset = dcmread(
            BoundedFile(inflated or content),
            force=True,
            defer_size=_MAX_ELEMENT_BYTES,
            stop_before_pixels=not with_pixels,
            specific_tags=list(tags) if tags else None,
        )
    except DAMAGE_ERRORS as error:
        raise PermanentError(
            "truncated", "the DICOM file is truncated or damaged: its header cannot be read"
        ) from error
    if inflated:
        # Not by assignment, which would convert it to the type that a damaged element names.
        dataset.file_meta.add_new("TransferSyntaxUID", "UI", DeflatedExplicitVRLittleEndian)
    _drop_large_elements(dataset)
    return dataset


def _without_stray_byte(content: bytes | BinaryIO) -> bytes | BinaryIO:
    head = content[:SNIFFED_BYTES] if isinstance(content, bytes) else content.read(SNIFFED_BYTES)
    without_preamble = None if has_preamble(head) else _WITHOUT_PREAMBLE.match(head)
    if not isinstance(content, bytes):
        content.seek(0)
    if not without_preamble or not without_preamble[1]:
        return content
    return content[1:] if isinstance(content, bytes) else cast("BinaryIO", _AfterStrayByte(content))


class _AfterStrayByte:
    """A file from its second byte on."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read = file.read
        self.seek(0)

    def seek(self, offset: int, whence: int = SEEK_SET, /) -> int:
        """Go to an offset, as a file does."""
        return self._file.seek(offset + (whence == SEEK_SET), whence) - 1

    def tell(self) -> int:
        """The offset of the next read."""
        return self._file.tell() - 1


def _inflated(content: bytes | BinaryIO, *, with_pixels: bool) -> bytes | None:
    """A deflated file as an ordinary one, because pydicom inflates without a limit; None if it is not deflated.

    Raises:
        PermanentError: `too_large`.
        zlib.error: the stream is damaged, or ends before its pixels do.
    """
    file = BytesIO(content) if isinstance(content, bytes) else content
    head = file.read(_META_BYTES)
    file.seek(SNIFFED_BYTES if has_preamble(head) else 0)
    meta = Dataset()
    if DeflatedExplicitVRLittleEndian.encode() in head:
        is_data = lambda tag, _vr, _length: tag.group != _META_GROUP  # noqa: E731
        meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=is_data)
    end = file.tell()
    file.seek(0)
    if text_of(meta, "TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return None
    as_ordinary = ExplicitVRLittleEndian.encode().ljust(len(DeflatedExplicitVRLittleEndian), b"\0")
    start = file.read(end).replace(DeflatedExplicitVRLittleEndian.encode(), as_ordinary)
    if with_pixels:
        return start + _inflate(file.read(), _MAX_INFLATED_BYTES)
    body = zlib.decompressobj(-zlib.MAX_WBITS)
    return start + body.decompress(file.read(_MAX_HEADER_BYTES), _MAX_HEADER_BYTES)


def _inflate(deflated: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflater.decompress(deflated, limit)
    if inflater.unconsumed_tail:
        raise PermanentError("too_large", f"the DICOM file inflates to more than {limit >> 20} MB")
    if not inflater.eof:
        raise zlib.error("the stream does not end")
    return body


def _drop_large_elements(dataset: FileDataset) -> None:
    """Drop elements that were left where they are, so that reading one later cannot fill the memory."""
    deferred = [
        element.tag
        for element in dataset.values()
        if isinstance(element, RawDataElement) and element.value is None and element.length > _MAX_ELEMENT_BYTES
    ]
    for tag in deferred:
        if tag != _PIXEL_DATA:
            del dataset[tag]


def text_of(dataset: Dataset, keyword: str) -> str | None:
    """The first value of an element as text without spaces around it; None if it is absent, empty or damaged."""
    return next((text for value in values_of(dataset, keyword) if (text := str(value).strip(" \0"))), None)


def sop_class_of(dataset: Dataset) -> str:
    """The UID of what a file holds; empty if the file does not say."""
    meta = getattr(dataset, "file_meta", Dataset())
    return text_of(dataset, "SOPClassUID") or text_of(meta, "MediaStorageSOPClassUID") or ""


def numbers_of(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """The values of a numeric element; () if it is absent, empty or damaged, or one of them is not finite."""
    try:
        numbers = tuple(float(value) for value in values_of(dataset, keyword))
    except DAMAGE_ERRORS:
        return ()
    return numbers if all(map(isfinite, numbers)) else ()


def number_of(dataset: Dataset, keyword: str) -> float | None:
    """The first value of a numeric element, whatever the others are; None if it cannot be read or is not finite."""
    try:
        number = float(text_of(dataset, keyword) or "")
    except DAMAGE_ERRORS:
        return None
    return number if isfinite(number) else None


def values_of(dataset: Dataset, keyword: str) -> list[Any]:
    """The values of an element; [] if it is absent, empty or damaged."""
    try:
        # pydicom converts the bytes only now.
        value = dataset.get(keyword)
    except DAMAGE_ERRORS:
        return []
    # An element of text may be a sequence, which pydicom prints as a tree of any size.
    if value is None or isinstance(value, ItemSequence):
        return []
    # pydicom gives the descriptor of a LUT as a list.
    return list(value) if isinstance(value, MultiValue | list) else [value]
