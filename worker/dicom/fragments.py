"""Joins the fragments of a compressed frame (DICOM PS3.5, A.4)."""

import struct
from collections.abc import Iterator
from typing import Final

from db.errors import PermanentError
from worker.dicom.codecs import is_codestream

_ITEM: Final = (0xFFFE, 0xE000)
_END: Final = (0xFFFE, 0xE0DD)
_HEADER: Final = struct.Struct("<HHL")


def join_fragments(value: memoryview) -> memoryview:
    """The one frame in a value of encapsulated pixel data.

    Args:
        value: items, of which the first is the basic offset table; bytes after the end of the sequence are ignored.

    Raises:
        PermanentError: `truncated`.
    """
    items = list(_items(value))
    # Some programs leave out the offset table, which never begins as a codestream does.
    fragments = items if items and is_codestream(items[0]) else items[1:]
    if not fragments:
        raise PermanentError("truncated", "the DICOM file is damaged: its pixel data holds no frame")
    # One fragment is not copied.
    return fragments[0] if len(fragments) == 1 else memoryview(b"".join(fragments))


def _items(value: memoryview) -> Iterator[memoryview]:
    at = 0
    while at < len(value):
        if at + _HEADER.size > len(value):
            raise PermanentError("truncated", "the DICOM file is truncated or damaged: a fragment is incomplete")
        group, element, length = _HEADER.unpack_from(value, at)
        if (group, element) == _END:
            return
        at += _HEADER.size
        if (group, element) != _ITEM or at + length > len(value):
            raise PermanentError("truncated", "the DICOM file is truncated or damaged: a fragment is incomplete")
        yield value[at : at + length]
        at += length
