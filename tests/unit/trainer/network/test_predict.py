"""Predictions are those of the requested scans, at whatever number."""

import numpy as np
import pytest

from trainer.network.predict import predict
from worker.artifacts.keras_import import keras


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts TensorFlow's compilations")
def test_a_model_is_compiled_once_for_any_number_of_scans():
    """A shorter last batch would be another shape, and TensorFlow warns of models that it compiles often."""
    model = keras.Sequential([keras.layers.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    pixels = np.random.default_rng(0).integers(0, 256, (50, 2, 2, 1), np.uint8)
    for count in (50, 7):
        scores = predict(model, pixels, np.arange(count))
        np.testing.assert_allclose(scores, model(pixels[:count]), rtol=1e-5)
    assert model.predict_function.experimental_get_tracing_count() == 1
