"""Random weights of a small DenseNet in both published layouts, and the logits that PyTorch gives them.

`torch_reference.json` holds, by layout, the logits of `images()` as PyTorch computed them in float32: from the tensors
of `plain_tensors`, for `torchvision.models.DenseNet(32, BLOCKS, 64, num_classes=...)` with the layout's channels and
the input of `network_input`. `make test-torch` computes them again.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer.importing.public_weights import PUBLIC_WEIGHTS

JSON = Path(__file__).with_suffix(".json")
#: Layers in each block: `densenet37` of `trainer.network.encoders`.
BLOCKS = (4, 4, 4, 4)
GROWTH, INITIAL, BOTTLENECK = 32, 64, 128
SIDE = 64
CHEXNET_OUTPUTS = PUBLIC_WEIGHTS["reproduce-chexnet"].description["outputs"]
#: Four of the eighteen have no name.
TXV_OUTPUTS = PUBLIC_WEIGHTS["densenet121-res224-nih"].description["outputs"]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one publisher saves a network."""

    name: str
    outputs: tuple[str, ...]
    channels: int
    #: The mean square of the network's input.
    power: float
    #: Fields of `trainer.importing.description.Description`.
    description: dict[str, Any]


TORCHVISION = Layout(
    name="torchvision",
    outputs=CHEXNET_OUTPUTS,
    channels=3,
    power=1.0,
    description={"outputs": CHEXNET_OUTPUTS, "channels": 3, "scaling": "imagenet", "size": SIDE},
)
TORCHXRAYVISION = Layout(
    name="torchxrayvision",
    outputs=TXV_OUTPUTS,
    channels=1,
    power=1024.0**2 / 3,
    description={"outputs": TXV_OUTPUTS, "channels": 1, "range": (-1024.0, 1024.0), "size": SIDE},
)
LAYOUTS = {layout.name: layout for layout in (TORCHVISION, TORCHXRAYVISION)}


def published_tensors(layout):
    """The tensors under the names that the publisher's file has: a mapping of names to numpy arrays."""
    plain = plain_tensors(layout)
    if layout is TORCHXRAYVISION:
        thresholds = np.where(np.array(layout.outputs) == "", np.nan, 0.25).astype(np.float32)
        return plain | {"op_threshs": thresholds}
    # Files that a DataParallel network of PyTorch 0.3 wrote have no count of batches.
    return {_old_name(name): tensor for name, tensor in plain.items() if not name.endswith("num_batches_tracked")}


def plain_tensors(layout):
    """The same tensors under today's names of `torchvision.models.DenseNet`."""
    tensors = {}
    _add_convolution(tensors, layout, "features.conv0", (INITIAL, layout.channels, 7))
    _add_norm(tensors, layout, "features.norm0", np.full(INITIAL, 2 * layout.power))
    width = INITIAL
    for block, layers in enumerate(BLOCKS, 1):
        for layer in range(1, layers + 1):
            _add_dense_layer(tensors, layout, f"features.denseblock{block}.denselayer{layer}", width)
            width += GROWTH
        if block < len(BLOCKS):
            _add_norm(tensors, layout, f"features.transition{block}.norm", np.ones(width))
            _add_convolution(tensors, layout, f"features.transition{block}.conv", (width // 2, width, 1))
            width //= 2
    _add_norm(tensors, layout, "features.norm5", np.ones(width))
    outputs = len(layout.outputs)
    tensors["classifier.weight"] = _uniform(layout, "classifier.weight", (outputs, width), 2 / np.sqrt(width))
    tensors["classifier.bias"] = _uniform(layout, "classifier.bias", (outputs,), 1)
    return tensors


def images():
    """Two images, uint8 (2, SIDE, SIDE): blotches with noise on them, and noise alone."""
    random = np.random.default_rng(28).random
    blotches = np.kron(random((8, 8)), np.ones((8, 8)))
    noise = random((2, SIDE, SIDE))
    return (255 * np.stack([0.8 * blotches + 0.2 * noise[0], noise[1]])).astype(np.uint8)


def network_input(layout):
    """What the publisher's own program makes of `images()`: float32 (2, channels, SIDE, SIDE)."""
    gray = images()[:, None].astype(np.float32)
    if layout is TORCHXRAYVISION:
        return (2 * (gray / np.float32(255)) - 1) * np.float32(1024)
    mean, std = (np.float32(values)[None, :, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (gray / np.float32(255) - mean) / std


def recorded_logits(layout):
    """PyTorch's logits, float64 (2, outputs), of every output, unnamed ones too."""
    return np.array(json.loads(JSON.read_text(encoding="utf-8"))[layout.name])


def _add_dense_layer(tensors, layout, name, width):
    # A quarter of the channels between both convolutions varies so little that batch normalization's epsilon decides
    # how much of it is left. Published networks have such channels, too.
    variances = 10.0 ** np.where(np.arange(BOTTLENECK) % 4, 0, -6 + np.arange(BOTTLENECK) % 3)
    _add_norm(tensors, layout, f"{name}.norm1", np.ones(width))
    _add_convolution(tensors, layout, f"{name}.conv1", (BOTTLENECK, width, 1), variances)
    _add_norm(tensors, layout, f"{name}.norm2", variances)
    _add_convolution(tensors, layout, f"{name}.conv2", (GROWTH, BOTTLENECK, 3))


def _add_convolution(tensors, layout, name, shape, variances=1.0):
    """Weights OIHW whose outputs have about twice the mean square of the inputs, times `variances`."""
    made, given, side = shape
    weight = _uniform(layout, f"{name}.weight", (made, given, side, side), np.sqrt(6 / (given * side * side)))
    scale = np.broadcast_to(np.sqrt(variances), made)[:, None, None, None]
    tensors[f"{name}.weight"] = (weight * scale).astype(np.float32)


def _add_norm(tensors, layout, name, variances):
    """A batch normalization of channels with about these variances."""
    width, deviations = len(variances), np.sqrt(variances)
    tensors[f"{name}.weight"] = 1 + _uniform(layout, f"{name}.weight", (width,), 0.5)
    tensors[f"{name}.bias"] = _uniform(layout, f"{name}.bias", (width,), 0.5)
    mean = deviations * _uniform(layout, f"{name}.running_mean", (width,), 0.5)
    tensors[f"{name}.running_mean"] = mean.astype(np.float32)
    variance = variances * (1 + _uniform(layout, f"{name}.running_var", (width,), 0.5))
    tensors[f"{name}.running_var"] = variance.astype(np.float32)
    tensors[f"{name}.num_batches_tracked"] = np.array(1000, np.int64)


def _uniform(layout, name, shape, limit):
    """Float32 between -limit and limit that depend on the tensor's name alone."""
    seed = zlib.crc32(f"{layout.name} {name}".encode())
    return ((2 * np.random.default_rng(seed).random(shape) - 1) * limit).astype(np.float32)


def _old_name(name):
    for part in ("norm", "conv"):
        for number in "12":
            name = name.replace(f".{part}{number}.", f".{part}.{number}.") if "denselayer" in name else name
    return "module.densenet121." + name.replace("classifier.", "classifier.0.")
