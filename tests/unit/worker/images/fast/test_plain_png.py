"""The fast decoder of plain PNGs gives the pixels of cv2, or leaves the file to cv2."""

import contextlib
import itertools
import random
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.errors import PermanentError
from tests.fuzz.png_structures import built_png
from tests.support.encoded_images import SIGNATURE, chunk, interlaced_png_of, png_of
from tests.support.world import radiograph
from worker.images.fast.plain_png import read_plain_gray
from worker.images.formats import check_content

IMAGE = radiograph(1, side=70)[:, :67].copy()
HEADER_END = 33


def by_cv2(encoded):
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)


def plain(width, height, stored, *, cuts=(), level=6, window=7):
    """A plain PNG around filtered rows, its stream cut into IDAT chunks at these places.

    The stream states a window of 256 << window bytes; that its content keeps within it is not seen to.
    """
    stated = window << 12 | 0x800
    stream = (stated + -stated % 31).to_bytes(2) + zlib.compress(stored, level)[2:]
    header = width.to_bytes(4) + height.to_bytes(4) + bytes((8, 0, 0, 0, 0))
    edges = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    parts = [chunk(b"IDAT", stream[start:end]) for start, end in itertools.pairwise(edges)]
    return SIGNATURE + chunk(b"IHDR", header) + b"".join(parts) + chunk(b"IEND", b"")


