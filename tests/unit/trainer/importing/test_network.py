"""The network of an imported model is what its weights and its description say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from db.errors import UserError
from tests.support.torch_reference import TORCHVISION, TORCHXRAYVISION, images, recorded_logits
from tests.support.weight_files import tensors_of
from trainer.importing.description import Description
from trainer.importing.network import build_network, check_agreement, compute_logits
from trainer.importing.weights import torch_names
from trainer.importing.weights.torch_names import from_torch, is_ignored
from worker.artifacts.keras_import import keras

PATH = Path("net.safetensors")
PIXELS = images()[..., None]


def weights_of(layout):
    return from_torch({name: tensor for name, tensor in tensors_of(layout).items() if not is_ignored(name)}, PATH)


def logits_of(weights, layout):
    description = Description(**layout.description)
    return compute_logits(build_network(weights, description), PIXELS, description)


@pytest.mark.slow
def test_without_the_shift_of_epsilon_logits_are_not_those_of_pytorch(monkeypatch):
    """So the comparison of an imported model's logits with PyTorch's sees what the shift is for."""
    monkeypatch.setattr(torch_names, "EPSILON_SHIFT", 0.0)
    difference = np.abs(logits_of(weights_of(TORCHVISION), TORCHVISION) - recorded_logits(TORCHVISION)).max()
    assert difference > 1e-4


@pytest.fixture(scope="module")
def network():
    """The network of torchxrayvision's layout; tests must not change it."""
    return build_network(weights_of(TORCHXRAYVISION), Description(**TORCHXRAYVISION.description))


def test_the_network_has_the_layout_of_our_own_fits(network):
    """Gray pixels in, the encoder as one layer, logits, scores; so `trainer fit` and workers find their way."""
    assert network.input_shape == (None, 64, 64, 1)
    assert network.inputs[0].dtype == "float32"
    assert [layer.name for layer in network.layers] == ["pixels", "densenet37", "logits", "scores"]
    assert network.output_shape == (None, 14)


def test_every_weight_is_the_files(network):
    """No layer of the encoder keeps its random initial weights."""
    weights = weights_of(TORCHXRAYVISION)
    layers = {layer.name: layer.get_weights() for layer in network.get_layer("densenet37").layers if layer.weights}
    assert layers.keys() == weights.layers.keys()
    for name, found in layers.items():
        assert all(np.array_equal(one, other) for one, other in zip(found, weights.layers[name], strict=True))


def test_three_channels_without_imagenets_scaling_are_three_times_gray():
    """The encoder sees each pixel as often as its kernel has channels. Outputs without a name are left out anywhere."""
    weights = weights_of(TORCHVISION)
    outputs = ("", "Mass", *("",) * 11, "Edema")
    description = Description(outputs=outputs, channels=3, range=(0, 1), size=64)
    network = build_network(weights, description)
    gray = np.repeat(PIXELS / np.float32(255), 3, axis=-1)
    features = keras.ops.convert_to_numpy(network.get_layer("densenet37")(gray, training=False))
    expected = (features @ weights.kernel + weights.bias)[:, [1, 13]]
    assert np.allclose(compute_logits(network, PIXELS, description), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"outputs": ("Mass",)}, 'its network has 18 outputs, and 1 are described; name them all .* write "" for'),
        ({"channels": 3}, "its network takes 1 channel, and channels is 3; correct the description"),
        ({"size": 224}, "its network takes 64x64 pixels, and size is 224; correct the description"),
    ],
    ids=["outputs", "channels", "size"],
)
def test_a_description_of_another_network_is_refused(fields, sentence):
    """Before anything is built."""
    description = Description(**TORCHXRAYVISION.description | fields)
    with pytest.raises(UserError, match=f"^net.safetensors: {sentence}"):
        check_agreement(replace(weights_of(TORCHXRAYVISION), size=(64, 64)), description, PATH)
