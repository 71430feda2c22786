"""Pixels: one rule for every way a radiograph is stored, and no pixels at all from a damaged file."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import radiograph

from db.errors import PermanentError
from worker.manifest import Preprocessing
from worker.pixels import MAX_PIXELS, decode, preprocess, to_pixels

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
GRAY = Preprocessing(height=32, width=32)
BGR = Preprocessing(height=32, width=32, color="bgr")
IMAGE = radiograph(1, side=48)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode(image, suffix=".png"):
    return cv2.imencode(suffix, image)[1].tobytes()


def chunk(kind, content, crc=None):
    crc = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png(width, height, rows, depth=8, crc=None):
    """A gray PNG made by hand, so that it can be wrong in one place."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    return SIGNATURE + header + chunk(b"IDAT", zlib.compress(rows), crc) + chunk(b"IEND", b"")


def rows_of(image):
    return b"".join(b"\0" + row.tobytes() for row in image)


def refusal(encoded, rule=GRAY):
    """The reason for which there are no pixels."""
    with pytest.raises(PermanentError) as caught:
        to_pixels(encoded, rule)
    assert "\n" not in str(caught.value)
    return caught.value.reason


PNG = encode(IMAGE)
JPEG = encode(IMAGE, ".jpg")
# Smooth, for JPEG halves the resolution of colour.
COLORS = cv2.applyColorMap(cv2.GaussianBlur(IMAGE, (9, 9), 0), cv2.COLORMAP_BONE)
COLOR_JPEG = encode(COLORS, ".jpg")


@pytest.mark.parametrize("rule", [GRAY, BGR], ids=["gray", "bgr"])
@pytest.mark.parametrize("side", [32, 48, 20], ids=["same size", "smaller", "larger"])
def test_gray_rgb_and_rgba_of_one_radiograph_give_identical_pixels(rule, side):
    """NIH stored some of its gray films in colour, some with alpha: it must not matter to a score."""
    gray = radiograph(2, side=side)
    rgb = cv2.merge([gray] * 3)
    alpha = np.random.default_rng(0).integers(0, 256, gray.shape, dtype=np.uint8)
    expected = to_pixels(encode(gray), rule)
    assert (to_pixels(encode(rgb), rule) == expected).all()
    assert (to_pixels(encode(cv2.merge([gray, gray, gray, alpha])), rule) == expected).all()


@pytest.mark.parametrize("rule", [GRAY, BGR, Preprocessing(height=16, width=40, interpolation="linear")], ids=str)
def test_pixels_have_the_rules_shape_and_are_bytes(rule):
    """Height first, then width, then channels; contiguous uint8, whatever the image's form."""
    for image in (IMAGE, IMAGE[:, :30], cv2.merge([IMAGE] * 3)):
        pixels = preprocess(image, rule)
        assert (pixels.shape, pixels.dtype) == (rule.shape, np.uint8)
        assert pixels.flags["C_CONTIGUOUS"]


def test_shrinking_averages_areas():
    """INTER_AREA: each pixel is the mean of what it covers, so that noise does not alias."""
    image = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4) * 15, np.ones((4, 4), np.uint8))
    # Bilinear sampling would look at the middle of each square alone.
    image[::4] += 8
    pixels = preprocess(image, Preprocessing(height=4, width=4))
    assert (pixels[:, :, 0] == np.arange(16).reshape(4, 4) * 15 + 2).all()


def test_left_stays_left_and_top_stays_top():
    """In a rule that is not square too, each pixel lies where it lay in the image."""
    bright_left = np.zeros((40, 40), np.uint8)
    bright_left[:, :20] = 200
    rule = Preprocessing(height=8, width=16)
    assert (preprocess(bright_left, rule)[:, :, 0] == [[200] * 8 + [0] * 8] * 8).all()
    assert (preprocess(bright_left.T.copy(), rule)[:, :, 0] == [[200] * 16] * 4 + [[0] * 16] * 4).all()


def test_luma_is_bt601():
    """0.299 R + 0.587 G + 0.114 B, with R the red channel of the file."""
    red, green, blue = (np.full((4, 4, 3), 0, np.uint8) for _ in range(3))
    red[..., 2], green[..., 1], blue[..., 0] = 255, 255, 255
    rule = Preprocessing(height=4, width=4)
    values = [int(to_pixels(encode(image), rule)[0, 0, 0]) for image in (red, green, blue)]
    assert values == [76, 150, 29]


@pytest.mark.parametrize(("encoded", "channels"), [(JPEG, ()), (COLOR_JPEG, (3,))], ids=["gray", "colour"])
def test_a_jpeg_decodes_close_to_what_was_stored(encoded, channels):
    """Gray as one channel, colour as three."""
    image = decode(encoded)
    assert image.shape == (48, 48, *channels)
    assert cv2.absdiff(image, COLORS if channels else IMAGE).mean() < 3
    assert to_pixels(encoded, GRAY).shape == (32, 32, 1)


def test_a_png_decodes_to_exactly_what_was_stored():
    """Lossless, also where it was made by hand."""
    assert (decode(PNG) == IMAGE).all()
    assert (decode(png(48, 48, rows_of(IMAGE))) == IMAGE).all()


