"""The content of an image tells its format, or the reason and the sentence of its refusal."""

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db.errors import PermanentError
from tests.support.encoded_images import SIGNATURE, bmp_of, chunk, encode, png, png_of, tiff_of
from tests.support.world import radiograph
from worker.images.formats import check_content
from worker.settings import MAX_PIXELS, WorkerSettings

DATA = Path(__file__).resolve().parents[4].parent / "shared" / "data"
IMAGE = radiograph(1, side=48)
JPEG = encode(IMAGE, ".jpg")
BMP = bmp_of(IMAGE, 24)
# The first element of a DICOM file without preamble, of explicit and of implicit type.
EXPLICIT = b"\x08\0\x05\0CS\x0a\0ISO_IR 100"
IMPLICIT = b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100"


def refused(encoded, max_pixels=MAX_PIXELS):
    with pytest.raises(PermanentError) as caught:
        check_content(encoded, max_pixels)
    assert re.fullmatch(r"[^\n]{10,120}", str(caught.value))
    return caught.value.reason, str(caught.value)


def reason(encoded, max_pixels=MAX_PIXELS):
    return refused(encoded, max_pixels)[0]


@pytest.mark.parametrize(
    ("encoded", "form"),
    [
        (encode(IMAGE), "png"),
        (JPEG, "jpeg"),
        (tiff_of(IMAGE), "tiff"),
        (tiff_of(IMAGE, order=">"), "tiff"),
        (BMP, "bmp"),
    ],
    ids=["png", "jpeg", "tiff", "tiff, big endian", "bmp"],
)
def test_the_format_is_told_by_content(encoded, form):
    """No name is given."""
    assert check_content(encoded, MAX_PIXELS) == form


@pytest.mark.parametrize(
    ("encoded", "sentence"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "the content is an HTML page, not an image"),
        (b"\xef\xbb\xbf\r\n <HTML>\n", "the content is an HTML page, not an image"),
        (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code>', "the content is an XML file, not an image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "the content is a Git LFS pointer, not an image"),
        (b"%PDF-1.7\n", "the content is a PDF document, not an image"),
        (b"PK\x03\x04" + bytes(30), "the content is a ZIP archive, not an image"),
        (b"\x1f\x8b\x08" + bytes(30), "the content is a gzip file, not an image"),
        (bytes(1000), "the content is not an image: not a PNG, JPEG, TIFF, BMP or DICOM"),
        (b"BMI of the patients\n" * 9, "the content is a text file, not an image"),
        (encode(IMAGE)[8:], "the content is not an image: not a PNG, JPEG, TIFF, BMP or DICOM"),
    ],
    ids=["html", "html after bom", "xml", "lfs pointer", "pdf", "zip", "gzip", "zeros", "text", "headless png"],
)
def test_other_content_is_named(encoded, sentence):
    """So a person knows at once what went wrong with the download."""
    assert refused(encoded) == ("not_image", sentence)


def test_an_empty_file_is_empty():
    """This has a reason of its own, because an interrupted copy leaves empty files."""
    assert refused(b"") == ("empty", "the file is empty")


@pytest.mark.parametrize(
    "encoded",
    [bytes(128) + b"DICM" + bytes(100), b"II*\0".ljust(128, b"\0") + b"DICM", EXPLICIT, IMPLICIT, b" " + EXPLICIT],
    ids=["preamble", "a tiff in the preamble", "explicit", "implicit", "stray byte"],
)
def test_dicom_is_told_also_without_its_preamble(encoded):
    """Also if its preamble begins like a TIFF."""
    reason, sentence = refused(encoded)
    assert reason == "dicom"
    assert "fit the model again" in sentence


def animated_png():
    file = io.BytesIO()
    Image.fromarray(IMAGE).save(file, "PNG", save_all=True, append_images=[Image.fromarray(255 - IMAGE)])
    return file.getvalue()


def patched(encoded, at, content):
    return encoded[:at] + content + encoded[at + len(content) :]


FRAME = JPEG.index(b"\xff\xc0")


