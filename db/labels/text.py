"""Reads the text of a labels CSV: gzipped or not, UTF-8 or UTF-16, with any line ends."""

import codecs
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from typing import Any, Final

#: Maximum number of characters in a file. A gzip bomb must end in a message, not in a machine without memory.
MAX_CHARACTERS: Final = 2**30
#: Maximum number of characters in a line; the csv module's limit for a cell is the same.
_MAX_LINE: Final = 2**17
_GZIP: Final = b"\x1f\x8b"
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: Other formats that people save or rename as CSV, by their first bytes.
_OTHER_FORMATS: Final = {
    b"PK\x03\x04": "it is an Excel workbook (or other zip archive); save it as CSV",
    b"\xd0\xcf\x11\xe0": "it is an old Excel workbook; save it as CSV",
    b"version https://git-lfs": "it is a git LFS pointer; fetch the file itself with 'git lfs pull'",
    b"<": "it is a web page (row 1 begins with '<'); download the file itself",
}


class InvalidLabels(ValueError):
    """A file is not a valid labels file. The text ends a sentence that begins with the file's name."""


class HashedFile(io.RawIOBase):
    """A file that hashes its bytes as they are read."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hash of the bytes read so far, in hex."""
        return self._sha256.hexdigest()

    def readable(self) -> bool:  # noqa: D102
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: D102
        count = self._file.readinto(buffer) or 0
        self._sha256.update(memoryview(buffer)[:count])
        return count


def read_lines(file: io.RawIOBase) -> Iterator[str]:
    """Yield each line with its line end.

    Bytes that are not valid UTF-8 become lone surrogates: a column that is not read may hold any bytes.

    Raises:
        InvalidLabels: the file is not text, is damaged, or is too large.
        OSError: the file cannot be read.
    """
    try:
        yield from _check_limits(_decoded(file))
    except UnicodeDecodeError as error:
        raise InvalidLabels(f"not a labels file: byte {error.start} is not valid {error.encoding}") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidLabels(f"not a labels file: its gzip is damaged ({error})") from error


def _decoded(file: io.RawIOBase) -> io.TextIOWrapper:
    stored = io.BufferedReader(file)
    is_gzip = stored.peek(len(_GZIP)).startswith(_GZIP)
    content = gzip.GzipFile(fileobj=stored) if is_gzip else stored
    start = content.peek(64)
    for signature, remedy in _OTHER_FORMATS.items():
        if start.removeprefix(codecs.BOM_UTF8).lstrip().startswith(signature):
            raise InvalidLabels(f"not a labels file: {remedy}")
    encoding = "utf-16" if start.startswith(_UTF16) else "utf-8-sig"
    return io.TextIOWrapper(content, encoding, errors="surrogateescape", newline="")


def _check_limits(text: io.TextIOWrapper) -> Iterator[str]:
    characters = 0
    for number, line in enumerate(iter(lambda: text.readline(_MAX_LINE), ""), start=1):
        characters += len(line)
        if "\0" in line:
            raise InvalidLabels(f"row {number}: not a labels file: it holds a NUL byte")
        if len(line) == _MAX_LINE:
            raise InvalidLabels(f"row {number}: not a labels file: the line has over {_MAX_LINE:,} characters")
        if characters > MAX_CHARACTERS:
            raise InvalidLabels(f"row {number}: not a labels file: the file has over {MAX_CHARACTERS:,} characters")
        yield line
