import numpy as np
import pytest

from trainer.network.batches import ScoringBatches, TrainingBatches, augment
from trainer.recipe import make_recipe

INDICES = np.arange(3, 23)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (25, 32, 32, 1), np.uint8)


def batches(pixels, **chosen):
    labels = np.arange(20, dtype=np.float32).reshape(20, 1)
    return TrainingBatches(pixels, INDICES, labels, make_recipe("best", batch_size=8, **chosen))


def test_augmented_pixels_are_still_pixels():
    """They are uint8 of the same shape and not mirrored: a bright left half stays left."""
    half = np.zeros((32, 32, 1), np.uint8)
    half[:, :16] = 200
    for seed in range(20):
        moved = augment(half, make_recipe("best"), np.random.default_rng(seed))
        assert (moved.shape, moved.dtype) == (half.shape, np.uint8)
        assert moved[:, :12].mean() > moved[:, 20:].mean() + 80


def test_scans_are_mirrored_when_requested():
    """All of them at a share of 1."""
    half = np.zeros((32, 32, 3), np.uint8)
    half[:, :16] = 200
    mirrored = augment(half, make_recipe("report", mirror=1.0), np.random.default_rng(0))
    np.testing.assert_array_equal(mirrored, half[:, ::-1])


def test_the_reports_scans_are_left_as_they_are(pixels):
    """The mini project augmented none."""
    np.testing.assert_array_equal(augment(pixels[0], make_recipe("report"), np.random.default_rng(0)), pixels[0])


def test_batches_do_not_depend_on_the_order_in_which_they_are_made(pixels):
    """Threads make them, so random numbers depend on the scan and not on the order of calls."""
    forth, back = batches(pixels), batches(pixels)
    first = [forth[index] for index in range(len(forth))]
    second = [back[index] for index in reversed(range(len(back)))][::-1]
    for (one, labels), (other, same_labels) in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(labels, same_labels)


def test_each_epoch_has_its_own_order_and_augmentation(pixels):
    """They are the same again when a fit resumes in that epoch."""
    some = batches(pixels)
    first = some[0]
    some.start_epoch(1)
    second = some[0]
    some.start_epoch(0)
    assert not np.array_equal(first[1], second[1])
    np.testing.assert_array_equal(first[0], some[0][0])


def test_labels_stay_with_their_scans(pixels):
    """Without augmentation, a batch has the scans that its labels name."""
    plain = batches(pixels, rotation=0, shift=0, zoom=0, contrast=0, brightness=0)
    for index in range(len(plain)):
        scans, labels = plain[index]
        np.testing.assert_array_equal(scans, pixels[INDICES[labels[:, 0].astype(int)]])


def test_scoring_batches_hold_every_scan_in_order(pixels):
    """The last batch begins again with the first ones."""
    scoring = ScoringBatches(pixels, INDICES, batch_size=8)
    scans = [scoring[index][0] for index in range(len(scoring))]
    assert [len(one) for one in scans] == [8, 8, 8]
    np.testing.assert_array_equal(np.concatenate(scans)[: len(INDICES)], pixels[INDICES])
