"""Any bytes give pixels of the rule's shape, or one documented reason, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.errors import PermanentError
from db.ledger.outcomes import REASONS
from tests.support.encoded_images import (
    DEFLATE,
    LZW,
    SIGNATURE,
    bmp_of,
    checksums_mended,
    chunk,
    encode,
    interlaced_png_of,
    png_of,
    tiff_of,
)
from tests.support.world import radiograph
from worker.images.pixels import to_pixels
from worker.images.preprocessing import Preprocessing

IMAGE = radiograph(1, side=32)[:, :29].copy()
WIDE = IMAGE.astype(np.uint16) * 257
COLORS = np.dstack([IMAGE, IMAGE[::-1], IMAGE[:, ::-1]])
RULES = [Preprocessing(height=16, width=16, color=color) for color in ("gray", "bgr")]
FILES = {
    "png": [
        *(png_of(IMAGE), png_of(WIDE, 16), png_of(IMAGE >> 6, 2), png_of(COLORS, color=2), interlaced_png_of(IMAGE)),
        png_of(IMAGE, color=3, extra=chunk(b"PLTE", bytes(range(256)) * 3) + chunk(b"tRNS", bytes(range(256)))),
    ],
    "jpeg": [encode(IMAGE, ".jpg"), encode(COLORS, ".jpg")],
    "tiff": [
        *(tiff_of(IMAGE), tiff_of(IMAGE, compression=LZW, rows_per_strip=8), tiff_of(COLORS, compression=DEFLATE)),
        *(tiff_of(WIDE, order=">"), tiff_of(IMAGE >> 4, bits=4, photometric=0, compression=DEFLATE)),
        tiff_of(IMAGE, photometric=3, t320=tuple(range(0, 3 * 256 * 85, 85)), t274=(6,)),
    ],
    "bmp": [bmp_of(IMAGE, 8, palette=range(256)), bmp_of(COLORS, 24), bmp_of(IMAGE >> 7, 1, palette=(0, 255))],
}
EVERY = [encoded for files in FILES.values() for encoded in files]


@st.composite
def mutated(draw, originals):
    """A file after one to eight mutations: bytes changed, cut off, deleted or inserted, or another file spliced in."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 8))):
        # A changed byte matters most in a header.
        at = draw(st.integers(0, min(len(content), 100)) | st.integers(0, len(content)))
        upto = draw(st.sampled_from([at, at + 1, at + 2, at + 4, at + 50, len(content)]))
        other = draw(st.sampled_from(EVERY))
        content[at:upto] = draw(
            st.binary(max_size=8)
            | st.sampled_from(
                [b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", other[at : at + 40], other[at:]]
            )
        )
    return checksums_mended(bytes(content)) if draw(st.booleans()) else bytes(content)


def check(encoded, rule):
    try:
        pixels = to_pixels(encoded, rule, max_pixels=1_000_000)
    except PermanentError as error:
        assert error.reason in REASONS
        assert 0 < len(str(error)) < 200
        assert str(error).isprintable()
    else:
        assert (pixels.shape, pixels.dtype) == (rule.shape, np.uint8)


@pytest.mark.parametrize("form", FILES)
@settings(max_examples=400)
@given(data=st.data())
def test_a_mutated_file_gives_pixels_or_a_reason(form, data):
    """Such files lie in old archives, or come from an attacker."""
    check(data.draw(mutated(FILES[form])), data.draw(st.sampled_from(RULES)))


@settings(max_examples=200)
@given(st.sampled_from([b"", SIGNATURE, b"\xff\xd8\xff", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"BM"]), st.binary())
def test_any_bytes_give_a_reason(start, rest):
    """After the first bytes of every format too."""
    check(start + rest, RULES[0])


@pytest.mark.parametrize("form", FILES)
def test_the_files_that_are_mutated_give_pixels(form):
    """Otherwise the tests above would prove nothing."""
    for encoded in FILES[form]:
        assert to_pixels(encoded, RULES[0]).std() > 5
