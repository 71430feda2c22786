"""The fast area resize gives the pixels of cv2, or leaves the image to cv2."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.encoded_images import png_of
from tests.support.world import radiograph
from worker.images import pixels
from worker.images.fast.area_resize import resize_area
from worker.images.fast.lazy_import import LazyImport
from worker.images.preprocessing import Preprocessing

LENGTHS = st.tuples(st.sampled_from([2**n for n in range(9)]), st.integers(1, 256), st.integers(1, 6))


def by_cv2(image, height, width):
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width)


@settings(max_examples=300)
@given(rows=LENGTHS, columns=LENGTHS, grays=st.sampled_from([(0, 256), (0, 2), (254, 256)]), seed=st.integers(0, 2**32))
def test_every_supported_size_gives_the_pixels_of_cv2(rows, columns, grays, seed):
    """Any power of two as p, few rows or many, as dark and as light as possible, and a part of a wider image."""
    (height, made_high), (width, made_wide) = ((p * times, min(q, p) * times) for p, q, times in (rows, columns))
    image = np.random.default_rng(seed).integers(*grays, (height, width + 3), np.uint8)[:, :width]
    small = resize_area(image, made_high, made_wide)
    if small is not None:
        assert np.array_equal(small, by_cv2(image, made_high, made_wide))


@pytest.mark.parametrize("side", [224, 320, 384, 448])
def test_radiographs_of_1024_are_taken_and_halves_round_as_those_of_cv2(side):
    """Every pixel of the second image is a half, or nearly so."""
    for image in (radiograph(1, side=1024), np.indices((1024, 1024)).sum(0).astype(np.uint8) % 2):
        small = resize_area(image, side, side)
        assert small is not None
        assert np.array_equal(small, by_cv2(image, side, side))


@pytest.mark.parametrize(
    ("shape", "made"),
    [
        ((1000, 1000), (224, 224)),
        ((1024, 1000), (224, 224)),
        ((1024, 1024), (299, 299)),
        ((1024, 1024), (512, 256)),
        ((64, 64), (64, 64)),
        ((64, 64), (128, 96)),
        ((64, 64), (60, 96)),
    ],
)
def test_sizes_that_would_not_be_exact_are_left_to_cv2(shape, made):
    """Weights that are not binary fractions, sums of more than 24 bits, whole pixels to each, and larger results."""
    assert resize_area(np.zeros(shape, np.uint8), *made) is None


def test_pixels_are_the_same_before_and_after_it_is_loaded(monkeypatch):
    """So the pixels of a scan do not depend on how many its process has decoded before."""
    encoded = png_of(radiograph(3, side=512))
    monkeypatch.setattr(pixels, "_fast_code", LazyImport("worker.no_such_module", threshold=2**60))
    before = pixels.to_pixels(encoded, Preprocessing())
    ready = LazyImport("worker.images.fast.area_resize", threshold=1)
    ready.load()
    monkeypatch.setattr(pixels, "_fast_code", ready)
    taken = []
    monkeypatch.setattr(
        "worker.images.fast.area_resize.resize_area", lambda *given: taken.append(resize_area(*given)) or taken[-1]
    )
    after = pixels.to_pixels(encoded, Preprocessing())
    assert [small.shape for small in taken] == [(224, 224)]
    assert np.array_equal(before, after)
