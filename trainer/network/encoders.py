"""Encoders, which turn pixels into features: Keras' own, and two DenseNets that Keras can build but does not name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from db.errors import UserError
from worker.artifacts.keras_import import keras, set_download_folder
from worker.artifacts.keras_model import RANGE_LAYER

#: Layers in each of a DenseNet's four blocks. Source: Huang et al., Densely Connected Convolutional Networks,
#: CVPR 2017, table 1. `densenet37` is ours: fewer of the same layers, for a fit of one minute on two cores.
DENSENETS: Final[Mapping[str, tuple[int, int, int, int]]] = {
    "densenet37": (4, 4, 4, 4),
    "densenet121": (6, 12, 24, 16),
    "densenet169": (6, 12, 32, 32),
    "densenet201": (6, 12, 48, 32),
    "densenet264": (6, 12, 64, 48),
}
ENCODERS: Final = (*DENSENETS, "resnet50")
#: Encoders whose ImageNet weights Keras publishes.
_IMAGENET_ENCODERS: Final = ("densenet121", "densenet169", "densenet201", "resnet50")
#: With Keras' default, 0.99, the moving statistics need about 500 steps until they describe the data.
_BATCH_NORM_MOMENTUM: Final = 0.9
#: Mean and standard deviation of ImageNet's R, G, B in 0..255, as Keras' DenseNets expect them: `preprocess_input` in
#: its mode torch.
_RGB_MEAN: Final = (123.675, 116.28, 103.53)
_RGB_STD: Final = (58.395, 57.12, 57.375)
#: Means that Keras' ResNet50 expects to be subtracted from B, G, R (mode caffe).
_BGR_MEAN: Final = (103.939, 116.779, 123.68)
#: Kernels for `mix_channels`: gray to three equal channels, and B, G, R to R, G, B.
GRAY_TO_THREE_CHANNELS: Final = ((1.0, 1.0, 1.0),)
_BGR_TO_RGB: Final = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))


def build_encoder(name: str, shape: tuple[int, int, int], weights: str = "none", *, averaging: float = 0.0) -> Any:
    """Build an encoder with average pooling, from float (B, H, W, C) to (B, features).

    Args:
        name: one of `ENCODERS`.
        shape: H, W and C, where C is `channels_for(...)`.
        weights: `none`, `imagenet`, or a file: Keras' own `..._notop.h5`, or the `model.keras` of an artifact.
        averaging: momentum of the moving average of weights, or 0. Batch normalization's statistics then lag as far
            behind as the averaged weights do.

    Raises:
        UserError: the encoder is unknown, or its weights cannot be loaded.
    """
    if name not in ENCODERS:
        raise UserError(f"--encoder {name!r} is unknown; choose from {', '.join(ENCODERS)}")
    if weights == "imagenet":
        encoder = _build_with_imagenet_weights(name, shape)
    else:
        encoder = _build_without_weights(name, shape)
        if weights != "none":
            _load_weights(encoder, Path(weights))
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = max(_BATCH_NORM_MOMENTUM, averaging)
    return encoder


def channels_for(name: str, weights: str, given: int) -> int:
    """The number of channels that the encoder needs for these weights, if the pixels have `given` channels.

    Raises:
        UserError: the file has no such encoder.
    """
    if weights.endswith(".keras"):
        return int(_load_saved_encoder(name, Path(weights)).input_shape[-1])
    return given if weights == "none" else 3


def scale_for_imagenet(pixels: Any, name: str) -> Any:
    """Scale float32 pixels in 0..255, gray or B, G, R, to what the encoder's ImageNet weights expect."""
    is_gray = pixels.shape[-1] == 1
    # Not by Keras' Normalization, because its eager tensors would become inputs of the exported ONNX graph.
    if name == "resnet50":
        image = mix_channels(pixels, GRAY_TO_THREE_CHANNELS) if is_gray else pixels
        return keras.layers.Rescaling(1.0, offset=[-mean for mean in _BGR_MEAN], dtype="float32", name=RANGE_LAYER)(
            image
        )
    scale = [1 / deviation for deviation in _RGB_STD]
    offset = [-mean * one for mean, one in zip(_RGB_MEAN, scale, strict=True)]
    image = mix_channels(pixels, GRAY_TO_THREE_CHANNELS if is_gray else _BGR_TO_RGB)
    return keras.layers.Rescaling(scale, offset=offset, dtype="float32", name=RANGE_LAYER)(image)


def mix_channels(image: Any, matrix: Sequence[Sequence[float]]) -> Any:
    """Mix the channels of a float32 image: new channel m is the sum over n of `matrix[n][m]` times old channel n.

    This is a convolution, because repeating or reversing channels takes OpenVINO a sixth of a DenseNet121's time.
    """
    # Lists instead of an array, because the kernel is written into the model's JSON.
    kernel = keras.initializers.Constant([[[list(row) for row in matrix]]])
    layer = keras.layers.Conv2D(
        len(matrix[0]), 1, use_bias=False, kernel_initializer=kernel, trainable=False, dtype="float32"
    )
    return layer(image)


def _build_without_weights(name: str, shape: tuple[int, int, int]) -> Any:
    fixed = {"include_top": False, "weights": None, "pooling": "avg", "input_shape": shape, "name": name}
    if name == "resnet50":
        return keras.applications.ResNet50(**fixed)
    # Keras' public API has only three depths; this function builds any.
    return keras.src.applications.densenet.DenseNet(list(DENSENETS[name]), **fixed)


def _build_with_imagenet_weights(name: str, shape: tuple[int, int, int]) -> Any:
    if name not in _IMAGENET_ENCODERS:
        raise UserError(
            f"--weights imagenet: Keras has none for {name}; choose --encoder from {', '.join(_IMAGENET_ENCODERS)}"
        )
    class_name = {"resnet50": "ResNet50"}.get(name, name.replace("densenet", "DenseNet"))
    set_download_folder()
    try:
        return getattr(keras.applications, class_name)(
            include_top=False, weights="imagenet", pooling="avg", input_shape=shape, name=name
        )
    except Exception as error:
        # Keras' download raises a bare Exception; for other errors a traceback would say no more than this sentence.
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"--weights imagenet cannot be downloaded ({cause:.200}); download the file elsewhere and name it with"
            " --weights FILE, or start from --weights none"
        ) from error


def _load_weights(encoder: Any, path: Path) -> None:
    if not path.is_file():
        raise _missing_file(path)
    try:
        if path.suffix == ".keras":
            encoder.set_weights(_load_saved_encoder(encoder.name, path).get_weights())
        else:
            encoder.load_weights(path)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _unusable_file(encoder.name, path, error) from error


def _load_saved_encoder(name: str, path: Path) -> Any:
    """The encoder of a saved model."""
    if not path.is_file():
        raise _missing_file(path)
    try:
        return keras.models.load_model(path, compile=False).get_layer(name)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _unusable_file(name, path, error) from error


def _missing_file(path: Path) -> UserError:
    return UserError(f"--weights {path}: no such file; give a file, imagenet, none, or a model in CXR_MODEL_DIR")


def _unusable_file(name: str, path: Path, error: Exception) -> UserError:
    cause = str(error).strip().splitlines()[0]
    return UserError(f"--weights {path}: does not hold the weights of {name} ({cause:.200}); choose another file")
