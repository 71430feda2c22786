"""A radiograph gives the same pixels however it is stored, and a damaged file gives none."""

import io
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from db.errors import PermanentError
from tests.support.encoded_images import (
    DEFLATE,
    LZW,
    bmp_of,
    chunk,
    encode,
    interlaced_png_of,
    png,
    png_of,
    rows_of,
    tiff_of,
)
from tests.support.world import radiograph
from worker.images.pixels import decode, preprocess, to_pixels
from worker.images.preprocessing import Preprocessing

DATA = Path(__file__).resolve().parents[4].parent / "shared" / "data"
GRAY = Preprocessing(height=32, width=32)
BGR = Preprocessing(height=32, width=32, color="bgr")
RULE_2 = Preprocessing(height=32, width=32, rule=2)
IMAGE = radiograph(1, side=48)


def refusal(encoded, rule=GRAY):
    """The reason why there are no pixels."""
    with pytest.raises(PermanentError) as caught:
        to_pixels(encoded, rule)
    assert "\n" not in str(caught.value)
    return caught.value.reason


PNG = encode(IMAGE)
JPEG = encode(IMAGE, ".jpg")
# Smooth, for JPEG halves the resolution of colour.
COLORS = cv2.applyColorMap(cv2.GaussianBlur(IMAGE, (9, 9), 0), cv2.COLORMAP_BONE)
COLOR_JPEG = encode(COLORS, ".jpg")

