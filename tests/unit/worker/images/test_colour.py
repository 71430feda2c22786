"""An image with colour in it is noted, and a radiograph is not, in whatever way it is stored."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.encoded_images import encode, png_of, tiff_of
from tests.support.screenshot import screenshot
from tests.support.world import radiograph
from worker.images import colour
from worker.images.colour import has_colour
from worker.images.pixels import decode, prepare
from worker.images.preprocessing import Preprocessing

DATA = Path(__file__).resolve().parents[4].parent / "shared" / "data"
FILM = radiograph(1, side=512)
GRAY = cv2.merge([FILM] * 3)


def tinted(a, b):
    """The film with a cast, in CIELAB: negative `b` is blue, as most film bases are, and positive `b` brown."""
    cast = cv2.cvtColor(GRAY, cv2.COLOR_BGR2LAB).astype(int) + np.array((0, a, b))
    return cv2.cvtColor(np.clip(cast, 0, 255).astype(np.uint8), cv2.COLOR_LAB2BGR)


def noisy(deviation):
    """The film with noise in each channel, as of a colour scanner."""
    return np.clip(GRAY + np.random.default_rng(0).normal(0, deviation, GRAY.shape), 0, 255).astype(np.uint8)


def colored(share, chroma):
    """The film with this share of its pixels of one colour, in whole columns."""
    image = np.full((200, 1000, 3), 100, np.uint8)
    image[:, : round(share * 1000)] = (100, 100, 100 + chroma)
    return image


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg"])
def test_a_screenshot_has_colour(suffix):
    """Also as a JPEG, which blurs colour; the note says so for gray and for colour models."""
    encoded = encode(screenshot(), suffix)
    for color in ("gray", "bgr"):
        assert prepare(encoded, Preprocessing(height=32, width=32, color=color)).notes == ("colour",)


def test_a_film_with_a_box_or_a_line_of_text_in_colour_has_colour():
    """The person who drew on it knew what is there, so its score is not that of a film."""
    boxed, named = GRAY.copy(), GRAY.copy()
    cv2.rectangle(boxed, (150, 150), (300, 350), (0, 0, 255), 2)
    cv2.putText(named, "12-03-2019 PA UPRIGHT", (5, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 255, 255), 1)
    assert has_colour(boxed)
    assert has_colour(named)


@pytest.mark.parametrize(
    "encoded",
    [
        encode(GRAY),
        *(cv2.imencode(".jpg", GRAY, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes() for quality in (10, 50, 95)),
        encode(np.dstack([GRAY, FILM])),
        tiff_of(GRAY),
        png_of(GRAY.astype(np.uint16) * 257, 16, color=2),
    ],
    ids=["RGB", "JPEG 10", "JPEG 50", "JPEG 95", "RGBA", "TIFF", "16 bits"],
)
def test_a_gray_image_in_three_channels_has_no_colour(encoded):
    """Many archives store radiographs so."""
    assert decode(encoded).ndim == 3
    assert prepare(encoded, Preprocessing(height=32, width=32)).notes == ()


@pytest.mark.parametrize("film", [tinted(-3, -10), tinted(2, 12), noisy(8)], ids=["blue", "brown", "noise"])
def test_a_film_that_was_scanned_in_colour_has_no_colour(film):
    """A cast of the film's base and the scanner's noise are not colour; JPEG adds none."""
    assert not has_colour(film)
    assert not has_colour(decode(encode(film, ".jpg")))


def test_more_than_the_stated_share_must_exceed_the_stated_chroma():
    """0.2% of the pixels, and 48 of 255."""
    assert has_colour(colored(0.003, 49))
    assert not has_colour(colored(0.002, 155))
    assert not has_colour(colored(1.0, 48))


def test_a_small_marker_in_colour_is_no_colour():
    """A coloured L beside the film, as some viewers put it there."""
    marked = GRAY.copy()
    cv2.putText(marked, "L", (450, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (0, 255, 255), 3)
    assert not has_colour(marked)


def test_a_gray_image_is_not_looked_at(monkeypatch):
    """Nearly every radiograph has one channel, and decoding is what bounds a GPU."""
    monkeypatch.delattr(colour, "cv2")
    assert not has_colour(FILM)


@pytest.mark.skipif(not DATA.exists(), reason="the real data is not beside this checkout")
def test_no_real_radiograph_that_is_stored_in_colour_has_colour():
    """Those of NIH and of other sets that have several channels."""
    paths = [path for folder in ("nih1024/images", "odd") for path in (DATA / folder).iterdir()]
    # Byte 25 of a PNG is its colour type; 2 and 6 are colour.
    read = [data for path in paths if (data := path.read_bytes())[:2] == b"\xff\xd8" or data[25:26] in (b"\2", b"\6")]
    images = [image for image in map(decode, read) if image.ndim == 3]
    assert len(images) >= 5
    assert not any(map(has_colour, images))
