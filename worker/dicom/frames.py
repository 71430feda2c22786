"""Reads the stored values of a film: finds its frame, decodes it, and believes no pixel of a damaged one."""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.sequence import Sequence as ItemSequence
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
    UncompressedTransferSyntaxes,
)

from db.errors import PermanentError
from worker.dicom.codecs import CodedFrame, decode_codestream, decode_rle, is_codestream
from worker.dicom.dataset import DAMAGE_ERRORS, UNDEFINED_LENGTH, BoundedFile, numbers_of, sop_class_of, text_of
from worker.dicom.fragments import join_fragments

#: uint8, int8, uint16 or int16 (height, width), as they are stored: bits above BitsStored are not masked yet, and the
#: sign of a signed value is its highest stored bit. The array may be read-only.
StoredValues: TypeAlias = NDArray[np.uint8] | NDArray[np.int8] | NDArray[np.uint16] | NDArray[np.int16]

_NATIVE: Final = frozenset(UncompressedTransferSyntaxes)
_CODESTREAMS: Final = frozenset(
    {
        *(*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes),
        *(JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K),
    }
)
#: Elements that only images have.
_IMAGE_KEYWORDS: Final = ("Rows", "Columns", "BitsAllocated")


@dataclass(frozen=True, kw_only=True)
class _FrameHeader:
    """How the header describes the one frame."""

    rows: int
    columns: int
    #: 8 or 16.
    bits_allocated: int
    bits_stored: int
    #: The position of the highest of the stored bits, counted from 0.
    high_bit: int
    is_signed: bool
    #: None if the file names none.
    syntax: UID | None

    @property
    def size(self) -> int:
        return self.rows * self.columns * self.bits_allocated // 8


def frame_size(dataset: FileDataset) -> tuple[int, int]:
    """Width and height that a header claims, for the limit of pixels.

    Raises:
        PermanentError: `not_image`, the file holds no pixels; `unsupported`, it has several frames, colour, or a depth
            or an encoding that no chest film has; `truncated`, the header contradicts itself.
    """
    header = _frame_header(dataset)
    return header.columns, header.rows


