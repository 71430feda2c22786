"""Decodes one compressed gray frame, and believes no pixel of a damaged one.

A decoder is chosen by what the codestream says it is, not by the transfer syntax, which writers get wrong. Before it
runs, the codestream's own header must agree with the header of the file, so that nothing is allocated for a size that
only a damaged byte claims. `docs/decisions.md` says why it is these decoders.
"""

import struct
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from db.errors import PermanentError
from worker.dicom.dataset import DAMAGE_ERRORS
from worker.dicom.jpeg_stream import (
    DCT_FRAMES,
    JPEG_LS_FRAME,
    LOSSLESS_FRAME,
    check_blocks,
    decode_lossless_jpeg,
    read_jpeg_header,
)

_JPEG: Final = b"\xff\xd8\xff"
_JPEG_2000: Final = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE: Final = b"\0\0\0\x0cjP  "
_END_OF_IMAGE: Final = b"\xff\xd9"
#: What programs write after the end to make the length even.
_PADDING: Final = (0x00, 0xFF)
#: No encoder of films makes more; each tile costs a decoder kilobytes.
_MAX_TILES: Final = 4096
_RLE_HEADER: Final = 64


@dataclass(frozen=True, kw_only=True)
class CodedFrame:
    """What the header of the file says of a frame, which the codestream must say too."""

    rows: int
    columns: int
    #: Bits per pixel: those that are stored, and those that are allocated.
    min_bits: int
    max_bits: int


def is_codestream(frame: memoryview) -> bool:
    """Whether a frame is a JPEG, JPEG-LS or JPEG 2000 codestream, by its first bytes."""
    return bytes(frame[:8]).startswith((_JPEG, _JPEG_2000, _JP2_SIGNATURE))


def decode_codestream(frame: memoryview, expected: CodedFrame) -> NDArray[np.integer[Any]]:
    """Decode a JPEG, JPEG-LS or JPEG 2000 codestream.

    Returns:
        uint8, int8, uint16 or int16 (rows, columns).

    Raises:
        PermanentError: `truncated`, or `unsupported`.
    """
    stream = _up_to_end_marker(frame)
    try:
        values = _decode_jpeg(stream, expected) if bytes(stream[:3]) == _JPEG else _decode_jpeg_2000(stream, expected)
    except DAMAGE_ERRORS as error:
        raise _damaged("it cannot be decoded") from error
    if values.shape != (expected.rows, expected.columns):
        raise _damaged("it has another size")
    return values


def decode_rle(frame: memoryview, *, rows: int, columns: int, byte_count: int) -> NDArray[np.integer[Any]]:
    """Decode DICOM's run length encoding (PS3.5, annex G): a PackBits segment for each byte of a pixel, highest first.

    Returns:
        uint8 or uint16 (rows, columns).

    Raises:
        PermanentError: `truncated`.
    """
    planes = []
    for segment in _rle_segments(frame, byte_count):
        try:
            plane = np.frombuffer(_imagecodecs().packbits_decode(segment, out=rows * columns), np.uint8)
        except DAMAGE_ERRORS as error:
            raise _damaged("a run length segment is damaged") from error
        if plane.size != rows * columns:
            raise _damaged("a run length segment ends early")
        planes.append(plane.reshape(rows, columns))
    return planes[0] if byte_count == 1 else cv2.merge(planes[::-1]).view("<u2")[..., 0]


def _imagecodecs() -> Any:
    """Imported late, because that takes a third of a second. Its types do not say that it takes memoryviews."""
    import imagecodecs

    return imagecodecs


def _rle_segments(frame: memoryview, byte_count: int) -> list[memoryview]:
    if len(frame) < _RLE_HEADER:
        raise _damaged("its run length header is incomplete")
    count, *offsets = struct.unpack_from("<16L", frame)
    starts = offsets[:byte_count]
    ends = [*starts[1:], len(frame)]
    if count != byte_count or starts[0] != _RLE_HEADER or any(a >= b for a, b in zip(starts, ends, strict=True)):
        raise _damaged("its run length header contradicts the size of its pixels")
    return [frame[start:end] for start, end in zip(starts, ends, strict=True)]


