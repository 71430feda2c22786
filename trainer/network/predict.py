"""Scores of a Keras model over cached pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.network.batches import ScoringBatches
from worker.images.pixels import Pixels


def predict(model: Any, pixels: Pixels, places: NDArray[np.int64]) -> NDArray[np.float32]:
    """What a model puts out for scans, in their order: float32 (N, findings)."""
    outputs: NDArray[np.float32] = model.predict(ScoringBatches(pixels, places), verbose=0)
    return outputs