@pytest.mark.parametrize("encoded", [PNG, JPEG, COLOR_JPEG], ids=["png", "jpeg", "colour jpeg"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_file_cut_anywhere_never_decodes(encoded, data):
    """Cut off, it would give black rows and a confident wrong score."""
    cut = data.draw(st.integers(0, len(encoded) - 1))
    assert refusal(encoded[:cut]) in ("truncated", "not_image", "empty")


@pytest.mark.parametrize("cut", [0.25, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("encoded", [PNG, JPEG], ids=["png", "jpeg"])
def test_a_file_cut_in_its_body_is_truncated(encoded, cut):
    """At a quarter, the middle, near the end, and in its last bytes."""
    assert refusal(encoded[: int(len(encoded) * cut)]) == "truncated"


@settings(max_examples=100, deadline=None)
@given(at=st.integers(8, len(PNG) - 13), flip=st.integers(1, 255))
def test_a_png_with_a_changed_byte_never_gives_other_pixels(at, flip):
    """Its checksums find every changed byte of a chunk that matters."""
    damaged = bytearray(PNG)
    damaged[at] ^= flip
    assert refusal(bytes(damaged)) in ("truncated", "too_large", "unsupported")


def test_a_png_with_a_wrong_checksum_is_damaged():
    """Though its content would inflate."""
    assert refusal(png(48, 48, rows_of(IMAGE), crc=1)) == "truncated"


@pytest.mark.parametrize("missing", [1, 49, 49 * 24], ids=["a byte", "a row", "half"])
def test_a_png_with_too_few_rows_is_damaged_though_every_checksum_holds(missing):
    """What an interrupted writer leaves: lenient decoders fill the rest with black."""
    assert refusal(png(48, 48, rows_of(IMAGE)[:-missing])) == "truncated"


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "not_image"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "not_image"),
        (bytes(1000), "not_image"),
        (b"GIF89a" + bytes(100), "not_image"),
        (b"II*\0" + bytes(100), "not_image"),
        (SIGNATURE, "truncated"),
        (b"\xff\xd8\xff\xe0", "truncated"),
        (PNG[8:], "not_image"),
    ],
    ids=["nothing", "html", "lfs pointer", "zeros", "gif", "tiff", "png signature", "jpeg start", "headless"],
)
def test_what_is_no_image_has_its_own_reason(encoded, reason):
    """The reason is for SQL to group by."""
    assert refusal(encoded) == reason


def test_sixteen_bits_are_unsupported_not_cut_to_eight():
    """Which eight of them count is a question for a person."""
    assert refusal(encode(IMAGE.astype(np.uint16) * 256)) == "unsupported"


@pytest.mark.parametrize("side", [10_001, 100_000, 2**31 - 1])
def test_a_png_that_claims_too_many_pixels_is_refused_before_it_is_decoded(side):
    """A few bytes must not take a gigabyte."""
    assert side * side > MAX_PIXELS
    assert refusal(png(side, side, b"")) == "too_large"


@pytest.mark.parametrize("side", [10_001, 30_000, 65_500])
def test_a_jpeg_that_claims_too_many_pixels_is_refused_before_it_is_decoded(side):
    """The same for JPEG, whose size stands in its SOF segment."""
    start = JPEG.find(b"\xff\xc0")
    claimed = JPEG[: start + 5] + struct.pack(">HH", side, side) + JPEG[start + 9 : start + 30]
    assert refusal(claimed) == "too_large"


def real(path):
    if not (DATA / path).exists():
        pytest.skip(f"the real files {path} are not in {DATA}")
    return DATA / path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("00001395_001(2).png", None),
        ("tiny64_00000218_002.png", None),
        ("tiny64_rgba_00000273_004.png", None),
        ("txv_16747_3_1.jpg", None),
        ("gitlfs_pointer_00008270_015.png", "not_image"),
        ("synthetic_zero_bytes.png", "empty"),
    ],
)
def test_each_odd_file_seen_in_the_wild_is_pixels_or_a_reason(name, expected):
    """Never a crash, for either kind of model."""
    encoded = (real("odd") / name).read_bytes()
    for rule in (GRAY, BGR):
        if expected:
            assert refusal(encoded, rule) == expected
        else:
            pixels = to_pixels(encoded, rule)
            assert pixels.shape == rule.shape
            assert pixels.std() > 5


def test_real_radiographs_give_the_same_pixels_from_one_channel_and_from_colour():
    """Sixteen of NIH's own, and each of its four-channel ones."""
    paths = sorted(real("nih1024/images").iterdir())
    read = {path: path.read_bytes() for path in paths}
    # Byte 25 of a PNG is its colour type; 6 is RGBA.
    colored = [path for path in paths if read[path][25] == 6]
    for path in [*paths[:16], *colored]:
        image = decode(read[path])
        gray = image if image.ndim == 2 else image[:, :, 0]
        assert image.ndim == 2 or ((image[:, :, 0] == image[:, :, 1]) & (image[:, :, 1] == image[:, :, 2])).all()
        assert (to_pixels(read[path], GRAY) == preprocess(gray, GRAY)).all()
        assert preprocess(gray, GRAY).std() > 5
