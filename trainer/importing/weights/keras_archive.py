"""Reads `.keras` files: Keras' archives of a model's configuration and weights, made by a stranger.

The configuration is checked before Keras makes layers of it: a kind of layer that no DenseNet has is never made. What
was made is then compared with Keras' own DenseNet, because a graph of the same layers can still compute something else.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final, TypeAlias
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError  # noqa: N812 -- it is an exception

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from trainer.importing.weights.hdf5_file import REMEDY, cause_of, list_tensors, open_hdf5, printed
from trainer.importing.weights.keras_layout import (
    EPSILON,
    Tensors,
    collect_weights,
    encoder_with_convolutions,
    layers_in_order,
)
from trainer.importing.weights.network_weights import NetworkWeights
from trainer.network.encoders import build_encoder
from worker.artifacts.keras_import import keras
from worker.artifacts.manifest import MANIFEST_FILE

_Json: TypeAlias = dict[str, Any]

_WEIGHTS_FILE: Final = "model.weights.h5"
#: Of each file in the archive; a DenseNet264 with Adam's moments has 0.4 GB.
_MAX_BYTES: Final = 2 << 30
#: Models that hold other layers.
_MODELS: Final = frozenset({"Functional", "Model", "Sequential"})
#: The kinds of layers in a DenseNet, and in what may be around it.
_KINDS: Final = frozenset({
    *_MODELS, "InputLayer", "ZeroPadding2D", "Conv2D", "BatchNormalization", "Activation", "ReLU", "MaxPooling2D",
    "AveragePooling2D", "Concatenate", "GlobalAveragePooling2D", "Dropout", "Flatten", "Dense",
})  # fmt: skip
#: Layers that scale pixels, which is the description's to state.
_SCALING: Final = frozenset({"Rescaling", "Normalization", "LayerNormalization"})
#: Names of the models that `trainer fit` and `worker.artifacts.keras_model` make.
_OWN_MODELS: Final = frozenset({"nightread", "from_pixels"})
#: Of an image on which the network is tried; a configuration may claim any.
_MAX_SIDE: Final = 1024
#: Largest difference of a feature, as a share of the largest feature.
_TOLERANCE: Final = 1e-4


def read_keras_archive(path: Path) -> NetworkWeights:
    """Read the weights of a model of a DenseNet, nested or not, and one dense layer with or without a sigmoid.

    Raises:
        UserError: the file is damaged, holds another network, or belongs to an artifact.
    """
    _check_archive(path)
    model = _load(path)
    head = _find_head(model, path)
    if model.inputs[0].dtype != "float32":
        raise UserError(f"{path}: its network takes {model.inputs[0].dtype} and no float32 pixels; {REMEDY}")
    layers = list(_leaves(model))
    convolutions = [_tensors(layer) for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    normalizations = [_tensors(layer) for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    encoder = encoder_with_convolutions(len(convolutions), path)
    named = layers_in_order(encoder, convolutions, normalizations, path)
    weights = collect_weights(encoder, named, {head.name: _tensors(head)}, path)
    height, width = model.inputs[0].shape[1:3]
    if max(height or 0, width or 0) > _MAX_SIDE:
        raise UserError(f"{path}: its input is {height}x{width} pixels, and {_MAX_SIDE} a side are possible; {REMEDY}")
    _compare_features(keras.Model(model.inputs[0], head.input), weights, path)
    return replace(weights, size=(height, width)) if height and width else weights


def _check_archive(path: Path) -> None:
    if (path.parent / MANIFEST_FILE).is_file():
        raise _own_model(path, f"it lies beside a {MANIFEST_FILE}")
    try:
        with ZipFile(path) as archive:
            if any(item.file_size > _MAX_BYTES for item in archive.infolist()):
                raise UserError(f"{path}: unpacks to over {_MAX_BYTES >> 30} GiB, as no DenseNet does; {REMEDY}")
            config, weights = json.loads(archive.read("config.json")), archive.read(_WEIGHTS_FILE)
        _check_config(config, path)
    except (OSError, BadZipFile, ZlibError, EOFError, ValueError, KeyError, RecursionError, RuntimeError) as error:
        raise UserError(
            f"{path}: is no whole .keras file ({cause_of(error)}); get it again, or save the network again with Keras 3"
        ) from error
    with open_hdf5(BytesIO(weights), path) as file:
        list_tensors(file, path)


def _check_config(model: Any, path: Path) -> None:
    """Check that the configuration names only Keras' own code, and only layers of a DenseNet and its head."""
    for item in _objects(model):
        if not str(item.get("module") or "keras").startswith("keras"):
            raise UserError(f"{path}: uses code that is not Keras' own ({printed(str(item['module']))}); {REMEDY}")
    if isinstance(model, dict) and str(model.get("config", {}).get("name")) in _OWN_MODELS:
        raise _own_model(path, "its layers are those of 'trainer fit'")
    for layer in _layers(model):
        kind = str(layer.get("class_name"))
        if kind in _SCALING:
            raise UserError(
                f"{path}: has a layer of its own that scales pixels ({kind}), and the description states the scaling;"
                " save the network without that layer"
            )
        if kind not in _KINDS:
            raise UserError(
                f"{path}: has a layer of the kind {printed(kind)}; only a DenseNet with average pooling, followed by"
                " one dense layer, can be imported"
            )


