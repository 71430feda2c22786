"""Decodes plain PNGs, 8-bit gray without interlacing, faster than cv2 and to the same pixels.

Archives of radiographs consist of such PNGs. All others, and any with the least fault, are left to cv2.
"""

import struct
from itertools import islice
from typing import Final

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from worker.images.png import PIXEL_CHUNK, PNG_SIGNATURE, SIZE_OFFSET, has_valid_checksum, png_chunks

#: Length and kind of the IHDR chunk.
_IHDR_START: Final = b"\0\0\0\rIHDR"

#: Depth 8, colour type gray, the only compression, the only filter method, not interlaced.
_PLAIN_FORMAT: Final = bytes((8, 0, 0, 0, 0))

#: Chunks that change no pixel, in cv2 too. A chunk with an orientation would.
_HARMLESS_CHUNKS: Final = frozenset((b"IEND", b"tIME", b"tEXt", b"zTXt", b"iTXt", b"pHYs"))

#: cv2 refuses some of these chunks if they are longer than 8 MB.
_MAX_HARMLESS_BYTES: Final = 1 << 20

#: The largest window of a zlib stream, in bytes.
_MAX_WINDOW: Final = 1 << 15

#: The number of the last filter, Paeth; the first is 0.
_MAX_FILTER: Final = 4


def read_plain_gray(encoded: bytes) -> NDArray[np.uint8] | None:
    """Decode a plain PNG.

    Args:
        encoded: a PNG that `png_size` has accepted and whose claimed size is within the limit.

    Returns:
        uint8 (height, width); None if it is not plain or is damaged.
    """
    width, height = struct.unpack_from(">II", encoded, SIZE_OFFSET)
    if (
        encoded[len(PNG_SIGNATURE) : SIZE_OFFSET] != _IHDR_START
        or encoded[SIZE_OFFSET + 8 : SIZE_OFFSET + 13] != _PLAIN_FORMAT
    ):
        return None
    compressed = _compressed(encoded)
    stored = compressed and _inflated(compressed, height * (width + 1))
    if not stored:
        return None
    filtered = np.frombuffer(stored, np.uint8).reshape(height, width + 1)
    if filtered[:, 0].max() > _MAX_FILTER:
        return None
    # Importing it compiles it.
    from worker.images.fast.png_unfilter import padded_image, unfilter

    image = padded_image(height, width)
    unfilter(filtered, image)
    return image[:, :width]


def _compressed(encoded: bytes) -> bytes | None:
    """The stream in the IDAT chunks; None if one is damaged or apart from the others, or if another chunk matters."""
    parts: list[bytes] = []
    last = b""
    # The first chunk is IHDR; cv2 refuses a second one.
    for kind, start, end in islice(png_chunks(encoded), 1, None):
        if kind == PIXEL_CHUNK and (last == PIXEL_CHUNK or not parts) and has_valid_checksum(encoded, start, end):
            parts.append(encoded[start:end])
        elif kind not in _HARMLESS_CHUNKS or end - start > _MAX_HARMLESS_BYTES:
            return None
        last = kind
    return b"".join(parts)


def _inflated(compressed: bytes, size: int) -> bytes | None:
    """What a stream inflates to; None if it is damaged or has not `size` bytes. Never inflates more than these."""
    # cv2 refuses what reaches beyond the window that the stream states. isal does not look at it, but cannot reach
    # beyond the content.
    window = 1 << (compressed[0] >> 4) + 8
    if not min(size, _MAX_WINDOW) <= window <= _MAX_WINDOW:
        return None
    stream = isal_zlib.decompressobj()
    try:
        inflated: bytes = stream.decompress(compressed, size)
    except isal_zlib.error:  # type: ignore[misc]
        return None
    return inflated if len(inflated) == size and stream.eof and not stream.unused_data else None