def read_frame(dataset: FileDataset) -> StoredValues:
    """Decode the one frame of a film, completely or not at all.

    Call `frame_size` first: this allocates what the header claims.

    Raises:
        PermanentError: `unsupported` or `truncated`.
    """
    header = _frame_header(dataset)
    element, content = _pixel_element(dataset)
    is_encapsulated = element.length == UNDEFINED_LENGTH or header.syntax not in (None, *_NATIVE)
    if not is_encapsulated:
        return _with_high_bit(_native_values(content, header, dataset, element.VR), header)
    frame = join_fragments(content)
    if header.syntax == RLELossless or (header.syntax not in _CODESTREAMS and not is_codestream(frame)):
        values = decode_rle(frame, rows=header.rows, columns=header.columns, byte_count=header.bits_allocated // 8)
        return _with_high_bit(_with_sign(values, header), header)
    if header.high_bit != header.bits_stored - 1:
        raise PermanentError("unsupported", "the DICOM image is compressed and its HighBit is not BitsStored - 1")
    values = decode_codestream(frame, _coded_frame(header))
    return _with_sign(values, header)


def _coded_frame(header: _FrameHeader) -> CodedFrame:
    return CodedFrame(
        rows=header.rows, columns=header.columns, min_bits=header.bits_stored, max_bits=header.bits_allocated
    )


def _frame_header(dataset: FileDataset) -> _FrameHeader:
    _check_has_pixels(dataset)
    _check_is_one_gray_frame(dataset)
    allocated = _integer(dataset, "BitsAllocated")
    if allocated not in (8, 16):
        raise PermanentError(
            "unsupported", f"the DICOM image has {allocated} bits per pixel allocated; only 8 and 16 are supported"
        )
    stored = _integer(dataset, "BitsStored", allocated)
    header = _FrameHeader(
        rows=_integer(dataset, "Rows"),
        columns=_integer(dataset, "Columns"),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=_integer(dataset, "HighBit", stored - 1),
        is_signed=_integer(dataset, "PixelRepresentation", 0) == 1,
        syntax=_syntax(dataset),
    )
    if not (header.rows and header.columns and 1 <= stored <= header.high_bit + 1 <= allocated):
        raise PermanentError("truncated", "the DICOM file is damaged: its size or its bits contradict each other")
    return header


def _check_has_pixels(dataset: FileDataset) -> None:
    if "PixelData" in dataset:
        return
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise PermanentError("unsupported", "the DICOM image has pixels of floating point, which are not supported")
    uid = sop_class_of(dataset)
    kind = _uid_name(UID(uid)) if uid else ""
    if "Image Storage" in kind or all(keyword in dataset for keyword in _IMAGE_KEYWORDS):
        raise PermanentError("truncated", "the DICOM file is truncated: its pixel data is absent or incomplete")
    raise PermanentError("not_image", f"the DICOM file is not an image: it holds {kind or 'no pixels'}")


def _check_is_one_gray_frame(dataset: FileDataset) -> None:
    frames = _integer(dataset, "NumberOfFrames", 1)
    if frames > 1:
        raise PermanentError("unsupported", f"the DICOM image has {frames} frames; a scan must be one image")
    if _integer(dataset, "SamplesPerPixel", 1) != 1:
        raise PermanentError("unsupported", "the DICOM image is in colour; a radiograph must be gray")
    photometric = text_of(dataset, "PhotometricInterpretation") or "MONOCHROME2"
    if photometric == "PALETTE COLOR":
        raise PermanentError("unsupported", "the DICOM image has a colour palette; a radiograph must be gray")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise PermanentError(
            "unsupported", "the DICOM image's PhotometricInterpretation is neither MONOCHROME1 nor MONOCHROME2"
        )


def _integer(dataset: FileDataset, keyword: str, default: int | None = None) -> int:
    number = next(iter(numbers_of(dataset, keyword)), default)
    if number is None or number != int(number) or number < 0:
        raise PermanentError("truncated", f"the DICOM file is damaged: it has no valid {keyword}")
    return int(number)


def _syntax(dataset: FileDataset) -> UID | None:
    """The transfer syntax; None if the file names none.

    Raises:
        PermanentError: `unsupported`.
    """
    uid = text_of(dataset.file_meta, "TransferSyntaxUID")
    if uid is None:
        return None
    syntax = UID(uid)
    if syntax in _NATIVE or syntax in _CODESTREAMS or syntax == RLELossless:
        return syntax
    raise PermanentError("unsupported", f"the DICOM image is encoded as {_uid_name(syntax)}, which is not supported")


def _uid_name(uid: UID) -> str:
    """Its name in the standard, or the UID; a damaged one is not repeated, because it might hold anything."""
    if uid.name != uid:
        return f"{uid.name} ({uid})"
    return uid if uid.is_valid else "an unknown UID"


def _pixel_element(dataset: FileDataset) -> tuple[RawDataElement, memoryview]:
    """The element of the pixels, and its value; not more of it than the file has."""
    try:
        element = dataset.get_item("PixelData", keep_deferred=True)
    except DAMAGE_ERRORS as error:
        raise PermanentError("truncated", "the DICOM file is damaged: its pixel data cannot be read") from error
    if isinstance(element.value, ItemSequence):
        raise PermanentError("truncated", "the DICOM file is damaged: its pixel data claims to be a sequence")
    if not isinstance(element, RawDataElement):
        raise TypeError("the pixel data was read before")
    if element.value is not None:
        return element, memoryview(element.value)
    # `parse_dicom` left a large value where it is, so that it is not copied.
    file = dataset.buffer
    if not isinstance(file, BoundedFile):
        raise TypeError("the file was not read by parse_dicom")
    content = file.content()
    end = None if element.length == UNDEFINED_LENGTH else element.value_tell + element.length
    return element, content[element.value_tell : end]


def _native_values(content: memoryview, header: _FrameHeader, dataset: FileDataset, vr: str | None) -> StoredValues:
    _check_native_size(content, header)
    is_little_endian = dataset.original_encoding[1] is not False
    kind = "i" if header.is_signed else "u"
    if header.bits_allocated == 8:
        if not is_little_endian and vr == "OW":
            content = memoryview(_swapped(content))
        values = np.frombuffer(content, f"{kind}1", header.rows * header.columns)
    else:
        order = "<" if is_little_endian else ">"
        values = np.frombuffer(content, f"{order}{kind}2", header.rows * header.columns)
    return values.astype(values.dtype.newbyteorder("="), copy=False).reshape(header.rows, header.columns)


def _check_native_size(content: memoryview, header: _FrameHeader) -> None:
    """Refuse values that are missing, and further values: then the header's size is wrong, and rows are torn."""
    if len(content) < header.size:
        raise PermanentError("truncated", "the DICOM file is truncated: its pixel data is shorter than its size")
    padding = content[header.size :]
    if len(padding) >= header.size // header.rows and bytes(padding).strip(b"\0"):
        raise PermanentError("truncated", "the DICOM file is damaged: its pixel data is longer than its size")


def _swapped(content: memoryview) -> bytes:
    """Swap each pair of bytes: 8-bit values in 16-bit words of the other byte order."""
    padded = bytes(content) + b"\0" * (len(content) % 2)
    return np.frombuffer(padded, np.uint16).byteswap().tobytes()


def _with_sign(values: NDArray[np.integer], header: _FrameHeader) -> StoredValues:
    """Read the bits as the header says, whatever the encoder took them for."""
    return values.view(np.dtype(f"{'i' if header.is_signed else 'u'}{values.itemsize}"))


def _with_high_bit(values: StoredValues, header: _FrameHeader) -> StoredValues:
    """Move the stored bits down to where they are today: before 1993 (ACR-NEMA) they could be at the upper end.

    Raises:
        PermanentError: `unsupported`: there are bits below them, so HighBit is wrong or there is an overlay.
    """
    shift = header.high_bit + 1 - header.bits_stored
    if not shift:
        return values
    if (values & ((1 << shift) - 1)).any():
        raise PermanentError("unsupported", "the DICOM image has bits set below those that its HighBit names")
    return values >> shift
