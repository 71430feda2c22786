"""A few bright pixels do not decide how many bits an image of 16 bits uses, and doubt is noted."""

import cv2
import numpy as np
import pytest

from tests.support.encoded_images import png_of, tiff_of
from tests.support.world import radiograph
from worker.images.bit_depth import DEPTH_UNSURE
from worker.images.pixels import decode, prepare
from worker.images.preprocessing import RULE_1, Preprocessing

RULE_2 = Preprocessing(rule=2)
FILM = radiograph(4, side=256)


def film_of(bits):
    """The film as a detector of so many bits measures it, with noise in the bits below the eighth."""
    noise = np.random.default_rng(bits).integers(0, max(1, 1 << bits - 8), FILM.shape)
    return ((FILM.astype(np.uint32) << bits - 8) + noise).astype(np.uint16)


def with_spot(film, side, value):
    spotted = film.copy()
    spotted[5 : 5 + side, 5 : 5 + side] = value
    return spotted


def with_border(film, width, value):
    return cv2.copyMakeBorder(film[width:-width, width:-width], *[width] * 4, cv2.BORDER_CONSTANT, value=value)


def read(film, rule=RULE_2, **tags):
    """Pixels by a TIFF and by a PNG, which are the same, and whether the depth is noted as unsure."""
    encoded = tiff_of(film, **tags) if tags else png_of(film, 16)
    if not tags:
        assert (decode(tiff_of(film), rule=rule) == decode(encoded, rule=rule)).all()
    return decode(encoded, rule=rule), DEPTH_UNSURE in prepare(encoded, rule).notes


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
def test_a_film_of_any_detector_is_the_film_of_eight_bits(bits):
    """Also if it is stored with white as 0, in the same bits."""
    for encoded in ({}, {"photometric": 0}):
        film = film_of(bits) if not encoded else ((1 << bits) - 1 - film_of(bits).astype(np.int32)).astype(np.uint16)
        pixels, is_unsure = read(film, **encoded)
        assert (pixels == FILM).all()
        assert not is_unsure


def test_sixteen_bits_of_a_film_of_eight_are_told_from_fifteen():
    """v * 257 and v << 8 alike, as most programs spread 8 bits over 16."""
    for film in (FILM.astype(np.uint16) * 257, FILM.astype(np.uint16) << 8):
        assert (read(film)[0] == FILM).all()


@pytest.mark.parametrize(
    ("film", "is_unsure"),
    [
        (with_spot(film_of(12), 1, 65_535), False),
        (with_spot(film_of(12), 10, 65_535), False),
        (with_border(film_of(12), 16, 65_535), True),
        (with_spot(film_of(12), 1, 4096), True),
        (with_spot(film_of(12), 10, 30_000), True),
        (with_spot(film_of(10), 25, 4095), True),
    ],
    ids=["hot pixel", "marker", "border, a quarter of the film", "just above", "defects", "marker of almost 1%"],
)
def test_what_a_few_pixels_say_changes_no_other_pixel(film, is_unsure):
    """One hot pixel turned 254 gray levels into 17; a border or a marker does no harm either, and is white."""
    pixels, noted = read(film)
    inside = pixels[30:-16, 30:-16]
    assert (inside == FILM[30:-16, 30:-16]).all()
    assert pixels[5, 5] == 255
    assert noted == is_unsure


def test_rule_1_lets_one_pixel_decide():
    """So these are the figures that rule 2 mends: 16 times darker, in 17 gray levels or fewer."""
    pixels, noted = read(with_spot(film_of(12), 1, 65_535), RULE_1)
    assert len(np.unique(pixels)) <= 17
    assert np.median(pixels) == np.median(FILM) // 16
    assert not noted


def test_black_borders_of_a_film_whose_white_is_0_stay_black():
    """The greatest number is black there."""
    film = with_border((4095 - film_of(12).astype(np.int32)).astype(np.uint16), 16, 65_535)
    pixels, _ = read(film, photometric=0)
    assert (pixels[30:-30, 30:-30] == FILM[30:-30, 30:-30]).all()
    assert not pixels[:16].any()


@pytest.mark.parametrize(("top", "is_unsure"), [(1023, False), (1024, True)])
def test_no_value_makes_a_cliff_but_the_doubt_is_noted(top, is_unsure):
    """An underexposed film of 12 bits with one pixel of 1023 or 1024: under rule 1 four times as bright or not."""
    film = film_of(12) // 5
    film[0, 0] = top
    pixels, noted = read(film)
    assert (pixels[1:] == (film[1:] >> 2)).all()
    assert noted == is_unsure
    assert np.median(read(film, RULE_1)[0]) == np.median(film) // (4 if top == 1023 else 16)


@pytest.mark.parametrize(("share", "bits", "is_unsure"), [(0.5, 10, True), (2, 12, True), (6, 12, False)])
def test_a_share_of_bright_pixels_near_the_limit_is_noted(share, bits, is_unsure):
    """On either side of it; six percent of the pixels decide without doubt."""
    film = film_of(10)
    count = round(share / 100 * film.size)
    film.ravel()[-count:] = 3000
    pixels, noted = read(film)
    assert pixels[0, 0] == film[0, 0] >> (bits - 8)
    assert noted == is_unsure


def test_a_film_that_hardly_leaves_the_depth_below_is_noted():
    """Of 14 bits it would use a quarter, of 12 a little more than all."""
    film = np.minimum(film_of(12).astype(np.uint32) * 3 // 2, 4600).astype(np.uint16)
    assert (film >= 4096).mean() > 0.05
    pixels, noted = read(film)
    assert (pixels == film >> 6).all()
    assert noted


def test_a_manifest_that_states_the_bits_asks_no_rule():
    """Brighter values are white, nothing is noted, and 8 bits are left alone."""
    rule = Preprocessing(rule=2, bits=12)
    for film in (film_of(12) // 5, with_spot(film_of(12), 100, 50_000)):
        pixels, noted = read(film, rule)
        assert (pixels == np.minimum(film >> 4, 255)).all()
        assert not noted
    assert (decode(png_of(FILM), rule=rule) == FILM).all()
