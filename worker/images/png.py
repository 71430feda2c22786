"""PNG: its structure, and a quick way to read the plain ones that archives of radiographs consist of.

Plain is 8-bit gray without interlacing. All others, and those with the least fault, are cv2's to read; what is read
here, cv2 reads to the same pixels.
"""

import struct
from collections.abc import Iterator
from typing import Final

from isal import isal_zlib

from db.errors import PermanentError

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PIXELS: Final = b"IDAT"
#: Where the first chunk, IHDR, has width and height, and then what sort of image it is.
_SIZE_AT: Final = 16


def png_size(encoded: bytes) -> tuple[int, int]:
    """Width and height that a PNG claims; every chunk must lie within the file.

    Raises:
        PermanentError: `unsupported` where it is animated; `truncated` where a checksum does not fit.
        struct.error: its content ends early.
    """
    width, height = struct.unpack_from(">II", encoded, _SIZE_AT)
    # Read of every chunk: cv2 would believe a damaged length, and clear gigabytes for it.
    for kind, start, end in _chunks(encoded):
        if kind == b"acTL":
            raise PermanentError("unsupported", "the image is animated: a scan is one image")
        # libpng checks the pixels, but reads on without a chunk that it can do without, a damaged orientation too.
        if kind != _PIXELS and not _is_whole(encoded, start, end):
            raise PermanentError("truncated", "the image is damaged: a checksum of its does not fit")
    return width, height


def _chunks(encoded: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's kind, and where its content begins and ends."""
    end, kind = len(_SIGNATURE) - 4, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", encoded, end + 4)
        start = end + 12
        end = start + length
        yield kind, start, end


def _is_whole(encoded: bytes, start: int, end: int) -> bool:
    """Whether the checksum behind a chunk is that of its kind and content."""
    (checksum,) = struct.unpack_from(">I", encoded, end)
    return bool(isal_zlib.crc32(encoded[start - 4 : end]) == checksum)
