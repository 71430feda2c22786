"""The text of a labels CSV, however it is stored: gzipped or not, UTF-8 or UTF-16, lines ended in any way."""

import codecs
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from typing import Any, Final

#: Characters. A gzip bomb must end in a sentence, not in an empty machine.
MAX_TEXT: Final = 2**30
#: Characters; csv takes no longer cell either.
_MAX_LINE: Final = 2**17
_GZIP: Final = b"\x1f\x8b"
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: What people save or rename in place of a CSV, by its first bytes.
_FOREIGN: Final = {
    b"PK\x03\x04": "it is an Excel workbook (or other zip archive); save it as CSV",
    b"\xd0\xcf\x11\xe0": "it is an old Excel workbook; save it as CSV",
    b"version https://git-lfs": "it is a git LFS pointer; fetch the file itself with 'git lfs pull'",
    b"<": "it is a web page (row 1 begins with '<'); download the file itself",
}


class InvalidLabels(ValueError):
    """Why a file is no labels file: the end of a sentence that begins with the file's name."""


class HashedFile(io.RawIOBase):
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of what was read so far, in hex."""
        return self._sha256.hexdigest()

    def readable(self) -> bool:  # noqa: D102
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: D102
        count = self._file.readinto(buffer) or 0
        self._sha256.update(memoryview(buffer)[:count])
        return count


def read_lines(file: io.RawIOBase) -> Iterator[str]:
    """Each line with its end, to the end of the file.

    Bytes that are no UTF-8 become lone surrogates: a column that nobody needs may hold whatever it likes.

    Raises:
        InvalidLabels: it is something else than text, is damaged, or is far too large.
        OSError: the disk did not give it.
    """
    try:
        yield from _bounded(_as_text(file))
    except UnicodeDecodeError as error:
        raise InvalidLabels(f"not a labels file: byte {error.start} is no {error.encoding} text") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidLabels(f"not a labels file: its gzip is damaged ({error})") from error


def _as_text(file: io.RawIOBase) -> io.TextIOWrapper:
    stored = io.BufferedReader(file)
    is_gzip = stored.peek(len(_GZIP)).startswith(_GZIP)
    content = gzip.GzipFile(fileobj=stored) if is_gzip else stored
    start = content.peek(64)
    for signature, what in _FOREIGN.items():
        if start.removeprefix(codecs.BOM_UTF8).lstrip().startswith(signature):
            raise InvalidLabels(f"not a labels file: {what}")
    encoding = "utf-16" if start.startswith(_UTF16) else "utf-8-sig"
    return io.TextIOWrapper(content, encoding, errors="surrogateescape", newline="")


def _bounded(text: io.TextIOWrapper) -> Iterator[str]:
    characters = 0
    for number, line in enumerate(iter(lambda: text.readline(_MAX_LINE), ""), start=1):
        characters += len(line)
        if "\0" in line:
            raise InvalidLabels(f"row {number}: not a labels file: it holds a NUL byte")
        if len(line) == _MAX_LINE:
            raise InvalidLabels(f"row {number}: not a labels file: it is longer than {_MAX_LINE:,} characters")
        if characters > MAX_TEXT:
            raise InvalidLabels(f"row {number}: not a labels file: it holds more than {MAX_TEXT:,} characters")
        yield line
