"""What a label weighs in a fit; an unknown one weighs nothing."""

import numpy as np
import pytest

from trainer.network.compiled_model import FirstFindingAccuracy, compile_model, positive_weights
from trainer.network.model import LOGITS
from trainer.recipe import make_recipe
from worker.artifacts.keras_import import keras

RECIPE = make_recipe("best", balance=0.5)
NAN = np.nan
#: Two findings, each with an unknown label.
LABELS = np.array([[1, 0], [0, NAN], [NAN, 1], [0, 0]], np.float32)
KNOWN = ~np.isnan(LABELS)
LOGITS_GIVEN = np.random.default_rng(0).normal(size=LABELS.shape).astype(np.float32)


@pytest.fixture(scope="module")
def compiled():
    pixels = keras.Input((2, 2, 1), dtype="uint8")
    logits = keras.layers.Dense(2, name=LOGITS)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels)))
    model = keras.Model(pixels, keras.layers.Activation("sigmoid")(logits))
    return compile_model(model, LABELS, RECIPE, steps=1)


def loss_of(compiled, labels, logits):
    given = (keras.ops.convert_to_tensor(array) for array in (labels, logits))
    labels, logits = given
    return float(compiled.compute_loss(y=labels, y_pred=logits))


def test_the_loss_is_the_sum_over_known_labels(compiled):
    """Divided by the number of all, so that a known label weighs the same in each scan."""
    weights, y = positive_weights(LABELS, RECIPE), np.nan_to_num(LABELS)
    cells = (1 + (weights - 1) * y) * (np.logaddexp(0, LOGITS_GIVEN) - y * LOGITS_GIVEN)
    assert loss_of(compiled, LABELS, LOGITS_GIVEN) == pytest.approx(cells[KNOWN].sum() / LABELS.size, rel=1e-6)
    whole = cells.mean()
    assert loss_of(compiled, y, LOGITS_GIVEN) == pytest.approx(whole, rel=1e-6)


def test_whatever_a_scan_scores_for_an_unknown_label_its_loss_is_the_same(compiled):
    """So nothing is learned from it."""
    others = np.where(KNOWN, LOGITS_GIVEN, 40).astype(np.float32)
    assert loss_of(compiled, LABELS, others) == loss_of(compiled, LABELS, LOGITS_GIVEN)


def test_prevalence_and_weights_are_of_known_labels(compiled):
    """One positive of three known labels of each finding, with half a positive and half a negative added."""
    prevalence = 1.5 / 4
    weights = positive_weights(LABELS, RECIPE)
    np.testing.assert_allclose(weights, ((1 - prevalence) / prevalence) ** 0.5, rtol=1e-6)
    bias = keras.ops.convert_to_numpy(compiled.get_layer(LOGITS).bias)
    np.testing.assert_allclose(bias, np.log(prevalence / (1 - prevalence)) + np.log(weights), rtol=1e-6)


def test_the_accuracy_of_an_epoch_is_of_known_labels():
    """Of four scans two are right, one is wrong, and one is unknown."""
    metric = FirstFindingAccuracy()
    logits = np.array([[2, 0], [3, 0], [4, 0], [-1, 0]], np.float32)
    metric.update_state(keras.ops.convert_to_tensor(LABELS), keras.ops.convert_to_tensor(logits))
    assert float(metric.result()) == pytest.approx(2 / 3)
