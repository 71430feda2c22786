"""Reads the size that a JPEG's header claims, and checks that its stream is whole.

cv2 decodes it, but fills what a damaged stream lost with gray, and says so only on stderr.
"""

import re
import struct
from typing import Final

import simplejpeg

from db.errors import PermanentError

#: Markers of baseline, extended and progressive frames, with Huffman or arithmetic coding.
_SUPPORTED_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
#: Markers of lossless, differential and JPEG-LS frames.
_UNSUPPORTED_FRAMES: Final = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
_CMYK_KINDS: Final = frozenset({"CMYK", "YCCK"})
#: The warnings of libjpeg that mean lost pixels; the others are about unusual headers.
_PIXELS_LOST: Final = re.compile(r"corrupt|premature|inconsistent|structure|marker type|process|bogus", re.IGNORECASE)
_START_OF_SCAN_MARKER: Final = b"\xff\xda"


def count_passes(encoded: bytes) -> int:
    """How often a decoder goes over the image: once, but about 10 times for a progressive JPEG."""
    return encoded.count(_START_OF_SCAN_MARKER)


def check_stream(encoded: bytes) -> None:
    """Decode a JPEG with libjpeg at an eighth of its size, and turn its warnings about lost pixels into an error.

    A JPEG has no checksum. So a missing part is found, but a changed byte or a sector of zeros is often valid data and
    is not found.

    Raises:
        PermanentError: `truncated`.
    """
    try:
        kind = simplejpeg.decode_jpeg_header(encoded, strict=True)[2]
        simplejpeg.decode_jpeg(
            encoded, "CMYK" if kind in _CMYK_KINDS else "BGR", min_height=1, min_width=1, strict=True
        )
    except ValueError as error:
        if _PIXELS_LOST.search(str(error)):
            raise PermanentError("truncated", "the JPEG is damaged: part of its data is missing") from error


def jpeg_size(encoded: bytes) -> tuple[int, int]:
    """Width and height from the frame header (ITU-T T.81, B.2.2), which precedes the scan data.

    Raises:
        PermanentError: `unsupported`, or `truncated` if there is no such header.
        struct.error, IndexError: the file ends before the header does.
    """
    at = 2
    while encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker in _UNSUPPORTED_FRAMES or (marker in _SUPPORTED_FRAMES and encoded[at + 4] != 8):
            raise PermanentError(
                "unsupported",
                "the image is a lossless JPEG or has other than 8 bits per channel, which is not supported",
            )
        if marker in _SUPPORTED_FRAMES:
            height, width = struct.unpack_from(">HH", encoded, at + 5)
            return width, height
        # Fill bytes and markers without a length are skipped by themselves, segments by their length.
        if marker == 0xFF:
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
        else:
            at += 2 + struct.unpack_from(">H", encoded, at + 2)[0]
    raise PermanentError("truncated", "the JPEG is damaged: it has no frame header")
