"""PNG: its structure, and a quick way to read the plain ones that archives of radiographs consist of.

Plain is 8-bit gray without interlacing. All others, and those with the least fault, are cv2's to read; what is read
here, cv2 reads to the same pixels.
"""

import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from db.errors import PermanentError

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PIXELS: Final = b"IDAT"
#: Where the first chunk, IHDR, has width and height, and then what sort of image it is.
_SIZE_AT: Final = 16
#: Length and kind of IHDR.
_FIRST: Final = b"\0\0\0\rIHDR"
#: 8 bits, gray, the one compression, the one set of filters, not interlaced.
_PLAIN: Final = bytes((8, 0, 0, 0, 0))
#: Chunks that change no pixel, in cv2 neither; one with an orientation would.
_SILENT: Final = frozenset((b"IHDR", b"IEND", b"tIME", b"tEXt", b"zTXt", b"iTXt", b"pHYs"))
#: The filters are 0 to 4.
_PAETH: Final = 4


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


def read_plain_gray(encoded: bytes) -> NDArray[np.uint8] | None:
    """Decode a plain PNG.

    Args:
        encoded: a PNG that `png_size` has accepted, and that claims no more pixels than may be decoded.

    Returns:
        uint8 (height, width); None where it is not plain, or damaged.
    """
    width, height = struct.unpack_from(">II", encoded, _SIZE_AT)
    if encoded[len(_SIGNATURE) : _SIZE_AT] != _FIRST or encoded[_SIZE_AT + 8 : _SIZE_AT + 13] != _PLAIN:
        return None
    compressed = _compressed(encoded)
    stored = compressed and _inflated(compressed, height * (width + 1))
    if not stored:
        return None
    filtered = np.frombuffer(stored, np.uint8).reshape(height, width + 1)
    if filtered[:, 0].max() > _PAETH:
        return None
    # Compiled as it is imported.
    from worker.unfilter import room_for, unfilter

    image = room_for(height, width)
    unfilter(filtered, image)
    return image[:, :width]


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


def _compressed(encoded: bytes) -> bytes | None:
    """The stream in the IDAT chunks; None where one is damaged or astray, or where there are chunks that matter."""
    parts: list[bytes] = []
    last = b""
    for kind, start, end in _chunks(encoded):
        if kind == _PIXELS and (last == _PIXELS or not parts) and _is_whole(encoded, start, end):
            parts.append(encoded[start:end])
        elif kind not in _SILENT:
            return None
        last = kind
    return b"".join(parts)


def _inflated(compressed: bytes, size: int) -> bytes | None:
    """A stream's content, which never grows beyond `size`; None where it is damaged, shorter or longer."""
    stream = isal_zlib.decompressobj()
    try:
        inflated: bytes = stream.decompress(compressed, size)
    except isal_zlib.error:  # type: ignore[misc]
        return None
    return inflated if len(inflated) == size and stream.eof and not stream.unused_data else None
