"""The network: pixels in, one sigmoid score a finding out. Keras' own API only, so any backend can run it."""

from collections.abc import Sequence
from typing import Any, Final

import keras
from keras import layers

from trainer.network.encoders import SPREAD, as_on_imagenet, build_encoder, channels_for, on_channels
from trainer.recipe import Recipe

#: The layer whose outputs, before the sigmoid, calibration divides.
LOGITS: Final = "logits"


def build_model(recipe: Recipe, findings: Sequence[str], *, bare: bool = False) -> Any:
    """Build a model with the weights that a fit begins from; seeds every generator of the process.

    `bare` leaves out to read the recipe's weights: the caller has others.

    Returns:
        A `keras.Model` from uint8 (B, H, W, C), 0..255, to float32 (B, findings) in [0, 1].

    Raises:
        UserError: the encoder is unknown, or its weights cannot be had.
    """
    keras.utils.set_random_seed(recipe.seed)
    shape = recipe.preprocessing.shape
    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    # Weights fitted on color want three channels; from scratch, one does.
    image = _scale(pixels, recipe, channels=channels_for(recipe.encoder, recipe.weights, shape[2]))
    weights = "none" if bare else recipe.weights
    features = build_encoder(recipe.encoder, image.shape[1:], weights, averaging=recipe.averaging)(image)
    if recipe.hidden:
        features = layers.Flatten()(features)
        features = layers.Dense(recipe.hidden, activation="relu", name="hidden")(features)
    if recipe.dropout:
        features = layers.Dropout(recipe.dropout)(features)
    logits = layers.Dense(len(findings), dtype="float32", name=LOGITS)(features)
    scores = layers.Activation("sigmoid", dtype="float32", name="scores")(logits)
    return keras.Model(pixels, scores, name="nightread")


def logits_of(model: Any) -> Any:
    """The same model, sharing its weights, up to the logits: float32 (B, findings)."""
    return keras.Model(model.input, model.get_layer(LOGITS).output)


def _scale(pixels: Any, recipe: Recipe, *, channels: int) -> Any:
    image = layers.Rescaling(1.0, dtype="float32")(pixels)
    if recipe.scaling == "imagenet":
        return as_on_imagenet(image, recipe.encoder)
    if image.shape[-1] < channels:
        image = on_channels(image, SPREAD)
    if recipe.scaling == "unit":
        return layers.Rescaling(1 / 255, dtype="float32")(image)
    # Each scan by its own mean and deviation: how a film was exposed says nothing of the patient.
    centred = layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32")(image)
    return layers.LayerNormalization(axis=(1, 2, 3), center=False, scale=False, dtype="float32", name="exposure")(
        centred
    )
