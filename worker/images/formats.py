"""Recognises an image's format by its content, never by its name, and reads the size that its header claims.

No pixel is decoded here.
"""

import struct
from typing import Final, Literal

from db.errors import PermanentError
from worker.images.jpeg import count_passes, jpeg_size
from worker.images.png import png_size
from worker.images.tiff import tiff_size
from worker.storage.content import OTHER_CONTENTS, OtherContent, image_format, other_content

Format = Literal["png", "jpeg", "tiff", "bmp"]

#: libpng's own limit, in pixels; no radiograph comes near it.
_MAX_SIDE: Final = 1_000_000
#: How often a decoder may go over a JPEG of the largest size; a smaller one may have more passes. Programs write 10.
_MAX_PASSES: Final = 20
#: The compression of a BMP whose colours are told apart by bit masks.
_BMP_BITFIELDS: Final = 3

_TRUNCATED: Final = "the image is truncated: the file ends too early"


def check_content(encoded: bytes, max_pixels: int) -> Format:
    """Return the format of an encoded image, and refuse an image that cannot or must not be decoded.

    Args:
        encoded: the whole content of a file.
        max_pixels: an image whose header claims more pixels (width times height) is refused.

    Raises:
        PermanentError: `empty`, `dicom`, `not_image`, `unsupported`, `too_large`, or `truncated` if not even the
            header is whole.
    """
    if not encoded:
        raise PermanentError("empty", "the file is empty")
    try:
        image_format, width, height = _read_header(encoded)
    except (struct.error, IndexError) as error:
        raise PermanentError("truncated", _TRUNCATED) from error
    if width * height > max_pixels or max(width, height) > _MAX_SIDE:
        raise PermanentError("too_large", f"the image claims {width} x {height} pixels")
    if image_format == "jpeg" and width * height * count_passes(encoded) > _MAX_PASSES * max_pixels:
        raise PermanentError(
            "too_large", f"the image claims {width} x {height} pixels in {count_passes(encoded)} passes"
        )
    if width == 0 or height == 0:
        raise PermanentError("truncated", "the image is damaged: its header gives a width or height of 0")
    return image_format


def _read_header(encoded: bytes) -> tuple[Format, int, int]:
    """The format, width and height."""
    match image_format(encoded):
        case "png":
            return "png", *png_size(encoded)
        case "jpeg":
            return "jpeg", *jpeg_size(encoded)
        case "tiff":
            return "tiff", *tiff_size(encoded)
        case "bmp":
            return "bmp", *_bmp_size(encoded)
        case "dicom":
            raise PermanentError(
                "dicom",
                "the content is DICOM, and the model's manifest does not say how to render it; fit the model again",
            )
        case None:
            raise _refusal(other_content(encoded))


def _refusal(content: OtherContent) -> PermanentError:
    if content.is_image:
        return PermanentError(
            "unsupported", f"the content is {content.phrase}; only PNG, JPEG, TIFF, BMP and DICOM are supported"
        )
    if content is OTHER_CONTENTS[-1]:
        return PermanentError("not_image", "the content is not an image: not a PNG, JPEG, TIFF, BMP or DICOM")
    return PermanentError("not_image", f"the content is {content.phrase}, not an image")


def _bmp_size(encoded: bytes) -> tuple[int, int]:
    (start, header) = struct.unpack_from("<II", encoded, 10)
    colors = 0
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", encoded, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", encoded, 18)
        (colors,) = struct.unpack_from("<I", encoded, 46)
    byte_masks = {0xFF << shift for shift in (0, 8, 16, 24)}
    odd_masks = compression == _BMP_BITFIELDS and not byte_masks.issuperset(struct.unpack_from("<III", encoded, 54))
    if bits not in (1, 4, 8, 24, 32) or compression > _BMP_BITFIELDS or odd_masks:
        raise PermanentError(
            "unsupported", f"the image is a BMP with {bits} bits and compression {compression}, which is not supported"
        )
    _check_palette(start - 14 - header, 3 if header == 12 else 4, 1 << bits if bits <= 8 else 0, colors)
    if start >= len(encoded):
        raise PermanentError("truncated", _TRUNCATED)
    # A negative height means that rows are stored from the top down.
    return max(width, 0), abs(height)


def _check_palette(available: int, entry_bytes: int, max_colors: int, stated_colors: int) -> None:
    """Check that a BMP's palette fits into the bytes that are available between its header and its pixels.

    cv2 would show the header as pixels, and an arbitrary gray for a colour that is missing.
    """
    colors = min(stated_colors, max_colors) or max_colors
    if available < colors * entry_bytes or (colors < max_colors and available >= max_colors * entry_bytes):
        raise PermanentError("truncated", "the image is damaged: its palette or pixels are not where its header says")
