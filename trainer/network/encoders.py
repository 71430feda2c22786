"""The networks that turn pixels into features: Keras' own, and two DenseNets that it builds but does not name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import keras

# Public Keras names three depths only; this is the function that builds them.
from keras.src.applications.densenet import DenseNet

from db.errors import UserError

#: Layers in each of a DenseNet's four blocks. Source: Huang et al., Densely Connected Convolutional Networks,
#: CVPR 2017, table 1; `densenet37` is ours: the same layers, fewer of them, for a fit of one minute on two cores.
DENSENETS: Final[Mapping[str, tuple[int, int, int, int]]] = {
    "densenet37": (4, 4, 4, 4),
    "densenet121": (6, 12, 24, 16),
    "densenet169": (6, 12, 32, 32),
    "densenet201": (6, 12, 48, 32),
    "densenet264": (6, 12, 64, 48),
}
ENCODERS: Final = (*DENSENETS, "resnet50")
#: Encoders whose ImageNet weights Keras publishes.
_ON_IMAGENET: Final = ("densenet121", "densenet169", "densenet201", "resnet50")
#: Keras' default, 0.99, needs some 500 steps before what a fitted model normalises by is true.
_MOMENTUM: Final = 0.9
#: Mean and deviation of ImageNet's R, G, B in 0..255: what Keras' DenseNets are fed (`preprocess_input`, mode torch).
_RGB_MEAN: Final = (123.675, 116.28, 103.53)
_RGB_DEVIATION: Final = (58.395, 57.12, 57.375)
#: What Keras' ResNet50 is fed (mode caffe): B, G, R less their means.
_BGR_MEAN: Final = (103.939, 116.779, 123.68)
#: Which channels become which, see `on_channels`: gray on all three, and B, G, R to R, G, B.
SPREAD: Final = ((1.0, 1.0, 1.0),)
_REVERSED: Final = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))


def build_encoder(name: str, shape: tuple[int, int, int], weights: str = "none", *, averaging: float = 0.0) -> Any:
    """Build an encoder with average pooling: float (B, H, W, C) to (B, features).

    Args:
        name: one of `ENCODERS`.
        shape: H, W, C; C is what `channels_for` says.
        weights: `none`, `imagenet`, or a file: Keras' own `..._notop.h5`, or the `model.keras` of an artifact.
        averaging: momentum of the moving average of weights, 0 for none. What layers normalise by lags as far behind.

    Raises:
        UserError: the encoder is unknown, or its weights cannot be had.
    """
    if name not in ENCODERS:
        raise UserError(f"--encoder is {name!r}; there are {', '.join(ENCODERS)}")
    if weights == "imagenet":
        encoder = _with_imagenet(name, shape)
    else:
        encoder = _plain(name, shape)
        if weights != "none":
            _load(encoder, Path(weights))
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = max(_MOMENTUM, averaging)
    return encoder


def channels_for(name: str, weights: str, given: int) -> int:
    """How many channels the encoder must have for these weights, where pixels have `given`.

    Raises:
        UserError: the file holds no such encoder.
    """
    if weights.endswith(".keras"):
        return int(_donated(name, Path(weights)).input_shape[-1])
    return given if weights == "none" else 3


def as_on_imagenet(pixels: Any, name: str) -> Any:
    """Scale float32 pixels in 0..255, gray or B, G, R, to the channels that an encoder's ImageNet weights expect."""
    is_gray = pixels.shape[-1] == 1
    # Not Keras' Normalization: what it holds in eager tensors would be inputs of the exported ONNX graph.
    if name == "resnet50":
        image = on_channels(pixels, SPREAD) if is_gray else pixels
        return keras.layers.Rescaling(1.0, offset=[-mean for mean in _BGR_MEAN], dtype="float32")(image)
    scale = [1 / deviation for deviation in _RGB_DEVIATION]
    offset = [-mean * one for mean, one in zip(_RGB_MEAN, scale, strict=True)]
    image = on_channels(pixels, SPREAD if is_gray else _REVERSED)
    return keras.layers.Rescaling(scale, offset=offset, dtype="float32")(image)


def on_channels(image: Any, given: Sequence[Sequence[float]]) -> Any:
    """Make the channels of a float32 image anew: of old channel n, new channel m gets `given[n][m]`.

    By a convolution: to repeat channels and to turn them around takes OpenVINO a sixth of a DenseNet121's time.
    """
    # No array: it is written into the model's description.
    kernel = keras.initializers.Constant([[[list(new) for new in given]]])
    layer = keras.layers.Conv2D(
        len(given[0]), 1, use_bias=False, kernel_initializer=kernel, trainable=False, dtype="float32"
    )
    return layer(image)


def _plain(name: str, shape: tuple[int, int, int]) -> Any:
    fixed = {"include_top": False, "weights": None, "pooling": "avg", "input_shape": shape, "name": name}
    if name == "resnet50":
        return keras.applications.ResNet50(**fixed)
    return DenseNet(list(DENSENETS[name]), **fixed)


def _with_imagenet(name: str, shape: tuple[int, int, int]) -> Any:
    if name not in _ON_IMAGENET:
        raise UserError(f"--weights imagenet: there are none for {name}, only for {', '.join(_ON_IMAGENET)}")
    kind = {"resnet50": "ResNet50"}.get(name, name.replace("densenet", "DenseNet"))
    try:
        return getattr(keras.applications, kind)(
            include_top=False, weights="imagenet", pooling="avg", input_shape=shape, name=name
        )
    except Exception as error:
        # Keras' download raises a bare Exception; what else may come here is no better understood by a traceback.
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"--weights imagenet: cannot be fetched ({cause:.200}); fetch the file elsewhere and name it with"
            " --weights FILE, or begin with --weights none"
        ) from error


def _load(encoder: Any, path: Path) -> None:
    if not path.is_file():
        raise _no_file(path)
    try:
        if path.suffix == ".keras":
            encoder.set_weights(_donated(encoder.name, path).get_weights())
        else:
            encoder.load_weights(path)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _no_weights(encoder.name, path, error) from error


def _donated(name: str, path: Path) -> Any:
    """The encoder within a saved model."""
    if not path.is_file():
        raise _no_file(path)
    try:
        return keras.models.load_model(path, compile=False).get_layer(name)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _no_weights(name, path, error) from error


def _no_file(path: Path) -> UserError:
    return UserError(f"--weights {path}: no such file (or imagenet, or none)")


def _no_weights(name: str, path: Path, error: Exception) -> UserError:
    cause = str(error).strip().splitlines()[0]
    return UserError(f"--weights {path}: holds no weights of {name} ({cause:.200})")