@pytest.mark.parametrize(
    "encoded",
    [
        animated_png(),
        b"GIF89a" + bytes(100),
        b"RIFF\x10\0\0\0WEBPVP8 ",
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"\0\0\0\x1cftypavif",
        b"II+\0\x08\0\0\0",
        patched(JPEG, FRAME, b"\xff\xc3"),
        patched(JPEG, FRAME, b"\xff\xf7"),
        patched(JPEG, FRAME + 4, b"\x0c"),
        patched(BMP, 28, b"\x10\0"),
        patched(BMP, 30, b"\x04\0\0\0"),
        patched(patched(BMP, 30, b"\x03\0\0\0"), 54, struct.pack("<III", 1023 << 20, 1023 << 10, 1023)),
    ],
    ids=[
        *("animated png", "gif", "webp", "jpeg 2000", "avif", "bigtiff", "lossless jpeg", "jpeg-ls", "12-bit jpeg"),
        *("16-bit bmp", "bmp of a jpeg", "bmp of 10 bits a colour"),
    ],
)
def test_images_that_are_not_read_are_unsupported(encoded):
    """They are images, so converting them helps."""
    assert reason(encoded) == "unsupported"


@pytest.mark.parametrize(
    "encoded",
    [
        SIGNATURE,
        SIGNATURE + bytes(12),
        JPEG[:4],
        JPEG[:FRAME],
        b"\xff\xd8\xff\xda" + bytes(50),
        b"II*\0",
        b"MM\0*\0\0\xff\0",
    ],
)
def test_what_ends_within_its_header_is_truncated(encoded):
    """Its first bytes have told its format."""
    assert reason(encoded) == "truncated"


def test_every_cut_of_a_header_has_a_reason():
    """At any length, reading the header gives a format or a refusal."""
    for encoded in (encode(IMAGE), JPEG, BMP, tiff_of(IMAGE), tiff_of(np.dstack([IMAGE] * 3), order=">")):
        for end in range(min(len(encoded), 400)):
            try:
                check_content(encoded[:end], MAX_PIXELS)
            except PermanentError as error:
                assert error.reason in ("empty", "not_image", "truncated")


def claiming(form, width, height):
    """A few bytes whose header claims an image of this size."""
    if form == "png":
        return png(width, height, b"")
    if form == "jpeg":
        return patched(JPEG, FRAME + 5, struct.pack(">HH", height, width))
    if form == "bmp":
        return patched(BMP, 18, struct.pack("<ii", width, height))
    # The directory's first two entries are width and height.
    return patched(patched(tiff_of(IMAGE), 18, struct.pack("<I", width)), 30, struct.pack("<I", height))


@pytest.mark.parametrize("form", ["png", "jpeg", "tiff", "bmp"])
def test_ten_thousand_squared_is_the_default_limit(form):
    """One row more is refused, because a few bytes must not allocate a gigabyte."""
    assert check_content(claiming(form, 10_000, 10_000), MAX_PIXELS) == form
    refusal = ("too_large", "the image claims 10000 x 10001 pixels")
    assert refused(claiming(form, 10_000, 10_001)) == refusal


