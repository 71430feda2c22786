"""PyTorch's tensors become the weights of Keras' layers; a sentence names the tensor that does not belong."""

import random
import re
from pathlib import Path

import numpy as np
import pytest

from db.errors import UserError
from tests.support.torch_reference import LAYOUTS, TORCHVISION, plain_tensors
from tests.support.weight_files import tensors_of, write_weights
from trainer.importing.weights.densenet_layers import layers_of
from trainer.importing.weights.safetensors_file import read_tensors
from trainer.importing.weights.torch_names import from_torch, is_ignored
from trainer.network.encoders import build_encoder

PATH = Path("net.safetensors")
CONV = "features.denseblock1.denselayer1.conv2.weight"


def named(tensors):
    return from_torch({name: tensor for name, tensor in tensors.items() if not is_ignored(name)}, PATH)


def refusal(tensors):
    with pytest.raises(UserError) as refused:
        named(tensors)
    assert str(refused.value).startswith("net.safetensors: ")
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "channels"), [("densenet37", 1), pytest.param("densenet121", 3, marks=pytest.mark.slow)]
)
def test_the_layers_are_those_of_keras(name, channels):
    """Every one that has weights, with their shapes in Keras' order."""
    layers = build_encoder(name, (32, 32, channels)).layers
    keras = {layer.name: [tuple(weight.shape) for weight in layer.weights] for layer in layers if layer.weights}
    ours = {layer.keras: [keras_shape(layer.shape)] * len(layer.tensors) for layer in layers_of(name, channels)}
    assert ours == keras


def keras_shape(shape):
    if len(shape) == 1:
        return shape
    made, given, height, width = shape
    return (height, width, given, made)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_both_published_layouts_are_read(layout):
    """Old names and prefixes, and those of today."""
    weights = named(tensors_of(layout))
    plain = plain_tensors(layout)
    assert (weights.encoder, weights.channels) == ("densenet37", layout.channels)
    kernel = plain[CONV]
    assert weights.layers["conv2_block1_2_conv"][0].shape == (3, 3, 128, 32)
    assert weights.layers["conv2_block1_2_conv"][0][2, 1, 5, 7] == kernel[7, 5, 2, 1]
    gamma, beta, mean, variance = weights.layers["pool3_bn"]
    for part, ours in (("weight", gamma), ("bias", beta), ("running_mean", mean)):
        assert np.array_equal(ours, plain[f"features.transition2.norm.{part}"])
    assert np.array_equal(variance, plain["features.transition2.norm.running_var"] - np.float32(1e-8))
    assert np.array_equal(weights.kernel, plain["classifier.weight"].T)
    assert np.array_equal(weights.bias, plain["classifier.bias"])


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "densenet121.", "module.densenet121.", "model.", "model.module.", "module.model.densenet37."],
)
def test_prefixes_may_stand_in_any_combination(prefix):
    """DataParallel, Lightning and classes that wrap the network each add one."""
    plain = plain_tensors(TORCHVISION)
    weights = named({prefix + name: tensor for name, tensor in plain.items()})
    assert np.array_equal(weights.bias, plain["classifier.bias"])


def test_a_missing_tensor_is_named_with_its_shape():
    """The first of those that the network lacks."""
    tensors = tensors_of()
    del tensors[CONV]
    assert f"lacks the tensor '{CONV}' of shape (32, 128, 3, 3); download" in refusal(tensors)


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_a_missing_classifier_is_named(part):
    """An encoder alone scores nothing."""
    tensors = tensors_of()
    del tensors[f"classifier.{part}"]
    assert f"lacks the tensor 'classifier.{part}' of shape (18" in refusal(tensors)


def test_a_network_without_its_first_convolution_is_refused():
    """It decides the number of channels."""
    tensors = tensors_of()
    del tensors["features.conv0.weight"]
    assert "lacks the tensor 'features.conv0.weight' of shape (64, 1, 7, 7) or (64, 3, 7, 7)" in refusal(tensors)