# 45 pixels a row: of fewer than 8 bits a row then ends within a byte, and a BMP's is filled up.
FILM = radiograph(2, side=48)[:, :45].copy()
ALPHA = np.random.default_rng(0).integers(0, 256, FILM.shape, dtype=np.uint8)
WIDE, WIDE_ALPHA = (image.astype(np.uint16) * 257 for image in (FILM, ALPHA))
#: Index i of this palette is the gray 255 - i.
BACKWARDS = bytes(255 - index // 3 for index in range(3 * 256))
DOWNWARD = tuple(257 * (255 - index % 256) for index in range(3 * 256))


def stack(*channels):
    return np.dstack(channels)


#: One radiograph in every way that holds it without loss.
LOSSLESS = {
    "png gray": png_of(FILM),
    "png gray, interlaced": interlaced_png_of(FILM),
    "png gray and alpha": png_of(stack(FILM, ALPHA), color=4),
    "png gray, one gray transparent": png_of(FILM, extra=chunk(b"tRNS", bytes([0, FILM[0, 0]]))),
    "png rgb": png_of(stack(FILM, FILM, FILM), color=2),
    "png rgba": png_of(stack(FILM, FILM, FILM, ALPHA), color=6),
    "png rgba on a background": png_of(
        stack(FILM, FILM, FILM, ALPHA), color=6, extra=chunk(b"bKGD", b"\0\xff\0\xff\0\xff")
    ),
    "png palette": png_of(255 - FILM, color=3, extra=chunk(b"PLTE", BACKWARDS)),
    "png palette and alpha": png_of(
        255 - FILM, color=3, extra=chunk(b"PLTE", BACKWARDS) + chunk(b"tRNS", bytes(range(256)))
    ),
    "png gray with gamma": png_of(FILM, extra=chunk(b"gAMA", bytes([0, 0, 0x40, 0]))),
    "png gray 16, v * 257": png_of(WIDE, 16),
    "png gray 16, v << 8": png_of(FILM.astype(np.uint16) << 8, 16),
    "png gray 16, low byte noise": png_of((FILM.astype(np.uint16) << 8) + ALPHA, 16),
    "png gray 16, 12 used": png_of(FILM.astype(np.uint16) << 4, 16),
    "png gray 16, 12 used, low bits noise": png_of((FILM.astype(np.uint16) << 4) + ALPHA % 16, 16),
    "png gray 16, 8 used": png_of(FILM.astype(np.uint16), 16),
    "png gray 16 and alpha": png_of(stack(WIDE, WIDE_ALPHA), 16, color=4),
    "png rgb 16": png_of(stack(WIDE, WIDE, WIDE), 16, color=2),
    "png rgba 16": png_of(stack(WIDE, WIDE, WIDE, WIDE_ALPHA), 16, color=6),
    "png rgba 16, 12 used": png_of(stack(*[FILM.astype(np.uint16) << 4] * 3, WIDE_ALPHA), 16, color=6),
    "tiff gray": tiff_of(FILM),
    "tiff gray, lzw": tiff_of(FILM, compression=LZW, rows_per_strip=7),
    "tiff gray, deflate": tiff_of(FILM, compression=DEFLATE, rows_per_strip=7),
    "tiff gray, white is zero": tiff_of(255 - FILM, photometric=0),
    "tiff gray and alpha": tiff_of(stack(FILM, ALPHA), t338=(2,)),
    "tiff rgb": tiff_of(stack(FILM, FILM, FILM)),
    "tiff rgba": tiff_of(stack(FILM, FILM, FILM, ALPHA), t338=(2,)),
    "tiff palette": tiff_of(255 - FILM, photometric=3, t320=DOWNWARD),
    "tiff gray 16": tiff_of(WIDE),
    "tiff gray 16, big endian": tiff_of(WIDE, order=">"),
    "tiff gray 16, 12 used": tiff_of(FILM.astype(np.uint16) << 4),
    "tiff gray 16, white is zero": tiff_of(65535 - WIDE, photometric=0),
    "tiff gray 16, 12 used, white is zero": tiff_of(4095 - (FILM.astype(np.uint16) << 4), photometric=0),
    "tiff rgb 16": tiff_of(stack(WIDE, WIDE, WIDE), compression=DEFLATE),
    "tiff rgba 16": tiff_of(stack(WIDE, WIDE, WIDE, WIDE_ALPHA), order=">"),
    "bmp gray": encode(FILM, ".bmp"),
    "bmp palette": bmp_of(255 - FILM, 8, palette=BACKWARDS[::3]),
    "bmp palette, top down": bmp_of(255 - FILM, 8, palette=BACKWARDS[::3], top_down=True),
    "bmp 24": bmp_of(stack(FILM, FILM, FILM), 24),
    "bmp 32": bmp_of(stack(FILM, FILM, FILM, ALPHA), 32),
}


@pytest.mark.parametrize("rule", [GRAY, BGR, RULE_2], ids=["gray", "bgr", "rule 2"])
@pytest.mark.parametrize("encoded", LOSSLESS.values(), ids=LOSSLESS)
def test_one_radiograph_gives_the_same_pixels_in_whatever_lossless_way_it_is_stored(encoded, rule):
    """NIH stored some of its gray radiographs in colour and some with alpha; this must not change a score."""
    assert (to_pixels(encoded, rule) == preprocess(FILM, rule)).all()


def reduced(bits):
    """The radiograph in this many bits: the stored values, and the same values spread over 0..255."""
    values = FILM >> (8 - bits)
    return values, values * np.uint8(255 // ((1 << bits) - 1))


@pytest.mark.parametrize(
    ("form", "bits"),
    # BMP has no 2 bits.
    [*product(["png gray", "png palette", "tiff gray", "tiff palette"], [1, 2, 4]), ("bmp", 1), ("bmp", 4)],
)
def test_a_radiograph_of_few_bits_is_that_radiograph_in_eight(form, bits):
    """Black stays black and white white: 15 of 4 bits is 255."""
    values, expected = reduced(bits)
    grays = np.arange(1 << bits) * (255 // ((1 << bits) - 1))
    encoded = {
        "png gray": lambda: png_of(values, bits),
        "png palette": lambda: png_of(values, bits, 3, chunk(b"PLTE", bytes(grays.repeat(3).tolist()))),
        "tiff gray": lambda: tiff_of(values, bits=bits),
        "tiff palette": lambda: tiff_of(values, bits=bits, photometric=3, t320=tuple((grays * 257).tolist()) * 3),
        "bmp": lambda: bmp_of(values, bits, palette=grays.tolist()),
    }[form]()
    assert (to_pixels(encoded, GRAY) == preprocess(expected, GRAY)).all()


@pytest.mark.parametrize(
    ("top", "shift"),
    [(255, 0), (256, 2), (1023, 2), (1024, 4), (4095, 4), (4096, 6), (16383, 6), (16384, 8), (65535, 8)],
)
def test_the_greatest_value_of_16_bits_says_how_many_are_used(top, shift):
    """255 is the last of 8 bits, 1023 of 10, 4095 of 12, 16383 of 14."""
    image = np.linspace(0, top, 48 * 48).astype(np.uint16).reshape(48, 48)
    assert (decode(png_of(image, 16)) == image >> shift).all()
    assert (decode(tiff_of(image)) == image >> shift).all()


def by_pillow(image, form, orientation=1, **options):
    exif = Image.Exif()
    exif[0x112] = orientation
    file = io.BytesIO()
    image.save(file, form, exif=exif.tobytes(), **options)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_exif_orientation_is_obeyed(form, orientation):
    """As Pillow obeys it; the width and height of an image on its side are swapped."""
    encoded = by_pillow(Image.fromarray(FILM), form, orientation)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))))
    assert decode(encoded).shape == (FILM.shape if orientation < 5 else FILM.shape[::-1])
    # Two decoders of JPEG may differ by a little.
    assert cv2.absdiff(decode(encoded), upright.copy()).max() <= (2 if form == "JPEG" else 0)