@pytest.mark.parametrize("form", ["png", "tiff", "bmp"])
@pytest.mark.parametrize("sides", [(2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (1, 1_000_001), (1_000_001, 40)])
def test_huge_sides_are_too_large(form, sides):
    """Also if their product is not, because decoders have limits of their own."""
    assert reason(claiming(form, *sides)) == "too_large"


def test_a_bmp_from_the_top_down_has_its_height():
    """It stores the height as a negative number; the smallest one has no positive counterpart."""
    assert reason(claiming("bmp", 20_000, -20_000)) == "too_large"
    assert reason(claiming("bmp", 1, -(2**31))) == "too_large"


def test_the_limit_is_a_setting(monkeypatch):
    """CXR_MAX_PIXELS."""
    monkeypatch.setenv("CXR_MAX_PIXELS", "2303")
    limit = WorkerSettings().max_pixels
    for encoded in (encode(IMAGE), JPEG, tiff_of(IMAGE), BMP, png_of(IMAGE >> 7, 1)):
        assert reason(encoded, limit) == "too_large"
        assert check_content(encoded, limit + 1)


def test_the_bmp_of_os2_has_its_size_in_16_bits():
    """Its header is the shortest."""
    header = struct.pack("<IHHHH", 12, 3, 2, 1, 24)
    encoded = b"BM" + struct.pack("<IHHI", 50, 0, 0, 26) + header + bytes(24)
    assert check_content(encoded, 6) == "bmp"
    assert refused(encoded, 5) == ("too_large", "the image claims 3 x 2 pixels")


@pytest.mark.parametrize("form", ["png", "jpeg", "tiff", "bmp"])
def test_an_image_without_pixels_is_damaged(form):
    """Its header contradicts itself."""
    assert reason(claiming(form, 0, 48)) == "truncated"


def test_the_dicom_files_seen_in_the_wild_are_dicom():
    """One of them is a web page under a DICOM name."""
    folder = DATA / "dicom"
    if not folder.exists():
        pytest.skip(f"the real files are not in {folder}")
    reasons = {path.name: reason(path.read_bytes()) for path in folder.iterdir()}
    assert reasons.pop("jupyter_html_named_test1.dcm") == "not_image"
    assert len(reasons) >= 9
    assert set(reasons.values()) == {"dicom"}


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"IEND", b"tEXt"])
def test_a_png_whose_chunk_claims_more_than_the_file_holds_is_truncated(kind):
    """It is refused before it is decoded: cv2 would allocate gigabytes for one damaged length."""
    encoded = png_of(IMAGE, extra=chunk(b"tEXt", b"a\0b"))
    claimed = patched(encoded, encoded.index(kind) - 4, struct.pack(">I", 2**31))
    assert reason(claimed) == "truncated"


@pytest.mark.parametrize("kind", [b"eXIf", b"tEXt", b"IEND"])
def test_a_png_with_a_damaged_chunk_beside_its_pixels_is_truncated(kind):
    """libpng would ignore the chunk, and a radiograph that lost its orientation would be scored on its side."""
    encoded = bytearray(png_of(IMAGE, extra=chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0") + chunk(b"tEXt", b"a\0b")))
    encoded[encoded.index(kind) + 4] ^= 1
    assert reason(bytes(encoded)) == "truncated"


def with_passes(count):
    """A progressive JPEG whose last pass, which refines one bit, is repeated."""
    file = io.BytesIO()
    Image.fromarray(radiograph(1, side=1000)).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * count + b"\xff\xd9"


def test_a_jpeg_with_too_many_passes_is_too_large():
    """Each pass goes over the whole image, so 20 kB of passes would occupy a worker for minutes."""
    ten_passes = with_passes(0)
    assert check_content(ten_passes, 1_000_000) == "jpeg"
    assert refused(with_passes(2000), 1_000_000)[0] == "too_large"
    assert reason(with_passes(1_000), 10_000_000) == "too_large"
    assert check_content(with_passes(100), 10_000_000) == "jpeg"


def bmp_with(at, value, bits=8):
    palette = None if bits == 24 else range(1 << bits)
    image = np.dstack([IMAGE] * 3) if bits == 24 else IMAGE >> (8 - bits)
    return patched(bmp_of(image, bits, palette=palette), at, struct.pack("<I", value))


@pytest.mark.parametrize("bits", [1, 4, 8, 24])
def test_a_bmp_whose_pixels_begin_within_its_header_is_damaged(bits):
    """Found by fuzzing: the header and the palette were decoded as pixels, and scored."""
    first = 54 + (0 if bits == 24 else 4 << bits)
    assert check_content(bmp_with(10, first, bits), MAX_PIXELS) == "bmp"
    for start in (0, 14, 53, first - 1, 2**32 - 1):
        assert reason(bmp_with(10, start, bits)) == "truncated"


def test_a_bmp_of_fewer_colours_has_a_shorter_palette():
    """Its header gives their number."""
    short = bmp_of(IMAGE >> 4, 8, palette=range(16))
    assert check_content(patched(short, 46, struct.pack("<I", 16)), MAX_PIXELS) == "bmp"
    # One with room for all of them has lost its count.
    assert reason(bmp_with(46, 32)) == "truncated"
