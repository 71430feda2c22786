"""A file of which only the parts are read that are asked for: the header of a film, and not its pixels."""

from collections.abc import Callable
from os import SEEK_CUR, SEEK_END
from typing import Final

#: The most that is read of one file. Headers have some kilobytes; what is skipped in them does not count.
_MAX_READ_BYTES: Final = 16 * 2**20


class RangeReader:
    """Reads, seeks and tells as a binary file does. A thread of its own uses it."""

    def __init__(self, read_range: Callable[[int, int], bytes], size: int, block: int) -> None:
        """Nothing is read yet.

        Args:
            read_range: takes an offset and a number of bytes, and reads them; fewer at the end of the file.
            size: of the file, in bytes.
            block: the fewest bytes that are worth a read.
        """
        self._read_range = read_range
        self._size = size
        self._block = block
        self._allowed = _MAX_READ_BYTES
        self._position = 0
        self._data = b""
        self._data_start = 0

    def read(self, size: int = -1, /) -> bytes:
        """Read as a file does.

        Raises:
            OSError: too much was read of this file.
        """
        end = self._size if size < 0 else min(self._position + size, self._size)
        if self._position >= end:
            return b""
        if self._position < self._data_start or end > self._data_start + len(self._data):
            self._fill(end)
        start = self._position - self._data_start
        data = self._data[start : end - self._data_start]
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to an offset, as a file does. Nothing is read."""
        self._position = offset + {SEEK_CUR: self._position, SEEK_END: self._size}.get(whence, 0)
        return self._position

    def tell(self) -> int:
        """The offset of the next read."""
        return self._position

    def _fill(self, end: int) -> None:
        count = max(end - self._position, self._block)
        self._allowed -= count
        if self._allowed < 0:
            raise OSError("the header is too long")
        self._data, self._data_start = self._read_range(self._position, count), self._position
