"""Models of before there were pixel rules keep their pixels to the bit."""

import hashlib

import numpy as np
import pytest

from tests.support.encoded_images import bmp_of, png_of, tiff_of
from tests.support.world import radiograph
from worker.images.pixels import prepare
from worker.images.preprocessing import Preprocessing

FILM = radiograph(3, side=96)[:, :80].copy()
WIDE = FILM.astype(np.uint16)
COLORS = np.dstack([FILM, FILM[::-1], FILM[:, ::-1]])
TWELVE = (WIDE << 4) + WIDE % 16
HOT = TWELVE.copy()
HOT[5, 5] = 65_535
DARK = TWELVE // 5
EDGES = {
    top: np.where(np.arange(DARK.size).reshape(DARK.shape) == 0, top, DARK).astype(np.uint16) for top in (1023, 1024)
}
IMAGES = {
    "8 bits": png_of(FILM),
    "colour": png_of(COLORS, color=2),
    "10 bits": png_of(WIDE << 2, 16),
    "12 bits": png_of(TWELVE, 16),
    "12 bits and a hot pixel": png_of(HOT, 16),
    "greatest value 1023": png_of(EDGES[1023], 16),
    "greatest value 1024": png_of(EDGES[1024], 16),
    "15 bits": png_of(WIDE << 7, 16),
    "16 bits": png_of(WIDE * 257, 16),
    "colour of 16 bits": png_of(COLORS.astype(np.uint16) << 4, 16, color=2),
    "tiff of 12 bits": tiff_of(TWELVE),
    "tiff of 12 bits and a hot pixel": tiff_of(HOT),
    "tiff of 12 bits, white is zero": tiff_of(4095 - TWELVE, photometric=0),
    "tiff of 16 bits, white is zero": tiff_of(65_535 - WIDE * 257, photometric=0),
    "tiff of colour": tiff_of(COLORS),
    "bmp": bmp_of(COLORS, 24),
}
RULES = (
    Preprocessing(height=32, width=40),
    Preprocessing(height=48, width=32, color="bgr", interpolation="linear"),
    Preprocessing(height=24, width=20),
)
#: The first eight digits of the sha256 of the pixels under `RULES`, made by commit 5b92f46, before rule 2.
PIXELS = {
    "8 bits": "4e59c2d7 b64047f4 7b0b4bc1",
    "colour": "9e59400a 463a1977 a1733567",
    "10 bits": "4e59c2d7 b64047f4 7b0b4bc1",
    "12 bits": "4e59c2d7 b64047f4 7b0b4bc1",
    "12 bits and a hot pixel": "b72b11ed 941f735d 23346ab0",
    "greatest value 1023": "b88b10b9 898aedfd b656eeff",
    "greatest value 1024": "2622a34e 9bd0861a b394440c",
    "15 bits": "36432f88 e3b9dbce 62be36fa",
    "16 bits": "4e59c2d7 b64047f4 7b0b4bc1",
    "colour of 16 bits": "9e59400a 463a1977 a1733567",
    "tiff of 12 bits": "4e59c2d7 b64047f4 7b0b4bc1",
    "tiff of 12 bits and a hot pixel": "b72b11ed 941f735d 23346ab0",
    "tiff of 12 bits, white is zero": "4e59c2d7 b64047f4 7b0b4bc1",
    "tiff of 16 bits, white is zero": "4e59c2d7 b64047f4 7b0b4bc1",
    "tiff of colour": "9e59400a 463a1977 a1733567",
    "bmp": "f9e1acc2 3d634dbc 4f3494be",
}


@pytest.mark.parametrize("name", IMAGES)
def test_pixels_under_rule_1_are_those_of_before_rule_2(name):
    """An old model's scores would otherwise change without a change of its identity."""
    assert digests(name) == PIXELS[name]


def digests(name):
    made = [prepare(IMAGES[name], rule) for rule in RULES]
    # Whether an image has colour was noted before.
    assert {notes for one in made for notes in one.notes} <= {"colour"}
    return " ".join(hashlib.sha256(one.pixels.tobytes()).hexdigest()[:8] for one in made)
