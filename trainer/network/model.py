"""Builds the model: pixels in, one sigmoid score per finding out. It uses only Keras' own API, for any backend."""

from collections.abc import Sequence
from typing import Any, Final

from trainer.network.encoders import (
    GRAY_TO_THREE_CHANNELS,
    build_encoder,
    channels_for,
    mix_channels,
    scale_for_imagenet,
)
from trainer.recipe import Recipe
from worker.artifacts.keras_import import keras
from worker.artifacts.keras_model import RANGE_LAYER

layers = keras.layers
#: Name of the layer that computes the logits, which calibration changes.
LOGITS: Final = "logits"


def build_model(recipe: Recipe, findings: Sequence[str], *, load_weights: bool = True) -> Any:
    """Build a model with the initial weights of a fit. This also seeds every random generator of the process.

    Args:
        recipe: encoder, preprocessing, scaling and initial weights.
        findings: the outputs.
        load_weights: False skips the recipe's weights file, for a caller that sets other weights.

    Returns:
        A `keras.Model` from uint8 (B, H, W, C), 0..255, to float32 (B, findings) in [0, 1].

    Raises:
        UserError: the encoder is unknown, or its weights cannot be loaded.
    """
    keras.utils.set_random_seed(recipe.seed)
    shape = recipe.preprocessing.shape
    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    # ImageNet weights need three channels; without them, gray pixels need only one.
    image = _scale(pixels, recipe, channels=channels_for(recipe.encoder, recipe.weights, shape[2]))
    weights = recipe.weights if load_weights else "none"
    features = build_encoder(recipe.encoder, image.shape[1:], weights, averaging=recipe.averaging)(image)
    if recipe.hidden:
        features = layers.Flatten()(features)
        features = layers.Dense(recipe.hidden, activation="relu", name="hidden")(features)
    if recipe.dropout:
        features = layers.Dropout(recipe.dropout)(features)
    logits = layers.Dense(len(findings), dtype="float32", name=LOGITS)(features)
    scores = layers.Activation("sigmoid", dtype="float32", name="scores")(logits)
    return keras.Model(pixels, scores, name="nightread")


def logits_model(model: Any) -> Any:
    """The model up to its logits, float32 (B, findings); it shares the weights."""
    return keras.Model(model.input, model.get_layer(LOGITS).output)


def _scale(pixels: Any, recipe: Recipe, *, channels: int) -> Any:
    image = layers.Rescaling(1.0, dtype="float32")(pixels)
    if recipe.scaling == "imagenet":
        return scale_for_imagenet(image, recipe.encoder)
    if image.shape[-1] < channels:
        image = mix_channels(image, GRAY_TO_THREE_CHANNELS)
    if recipe.scaling == "unit":
        return layers.Rescaling(1 / 255, dtype="float32")(image)
    if recipe.range:
        black, white = recipe.range
        return layers.Rescaling((white - black) / 255, offset=black, dtype="float32", name=RANGE_LAYER)(image)
    # By its own mean and deviation, because a scan's exposure says nothing about the patient.
    centred = layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32")(image)
    return layers.LayerNormalization(axis=(1, 2, 3), center=False, scale=False, dtype="float32", name="exposure")(
        centred
    )
