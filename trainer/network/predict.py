"""Predictions of a Keras model for cached pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.network.batches import ScoringBatches
from worker.images.pixels import Pixels


def predict(model: Any, pixels: Pixels, indices: NDArray[np.int64]) -> NDArray[np.float32]:
    """A model's outputs, float32 (N, findings), for `pixels[indices]`, in that order."""
    outputs: NDArray[np.float32] = model.predict(ScoringBatches(pixels, indices), verbose=0)
    return outputs[: len(indices)]