def without_adobe_marker(encoded):
    at = encoded.index(b"\xff\xee")
    return encoded[:at] + encoded[at + 2 + int.from_bytes(encoded[at + 2 : at + 4]) :]


JPEGS = {
    "gray": by_pillow(Image.fromarray(FILM), "JPEG", quality=95),
    "progressive": by_pillow(Image.fromarray(FILM), "JPEG", quality=95, progressive=True),
    "ycc": by_pillow(Image.fromarray(stack(FILM, FILM, FILM)), "JPEG", quality=95),
    "rgb": by_pillow(Image.fromarray(stack(FILM, FILM, FILM)), "JPEG", quality=95, keep_rgb=True),
    "cmyk by colours": by_pillow(
        Image.fromarray(stack(*[255 - FILM] * 3, np.zeros_like(FILM)), "CMYK"), "JPEG", quality=95
    ),
    "cmyk by black": by_pillow(
        Image.fromarray(stack(*[np.zeros_like(FILM)] * 3, 255 - FILM), "CMYK"), "JPEG", quality=95
    ),
}
JPEGS["cmyk without marker"] = without_adobe_marker(JPEGS["cmyk by colours"])
# Adobe's marker ends in the colour transform: 0 says CMYK, 2 YCCK, of inverted luma and a neutral chroma of 128.
YCCK = bytearray(
    by_pillow(
        Image.fromarray(stack(FILM, *[np.full_like(FILM, 127)] * 2, np.zeros_like(FILM)), "CMYK"),
        "JPEG",
        quality=95,
    )
)
YCCK[YCCK.index(b"\xff\xee") + 15] = 2
JPEGS["ycck"] = bytes(YCCK)


@pytest.mark.parametrize("encoded", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_of_every_colour_model_is_the_radiograph_but_for_its_losses(encoded):
    """Adobe's CMYK is inverted; without the inversion it would be a negative."""
    assert cv2.absdiff(preprocess(decode(encoded), GRAY), preprocess(FILM, GRAY)).max() <= 6


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((48, 48), np.uint8),
        np.full((48, 48), 255, np.uint8),
        np.full((48, 48, 3), (1, 2, 3), np.uint8),
        stack(*[np.full_like(FILM, 7)] * 3, ALPHA),
        np.full((48, 48), 40_000, np.uint16),
        # Of 12 bits, all of which differ only where 8 do not reach.
        np.arange(48 * 48, dtype=np.uint16).reshape(48, 48) % 16 + 2048,
    ],
    ids=["black", "white", "one colour", "only alpha differs", "16 bits", "below 8 bits"],
)
def test_an_image_of_one_value_is_constant(image):
    """A model would give it a confident score without meaning."""
    assert refusal(encode(image)) == "constant"


@pytest.mark.parametrize("at", [(0, 0), (47, 47), (20, 30)])
def test_one_pixel_that_differs_is_not_constant(at):
    """Wherever the pixel is."""
    image = np.full((48, 48), 100, np.uint8)
    image[at] = 101
    assert to_pixels(encode(image), GRAY).shape == GRAY.shape


