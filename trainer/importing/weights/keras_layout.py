"""The layers of Keras' own DenseNets that have weights, and the check that a file's layers are these and one head."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from db.errors import UserError
from trainer.importing.weights.densenet_layers import Layer, layers_of
from trainer.importing.weights.hdf5_file import REMEDY, printed, read_tensor
from trainer.importing.weights.network_weights import NetworkWeights, Weights
from trainer.network.encoders import DENSENETS

#: What a file has of one layer: arrays or datasets of HDF5 by the names of Keras' variables.
Tensors: TypeAlias = Mapping[str, Any]

#: Keras' names of a batch normalization's variables, in its order.
NORM_VARIABLES: Final = ("gamma", "beta", "moving_mean", "moving_variance")
#: That of batch normalization in Keras' DenseNets.
EPSILON: Final = 1.001e-5
#: A dense layer of more is none of a classifier of radiographs, and could be larger than the memory.
_MAX_OUTPUTS: Final = 10_000
_BLOCK: Final = re.compile(r"conv([2-5])_block([1-9]\d{0,2})_")


def encoder_with_blocks(names: Collection[str], path: Path) -> str:
    """The encoder whose blocks have as many layers as these names of layers say.

    Raises:
        UserError: there is no such DenseNet.
    """
    layers = {match.groups() for name in names if (match := _BLOCK.match(name))}
    blocks = tuple(sum(block == number for block, _ in layers) for number in "2345")
    return _encoder({name: counts == blocks for name, counts in DENSENETS.items()}, f"blocks of {blocks} layers", path)


def encoder_with_convolutions(count: int, path: Path) -> str:
    """The encoder with this number of convolutions: the first, two a layer, and one a transition.

    Raises:
        UserError: there is no such DenseNet.
    """
    fits = {name: 1 + 2 * sum(blocks) + 3 == count for name, blocks in DENSENETS.items()}
    return _encoder(fits, f"{count} convolutions", path)


def layer_shapes(encoder: str, channels: int) -> dict[str, dict[str, tuple[int, ...]]]:
    """The shape of each variable of an encoder, by Keras' names of layer and variable, both in Keras' order."""
    return {layer.keras: _variable_shapes(layer) for layer in layers_of(encoder, channels)}


def _variable_shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    if layer.kind == "norm":
        return dict.fromkeys(NORM_VARIABLES, layer.shape)
    outputs, inputs, height, width = layer.shape
    return {"kernel": (height, width, inputs, outputs)}


def layers_in_order(
    encoder: str, convolutions: Sequence[Tensors], normalizations: Sequence[Tensors], path: Path
) -> dict[str, Tensors]:
    """Name layers of which only kind and order are known.

    Raises:
        UserError: the encoder has more or fewer.
    """
    shapes = layer_shapes(encoder, 1)
    named: dict[str, Tensors] = {}
    for kind, is_convolution, given in (("convolution", True, convolutions), ("normalization", False, normalizations)):
        names = [name for name, variables in shapes.items() if ("kernel" in variables) == is_convolution]
        if len(names) != len(given):
            raise UserError(f"{path}: has {len(given)} {kind}s, and {encoder} has {len(names)}; {REMEDY}")
        named |= zip(names, given, strict=True)
    return named


def collect_weights(
    encoder: str, layers: Mapping[str, Tensors], others: Mapping[str, Tensors], path: Path
) -> NetworkWeights:
    """Read and check the weights of an encoder and of its head.

    Variances stay as they are, other than in weights from PyTorch: a file of Keras' DenseNet was fitted with Keras'
    epsilon.

    Args:
        encoder: a name in `DENSENETS`.
        layers: the tensors of the encoder's layers by Keras' present names of these.
        others: the tensors of all other layers, of which there must be one: the head.
        path: for messages.

    Raises:
        UserError: a layer is missing or one too many, a tensor has another shape, or a value is impossible.
    """
    channels = _channels(layers, path)
    shapes = layer_shapes(encoder, channels)
    _check_names(encoder, shapes, layers, "layer", path)
    read = {}
    for layer, variables in shapes.items():
        _check_names(encoder, variables, layers[layer], f"weight in its layer {layer}:", path)
        read[layer] = tuple(
            read_tensor(layers[layer][name], shape, f"{layer}/{name}", path) for name, shape in variables.items()
        )
    _check_variances(read, path)
    kernel, bias = _read_head(encoder, others, features=len(read["bn"][0]), path=path)
    return NetworkWeights(encoder=encoder, channels=channels, layers=read, kernel=kernel, bias=bias)


def _encoder(fits: Mapping[str, bool], found: str, path: Path) -> str:
    for name, is_it in fits.items():
        if is_it:
            return name
    known = ", ".join(f"{name} {blocks}" for name, blocks in DENSENETS.items())
    raise UserError(
        f"{path}: has {found} by the names of Keras' DenseNets, and is no {known}; it is incomplete or of another"
        " network, so choose another file"
    )


def _channels(layers: Mapping[str, Tensors], path: Path) -> int:
    kernel = layers.get("conv1_conv", {}).get("kernel")
    shape = () if kernel is None else tuple(kernel.shape or ())
    if len(shape) != 4 or shape[2] not in {1, 3}:
        raise UserError(f"{path}: lacks a first convolution, conv1_conv, of one or three channels; {REMEDY}")
    return int(shape[2])


def _check_names(encoder: str, needed: Iterable[str], found: Iterable[str], kind: str, path: Path) -> None:
    needed, found = list(needed), set(found)
    if missing := [name for name in needed if name not in found]:
        raise UserError(
            f"{path}: lacks {len(missing)} of {encoder}: the {kind} {missing[0]}"
            f"{' and others' if len(missing) > 1 else ''}; get the whole file again"
        )
    if extra := sorted(found - set(needed)):
        raise UserError(f"{path}: has a {kind} {printed(extra[0])} that {encoder} has not; {REMEDY}")


def _check_variances(layers: Mapping[str, tuple[Weights, ...]], path: Path) -> None:
    for name, weights in layers.items():
        if len(weights) > 1 and np.min(weights[-1]) <= -EPSILON:
            raise UserError(f"{path}: {name}/moving_variance has a negative variance; {REMEDY}")


def _read_head(encoder: str, others: Mapping[str, Tensors], *, features: int, path: Path) -> tuple[Weights, Weights]:
    dense = [name for name, tensors in others.items() if "kernel" in tensors]
    if not dense:
        raise UserError(
            f"{path}: has no dense layer behind {encoder}, so it gives no scores; choose the file of the whole network,"
            " or begin a fit with this one: 'trainer fit --weights FILE'"
        )
    if len(others) > 1:
        what = "a hidden dense layer cannot be imported" if len(dense) > 1 else "only the dense layer can be imported"
        raise UserError(f"{path}: has the layers {_listed(others)} besides {encoder}, and {what}; choose another file")
    name = dense[0]
    _check_names(encoder + "'s dense layer", ("kernel", "bias"), others[name], f"weight in {printed(name)}:", path)
    outputs = _outputs(others[name]["bias"], path)
    kernel, bias = (
        read_tensor(others[name][weight], shape, f"{printed(name)}/{weight}", path)
        for weight, shape in (("kernel", (features, outputs)), ("bias", (outputs,)))
    )
    return kernel, bias


def _outputs(bias: Any, path: Path) -> int:
    shape = tuple(bias.shape or ())
    if len(shape) != 1 or not 1 <= shape[0] <= _MAX_OUTPUTS:
        raise UserError(f"{path}: its dense layer has no plain list of 1 to {_MAX_OUTPUTS:,} biases; {REMEDY}")
    return int(shape[0])


def _listed(others: Iterable[str]) -> str:
    names = [printed(name) for name in others]
    return ", ".join(names[:4]) + (" and others" if len(names) > 4 else "")
