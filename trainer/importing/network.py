"""Builds the network of an imported artifact: the publisher's scaling, its encoder, and the outputs that have a name.

Importing this module imports Keras.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from db.counted import counted
from db.errors import UserError
from trainer.importing.description import Description
from trainer.importing.weights.network_weights import NetworkWeights
from trainer.network.encoders import GRAY_TO_THREE_CHANNELS, build_encoder, mix_channels, scale_for_imagenet
from trainer.network.model import LOGITS, logits_model
from worker.artifacts.keras_import import keras
from worker.images.pixels import Pixels

#: Scans per pass while a network is tried. Keras keeps what every layer computes until the last one is done, which are
#: 0.2 GB for each scan in a DenseNet121.
TRIED_AT_ONCE: Final = 4


def check_agreement(weights: NetworkWeights, description: Description, path: Path) -> None:
    """Check that a file's weights are those of the network that is described.

    Raises:
        UserError: it has another number of outputs or of channels, or another size of its input.
    """
    outputs, channels = len(weights.bias), weights.channels
    if outputs != len(description.outputs):
        raise UserError(
            f"{path}: its network has {outputs} outputs, and {len(description.outputs)} are described; name them all in"
            ' their order, and write "" for an output that has no name here'
        )
    if channels != description.channels:
        raise UserError(
            f"{path}: its network takes {counted(channels, 'channel')}, and channels is {description.channels}; correct"
            " the description, or choose the other file"
        )
    if weights.size not in {None, (description.size, description.size)}:
        height, width = weights.size or (0, 0)
        raise UserError(
            f"{path}: its network takes {height}x{width} pixels, and size is {description.size}; correct the"
            " description"
        )


def build_network(weights: NetworkWeights, description: Description) -> Any:
    """Build a network from weights that agree with their description.

    Returns:
        A `keras.Model` from float32 (B, size, size, 1), gray levels in `description.range`, to float32 (B, findings)
        in [0, 1].
    """
    pixels = keras.Input((description.size, description.size, 1), dtype="float32", name="pixels")
    image = _scale(pixels, weights, description)
    encoder = build_encoder(weights.encoder, image.shape[1:])
    for layer in encoder.layers:
        if layer.weights:
            layer.set_weights(weights.layers[layer.name])
    dense = keras.layers.Dense(len(description.findings), dtype="float32", name=LOGITS)
    logits = dense(encoder(image))
    named = [number for number, finding in enumerate(description.outputs) if finding]
    dense.set_weights([weights.kernel[:, named], weights.bias[named]])
    scores = keras.layers.Activation("sigmoid", dtype="float32", name="scores")(logits)
    return keras.Model(pixels, scores, name="nightread")


def _scale(pixels: Any, weights: NetworkWeights, description: Description) -> Any:
    if description.scaling == "imagenet":
        return scale_for_imagenet(pixels, weights.encoder)
    return mix_channels(pixels, GRAY_TO_THREE_CHANNELS) if weights.channels == 3 else pixels


def compute_logits(network: Any, pixels: Pixels, description: Description) -> NDArray[np.float32]:
    """The logits, float32 (N, findings), of uint8 pixels (N, size, size, 1) as a worker gives them to the network."""
    black, white = description.range
    scaled = pixels.astype(np.float32) * np.float32((white - black) / 255) + np.float32(black)
    model = logits_model(network)
    batches = (scaled[start : start + TRIED_AT_ONCE] for start in range(0, len(scaled), TRIED_AT_ONCE))
    # Not by `predict`, which compiles a graph for longer than these few scans take.
    return np.concatenate([keras.ops.convert_to_numpy(model(batch, training=False)) for batch in batches])
