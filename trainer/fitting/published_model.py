"""Builds the model that a fit publishes: its weights in float32, calibrated on the validation subset.

Keras is imported within the functions, so that importing this module is fast.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from trainer.data.training_data import TrainingData
from trainer.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """A model as it is published. Without a validation subset it is not calibrated."""

    #: A `keras.Model`.
    model: Any
    #: By finding.
    temperatures: dict[str, float]
    #: By finding, then by the threshold's name.
    thresholds: dict[str, dict[str, float]]


def build_published_model(recipe: Recipe, data: TrainingData, weights: Sequence[NDArray[Any]]) -> PublishedModel:
    """Build the model with a fit's weights and calibrate it on the validation subset, if there is one."""
    from trainer.network.model import build_model

    model = build_model(recipe, data.findings, load_weights=False)
    model.set_weights(weights)
    if not data.subsets["validation"].rows:
        return PublishedModel(model=model, temperatures={}, thresholds={})
    return _calibrated(model, recipe, data)


def _calibrated(model: Any, recipe: Recipe, data: TrainingData) -> PublishedModel:
    from trainer.fitting.calibrate import calibrate, choose_thresholds, fold_calibrations
    from trainer.network.compiled_model import positive_weights
    from trainer.network.model import logits_model
    from trainer.network.predict import predict

    validation = data.subsets["validation"]
    logits = predict(logits_model(model), validation.pixels, validation.indices)
    calibrations = calibrate(validation.labels, logits, positive_weights(data.subsets["train"].labels, recipe))
    fold_calibrations(model, calibrations)
    scores = predict(model, validation.pixels, validation.indices)
    return PublishedModel(
        model=model,
        temperatures={
            finding: calibration.temperature for finding, calibration in zip(data.findings, calibrations, strict=True)
        },
        thresholds={
            finding: choose_thresholds(validation.labels[:, index], scores[:, index])
            for index, finding in enumerate(data.findings)
        },
    )