@pytest.mark.parametrize("shape", [(64, 64), (64, 10_000), (10_000, 64)])
def test_sides_from_64_to_10_000_become_pixels(shape):
    """In any ratio."""
    image = np.zeros(shape, np.uint8)
    image[: shape[0] // 2] = 200
    for suffix in (".png", ".jpg", ".bmp"):
        assert to_pixels(encode(image, suffix), GRAY)[:, 0, 0].tolist() == pytest.approx([200] * 16 + [0] * 16, abs=2)
    assert to_pixels(tiff_of(image), GRAY)[:, 0, 0].tolist() == [200] * 16 + [0] * 16


@pytest.mark.parametrize("rule", [GRAY, BGR, Preprocessing(height=16, width=40, interpolation="linear")], ids=str)
def test_pixels_have_the_rules_shape_and_are_bytes(rule):
    """Height, width, channels in contiguous uint8, whatever the shape of the image."""
    for image in (IMAGE, IMAGE[:, :30], cv2.merge([IMAGE] * 3)):
        pixels = preprocess(image, rule)
        assert (pixels.shape, pixels.dtype) == (rule.shape, np.uint8)
        assert pixels.flags["C_CONTIGUOUS"]


def test_shrinking_averages_areas():
    """With INTER_AREA each pixel is the mean of the area that it covers, so noise does not alias."""
    image = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4) * 15, np.ones((4, 4), np.uint8))
    # Bilinear sampling would look at the middle of each square alone.
    image[::4] += 8
    pixels = preprocess(image, Preprocessing(height=4, width=4))
    assert (pixels[:, :, 0] == np.arange(16).reshape(4, 4) * 15 + 2).all()


def test_left_stays_left_and_top_stays_top():
    """Each pixel keeps its place, also if the rule is not square."""
    bright_left = np.zeros((40, 40), np.uint8)
    bright_left[:, :20] = 200
    rule = Preprocessing(height=8, width=16)
    assert (preprocess(bright_left, rule)[:, :, 0] == [[200] * 8 + [0] * 8] * 8).all()
    assert (preprocess(bright_left.T.copy(), rule)[:, :, 0] == [[200] * 16] * 4 + [[0] * 16] * 4).all()


@pytest.mark.parametrize(
    ("shape", "kept"),
    # As XRayCenterCrop of torchxrayvision begins: at side // 2 - shorter // 2.
    [((6, 10), np.s_[:, 2:8]), ((6, 9), np.s_[:, 1:7]), ((9, 5), np.s_[2:7]), ((8, 5), np.s_[2:7]), ((7, 7), np.s_[:])],
    ids=str,
)
def test_the_middle_is_cut_out_before_the_image_is_resized(shape, kept):
    """Of gray and of colour, and the odd pixel falls as in the public models' own pipeline."""
    gray = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for image in (gray, stack(gray, gray[::-1], gray)):
        plain, cropping = Preprocessing(height=4, width=4), Preprocessing(height=4, width=4, rule=2, crop="center")
        assert (preprocess(image, cropping) == preprocess(image[kept].copy(), plain)).all()


def test_luma_is_bt601():
    """0.299 R + 0.587 G + 0.114 B, with R the red channel of the file."""
    red, green, blue = (np.zeros((4, 8, 3), np.uint8) for _ in range(3))
    red[:, :4, 2], green[:, :4, 1], blue[:, :4, 0] = 255, 255, 255
    rule = Preprocessing(height=4, width=8)
    for suffix in (".png", ".bmp", ".tif"):
        values = [int(to_pixels(encode(image, suffix), rule)[0, 0, 0]) for image in (red, green, blue)]
        assert values == [76, 150, 29]


@pytest.mark.parametrize(("encoded", "channels"), [(JPEG, ()), (COLOR_JPEG, (3,))], ids=["gray", "colour"])
def test_a_jpeg_decodes_close_to_what_was_stored(encoded, channels):
    """Gray as one channel, colour as three."""
    image = decode(encoded)
    assert image.shape == (48, 48, *channels)
    assert cv2.absdiff(image, COLORS if channels else IMAGE).mean() < 3
    assert to_pixels(encoded, GRAY).shape == (32, 32, 1)


def test_a_png_decodes_to_exactly_what_was_stored():
    """Also one that was made by hand."""
    assert (decode(PNG) == IMAGE).all()
    assert (decode(png(48, 48, rows_of(IMAGE))) == IMAGE).all()


@pytest.mark.parametrize("encoded", [PNG, JPEG, COLOR_JPEG], ids=["png", "jpeg", "colour jpeg"])
@settings(max_examples=150)
@given(data=st.data())
def test_a_file_cut_anywhere_never_decodes(encoded, data):
    """A cut file would give black rows and a confident wrong score."""
    cut = data.draw(st.integers(0, len(encoded) - 1))
    assert refusal(encoded[:cut]) in ("truncated", "not_image", "empty")


