"""Reads the size that a PNG claims, and checks its chunks."""

import struct
from collections.abc import Iterator
from typing import Final

from isal import isal_zlib

from db.errors import PermanentError

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
#: The kind of the chunks that hold the pixels.
PIXEL_CHUNK: Final = b"IDAT"
#: Where the first chunk, IHDR, holds width and height; depth, colour type and the rest follow.
SIZE_OFFSET: Final = 16


def png_size(encoded: bytes) -> tuple[int, int]:
    """Width and height that a PNG claims. Every chunk is checked to lie within the file.

    Raises:
        PermanentError: `unsupported` if it is animated; `truncated` if a chunk without pixels has a bad checksum.
        struct.error: the file ends early.
    """
    width, height = struct.unpack_from(">II", encoded, SIZE_OFFSET)
    # All chunks are checked, because cv2 trusts a damaged length and allocates gigabytes for it.
    for kind, start, end in png_chunks(encoded):
        if kind == b"acTL":
            raise PermanentError("unsupported", "the PNG is animated; a scan must be one image")
        # libpng checks the pixels, but ignores a damaged optional chunk, even one that holds the orientation.
        if kind != PIXEL_CHUNK and not has_valid_checksum(encoded, start, end):
            raise PermanentError("truncated", "the PNG is damaged: a chunk has a bad checksum")
    return width, height


def png_chunks(encoded: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk, and where its content begins and ends."""
    end, kind = len(PNG_SIGNATURE) - 4, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", encoded, end + 4)
        start = end + 12
        end = start + length
        yield kind, start, end


def has_valid_checksum(encoded: bytes, start: int, end: int) -> bool:
    """Whether a chunk's checksum, which follows its content, matches its kind and content."""
    (checksum,) = struct.unpack_from(">I", encoded, end)
    return bool(isal_zlib.crc32(encoded[start - 4 : end]) == checksum)
