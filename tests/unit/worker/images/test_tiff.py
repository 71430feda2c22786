"""A TIFF gives the same pixels however it is stored, and none if it is damaged."""

import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from db.errors import PermanentError
from tests.support.encoded_images import DEFLATE, LZW, UNPACKED, tiff_of
from tests.support.world import radiograph
from worker.images.pixels import decode

IMAGE = radiograph(1, side=48)[:, :45].copy()
WIDE = IMAGE.astype(np.uint16) * 257
ALPHA = np.random.default_rng(0).integers(0, 256, IMAGE.shape, dtype=np.uint8)
COMPRESSIONS = {"unpacked": UNPACKED, "lzw": LZW, "deflate": DEFLATE}


def refusal(encoded):
    with pytest.raises(PermanentError) as caught:
        decode(encoded)
    return caught.value.reason


def by_pillow(image, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "TIFF", **options)
    return file.getvalue()


@pytest.mark.parametrize("compression", COMPRESSIONS.values(), ids=COMPRESSIONS)
@pytest.mark.parametrize("order", "<>", ids=["little endian", "big endian"])
@pytest.mark.parametrize("rows_per_strip", [48, 7, 1, 100])
def test_strips_make_the_image(compression, order, rows_per_strip):
    """In either byte order, of 8 and of 16 bits, the last strip shorter or the only one longer than the image."""
    options = {"compression": compression, "order": order, "rows_per_strip": rows_per_strip}
    assert (decode(tiff_of(IMAGE, **options)) == IMAGE).all()
    assert (decode(tiff_of(WIDE, **options)) == IMAGE).all()


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate"])
@pytest.mark.parametrize("predictor", [1, 2], ids=["as they are", "differences"])
def test_what_libtiff_writes_is_read(compression, predictor):
    """Its strips, its LZW, its predictor."""
    for image in (IMAGE, WIDE, np.dstack([IMAGE, IMAGE[::-1], IMAGE[:, ::-1]])):
        pixels = decode(by_pillow(image, compression=compression, tiffinfo={317: predictor, 278: 16}))
        # Pillow's colour is RGB, ours BGR.
        assert (pixels == ((image >> 8 if image is WIDE else image) if image.ndim == 2 else image[..., ::-1])).all()


def test_the_last_strip_may_be_filled_up():
    """Some programs give it as many rows as the others."""
    filled = np.vstack([IMAGE, IMAGE])
    for compression in COMPRESSIONS.values():
        encoded = bytearray(tiff_of(filled, compression=compression, rows_per_strip=32))
        # Two strips for 48 rows, where three are stored for 96: rows, then the lengths of both lists of strips.
        for tag, field in ((257, 8), (273, 4), (279, 4)):
            entry = encoded.index(tag.to_bytes(2, "little") + b"\4\0")
            encoded[entry + field] = {257: 48}.get(tag, 2)
        assert (decode(bytes(encoded)) == IMAGE).all()


