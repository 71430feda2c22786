"""Tells what a file is by the first bytes of its content, never by its name."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from worker.dicom.dataset import SNIFFED_BYTES as DICOM_SNIFFED_BYTES
from worker.dicom.dataset import is_dicom

Format = Literal["png", "jpeg", "tiff", "bmp", "dicom"]

#: Bytes from which the kind is told.
SNIFFED_BYTES: Final = 512

_SIGNATURES: Final[tuple[tuple[bytes, Format], ...]] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
)
#: The possible sizes of a BMP's information header, in bytes. They are checked because any text can begin with 'BM'.
_BMP_HEADER_SIZES: Final = frozenset({12, 40, 52, 56, 64, 108, 124})


@dataclass(frozen=True, kw_only=True)
class OtherContent:
    """Content that is never scored."""

    #: Under which left-out files are counted in JSON, so it is public interface.
    key: str
    #: With the article.
    phrase: str
    pattern: re.Pattern[bytes]
    is_image: bool = False


def _image(key: str, phrase: str, pattern: bytes) -> OtherContent:
    return OtherContent(key=key, phrase=phrase, pattern=re.compile(pattern), is_image=True)


def _other(key: str, phrase: str, pattern: bytes) -> OtherContent:
    return OtherContent(key=key, phrase=phrase, pattern=re.compile(pattern, re.IGNORECASE))


#: All known kinds; the first that matches holds, and the last matches anything.
OTHER_CONTENTS: Final = (
    _image("gif", "a GIF", rb"GIF8[79]a"),
    _image("webp", "a WebP image", rb"RIFF[\0-\xff]{4}WEBP"),
    _image("jpeg2000", "a JPEG 2000 image", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    _image("heif", "an AVIF or HEIC image", rb"[\0-\xff]{4}ftyp(?:avif|avis|heic|heix|mif1)"),
    _image("bigtiff", "a BigTIFF", rb"(?:II\+\0|MM\0\+)"),
    _other("lfs", "a Git LFS pointer", rb"version https://git-lfs"),
    _other("html", "an HTML page", rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head)"),
    _other("xml", "an XML file", rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|svg)"),
    _other("pdf", "a PDF document", rb"%PDF-"),
    _other("zip", "a ZIP archive", rb"PK(?:\x03\x04|\x05\x06)"),
    _other("gzip", "a gzip file", rb"\x1f\x8b"),
    _other("empty", "an empty file", rb"\Z"),
    # UTF-16, or no control character in whatever alphabet.
    _other("text", "a text file", rb"\xff\xfe|\xfe\xff|[^\0-\x08\x0e-\x1a\x1c-\x1f]+\Z"),
    _other("other", "a file of another kind", rb""),
)


def image_format(head: bytes) -> Format | None:
    """The format of an image whose content begins so; None for anything else.

    Args:
        head: at least the first `SNIFFED_BYTES`, or the whole content if that is shorter.
    """
    # DICOM comes first, because its preamble may hold anything, even the header of a TIFF.
    if is_dicom(head[:DICOM_SNIFFED_BYTES]):
        return "dicom"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "bmp"
    return next((name for signature, name in _SIGNATURES if head.startswith(signature)), None)


def other_content(head: bytes) -> OtherContent:
    """What it is that begins so, if it is not an image that is supported."""
    head = head[:SNIFFED_BYTES]
    return next(kind for kind in OTHER_CONTENTS if kind.pattern.match(head))
