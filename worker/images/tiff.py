"""Decodes TIFF with Pillow.

cv2 is not used, because it multiplies colour by alpha, does not invert WhiteIsZero of 16 bits, and returns an image
whose rest is black if a strip is damaged.
"""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final

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

#: Pillow has no name for these two.
_TILE_WIDTH: Final = 322
_TILE_LENGTH: Final = 323
_TILE_TAGS: Final = ((IMAGEWIDTH, _TILE_WIDTH), (IMAGELENGTH, _TILE_LENGTH))
_WHITE_IS_ZERO: Final = 0
_UNCOMPRESSED: Final = 1
#: Tags that TIFF requires. Without them Pillow guesses: no compression, and white is zero.
_REQUIRED_TAGS: Final = (COMPRESSION, PHOTOMETRIC_INTERPRETATION)
_PLANAR: Final = 2
_DEFLATE: Final = (8, 32946)
#: Pillow's modes of 8 bits, with how many of their channels are gray or colour; the rest is alpha.
_CHANNELS: Final = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3, "RGBX": 3}
#: Pillow converts these modes: it looks up a palette, spreads one bit, and undoes the multiplication of gray by alpha.
_CONVERSIONS: Final = {"P": "RGB", "1": "L", "La": "LA"}
#: Pillow's message if it has no mode for a combination of bits and samples.
_UNKNOWN_MODE: Final = "unknown pixel mode"
#: What Pillow and zlib raise for a damaged file, found by experiment. libtiff's own errors are OSErrors.
_DAMAGE_ERRORS: Final = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, AttributeError),
    *(struct.error, zlib.error),
)

# `check_content` enforces a limit of our own before anything is decoded.
Image.MAX_IMAGE_PIXELS = None


def tiff_size(encoded: bytes) -> tuple[int, int]:
    """Width and height that a TIFF claims.

    Raises:
        PermanentError: `unsupported`, or `truncated` if the directory is damaged.
    """
    width, height = _open(encoded).size
    return width, height


def decode_tiff(encoded: bytes) -> tuple[NDArray[Any], bool]:
    """Decode a TIFF of one page, upright.

    Returns:
        uint8 or uint16 (height, width), or uint8 (height, width, 3) BGR; and whether 0 is white in it, which is only of
        16 bits: they are cut to 8 before they are inverted, so that 12 of 16 bits are inverted within the 12.

    Raises:
        PermanentError: `unsupported` or `truncated`.
    """
    image = _open(encoded)
    _check_planes(image.tag_v2)
    try:
        image.load()
        _check_strips(encoded, image.tag_v2)
        return _gray_or_bgr(image)
    except _DAMAGE_ERRORS as error:
        raise PermanentError("truncated", "the TIFF is truncated or damaged: a strip is incomplete") from error


def _open(encoded: bytes) -> TiffImageFile:
    try:
        image = TiffImageFile(BytesIO(encoded))
        pages = image.n_frames
    except (SyntaxError, *_DAMAGE_ERRORS) as error:
        if str(error) == _UNKNOWN_MODE:
            raise PermanentError("unsupported", "the image is a TIFF of a kind that is not supported") from error
        raise PermanentError("truncated", "the TIFF is truncated or damaged: it has no readable directory") from error
    if pages != 1:
        raise PermanentError("unsupported", "the image is a TIFF with several pages; a scan must be one image")
    return image


