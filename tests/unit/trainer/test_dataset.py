import shutil

import numpy as np
import pytest

from db.errors import UserError
from db.labels_csv import read_labels_csv
from trainer.baseline import mean_pixel_auroc
from trainer.batches import augment
from trainer.dataset import label_matrix, learnable_findings, load_examples
from worker.images import find_images, read_image
from worker.manifest import Preprocessing
from worker.pixels import to_pixels

RULE = Preprocessing(height=32, width=32)


@pytest.fixture
def rows(phantoms):
    return read_labels_csv(phantoms).rows


@pytest.fixture
def found(phantoms):
    return find_images(phantoms, None).images


def test_training_sees_the_pixels_that_serving_sees(rows, found):
    """One preprocessing function for both."""
    examples = load_examples(rows, found, RULE)
    assert examples.pixels.shape == (len(rows), 32, 32, 1)
    served = to_pixels(read_image(found[rows[3].image_name].location).data, RULE)
    np.testing.assert_array_equal(examples.pixels[3], served)


def test_an_unreadable_scan_in_twenty_is_left_out_and_counted(rows, found):
    """One missing image does not end a fit."""
    few = {name: image for name, image in found.items() if name != rows[0].image_name}
    many = tuple(rows) + tuple(rows[1:]) if len(rows) < 20 else tuple(rows)
    examples = load_examples(many, few, RULE)
    assert examples.left_out == {"missing": 1}
    assert len(examples.rows) == len(examples.pixels) == len(many) - 1


def test_more_than_one_bad_scan_in_twenty_stops(rows, phantoms, tmp_path):
    """A data set that is broken is not silently a smaller one."""
    shutil.copytree(phantoms.parent, tmp_path / "copy")
    for row in rows[: len(rows) // 10 + 1]:
        (tmp_path / "copy" / "images" / row.image_name).write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(UserError, match=r"labelled scans cannot be read \(\d+ truncated\); up to 5% may"):
        load_examples(rows, find_images(tmp_path / "copy" / phantoms.name, None).images, RULE)


def test_a_label_is_one_where_the_csv_says_so(rows):
    """`Abnormal` is any finding, and only findings that occur are learned."""
    findings = learnable_findings(rows)
    matrix = label_matrix(rows, findings)
    assert findings[0] == "Abnormal"
    assert matrix.any(axis=0).all()
    np.testing.assert_array_equal(matrix[:, 0], [row.findings != ("No Finding",) for row in rows])
    np.testing.assert_array_equal(matrix[:, 0], matrix[:, 1:].max(axis=1))


def test_augmented_pixels_are_still_pixels():
    """uint8 of the same shape, and not mirrored: a bright left half stays left."""
    half = np.zeros((32, 32, 1), np.uint8)
    half[:, :16] = 200
    for seed in range(20):
        moved = augment(half, np.random.default_rng(seed))
        assert (moved.shape, moved.dtype) == (half.shape, np.uint8)
        assert moved[:, :12].mean() > moved[:, 20:].mean() + 100


def test_the_baseline_is_the_auroc_of_the_mean_pixel(rows, found):
    """Given for every scan that was read, in [0, 1]."""
    baseline = mean_pixel_auroc(rows, found, RULE)
    assert baseline.scans == len(rows)
    assert 0 <= baseline.auroc <= 1
