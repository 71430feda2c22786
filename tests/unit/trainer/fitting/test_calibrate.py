import numpy as np
import pytest

from trainer.fitting.calibrate import Calibration, calibrate, choose_thresholds, fold_calibrations
from trainer.network.model import LOGITS, build_model, logits_model
from trainer.recipe import make_recipe
from worker.artifacts.keras_import import keras

RNG = np.random.default_rng(0)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_a_temperature_corrects_overconfident_scores():
    """If labels are drawn from sigmoid(z) and logits are 3 z, the temperature is 3."""
    z = RNG.normal(0, 1.5, (20_000, 1)).astype(np.float32)
    labels = (RNG.random(z.shape) < sigmoid(z)).astype(np.float32)
    (found,) = calibrate(labels, 3 * z, np.ones(1, np.float32))
    assert found.temperature == pytest.approx(3, rel=0.05)
    assert found.shift == 0


def test_the_weight_of_positives_is_corrected():
    """A fit that weights positives by w gives logits that are log w too high."""
    z = RNG.normal(-1, 1.5, (20_000, 1)).astype(np.float32)
    labels = (RNG.random(z.shape) < sigmoid(z)).astype(np.float32)
    (found,) = calibrate(labels, z + np.log(np.float32(5)), np.array([5], np.float32))
    assert found.temperature == pytest.approx(1, rel=0.05)
    assert found.shift == pytest.approx(np.log(5), rel=1e-6)


def test_a_finding_with_one_class_is_not_calibrated():
    """It keeps its logits, and has no thresholds."""
    none = np.zeros((10, 1), np.float32)
    (found,) = calibrate(none, RNG.normal(size=(10, 1)).astype(np.float32), np.ones(1, np.float32))
    assert found.temperature == 1
    assert choose_thresholds(none[:, 0], none[:, 0]) == {}


def test_an_unknown_label_calibrates_nothing():
    """Temperature and thresholds are those of the scans whose label is known."""
    z = RNG.normal(0, 1.5, (400, 1)).astype(np.float32)
    labels = (RNG.random(z.shape) < sigmoid(z)).astype(np.float32)
    some = np.where(np.arange(400)[:, np.newaxis] % 4 == 0, np.float32(np.nan), labels)
    kept, weight = ~np.isnan(some[:, 0]), np.ones(1, np.float32)
    assert calibrate(some, 3 * z, weight) == calibrate(labels[kept], 3 * z[kept], weight)
    assert choose_thresholds(some[:, 0], z[:, 0]) == choose_thresholds(labels[kept, 0], z[kept, 0])


def test_the_published_model_gives_calibrated_scores():
    """The model itself computes sigmoid((z - shift) / temperature)."""
    model = build_model(make_recipe("best", encoder="densenet37", size=32), ("Abnormal", "Mass"))
    pixels = RNG.integers(0, 256, (3, 32, 32, 1), np.uint8)
    z = logits_model(model).predict(pixels, verbose=0)
    fold_calibrations(model, [Calibration(shift=0.5, temperature=2.0), Calibration(shift=0.0, temperature=0.5)])
    expected = sigmoid((z - [0.5, 0.0]) / [2.0, 0.5])
    np.testing.assert_allclose(model.predict(pixels, verbose=0), expected, rtol=1e-5)
    assert isinstance(model.get_layer(LOGITS), keras.layers.Dense)


def test_thresholds_are_what_their_names_say():
    """Every score is tried as a threshold."""
    scores = RNG.random(400).astype(np.float32)
    labels = (RNG.random(400) < scores).astype(np.float32)

    def rates(threshold):
        predicted, truth = scores.astype(np.float64) >= threshold, labels > 0
        tp, fp = (predicted & truth).sum(), (predicted & ~truth).sum()
        return 2 * tp / (predicted.sum() + truth.sum()), tp / truth.sum() - fp / (~truth).sum(), tp / truth.sum()

    every = np.unique(scores).astype(np.float64)
    chosen = choose_thresholds(labels, scores)
    assert rates(chosen["best_f1"])[0] == max(rates(threshold)[0] for threshold in every)
    assert rates(chosen["youden"])[1] == pytest.approx(max(rates(threshold)[1] for threshold in every))
    assert chosen["sensitivity_90"] == max(threshold for threshold in every if rates(threshold)[2] >= 0.9)