def test_a_palette_of_colours_is_looked_up_in_its_order():
    """All reds, all greens, all blues."""
    red, green, blue = (np.random.default_rng(n).permutation(256).astype(np.uint8) for n in range(3))
    palette = tuple(int(value) * 257 for color in (red, green, blue) for value in color)
    assert (decode(tiff_of(IMAGE, photometric=3, t320=palette)) == np.dstack([blue, green, red])[0][IMAGE]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image", [IMAGE, WIDE], ids=["8 bits", "16 bits"])
def test_the_orientation_tag_is_obeyed(orientation, image):
    """As Pillow obeys it."""
    stored = Image.fromarray(IMAGE)
    stored.getexif()[274] = orientation
    assert (decode(tiff_of(image, t274=(orientation,))) == np.asarray(ImageOps.exif_transpose(stored))).all()


@pytest.mark.parametrize("alpha", [0, 2], ids=["unspecified", "unassociated"])
def test_alpha_is_dropped_not_multiplied(alpha):
    """For gray and for colour."""
    assert (decode(tiff_of(np.dstack([IMAGE, ALPHA]), t338=(alpha,))) == IMAGE).all()
    colored = decode(tiff_of(np.dstack([IMAGE, IMAGE, IMAGE, ALPHA]), t338=(alpha,)))
    assert (colored == IMAGE[..., np.newaxis]).all()


def test_dark_colour_of_16_bits_is_refused():
    """Of a detector's 12 bits, stored as colour, all but four would be lost."""
    dark = np.dstack([IMAGE.astype(np.uint16) * 16] * 3)
    assert refusal(tiff_of(dark)) == "unsupported"
    assert (decode(tiff_of(np.dstack([WIDE] * 3))) == IMAGE[..., np.newaxis]).all()


@pytest.mark.parametrize("compression", ["packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_every_compression_of_scanners_is_read(compression):
    """What scanners and archives write."""
    assert (decode(by_pillow(IMAGE, compression=compression)) == IMAGE).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_white_is_zero_is_inverted(bits):
    """Fewer bits are spread over 0..255 first."""
    values = IMAGE >> (8 - bits)
    expected = values * (255 // ((1 << bits) - 1))
    assert (decode(tiff_of(values, photometric=1, bits=bits)) == expected).all()
    assert (decode(tiff_of((1 << bits) - 1 - values, photometric=0, bits=bits)) == expected).all()


@pytest.mark.parametrize("shift", [0, 4, 8], ids=["8 of 16", "12 of 16", "16 of 16"])
def test_white_is_zero_is_inverted_within_the_bits_that_are_used(shift):
    """Otherwise a detector's 12 bits in a container of 16 would be almost white."""
    inverted = (255 - IMAGE).astype(np.uint16) << shift
    assert (decode(tiff_of(inverted, photometric=0)) == IMAGE).all()


@pytest.mark.parametrize(
    "encoded",
    [
        tiff_of(IMAGE.astype(np.float32), t339=(3,)),
        tiff_of(IMAGE.astype(np.uint32)),
        tiff_of(WIDE.view(np.int16), t339=(2,)),
        tiff_of(IMAGE, photometric=8),
        tiff_of(np.dstack([IMAGE] * 3), t258=(5, 6, 5)),
        tiff_of(WIDE, photometric=3),
        by_pillow(IMAGE, save_all=True, append_images=[Image.fromarray(IMAGE)]),
        b"II+\0" + tiff_of(IMAGE)[4:],
        tiff_of(IMAGE).replace(b"\x06\x01\x03\0", b"\x07\x01\x03\0"),
    ],
    ids=[
        *("float", "32 bits", "signed", "lab", "mixed bits"),
        *("wide palette", "two pages", "bigtiff", "black or white unsaid"),
    ],
)
def test_an_unsupported_tiff_is_refused_and_not_guessed_at(encoded):
    """Each would give wrong pixels if its tag were ignored."""
    assert refusal(encoded) == "unsupported"


@pytest.mark.parametrize("compression", COMPRESSIONS.values(), ids=COMPRESSIONS)
@settings(max_examples=100)
@given(data=st.data())
def test_a_tiff_cut_anywhere_never_decodes(compression, data):
    """Its last strip is at its end."""
    encoded = tiff_of(IMAGE, compression=compression, rows_per_strip=16)
    # LZW's end mark may be missing.
    slack = 4 if compression == LZW else 1
    assert refusal(encoded[: data.draw(st.integers(0, len(encoded) - slack))]) in ("truncated", "not_image", "empty")


@settings(max_examples=100)
@given(data=st.data())
def test_a_changed_byte_in_a_deflated_strip_is_refused_unless_the_checksum_fits_the_pixels(data):
    """The checksum is read; libtiff stops before it. Of 543,405 changes, 64 keep the pixels and 2 fit by chance."""
    encoded = bytearray(tiff_of(IMAGE, compression=DEFLATE))
    strip = encoded.index(b"\x78\x9c")
    # The first two bytes are flags, some of which mean nothing.
    encoded[data.draw(st.integers(strip + 2, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert zlib.adler32(decode(bytes(encoded)).tobytes()) == zlib.adler32(IMAGE.tobytes())
    except PermanentError as error:
        assert error.reason == "truncated"


def test_a_damaged_code_of_lzw_refuses_the_image():
    """A decoder that continued, as libtiff does for cv2, would leave the rest of the strip black."""
    encoded = bytearray(tiff_of(IMAGE, compression=LZW))
    # All ones after the first clear: a code that no table has yet.
    encoded[len(encoded) // 2 : len(encoded) // 2 + 2] = b"\xff\xff"
    assert refusal(bytes(encoded)) == "truncated"


SENSE_OF_BLACK = 262


def test_a_changed_bit_in_a_deflated_tiffs_directory_never_gives_other_pixels():
    """Found by fuzzing: a narrower image, deflated bytes decoded as pixels, a negative because a tag was lost."""
    encoded = tiff_of(IMAGE, compression=DEFLATE, rows_per_strip=7)
    for at in range(10, 10 + 12 * encoded[8]):
        place = (at - 10) % 12
        tag = int.from_bytes(encoded[at - place : at - place + 2], "little")
        for bit in range(8):
            changed = bytearray(encoded)
            changed[at] ^= 1 << bit
            # What says whether 0 is black or white is one bit, and nothing else vouches for it.
            if tag != SENSE_OF_BLACK or place < 8:
                assert is_refused_or(IMAGE, bytes(changed)), (tag, place, bit)


@pytest.mark.parametrize("compression", [UNPACKED, DEFLATE], ids=["unpacked", "deflate"])
def test_strips_that_are_shorter_than_their_rows_are_damage(compression):
    """The missing bytes would be taken from what follows them."""
    encoded = bytearray(tiff_of(IMAGE, compression=compression))
    # Tag 257, the height, of type 4.
    encoded[encoded.index(b"\x01\x01\x04\0") + 8] += 1
    assert refusal(bytes(encoded)) == "truncated"


def is_refused_or(image, encoded):
    try:
        pixels = decode(encoded)
    except PermanentError:
        return True
    return pixels.shape == image.shape and (pixels == image).all()


def test_missing_strips_and_palettes_are_damage():
    """The directory contradicts itself."""
    assert refusal(tiff_of(IMAGE, rows_per_strip=16, t278=(8,))) == "truncated"
    assert refusal(tiff_of(IMAGE, photometric=3)) == "truncated"


@pytest.mark.parametrize("order", "<>")
def test_uncompressed_planes_of_16_bits_are_refused(order):
    """Pillow reads one byte for each sample and returns noise, which would be scored; deflated planes are right."""
    wide = np.vstack([IMAGE.astype(np.uint16) * 257] * 3)
    planes = {"t257": (len(IMAGE),), "t258": (16,) * 3, "t277": (3,), "t284": (2,), "rows_per_strip": len(IMAGE)}
    with pytest.raises(PermanentError, match="separate planes") as caught:
        decode(tiff_of(wide, photometric=2, order=order, **planes))
    assert caught.value.reason == "unsupported"
    deflated = decode(tiff_of(wide, photometric=2, order=order, compression=DEFLATE, **planes))
    assert (deflated == IMAGE[..., np.newaxis]).all()