def _objects(value: Any) -> Iterator[_Json]:
    """Everything in a configuration that Keras would make an object of."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _layers(model: Any) -> Iterator[_Json]:
    yield model
    if model["class_name"] in _MODELS:
        for layer in model["config"]["layers"]:
            yield from _layers(layer)


def _load(path: Path) -> Any:
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    # What Keras raises for a wrong configuration depends on the layer.
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, RuntimeError) as error:
        raise UserError(
            f"{path}: Keras {keras.__version__} cannot load it ({cause_of(error)}); save it again with Keras 3"
        ) from error


def _find_head(model: Any, path: Path) -> Any:
    """The dense layer, of which the model's output is the sigmoid or the logits."""
    dense = [layer for layer in _leaves(model) if isinstance(layer, keras.layers.Dense)]
    if len(dense) != 1 or dense[0] not in model.layers or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UserError(
            f"{path}: has {len(dense)} dense layers in its network, and a DenseNet followed by exactly one is needed"
            " (a hidden dense layer cannot be imported); choose another file"
        )
    head, (output,) = dense[0], model.outputs
    activations = {_activation(head)}
    if output is not head.output and isinstance(last := _made_by(output), keras.layers.Activation):
        activations.add(_activation(last))
        output = last.input
    if output is not head.output or activations not in ({"sigmoid"}, {"linear"}, {"linear", "sigmoid"}):
        raise UserError(
            f"{path}: its scores are not the sigmoid of one dense layer ({', '.join(sorted(activations))});"
            " only sigmoid and logits can be imported"
        )
    return head


def _made_by(tensor: Any) -> Any:
    return tensor._keras_history.operation  # noqa: SLF001 -- Keras has no public way


def _activation(layer: Any) -> str:
    return printed(str(layer.get_config()["activation"]))


def _leaves(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        else:
            yield layer


def _tensors(layer: Any) -> Tensors:
    tensors = {variable.name: keras.ops.convert_to_numpy(variable) for variable in layer.weights}
    if isinstance(layer, keras.layers.Dense) and not layer.use_bias:
        tensors["bias"] = np.zeros(layer.units, np.float32)
    if isinstance(layer, keras.layers.BatchNormalization) and layer.epsilon != EPSILON:
        # The published model has the epsilon of Keras' DenseNets, and only the sum of both counts.
        tensors["moving_variance"] = tensors["moving_variance"] + (layer.epsilon - EPSILON)
    return tensors


def _compare_features(features: Any, weights: NetworkWeights, path: Path) -> None:
    """Compare what the file's network and Keras' own DenseNet compute of the same noise."""
    height, width, channels = (size or 64 for size in features.input_shape[1:])
    if channels != weights.channels:
        raise UserError(f"{path}: its input has {channels} channels, and its DenseNet {weights.channels}; {REMEDY}")
    encoder = build_encoder(weights.encoder, (height, width, channels))
    encoder.set_weights([array for layer in encoder.layers for array in weights.layers.get(layer.name, ())])
    noise = np.random.default_rng(0).normal(size=(1, height, width, channels)).astype(np.float32)
    found, expected = _run(features, noise), _run(encoder, noise)
    if found.shape != expected.shape or not np.abs(found - expected).max() <= _TOLERANCE * np.abs(expected).max():
        raise UserError(
            f"{path}: its network has the weights of {weights.encoder} and computes something else, such as with"
            " another pooling or other channels first; only Keras' own DenseNets can be imported"
        )


def _run(model: Any, image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(keras.ops.convert_to_numpy(model(image, training=False)))


def _own_model(path: Path, why: str) -> UserError:
    return UserError(
        f"{path}: belongs to an artifact of nightread ({why}), whose manifest states more than a description can;"
        " publish the artifact's folder with 'producer model publish'"
    )