def _up_to_end_marker(frame: memoryview) -> memoryview:
    """The codestream without the padding after it.

    Raises:
        PermanentError: `truncated`: it does not end.
    """
    end = len(frame)
    while end and frame[end - 1] in _PADDING:
        end -= 1
    if bytes(frame[end - 2 : end]) != _END_OF_IMAGE:
        raise _damaged("its end is missing")
    return frame[:end]


def _decode_jpeg(stream: memoryview, expected: CodedFrame) -> NDArray[np.integer[Any]]:
    header = read_jpeg_header(stream)
    if header.frame not in (*DCT_FRAMES, LOSSLESS_FRAME, JPEG_LS_FRAME):
        raise PermanentError("unsupported", "the DICOM image is a JPEG of a kind that DICOM does not allow")
    _check_agreement(expected, header.rows, header.columns, header.bits, header.components)
    if header.frame == JPEG_LS_FRAME:
        return np.asarray(_imagecodecs().jpegls_decode(stream))
    if header.frame == LOSSLESS_FRAME:
        values = decode_lossless_jpeg(stream, header)
        return values.astype(np.uint8) if header.bits <= 8 else values
    if header.bits == 8:
        # It tells when libjpeg had to make pixels up.
        return np.asarray(simplejpeg.decode_jpeg(stream, "GRAY", strict=True)[..., 0])
    if header.bits != 12:
        raise _damaged("a sequential JPEG has 8 or 12 bits")
    check_blocks(stream, header)
    return np.asarray(_imagecodecs().jpeg8_decode(stream))


def _decode_jpeg_2000(stream: memoryview, expected: CodedFrame) -> NDArray[np.integer[Any]]:
    codestream = _without_boxes(stream)
    _check_jpeg_2000_header(codestream, expected)
    return np.asarray(_imagecodecs().jpeg2k_decode(codestream))


def _without_boxes(stream: memoryview) -> memoryview:
    """The codestream of a JP2 file, which DICOM does not allow and some programs store."""
    start = bytes(stream[:4096]).find(_JPEG_2000)
    if start < 0:
        raise PermanentError("truncated", "the DICOM file is damaged: its pixels are in no known encoding")
    return stream[start:]


def _check_jpeg_2000_header(stream: memoryview, expected: CodedFrame) -> None:
    """Check the segment SIZ (ITU-T T.800, A.5.1)."""
    (right, bottom, left, top, tile_width, tile_height, tile_left, tile_top) = struct.unpack_from(">8L", stream, 8)
    components, depth, step_x, step_y = struct.unpack_from(">HBBB", stream, 40)
    _check_agreement(expected, bottom - top, right - left, (depth & 0x7F) + 1, components)
    if not (tile_width and tile_height and step_x == step_y == 1):
        raise _damaged("its tiles have no size, or its pixels are subsampled")
    if -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height) > _MAX_TILES:
        raise PermanentError("unsupported", f"the DICOM image has more than {_MAX_TILES} tiles")


def _check_agreement(expected: CodedFrame, rows: int, columns: int, bits: int, components: int) -> None:
    if components != 1:
        raise PermanentError("unsupported", f"the DICOM image's frame has {components} channels; it must be gray")
    if (rows, columns) != (expected.rows, expected.columns):
        raise _damaged(f"it has {columns} x {rows} pixels and the header {expected.columns} x {expected.rows}")
    if not expected.min_bits <= bits <= expected.max_bits:
        raise _damaged(f"it has {bits} bits and the header {expected.min_bits} of {expected.max_bits}")


def _damaged(what: str) -> PermanentError:
    return PermanentError("truncated", f"the DICOM image's frame is truncated or damaged: {what}")
