"""A frame is all of its fragments, or none."""

import struct

import pytest

from db.errors import PermanentError
from worker.dicom.fragments import join_fragments

TABLE = b"\xfe\xff\0\xe0" + bytes(4)
END = b"\xfe\xff\xdd\xe0" + bytes(4)


def item(content, length=None):
    return b"\xfe\xff\0\xe0" + struct.pack("<L", len(content) if length is None else length) + content


def test_fragments_follow_the_table():
    """Up to the end of the sequence, which a value of stated length may lack; bytes after it do not count."""
    for end in (b"", END, END + b"rest"):
        assert bytes(join_fragments(memoryview(TABLE + item(b"ab") + item(b"cd") + end))) == b"abcd"


@pytest.mark.parametrize("start", [b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "])
def test_the_first_item_is_a_fragment_if_it_begins_like_one(start):
    """Some programs leave out the table."""
    assert bytes(join_fragments(memoryview(item(start) + item(b"cd") + END))) == start + b"cd"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        TABLE + END,
        TABLE + item(b"ab", length=4),
        TABLE + item(b"ab", length=0xFFFFFFFF) + END,
        TABLE + b"\xfe\xff\1\xe0" + bytes(4),
        TABLE + item(b"ab") + b"\xfe\xff\0",
    ],
    ids=["nothing", "no fragment", "too short", "no length", "another tag", "half a header"],
)
def test_an_incomplete_fragment_is_damage(value):
    """The frame would be shorter than it was."""
    with pytest.raises(PermanentError) as caught:
        join_fragments(memoryview(value))
    assert caught.value.reason == "truncated"
