"""The network: pixels in, one sigmoid score a finding out. Keras' own API only, so any backend can run it."""

from collections.abc import Sequence
from typing import Any, Final

import keras
from keras import layers

from db.errors import UserError
from worker.manifest import Preprocessing

#: Layers in each of a DenseNet's four blocks. Source: Huang et al., Densely Connected Convolutional Networks,
#: CVPR 2017, table 1; `densenet37` is ours: the same layers, fewer of them, for a fit of one minute on two cores.
ENCODERS: Final = {
    "densenet37": (4, 4, 4, 4),
    "densenet121": (6, 12, 24, 16),
    "densenet169": (6, 12, 32, 32),
    "densenet201": (6, 12, 48, 32),
}
_GROWTH: Final = 32
#: Keras' default, 0.99, needs some 500 steps before what a fitted model normalises by is true.
_MOMENTUM: Final = 0.9
_EPSILON: Final = 1.001e-5


def build_model(
    *, preprocessing: Preprocessing, findings: Sequence[str], encoder: str = "densenet121", seed: int = 0
) -> Any:
    """Build a model with random weights; seeds every generator of the process.

    The encoder is a name of `ENCODERS`.

    Returns:
        A `keras.Model` from uint8 (B, H, W, C), 0..255, to float32 (B, findings) in [0, 1].

    Raises:
        UserError: the encoder is unknown.
    """
    if encoder not in ENCODERS:
        raise UserError(f"--encoder is {encoder!r}; there are {', '.join(ENCODERS)}")
    keras.utils.set_random_seed(seed)
    pixels = keras.Input(preprocessing.shape, dtype="uint8", name="pixels")
    features = _encode(_standardise(pixels), ENCODERS[encoder])
    scores = layers.Dense(len(findings), activation="sigmoid", dtype="float32", name="scores")(features)
    return keras.Model(pixels, scores, name=encoder)


def _standardise(pixels: Any) -> Any:
    # Each scan by its own mean and deviation: how a film was exposed says nothing of the patient.
    light = layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    return layers.LayerNormalization(axis=(1, 2, 3), center=False, scale=False, name="exposure")(light)


def _encode(image: Any, blocks: Sequence[int]) -> Any:
    x = layers.Conv2D(64, 7, strides=2, padding="same", use_bias=False)(image)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(_activate(x))
    for number, length in enumerate(blocks):
        x = _shrink(x) if number else x
        for _ in range(length):
            x = layers.Concatenate()([x, _grow(x)])
    return layers.GlobalAveragePooling2D()(_activate(x))


def _grow(x: Any) -> Any:
    x = layers.Conv2D(4 * _GROWTH, 1, use_bias=False)(_activate(x))
    return layers.Conv2D(_GROWTH, 3, padding="same", use_bias=False)(_activate(x))


def _shrink(x: Any) -> Any:
    x = layers.Conv2D(x.shape[-1] // 2, 1, use_bias=False)(_activate(x))
    return layers.AveragePooling2D(2)(x)


def _activate(x: Any) -> Any:
    return layers.ReLU()(layers.BatchNormalization(momentum=_MOMENTUM, epsilon=_EPSILON)(x))