@pytest.mark.parametrize("cut", [0.25, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("encoded", [PNG, JPEG], ids=["png", "jpeg"])
def test_a_file_cut_in_its_body_is_truncated(encoded, cut):
    """At a quarter, the middle, near the end, and in its last bytes."""
    assert refusal(encoded[: int(len(encoded) * cut)]) == "truncated"


@settings(max_examples=100)
@given(at=st.integers(8, len(PNG) - 13), flip=st.integers(1, 255))
def test_a_png_with_a_changed_byte_never_gives_other_pixels(at, flip):
    """Its checksums find every changed byte in a chunk that matters."""
    damaged = bytearray(PNG)
    damaged[at] ^= flip
    assert refusal(bytes(damaged)) in ("truncated", "too_large")


def test_a_png_with_a_wrong_checksum_is_damaged():
    """Though its content would inflate."""
    assert refusal(png(48, 48, rows_of(IMAGE), crc=1)) == "truncated"


REAL_SIZE = radiograph(2, side=256)
STREAMS = {
    "baseline": encode(REAL_SIZE, ".jpg"),
    "colour": encode(stack(REAL_SIZE, REAL_SIZE.T, REAL_SIZE), ".jpg"),
    "progressive": by_pillow(Image.fromarray(REAL_SIZE), "JPEG", progressive=True),
    "with restarts": cv2.imencode(".jpg", REAL_SIZE, [cv2.IMWRITE_JPEG_RST_INTERVAL, 4])[1].tobytes(),
}
JPEG_DAMAGE = {
    "cut, with an end put on": lambda stream, at: stream[:at] + b"\xff\xd9",
    "a sector of ones": lambda stream, at: stream[:at] + b"\xff" * 512 + stream[at + 512 :],
    "a sector of text": lambda stream, at: stream[:at] + b"not a radiograph " * 30 + stream[at + 510 :],
}


@pytest.mark.parametrize("damage", JPEG_DAMAGE.values(), ids=JPEG_DAMAGE)
@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_a_jpeg_that_lost_its_middle_is_damaged_though_it_has_an_end(stream, damage):
    """Found by fuzzing: cv2 fills the rest with gray and warns only on stderr, and the model scored it."""
    decode(stream)
    for at in range(len(stream) // 4, len(stream) * 3 // 4, 997):
        assert refusal(damage(stream, at)) == "truncated"


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_a_jpeg_with_a_lost_sector_is_damaged(stream):
    """Almost always: a JPEG has no checksum, so by chance what remains may be valid."""
    places = range(len(stream) // 4, len(stream) * 3 // 4, 97)
    refused = sum(is_refused(stream[:at] + stream[at + 512 :]) for at in places)
    assert refused >= 0.95 * len(places)


def is_refused(encoded):
    try:
        decode(encoded)
    except PermanentError as error:
        return error.reason == "truncated"
    return False


ODD_BUT_WHOLE = {
    "gray of 2 x 2 samples": JPEG.replace(b"\x01\x01\x11\x00", b"\x01\x01\x22\x00", 1),
    "another JFIF": JPEG.replace(b"JFIF\0\1\1", b"JFIF\0\7\7", 1),
    "bytes after its end": JPEG + bytes(100),
    **{
        f"samples {name}": cv2.imencode(
            ".jpg", np.dstack([IMAGE, IMAGE.T, IMAGE]), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
        )[1].tobytes()
        for name, factor in (("4:1:1", 0x411111), ("4:2:0", 0x221111), ("4:2:2", 0x211111), ("4:4:0", 0x121111))
    },
}


@pytest.mark.parametrize("encoded", ODD_BUT_WHOLE.values(), ids=ODD_BUT_WHOLE)
def test_an_odd_jpeg_that_lost_nothing_is_read(encoded):
    """Some programs write unusual headers; none of these costs a pixel."""
    assert decode(encoded).std() > 5


@pytest.mark.parametrize("missing", [1, 49, 49 * 24], ids=["a byte", "a row", "half"])
def test_a_png_with_too_few_rows_is_damaged_though_every_checksum_holds(missing):
    """An interrupted writer leaves such files, and lenient decoders fill the rest with black."""
    assert refusal(png(48, 48, rows_of(IMAGE)[:-missing])) == "truncated"


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
def test_each_real_unusual_file_gives_pixels_or_a_reason(name, expected):
    """Nothing crashes, for either kind of model."""
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
