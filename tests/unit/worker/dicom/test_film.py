"""From the bytes of a DICOM file to a model's pixels, which are those of the same image in a PNG."""

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSNearLossless, RLELossless

from db.errors import PermanentError
from tests.support.encoded_images import encode
from trainer.phantoms.dicom_file import dicom_file
from worker.dicom.film import decode_film
from worker.images.pixels import prepare
from worker.images.preprocessing import Preprocessing

GRAY = Preprocessing(rule=2)
RULES = (
    GRAY,
    GRAY.model_copy(update={"interpolation": "linear"}),
    GRAY.model_copy(update={"color": "bgr"}),
    GRAY.model_copy(update={"crop": "center"}),
    GRAY.model_copy(update={"height": 97, "width": 131}),
)
#: Odd, prime, halved exactly, of a ratio that is a power of two, smaller than the pixels, of one row.
SIZES = ((501, 333), (1009, 757), (448, 448), (1024, 1024), (100, 90), (1, 300))


def image_of(size, kind="uint8"):
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max, size, endpoint=True, dtype=kind)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.interpolation} {rule.color} {rule.crop} {rule.width}")
@pytest.mark.parametrize("size", SIZES)
def test_a_png_wrapped_as_dicom_has_the_pixels_of_the_png(size, rule):
    image = image_of(size)

    pixels = prepare(dicom_file(image), rule).pixels

    assert np.array_equal(pixels, prepare(encode(image), rule).pixels)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless], ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("size", SIZES)
def test_a_png_of_16_bits_wrapped_as_dicom_has_the_pixels_of_the_png(size, syntax):
    """The results of an uncompressed film have memory of their own, those of a decoder take the place of its values."""
    image = image_of(size, "uint16")

    pixels = prepare(dicom_file(image, syntax=syntax), GRAY).pixels

    assert np.array_equal(pixels, prepare(encode(image), GRAY).pixels)


def test_a_film_whose_values_are_all_equal_is_rejected():
    with pytest.raises(PermanentError) as caught:
        prepare(dicom_file(np.full((64, 64), 700, np.uint16), WindowCenter=700, WindowWidth=100), GRAY)

    assert caught.value.reason == "constant"


def test_a_film_is_decoded_with_the_notes_of_its_header_and_its_rendering():
    image = image_of((64, 64), "uint16") >> 4
    content = dicom_file(image | 0x8000, BitsStored=12, WindowCenter=100, WindowWidth=0, ViewPosition=None)

    film = decode_film(content, rendering="display", max_pixels=10_000, refused=frozenset())

    assert np.array_equal(film.image, image >> 4)
    assert film.notes == ("view_unknown", "window", "high_bits", "window_ignored")


def test_white_stays_white_where_a_lossy_encoding_exceeds_the_stored_bits():
    """An error of 1 or 2 gray levels makes 1,024 and 1,025 of 1,023; their lower 10 bits are black."""
    values = np.clip(1010 + image_of((64, 64), "uint16") % 32, 0, 1023).astype(np.uint16)
    content = dicom_file(values, syntax=JPEGLSNearLossless, BitsStored=10)

    film = decode_film(content, rendering="display", max_pixels=10_000, refused=frozenset())

    assert film.image.min() >= 1008 >> 2
    assert film.notes == ("value_range",)
