"""TIFF, by Pillow.

Not by cv2, which multiplies colour by alpha, does not invert 16 bits of WhiteIsZero, and where a strip is damaged
returns an image whose rest is black.
"""

import struct
import zlib
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    IMAGELENGTH,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    ROWSPERSTRIP,
    STRIPBYTECOUNTS,
    STRIPOFFSETS,
    TILEBYTECOUNTS,
    TILEOFFSETS,
    ImageFileDirectory_v2,
    TiffImageFile,
)

from db.errors import PermanentError
from worker.depth import eight_bits

TIFF_STARTS: Final = (b"II*\0", b"MM\0*")
_WHITE_IS_ZERO: Final = 0
_RAW: Final = 1
_PLANAR: Final = 2
_DEFLATED: Final = (8, 32946)
#: Modes of 8 bits, by how many of their channels a scan is made of; the rest is alpha.
_CHANNELS: Final = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3, "RGBX": 3}
#: A palette is looked up, one bit spread, and gray that was multiplied by alpha is divided by it.
_CONVERTED: Final = {"P": "RGB", "1": "L", "La": "LA"}
#: What Pillow says of bits and samples that it has no mode for.
_NO_MODE: Final = "unknown pixel mode"
#: What Pillow and zlib raise of a damaged file, by experiment; libtiff's own complaints are OSErrors.
_DAMAGE: Final = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, AttributeError),
    *(struct.error, zlib.error),
)

# A limit of our own is held to before anything is decoded.
Image.MAX_IMAGE_PIXELS = None


def tiff_size(encoded: bytes) -> tuple[int, int]:
    """Width and height; no pixel is decoded.

    Raises:
        PermanentError: `unsupported`, or `truncated` where the directory is damaged.
    """
    width, height = _open(encoded).size
    return width, height


def decode_tiff(encoded: bytes) -> NDArray[np.uint8]:
    """Decode a TIFF of one page, upright.

    Returns:
        uint8 (height, width), or (height, width, 3) BGR.

    Raises:
        PermanentError: `unsupported` or `truncated`.
    """
    image = _open(encoded)
    _check_planes(image.tag_v2)
    try:
        image.load()
        _check_strips(encoded, image.tag_v2)
        return _gray_or_bgr(image)
    except _DAMAGE as error:
        raise PermanentError("truncated", "the image is truncated or damaged: a strip of it is not whole") from error


def _open(encoded: bytes) -> TiffImageFile:
    try:
        image = TiffImageFile(BytesIO(encoded))
        pages = image.n_frames
    except (SyntaxError, *_DAMAGE) as error:
        if str(error) == _NO_MODE:
            raise PermanentError("unsupported", "the image is a TIFF of a kind that is not read") from error
        raise PermanentError("truncated", "the image is truncated or damaged: a TIFF without its directory") from error
    if pages != 1:
        raise PermanentError("unsupported", "the image is a TIFF of several pages: a scan is one image")
    return image


def _check_planes(tags: ImageFileDirectory_v2) -> None:
    """Pillow takes a byte for each sample of an uncompressed plane, whatever its bits are, and shows noise."""
    is_raw_plane = tags.get(PLANAR_CONFIGURATION) == _PLANAR and tags.get(COMPRESSION, _RAW) == _RAW
    if is_raw_plane and max(tags.get(BITSPERSAMPLE, (1,))) > 8:
        raise PermanentError("unsupported", "the image is an uncompressed TIFF of more than 8 bits in separate planes")


def _check_strips(encoded: bytes, tags: ImageFileDirectory_v2) -> None:
    """Missing strips would be black; deflated ones are read to their checksum, which libtiff does not do."""
    offsets = tags.get(STRIPOFFSETS) or tags[TILEOFFSETS]
    lengths = tags.get(STRIPBYTECOUNTS) or tags[TILEBYTECOUNTS]
    if STRIPOFFSETS in tags and len(offsets) * tags.get(ROWSPERSTRIP, tags[IMAGELENGTH]) < tags[IMAGELENGTH]:
        raise ValueError("strips are missing")
    if tags.get(COMPRESSION) in _DEFLATED:
        for offset, length in zip(offsets, lengths, strict=True):
            _read_to_end(encoded[offset : offset + length])


def _read_to_end(deflated: bytes) -> None:
    inflater = zlib.decompressobj()
    while not inflater.eof:
        if not inflater.decompress(deflated, 1 << 20):
            raise zlib.error("the stream has no end")
        deflated = inflater.unconsumed_tail


def _gray_or_bgr(image: TiffImageFile) -> NDArray[np.uint8]:
    """What the samples mean, alpha dropped."""
    shown = image.convert(_CONVERTED[image.mode]) if image.mode in _CONVERTED else image
    samples = np.asarray(shown)
    if shown.mode.startswith("I;16"):
        # 8 bits before the inversion: 12-bit values in 16 bits are inverted within their 12.
        gray = eight_bits(samples.astype(np.uint16, copy=False))
        return ~gray if image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO else gray
    channels = _CHANNELS.get(shown.mode)
    if channels is None:
        raise PermanentError("unsupported", f"the image is a TIFF of kind {shown.mode}, which has no stated rule")
    if max(image.tag_v2.get(BITSPERSAMPLE, (1,))) > 8 and samples.max() < 64:
        raise PermanentError("unsupported", "the image is a TIFF of 16 bits a colour that uses 14 of them or fewer")
    return np.ascontiguousarray(
        samples[..., 2::-1] if channels == 3 else samples.reshape(*samples.shape[:2], -1)[..., 0]
    )