def filtered(width, height, seed, kinds=(0, 1, 2, 3, 4)):
    """Rows with random filters and differences; all of them are valid."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 256, (height, width + 1), np.uint8)
    rows[:, 0] = rng.choice(kinds, height)
    return rows.tobytes()


@settings(max_examples=200)
@given(
    width=st.integers(1, 140),
    height=st.integers(1, 140),
    seed=st.integers(0, 2**32),
    cuts=st.lists(st.integers(0, 10**6), max_size=4),
    kinds=st.sets(st.integers(0, 4), min_size=1),
)
def test_every_filter_and_size_gives_the_pixels_of_cv2(width, height, seed, cuts, kinds):
    """Fewer and more rows than there are lanes, narrower and wider than their number, one filter or all."""
    encoded = plain(width, height, filtered(width, height, seed, sorted(kinds)), cuts=cuts)
    assert np.array_equal(read_plain_gray(encoded), by_cv2(encoded))


def test_a_radiograph_as_programs_write_it_gives_the_pixels_of_cv2():
    """Filters that libpng chose, with a text and a time beside the pixels."""
    whole = radiograph(2, side=300)
    encoded = cv2.imencode(".png", whole, [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_ALL_FILTERS])[1].tobytes()
    told = chunk(b"tEXt", b"Software\0some program") + chunk(b"tIME", bytes(7))
    assert np.array_equal(read_plain_gray(encoded[:HEADER_END] + told + encoded[HEADER_END:]), whole)


@pytest.mark.parametrize(
    "encoded",
    [
        png_of(IMAGE.astype(np.uint16) * 257, 16),
        png_of(IMAGE >> 4, 4),
        png_of(np.dstack([IMAGE] * 3), color=2),
        png_of(np.dstack([IMAGE] * 2), color=4),
        png_of(IMAGE, color=3, extra=chunk(b"PLTE", bytes(range(256)) * 3)),
        png_of(IMAGE, extra=chunk(b"tRNS", b"\0\7")),
        png_of(IMAGE, extra=chunk(b"eXIf", b"II*\0")),
        png_of(IMAGE, extra=chunk(b"gAMA", b"\0\0\x8f\xff")),
        interlaced_png_of(IMAGE),
    ],
    ids=["16 bits", "4 bits", "colour", "alpha", "palette", "transparency", "orientation", "gamma", "interlaced"],
)
def test_a_png_that_is_not_plain_is_left_to_cv2(encoded):
    """Each of these features could change a pixel."""
    assert read_plain_gray(encoded) is None


@settings(max_examples=300)
@given(at=st.integers(HEADER_END, 10**6), value=st.integers(1, 255))
def test_a_changed_byte_of_the_pixels_is_never_read(at, value):
    """A checksum finds it, so cv2 refuses the file."""
    encoded = bytearray(plain(67, 70, filtered(67, 70, 1), cuts=(1000, 2000)))
    # Of the last chunk, which has no pixels, `png_size` sees the checksum.
    encoded[HEADER_END + at % (len(encoded) - HEADER_END - 12)] ^= value
    # A length that leads out of the file is `png_size`'s to refuse.
    with contextlib.suppress(struct.error):
        assert read_plain_gray(bytes(encoded)) is None


STORED = filtered(67, 70, 1)


@pytest.mark.parametrize(
    "stored",
    [STORED[:-1], STORED + b"\0", b"", STORED[: 68 * 69] + b"\5" + STORED[68 * 69 + 1 :]],
    ids=["short", "long", "empty", "a sixth filter"],
)
def test_a_stream_of_another_length_or_filter_is_left_to_cv2(stored):
    """The stream must fit exactly."""
    assert read_plain_gray(plain(67, 70, stored)) is None


def test_a_stream_with_something_behind_it_is_left_to_cv2():
    """So is a stream whose own checksum is wrong or missing."""
    stream = zlib.compress(STORED)
    header = (67).to_bytes(4) + (70).to_bytes(4) + bytes((8, 0, 0, 0, 0))
    for wrong in (stream + b"x", stream[:-1], stream[:-4] + bytes(4)):
        encoded = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", wrong) + chunk(b"IEND", b"")
        assert read_plain_gray(encoded) is None


def test_pixels_on_both_sides_of_another_chunk_are_left_to_cv2():
    """The specification requires them to be consecutive."""
    encoded = plain(67, 70, STORED, cuts=(1000,))
    between = encoded.index(b"IDAT", encoded.index(b"IDAT") + 4) - 4
    assert read_plain_gray(encoded[:between] + chunk(b"tIME", bytes(7)) + encoded[between:]) is None


def test_a_second_header_is_left_to_cv2():
    """cv2 refuses it, so the quick reader must not accept it."""
    encoded = plain(67, 70, STORED)
    twice = encoded[:HEADER_END] + encoded[len(SIGNATURE) :]
    assert by_cv2(twice) is None
    assert read_plain_gray(twice) is None


def test_a_stream_that_reaches_beyond_its_window_is_left_to_cv2():
    """cv2 refuses rows that repeat those of 9 KB before if the stream states a window of 256 bytes."""
    stored = filtered(67, 140, 1) + filtered(67, 140, 1)
    assert by_cv2(plain(67, 280, stored, window=0)) is None
    for window in (*range(7), *range(8, 16)):
        assert read_plain_gray(plain(67, 280, stored, window=window)) is None
    assert np.array_equal(read_plain_gray(plain(67, 280, stored)), by_cv2(plain(67, 280, stored)))


def test_a_small_window_that_holds_the_whole_image_is_read():
    """libpng writes such streams for small images; nothing can reach beyond them."""
    stored = filtered(16, 15, 1)
    encoded = plain(16, 15, stored, window=0)
    assert np.array_equal(read_plain_gray(encoded), by_cv2(encoded))


def test_megabytes_beside_the_pixels_are_left_to_cv2():
    """It refuses some chunks above 8 MB."""
    encoded = plain(67, 70, STORED)
    beside = chunk(b"zTXt", b"Title\0\0" + bytes(8_000_000))
    much = encoded[:HEADER_END] + beside + encoded[HEADER_END:]
    assert by_cv2(much) is None
    assert read_plain_gray(much) is None


def test_what_is_read_is_never_refused_by_cv2_and_has_its_pixels():
    """Otherwise the verdict on a file would depend on whether the quick reader is loaded yet."""
    read = 0
    for seed in range(1500):
        encoded = built_png(random.Random(seed))
        with contextlib.suppress(PermanentError):
            check_content(encoded, 10**6)
            image = read_plain_gray(encoded)
            read += image is not None
            assert image is None or np.array_equal(image, by_cv2(encoded)), f"seed {seed}"
    assert read > 300


def test_a_stream_that_inflates_without_end_takes_no_memory():
    """A hundred megabytes of zeros, although the header claims a few thousand pixels."""
    encoded = plain(67, 70, bytes(100_000_000), level=9)
    tracemalloc.start()
    assert read_plain_gray(encoded) is None
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5_000_000
