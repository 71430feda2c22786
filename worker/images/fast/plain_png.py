"""The quick reader of plain gray PNGs; everything else is cv2's."""

import struct
from typing import Final

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from worker.images.png import _PIXELS, _SIGNATURE, _SIZE_AT, _chunks, _is_whole

#: Length and kind of IHDR.
_FIRST: Final = b"\0\0\0\rIHDR"

#: 8 bits, gray, the one compression, the one set of filters, not interlaced.
_PLAIN: Final = bytes((8, 0, 0, 0, 0))

#: Chunks that change no pixel, in cv2 neither; one with an orientation would.
_SILENT: Final = frozenset((b"IHDR", b"IEND", b"tIME", b"tEXt", b"zTXt", b"iTXt", b"pHYs"))

#: The filters are 0 to 4.
_PAETH: Final = 4


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
    from worker.images.fast.png_unfilter import room_for, unfilter

    image = room_for(height, width)
    unfilter(filtered, image)
    return image[:, :width]


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
