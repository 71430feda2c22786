"""Reads the files that Keras writes: `.h5`, `.weights.h5` and `.keras`, of a DenseNet and one dense layer behind it.

Of HDF5 files only arrays are read, never the configuration that some hold. So the average pooling and the sigmoid of a
`.h5` file are what its publisher says, and only those of a `.keras` file can be checked.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from db.errors import UserError
from trainer.importing.weights.hdf5_file import REMEDY, TensorPath, list_tensors, open_hdf5, printed
from trainer.importing.weights.keras_archive import read_keras_archive
from trainer.importing.weights.keras_layout import (
    NORM_VARIABLES,
    Tensors,
    collect_weights,
    encoder_with_blocks,
    encoder_with_convolutions,
    layers_in_order,
)
from trainer.importing.weights.network_weights import NetworkWeights

_ByLayer: TypeAlias = dict[str, dict[str, Any]]
#: By the groups of the model that a layer is in, and by its number.
_Numbered: TypeAlias = dict[tuple[TensorPath, int], dict[str, Any]]

#: The layers of Keras' DenseNets that have weights, by their present names.
_LAYER: Final = re.compile(
    r"conv1_(conv|bn)|conv[2-5]_block\d+_(0_bn|1_conv|1_bn|2_conv)|pool[2-4]_(bn|conv)|bn", re.ASCII
)
#: The groups of Keras 3's `.weights.h5`, which are named after the kind and number of a layer instead of its name.
_NUMBERED: Final = re.compile(r"(conv2d|batch_normalization|dense)(?:_(\d{1,4}))?", re.ASCII)
#: Keras' names of what `.weights.h5` numbers in a layer, by its kind.
_VARIABLES: Final = {"conv2d": ("kernel", "bias"), "batch_normalization": NORM_VARIABLES, "dense": ("kernel", "bias")}


def read_keras_file(path: Path) -> NetworkWeights:
    """Read the weights of a file that Keras saved.

    Args:
        path: `.keras`, or `.h5` as `save_weights` of Keras 2, `save_weights` of Keras 3 or `save` write it.

    Raises:
        UserError: the file is damaged, reaches for other files, or holds anything but a DenseNet and one dense layer.
    """
    if path.suffix.lower() == ".keras":
        return read_keras_archive(path)
    with open_hdf5(path, path) as file:
        return _read_tensors(list_tensors(file, path), path)


def _read_tensors(tensors: Mapping[TensorPath, Any], path: Path) -> NetworkWeights:
    whole_model, numbered = _below("model_weights", tensors), _below("layers", tensors)
    if numbered and not whole_model:
        return _read_numbered(numbered, path)
    layers, others = _by_name((whole_model or tensors).items(), path)
    return collect_weights(encoder_with_blocks(layers, path), layers, others, path)


def _below(group: str, tensors: Mapping[TensorPath, Any]) -> dict[TensorPath, Any]:
    return {names[1:]: tensor for names, tensor in tensors.items() if names[0] == group and len(names) > 1}


def _by_name(tensors: Iterable[tuple[TensorPath, Any]], path: Path) -> tuple[_ByLayer, _ByLayer]:
    """The tensors of the encoder's layers by its layers' present names, and those of all others."""
    layers: _ByLayer = defaultdict(dict)
    others: _ByLayer = defaultdict(dict)
    for (*groups, variable), tensor in tensors:
        name = _layer_name(groups)
        of_layer = layers[name] if name else others["/".join(groups)]
        key = variable.removesuffix(":0")
        if key in of_layer:
            raise UserError(f"{path}: has {printed(name or '')}/{printed(key)} twice; {REMEDY}")
        of_layer[key] = tensor
    return layers, others


def _layer_name(groups: list[str]) -> str | None:
    """The present name of the encoder's layer that these groups are of; it is the outermost group or the innermost.

    The innermost group is the layer where the encoder is nested in another model. Until 2018 two layers had a slash in
    their names, conv1/conv and conv1/bn, which makes two groups of one.
    """
    for name in ("_".join(groups[:2]), *groups[:1], "_".join(groups[-2:]), *groups[-1:]):
        if _LAYER.fullmatch(name):
            return name
    return None


def _read_numbered(tensors: Mapping[TensorPath, Any], path: Path) -> NetworkWeights:
    """Read Keras 3's `.weights.h5`, in which only the order of layers tells which is which."""
    kinds, others = _by_number(tensors)
    convolutions, normalizations = (_in_order(kinds[kind], path) for kind in ("conv2d", "batch_normalization"))
    encoder = encoder_with_convolutions(len(convolutions), path)
    return collect_weights(encoder, layers_in_order(encoder, convolutions, normalizations, path), others, path)


def _by_number(tensors: Mapping[TensorPath, Any]) -> tuple[dict[str, _Numbered], _ByLayer]:
    """The encoder's layers by kind, then by model that they are in and number; and the tensors of all others."""
    kinds: dict[str, _Numbered] = defaultdict(lambda: defaultdict(dict))
    others: _ByLayer = defaultdict(dict)
    for (*groups, _vars, variable), tensor in tensors.items():
        if groups[-1:] == ["seed_generator"]:
            # That of a dropout layer, which does nothing when a model scores.
            continue
        match = _NUMBERED.fullmatch(groups[-1] if groups else "")
        if match and match[1] != "dense":
            of_layer = kinds[match[1]][tuple(groups[:-1]), int(match[2] or 0)]
        else:
            of_layer = others["/".join(groups)]
        names = {str(number): name for number, name in enumerate(_VARIABLES[match[1]] if match else ())}
        of_layer[names.get(variable, variable)] = tensor
    return kinds, others


def _in_order(layers: _Numbered, path: Path) -> list[Tensors]:
    found = sorted(layers)
    models = {model for model, _ in found}
    if len(models) > 1 or [number for _, number in found] != list(range(len(found))):
        raise UserError(f"{path}: its numbered layers are not those of one network; {REMEDY}")
    return [layers[key] for key in found]
