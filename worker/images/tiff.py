"""TIFF, by Pillow.

Not by cv2, which multiplies colour by alpha, does not invert 16 bits of WhiteIsZero, and where a strip is damaged
returns an image whose rest is black.
"""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    IMAGELENGTH,
    IMAGEWIDTH,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    ROWSPERSTRIP,
    SAMPLESPERPIXEL,
    STRIPBYTECOUNTS,
    STRIPOFFSETS,
    TILEBYTECOUNTS,
    TILEOFFSETS,
    ImageFileDirectory_v2,
    TiffImageFile,
)

from db.errors import PermanentError
from worker.images.bit_depth import eight_bits

TIFF_STARTS: Final = (b"II*\0", b"MM\0*")
#: Pillow has no name for these two.
_TILE_WIDTH: Final = 322
_TILE_LENGTH: Final = 323
_TILED: Final = ((IMAGEWIDTH, _TILE_WIDTH), (IMAGELENGTH, _TILE_LENGTH))
_WHITE_IS_ZERO: Final = 0
_RAW: Final = 1
#: Tags that TIFF demands; Pillow would guess at unpacked bytes and at white.
_SAID: Final = (COMPRESSION, PHOTOMETRIC_INTERPRETATION)
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
    """Each holds all of its rows and no more: what is missing would be black, and a damaged width would shear them.

    Deflated ones are read to their checksum, which libtiff does not do.
    """
    offsets = tags.get(STRIPOFFSETS) or tags[TILEOFFSETS]
    lengths = tags.get(STRIPBYTECOUNTS) or tags[TILEBYTECOUNTS]
    sizes = list(_sizes(tags))
    if len(offsets) != len(sizes):
        raise ValueError("strips are missing")
    packing = tags.get(COMPRESSION, _RAW)
    for offset, length, (least, most) in zip(offsets, lengths, sizes, strict=True):
        if packing == _RAW and length < least:
            raise ValueError("a strip ends before its rows")
        if packing in _DEFLATED and _inflated(encoded[offset : offset + length], most) not in (least, most):
            raise ValueError("a strip does not end where its rows do")


def _sizes(tags: ImageFileDirectory_v2) -> Iterator[tuple[int, int]]:
    """The least and the most bytes of each strip or tile once it is unpacked."""
    height, samples = tags[IMAGELENGTH], tags.get(SAMPLESPERPIXEL, 1)
    bits = (tags.get(BITSPERSAMPLE, (1,)) * samples)[:samples]
    for plane in [[one] for one in bits] if tags.get(PLANAR_CONFIGURATION) == _PLANAR else [bits]:
        if TILEOFFSETS in tags:
            size = tags[_TILE_LENGTH] * (-(-tags[_TILE_WIDTH] * sum(plane) // 8))
            across, down = (-(-tags[side] // tags[tile]) for side, tile in _TILED)
            yield from [(size, size)] * across * down
        else:
            rows, row = tags.get(ROWSPERSTRIP, height), -(-tags[IMAGEWIDTH] * sum(plane) // 8)
            # The last one may be filled up.
            yield from ((min(rows, height - top) * row, rows * row) for top in range(0, height, rows))


def _inflated(deflated: bytes, most: int) -> int:
    """How many bytes they were packed from, which must not be more than `most`."""
    inflater, size = zlib.decompressobj(), 0
    while not inflater.eof:
        inflated = inflater.decompress(deflated, 1 << 20)
        size += len(inflated)
        if not inflated or size > most:
            raise zlib.error("the stream has no end, or a late one")
        deflated = inflater.unconsumed_tail
    return size


def _gray_or_bgr(image: TiffImageFile) -> NDArray[np.uint8]:
    """What the samples mean, alpha dropped."""
    if not all(isinstance(image.tag_v2.get(tag), int) for tag in _SAID):
        raise PermanentError("unsupported", "the image is a TIFF that does not say how it is packed, or what 0 shows")
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