def _check_planes(tags: ImageFileDirectory_v2) -> None:
    """Refuse uncompressed planes of more than 8 bits: Pillow reads one byte for each sample and returns noise."""
    is_raw_plane = tags.get(PLANAR_CONFIGURATION) == _PLANAR and tags.get(COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED
    if is_raw_plane and max(tags.get(BITSPERSAMPLE, (1,))) > 8:
        raise PermanentError(
            "unsupported",
            "the image is an uncompressed TIFF with more than 8 bits in separate planes, which is not supported",
        )


def _check_strips(encoded: bytes, tags: ImageFileDirectory_v2) -> None:
    """Check that each strip or tile holds all of its rows and no more.

    Missing rows would be black, and a damaged width would shear them. Deflated strips are read to their checksum, which
    libtiff does not do.

    Raises:
        ValueError, zlib.error: a strip is missing, too short or damaged.
    """
    offsets = tags.get(STRIPOFFSETS) or tags[TILEOFFSETS]
    lengths = tags.get(STRIPBYTECOUNTS) or tags[TILEBYTECOUNTS]
    sizes = list(_sizes(tags))
    if len(offsets) != len(sizes):
        raise ValueError("strips are missing")
    compression = tags.get(COMPRESSION, _UNCOMPRESSED)
    for offset, length, (min_bytes, max_bytes) in zip(offsets, lengths, sizes, strict=True):
        if compression == _UNCOMPRESSED and length < min_bytes:
            raise ValueError("a strip ends before its rows")
        if compression in _DEFLATE and _inflated_size(encoded[offset : offset + length], max_bytes) not in (
            min_bytes,
            max_bytes,
        ):
            raise ValueError("a strip does not end where its rows do")


def _sizes(tags: ImageFileDirectory_v2) -> Iterator[tuple[int, int]]:
    """Yield the smallest and the largest number of bytes that each strip or tile may have once it is unpacked."""
    height, samples = tags[IMAGELENGTH], tags.get(SAMPLESPERPIXEL, 1)
    bits = (tags.get(BITSPERSAMPLE, (1,)) * samples)[:samples]
    for plane in [[one] for one in bits] if tags.get(PLANAR_CONFIGURATION) == _PLANAR else [bits]:
        if TILEOFFSETS in tags:
            size = tags[_TILE_LENGTH] * (-(-tags[_TILE_WIDTH] * sum(plane) // 8))
            across, down = (-(-tags[side] // tags[tile]) for side, tile in _TILE_TAGS)
            yield from [(size, size)] * across * down
        else:
            rows, row = tags.get(ROWSPERSTRIP, height), -(-tags[IMAGEWIDTH] * sum(plane) // 8)
            # The last strip may be padded to full length.
            yield from ((min(rows, height - top) * row, rows * row) for top in range(0, height, rows))


def _inflated_size(deflated: bytes, max_bytes: int) -> int:
    """How many bytes a deflated strip inflates to.

    Raises:
        zlib.error: it is damaged, does not end, or inflates to more than `max_bytes`.
    """
    inflater, size = zlib.decompressobj(), 0
    while not inflater.eof:
        inflated = inflater.decompress(deflated, 1 << 20)
        size += len(inflated)
        if not inflated or size > max_bytes:
            raise zlib.error("the stream does not end, or ends too late")
        deflated = inflater.unconsumed_tail
    return size


def _gray_or_bgr(image: TiffImageFile) -> tuple[NDArray[Any], bool]:
    """Gray or BGR from the samples as the tags describe them, without alpha; and whether 0 is still white."""
    if not all(isinstance(image.tag_v2.get(tag), int) for tag in _REQUIRED_TAGS):
        raise PermanentError(
            "unsupported", "the image is a TIFF without the tag Compression or PhotometricInterpretation"
        )
    shown = image.convert(_CONVERSIONS[image.mode]) if image.mode in _CONVERSIONS else image
    samples = np.asarray(shown)
    if shown.mode.startswith("I;16"):
        is_inverted = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
        return samples.astype(np.uint16, copy=False), is_inverted
    channels = _CHANNELS.get(shown.mode)
    if channels is None:
        raise PermanentError("unsupported", f"the image is a TIFF of kind {shown.mode}, which is not supported")
    if max(image.tag_v2.get(BITSPERSAMPLE, (1,))) > 8 and samples.max() < 64:
        raise PermanentError(
            "unsupported",
            "the image is a TIFF with 16 bits per colour, of which it uses 14 or fewer; this is not supported",
        )
    kept = samples[..., 2::-1] if channels == 3 else samples.reshape(*samples.shape[:2], -1)[..., 0]
    return np.ascontiguousarray(kept), False
