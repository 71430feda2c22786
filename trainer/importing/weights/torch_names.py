"""Gives the tensors of PyTorch's DenseNets the names and layouts of Keras' DenseNets.

The networks are torchvision's and torchxrayvision's, whose tensors have the same names. Both pad with zeros as Keras
does, and both apply ReLU and average pooling before the dense layer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from db.errors import UserError
from trainer.importing.weights.densenet_layers import layers_of
from trainer.importing.weights.network_weights import NetworkWeights, Weights
from trainer.network.encoders import DENSENETS

#: Keras' epsilon of a DenseNet's batch normalization is 1.001e-5 and PyTorch's 1e-5. The variance takes the difference.
EPSILON_SHIFT: Final = 1e-8
#: Put in front by DataParallel, by Lightning, and by a class that keeps the network in an attribute.
_PREFIX: Final = re.compile(r"^(?:(?:module|model|densenet[0-9]{2,3})\.)+")
#: PyTorch 0.3's names of a dense layer's parts, `norm.1` instead of `norm1`.
_OLD_NAME: Final = re.compile(r"^(features\.denseblock[0-9]+\.denselayer[0-9]+\.(?:norm|conv))\.([12])\.")
_DENSE_LAYER: Final = re.compile(r"^features\.denseblock([1-4])\.(denselayer[0-9]{1,3})\.")
#: Of a dense layer followed by a sigmoid in one sequence.
_FIRST_OF_SEQUENCE: Final = re.compile(r"^classifier\.0\.")
_FIRST: Final = "features.conv0.weight"
_FIRST_SHAPES: Final = "(64, 1, 7, 7) or (64, 3, 7, 7)"
_KERNEL: Final = "classifier.weight"
_BIAS: Final = "classifier.bias"
_VARIANCE: Final = ".running_var"


@dataclass(frozen=True, kw_only=True)
class _Tensor:
    """A tensor and its name in the file."""

    name: str
    values: Weights


def is_ignored(name: str) -> bool:
    """Whether a tensor decides no score: a count of training steps, or torchxrayvision's operating points."""
    return name.endswith(".num_batches_tracked") or _PREFIX.sub("", name) == "op_threshs"


def from_torch(tensors: Mapping[str, Weights], path: Path) -> NetworkWeights:
    """The weights of a DenseNet, from PyTorch's tensors.

    Args:
        tensors: by their names in the file, without those that `is_ignored` names.
        path: the file, for error messages.

    Raises:
        UserError: the tensors are not those of a DenseNet; the message names one that is missing, surplus, doubled or
            of another shape.
    """
    named = _rename(tensors, path)
    encoder, channels = _encoder_of(named, path), _channels_of(named, path)
    layers = layers_of(encoder, channels)
    shapes = {name: layer.shape for layer in layers for name in layer.tensors}
    _check(named, shapes | _classifier_shapes(named, layers[-1].shape[0]), encoder, path)
    return NetworkWeights(
        encoder=encoder,
        channels=channels,
        layers={layer.keras: tuple(_to_keras(name, named[name].values) for name in layer.tensors) for layer in layers},
        kernel=named[_KERNEL].values.T,
        bias=named[_BIAS].values,
    )


def _rename(tensors: Mapping[str, Weights], path: Path) -> dict[str, _Tensor]:
    """The tensors by torchvision's present names."""
    renamed: dict[str, _Tensor] = {}
    for name, values in tensors.items():
        new = _FIRST_OF_SEQUENCE.sub("classifier.", _OLD_NAME.sub(r"\1\2.", _PREFIX.sub("", name)))
        if new in renamed:
            raise UserError(
                f"{path}: the tensors {renamed[new].name!r:.120} and {name!r:.120} are the same part of the network;"
                " convert one network alone"
            )
        renamed[new] = _Tensor(name=name, values=values)
    return renamed


def _encoder_of(named: Mapping[str, _Tensor], path: Path) -> str:
    found = {match.group(1, 2) for name in named if (match := _DENSE_LAYER.match(name))}
    counts = tuple(sum(block == number for block, _ in found) for number in "1234")
    if encoder := next((encoder for encoder, blocks in DENSENETS.items() if blocks == counts), None):
        return encoder
    if not found:
        first = f"its first tensor is {next(iter(named.values())).name!r:.120}" if named else "it holds no tensor"
        raise UserError(
            f"{path}: holds no DenseNet with torchvision's or torchxrayvision's names ({first}); choose a file of one"
        )
    known = ", ".join(f"{encoder} has {blocks}" for encoder, blocks in DENSENETS.items())
    raise UserError(
        f"{path}: the blocks of its network have {counts} layers, and no network here has: {known};"
        " choose a complete file of one of these"
    )


def _channels_of(named: Mapping[str, _Tensor], path: Path) -> int:
    if _FIRST not in named:
        raise _missing(_FIRST, _FIRST_SHAPES, path)
    shape = named[_FIRST].values.shape
    if len(shape) != 4 or shape[1] not in {1, 3}:
        raise _wrong_shape(named[_FIRST], _FIRST_SHAPES, path)
    return int(shape[1])


def _classifier_shapes(named: Mapping[str, _Tensor], features: int) -> dict[str, tuple[int, ...]]:
    found = next((named[name].values for name in (_KERNEL, _BIAS) if name in named), None)
    outputs = len(found) if found is not None and found.ndim else 1
    return {_KERNEL: (outputs, features), _BIAS: (outputs,)}


def _check(named: Mapping[str, _Tensor], shapes: Mapping[str, tuple[int, ...]], encoder: str, path: Path) -> None:
    for name, shape in shapes.items():
        if name not in named:
            raise _missing(name, str(shape), path)
        if named[name].values.shape != shape:
            raise _wrong_shape(named[name], str(shape), path)
        if name.endswith(_VARIANCE) and named[name].values.min() < 0:
            raise UserError(f"{path}: the tensor {named[name].name!r} has a negative variance; choose other weights")
    if surplus := sorted(named.keys() - shapes.keys()):
        tensor = named[surplus[0]]
        raise UserError(
            f"{path}: the tensor {tensor.name!r:.120} of shape {tensor.values.shape} is no part of a {encoder};"
            " convert the network without it"
        )


def _missing(name: str, shape: str, path: Path) -> UserError:
    return UserError(f"{path}: lacks the tensor {name!r} of shape {shape}; download or convert it again")


def _wrong_shape(tensor: _Tensor, shape: str, path: Path) -> UserError:
    return UserError(
        f"{path}: the tensor {tensor.name!r:.120} has the shape {tensor.values.shape}, and must have {shape};"
        " choose a file of a DenseNet as torchvision or torchxrayvision defines it"
    )


def _to_keras(name: str, values: Weights) -> Weights:
    if values.ndim == 4:
        # OIHW to HWIO.
        return values.transpose(2, 3, 1, 0)
    return values - np.float32(EPSILON_SHIFT) if name.endswith(_VARIANCE) else values