def test_a_surplus_tensor_is_named_as_in_the_file():
    """A second dense layer, for instance, would change every score."""
    extra = {"module.densenet121.classifier.2.weight": np.zeros((14, 14), np.float32)}
    sentence = refusal(tensors_of(TORCHVISION) | extra)
    assert "'module.densenet121.classifier.2.weight' of shape (14, 14) is no part of a densenet37; convert" in sentence


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        (CONV, (32, 128, 1, 1), "(32, 128, 3, 3)"),
        (CONV, (128, 32, 3, 3), "(32, 128, 3, 3)"),
        ("features.conv0.weight", (64, 2, 7, 7), "(64, 1, 7, 7) or (64, 3, 7, 7)"),
        ("features.conv0.weight", (), "(64, 1, 7, 7) or (64, 3, 7, 7)"),
        ("features.conv0.weight", (96, 1, 7, 7), "(64, 1, 7, 7)"),
        ("features.norm5.running_var", (1024,), "(248,)"),
        ("classifier.weight", (18, 1024), "(18, 248)"),
        ("classifier.weight", (18,), "(18, 248)"),
        ("classifier.bias", (14,), "(18,)"),
    ],
)
def test_a_wrong_shape_is_named_with_the_right_one(name, shape, expected):
    """Both shapes stand in the sentence."""
    tensors = tensors_of() | {name: np.zeros(shape, np.float32)}
    assert f"the tensor '{name}' has the shape {shape}, and must have {expected}; choose" in refusal(tensors)


def test_two_names_of_one_tensor_are_refused():
    """Nobody can tell which of both the publisher scores with."""
    tensors = tensors_of()
    tensors["module." + CONV.replace("conv2", "conv.2")] = tensors[CONV]
    assert re.search(rf"'{CONV}' and 'module\.\S+conv\.2\.weight' are the same part", refusal(tensors))


def test_blocks_of_another_depth_are_refused():
    """The sentence says which depths can be imported."""
    tensors = {name: tensor for name, tensor in tensors_of().items() if "denseblock4.denselayer4" not in name}
    assert "have (4, 4, 4, 3) layers, and no network here has: densenet37 has (4, 4, 4, 4)" in refusal(tensors)


@pytest.mark.parametrize(
    ("tensors", "cause"),
    [
        ({}, "it holds no tensor"),
        ({"layer1.0.conv1.weight": np.zeros(3)}, "its first tensor is 'layer1.0.conv1.weight'"),
    ],
    ids=["empty", "resnet"],
)
def test_another_network_is_refused(tensors, cause):
    """A sentence says by what it was known."""
    assert f"holds no DenseNet with torchvision's or torchxrayvision's names ({cause})" in refusal(tensors)


def test_a_negative_variance_is_refused():
    """Its square root is no number."""
    tensors = tensors_of()
    tensors["features.norm5.running_var"][3] = -0.1
    assert "'features.norm5.running_var' has a negative variance" in refusal(tensors)


def test_a_name_of_digits_without_end_is_refused():
    """Python refuses to read such a number."""
    tensors = tensors_of() | {f"features.denseblock1.denselayer{'9' * 5000}.conv1.weight": np.zeros(1, np.float32)}
    sentence = refusal(tensors)
    assert "is no part of a densenet37" in sentence
    assert len(sentence) < 400


def test_no_damage_to_a_header_causes_anything_but_a_sentence_or_the_same_shapes(tmp_path):
    """80 files, each with one changed bit in its header."""
    path, rng = write_weights(tmp_path, tensors_of()), random.Random(28)
    whole, sound = path.read_bytes(), from_torch(read_tensors(path, ignored=is_ignored), path)
    refused = 0
    for _ in range(80):
        at = rng.randrange(8 + int.from_bytes(whole[:8], "little"))
        with path.open("r+b") as file:
            file.seek(at)
            file.write(bytes([whole[at] ^ 1 << rng.randrange(8)]))
            file.flush()
            try:
                weights = from_torch(read_tensors(path, ignored=is_ignored), path)
            except UserError as error:
                refused += 1
                assert str(error).startswith(str(path))
            else:
                assert shapes_of(weights) == shapes_of(sound)
            file.seek(at)
            file.write(whole[at : at + 1])
    assert 40 < refused < 80


def shapes_of(weights):
    layers = {name: [tensor.shape for tensor in tensors] for name, tensors in weights.layers.items()}
    return layers, weights.kernel.shape, weights.bias.shape, weights.channels
