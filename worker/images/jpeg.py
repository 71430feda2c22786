"""JPEG: what its header claims, and whether its stream is whole.

cv2 decodes it, but paints gray what a damaged stream lost, and says so on stderr alone.
"""

import re
import struct
from typing import Final

import simplejpeg

from db.errors import PermanentError

#: Baseline, extended and progressive, by Huffman or by arithmetic coding.
_JPEG_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
#: Lossless, differential and JPEG-LS.
_OTHER_FRAMES: Final = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
_INKS: Final = frozenset({"CMYK", "YCCK"})
#: Of libjpeg's complaints those that cost pixels; the others are of headers that take liberties.
_COSTS_PIXELS: Final = re.compile(r"corrupt|premature|inconsistent|structure|marker type|process|bogus", re.IGNORECASE)
_START_OF_PASS: Final = b"\xff\xda"


def passes(encoded: bytes) -> int:
    """How often a decoder goes over the image: 1, but about 10 in a progressive JPEG. No pixel is decoded."""
    return encoded.count(_START_OF_PASS)


def check_stream(encoded: bytes) -> None:
    """Read a JPEG to its end as libjpeg does, in an eighth of its size, to learn what it would only warn of.

    A JPEG has no checksum: a byte that was changed into another, or a sector of zeros, often means something else and
    is not noticed; a part that is missing is.

    Raises:
        PermanentError: `truncated`.
    """
    try:
        kind = simplejpeg.decode_jpeg_header(encoded, strict=True)[2]
        simplejpeg.decode_jpeg(encoded, "CMYK" if kind in _INKS else "BGR", min_height=1, min_width=1, strict=True)
    except ValueError as error:
        if _COSTS_PIXELS.search(str(error)):
            raise PermanentError("truncated", "the image is damaged: a part of its stream is lost") from error


def jpeg_size(encoded: bytes) -> tuple[int, int]:
    """Width and height from the frame header (ITU-T T.81, B.2.2), which precedes the scan data.

    Raises:
        PermanentError: `unsupported`, or `truncated` where there is no such header.
        struct.error, IndexError: the file ends before it.
    """
    at = 2
    while encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker in _OTHER_FRAMES or (marker in _JPEG_FRAMES and encoded[at + 4] != 8):
            raise PermanentError("unsupported", "the image is a lossless JPEG, or one of other than 8 bits a channel")
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", encoded, at + 5)
            return width, height
        # Fill bytes and markers without a length are skipped alone, segments by their length.
        if marker == 0xFF:
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
        else:
            at += 2 + struct.unpack_from(">H", encoded, at + 2)[0]
    raise PermanentError("truncated", "the image is damaged: a JPEG without a frame header")
