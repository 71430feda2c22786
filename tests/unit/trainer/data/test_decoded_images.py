import shutil

import numpy as np
import pytest

from db.errors import UserError
from db.labels.csv_file import read_labels_csv
from trainer.data.decoded_images import open_cache
from worker.images.pixels import to_pixels
from worker.images.preprocessing import Preprocessing
from worker.storage.image_store import find_images, read_image

RULE = Preprocessing(height=32, width=32)


@pytest.fixture
def images(phantoms, tmp_path):
    """Where each scan of a copy of the phantoms lies."""
    folder = tmp_path / "scans"
    shutil.copytree(phantoms.parent, folder)
    found = find_images(folder / phantoms.name, None).images
    return [found[row.image_name] for row in read_labels_csv(phantoms).rows]


def test_a_fit_sees_the_pixels_that_a_worker_sees(images, tmp_path):
    """One preprocessing function for both."""
    cache = open_cache(tmp_path / "cache", images, RULE)
    assert cache.pixels.shape == (len(images), 32, 32, 1)
    served = to_pixels(read_image(images[3].location).data, RULE)
    np.testing.assert_array_equal(cache.pixels[3], served)


def test_an_image_is_decoded_once(images, tmp_path):
    """A second fit needs the files no more."""
    first = np.array(open_cache(tmp_path / "cache", images, RULE).pixels)
    shutil.rmtree(tmp_path / "scans")
    second = open_cache(tmp_path / "cache", images, RULE)
    assert not second.bad
    np.testing.assert_array_equal(first, second.pixels)


def test_a_killed_fits_cache_goes_on_where_it_was(images, tmp_path):
    """What was not noted as decoded is decoded; what was is not read again."""
    whole = open_cache(tmp_path / "cache", images, RULE)
    expected = np.array(whole.pixels)
    with (whole.folder / "decoded").open("r+b") as decoded, (whole.folder / "pixels").open("r+b") as pixels:
        decoded.seek(5)
        decoded.write(b"\0" * (len(images) - 5))
        pixels.truncate(5 * 32 * 32)
    shutil.move(images[0].location, images[0].location + ".gone")
    again = open_cache(tmp_path / "cache", images, RULE)
    assert not again.bad
    np.testing.assert_array_equal(again.pixels, expected)


def test_a_bad_image_has_its_reason_and_is_tried_again(images, tmp_path):
    """What is mended between two fits is found."""
    good = images[2].location
    shutil.move(good, tmp_path / "kept")
    assert open_cache(tmp_path / "cache", [*images, None], RULE).bad == {2: "missing", len(images): "missing"}
    shutil.move(tmp_path / "kept", good)
    assert open_cache(tmp_path / "cache", [*images, None], RULE).bad == {len(images): "missing"}


def test_another_preprocessing_or_file_is_another_cache(images, tmp_path):
    """Nothing is ever served from pixels that were made otherwise."""
    other = Preprocessing(height=32, width=32, interpolation="linear")
    folders = {open_cache(tmp_path / "cache", some, rule).folder for some, rule in ((images, RULE), (images, other))}
    folders.add(open_cache(tmp_path / "cache", images[::-1], RULE).folder)
    assert len(folders) == 3


def test_a_cache_that_cannot_be_written_is_one_sentence(images, tmp_path):
    """With the folder and the cause."""
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match="the pixel cache cannot be written"):
        open_cache(tmp_path / "cache", images, RULE)
