"""Finds the head of a network: average pooling, one dense layer and a sigmoid, in Keras' own graph of layers."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from worker.artifacts.keras_import import keras
from worker.scoring.keras_graph import Place, output_of

layers = keras.layers
#: Layers that change nothing when a network scores.
_IDLE: Final = (
    *(layers.Dropout, layers.SpatialDropout2D, layers.GaussianDropout, layers.GaussianNoise, layers.AlphaDropout),
    layers.Identity,
)
#: Dimensions of features without a place: batch and channels.
_VECTOR_RANK: Final = 2


class NoActivationMap(UserError):
    """The model's scores do not follow from averaged feature maps by one dense layer."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"this model has no activation maps, because {cause}")


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a network does after its last feature maps: `logits` are the channels' means times `kernel` plus `bias`."""

    #: Keras' symbolic tensor (B, h, w, channels) in the outermost graph.
    features: Any
    #: Keras' symbolic tensor (B, findings), float32, computed from `features`.
    logits: Any
    #: float32 (channels, findings).
    kernel: NDArray[np.float32]
    #: float32 (findings,).
    bias: NDArray[np.float32]


def read_head(network: Any) -> Head:
    """Find the head of a network, also where it lies in models within the model.

    Raises:
        NoActivationMap: the head is of another kind; the sentence says which.
    """
    place, dense = _before_dense(_skip_idle(output_of(network)))
    pooling = _skip_idle(place)
    _check_pooling(pooling.layer)
    _check_float32(pooling.layer, dense)
    features = pooling.before().in_outermost_graph()
    # A copy without the sigmoid, which some dense layers have in them.
    copy = layers.Dense(dense.units, use_bias=dense.use_bias, dtype="float32")
    logits = copy(layers.GlobalAveragePooling2D(dtype="float32")(features))
    copy.set_weights(dense.get_weights())
    kernel, *bias = dense.get_weights()
    return Head(features=features, logits=logits, kernel=kernel, bias=bias[0] if bias else np.zeros(dense.units))


def _before_dense(place: Place) -> tuple[Place, Any]:
    """The place before the last dense layer, and that layer; a sigmoid must follow it, or be part of it."""
    layer = place.layer
    has_sigmoid = getattr(layer, "activation", None) is keras.activations.sigmoid
    if isinstance(layer, layers.Activation) and has_sigmoid:
        place = _skip_idle(place.before())
        layer, has_sigmoid = place.layer, getattr(place.layer, "activation", None) is keras.activations.linear
    if not isinstance(layer, layers.Dense) or not has_sigmoid:
        raise NoActivationMap(f"its scores are not the sigmoids of one dense layer ({_named(layer)} comes last)")
    return place.before(), layer


def _skip_idle(place: Place) -> Place:
    """The first place, backwards, whose layer changes something."""
    while isinstance(place.layer, _IDLE) or _only_reshapes(place.layer):
        place = place.before()
    return place


def _only_reshapes(layer: Any) -> bool:
    # Recipes with a hidden layer flatten features that are a vector already.
    return isinstance(layer, layers.Flatten) and len(layer.input.shape) == _VECTOR_RANK


def _check_pooling(layer: Any) -> None:
    if isinstance(layer, layers.Dense):
        raise NoActivationMap("it has a hidden layer between its feature maps and its last dense layer")
    if isinstance(layer, layers.Flatten):
        raise NoActivationMap("its dense layer weighs each cell of its feature maps by itself")
    if not isinstance(layer, layers.GlobalAveragePooling2D) or layer.data_format != "channels_last":
        raise NoActivationMap(f"{_named(layer)} and no average pooling lies before its dense layer")


def _check_float32(pooling: Any, dense: Any) -> None:
    for layer in (pooling, dense):
        if layer.compute_dtype != "float32":
            raise NoActivationMap(f"{_named(layer)} computes in {layer.compute_dtype}, which rounds too much")


def _named(layer: Any) -> str:
    return f"layer {layer.name!r} ({type(layer).__name__})"
