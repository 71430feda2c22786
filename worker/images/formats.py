"""What an encoded image is, told by its content and never by its name, and what its header claims.

No pixel is decoded here.
"""

import re
import struct
from typing import Final, Literal

from db.errors import PermanentError
from worker.images.jpeg import jpeg_size, passes
from worker.images.png import png_size
from worker.images.tiff import TIFF_STARTS, tiff_size

Format = Literal["png", "jpeg", "tiff", "bmp"]

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
#: libpng's own limit; no radiograph comes near.
_MAX_SIDE: Final = 1_000_000
#: Of a JPEG as large as may be; one of fewer pixels may have more. Programs write 10.
_MOST_PASSES: Final = 20
#: After 'BM', two bytes that any text can begin with: the sizes that a BMP's information header has.
_BMP_HEADERS: Final = frozenset({12, 40, 52, 56, 64, 108, 124})
_BMP_MASKED: Final = 3

_ENDS_EARLY: Final = "the image is truncated: its content ends before it is whole"
_DICOM_AT: Final = 128
#: A file without preamble: a first element of group 0002 or 0008, with its type in letters or a short length. Files
#: were seen that begin with one stray byte.
_BARE_DICOM: Final = re.compile(rb"[\0-\x20]?[\x02\x08]\0[\0-\xff]\0(?:[A-Z]{2}|[\0-\xff]\0\0\0)")
_OTHER_IMAGES: Final = (
    (re.compile(rb"GIF8[79]a"), "a GIF"),
    (re.compile(rb"RIFF[\0-\xff]{4}WEBP"), "a WebP image"),
    (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), "a JPEG 2000 image"),
    (re.compile(rb"[\0-\xff]{4}ftyp(?:avif|avis|heic|heix|mif1)"), "an AVIF or HEIC image"),
    (re.compile(rb"(?:II\+\0|MM\0\+)"), "a BigTIFF"),
)
_NO_IMAGES: Final = (
    (re.compile(rb"version https://git-lfs"), "the content is a Git LFS pointer, not the image"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head)", re.IGNORECASE), "the content is an HTML page"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|svg)", re.IGNORECASE), "the content is XML"),
    (re.compile(rb"%PDF-"), "the content is a PDF document"),
    (re.compile(rb"PK\x03\x04"), "the content is a ZIP archive"),
    (re.compile(rb"\x1f\x8b"), "the content is compressed by gzip"),
)


def check_content(encoded: bytes, max_pixels: int) -> Format:
    """Tell the format of an encoded image, and refuse what cannot or must not be decoded.

    Args:
        encoded: the whole content of a file.
        max_pixels: an image that claims more (width times height) is refused unread.

    Raises:
        PermanentError: `empty`, `dicom`, `not_image`, `unsupported`, `too_large`, or `truncated` where not even the
            header is whole.
    """
    if not encoded:
        raise PermanentError("empty", "the file is empty")
    try:
        form, width, height = _read_header(encoded)
    except (struct.error, IndexError) as error:
        raise PermanentError("truncated", _ENDS_EARLY) from error
    if width * height > max_pixels or max(width, height) > _MAX_SIDE:
        raise PermanentError("too_large", f"the image claims {width} x {height} pixels")
    if form == "jpeg" and width * height * passes(encoded) > _MOST_PASSES * max_pixels:
        raise PermanentError("too_large", f"the image claims {width} x {height} pixels in {passes(encoded)} passes")
    if width == 0 or height == 0:
        raise PermanentError("truncated", "the image is damaged: its header claims no pixels")
    return form


def _read_header(encoded: bytes) -> tuple[Format, int, int]:
    """The format, width and height."""
    # First: a DICOM file may hold anything in its preamble, a TIFF's header too.
    if encoded[_DICOM_AT : _DICOM_AT + 4] == b"DICM" or _BARE_DICOM.match(encoded):
        raise PermanentError("dicom", "the content is DICOM, which is not read yet: convert it to PNG")
    if encoded.startswith(_PNG):
        return "png", *png_size(encoded)
    if encoded.startswith(_JPEG):
        return "jpeg", *jpeg_size(encoded)
    if encoded.startswith(TIFF_STARTS):
        return "tiff", *tiff_size(encoded)
    if encoded.startswith(b"BM") and int.from_bytes(encoded[14:18], "little") in _BMP_HEADERS:
        return "bmp", *_bmp_size(encoded)
    raise _refusal(encoded)


def _refusal(encoded: bytes) -> PermanentError:
    for pattern, kind in _OTHER_IMAGES:
        if pattern.match(encoded):
            return PermanentError("unsupported", f"the content is {kind}: PNG, JPEG, TIFF and BMP are read")
    for pattern, sentence in _NO_IMAGES:
        if pattern.match(encoded):
            return PermanentError("not_image", sentence)
    return PermanentError("not_image", "the content is no image: neither PNG, JPEG, TIFF nor BMP")


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
    odd_masks = compression == _BMP_MASKED and not byte_masks.issuperset(struct.unpack_from("<III", encoded, 54))
    if bits not in (1, 4, 8, 24, 32) or compression > _BMP_MASKED or odd_masks:
        raise PermanentError("unsupported", f"the image is a BMP of {bits} bits and compression {compression}")
    _check_palette(start - 14 - header, 3 if header == 12 else 4, 1 << bits if bits <= 8 else 0, colors)
    if start >= len(encoded):
        raise PermanentError("truncated", _ENDS_EARLY)
    # A negative height: stored from the top down.
    return max(width, 0), abs(height)


def _check_palette(room: int, entry: int, most: int, stated: int) -> None:
    """A BMP's palette lies between its header and its pixels, of as many colours as it has room for.

    cv2 would show the header as pixels, and shows some gray for a colour that is not there.
    """
    colors = min(stated, most) or most
    if room < colors * entry or (colors < most and room >= most * entry):
        raise PermanentError("truncated", "the image is damaged: its palette and its pixels are not where it says")
