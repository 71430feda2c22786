"""Loads the Keras model of an artifact, verified and without code of its own; and looks for a GPU."""

from typing import Any, Final

from db.errors import UserError
from worker.artifacts.artifact import verified_copy
from worker.artifacts.keras_import import keras
from worker.artifacts.manifest import MODEL_FILE, Artifact
from worker.images.preprocessing import Preprocessing

#: Name of the layer that scales pixels, to the manifest's range or by the network itself; it must compute in float32.
RANGE_LAYER: Final = "range"


def load_keras_model(artifact: Artifact) -> Any:
    """Load the `keras.Model` whose sha256 the manifest gives, with the scaling to the manifest's range in front.

    Returns:
        A model from uint8 (B, H, W, C), 0..255, to float32 (B, findings). Under rule 2 the network in the file may take
        float32, and must if the range is another than 0..255.

    Raises:
        UserError: Keras cannot load it, it contains code, its file was damaged after the artifact was verified, or it
            takes pixels that the manifest scales.
    """
    path, rule = artifact.folder / MODEL_FILE, artifact.manifest.preprocessing
    try:
        with verified_copy(artifact, MODEL_FILE) as copy:
            # Safe mode refuses layers that contain code, such as Lambda.
            network = keras.models.load_model(copy, compile=False, safe_mode=True)
        return network if rule.rule == 1 else _from_pixels(network, rule, str(path))
    except (OSError, ValueError, TypeError, KeyError) as error:
        # Keras prints the whole configuration first; the last line gives the cause.
        cause = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise UserError(f"{path}: Keras {keras.__version__} cannot load it: {cause[0]:.300}") from error


def _from_pixels(network: Any, rule: Preprocessing, path: str) -> Any:
    black, white = rule.range
    if network.inputs[0].dtype == "uint8":
        if (black, white) == (0, 255):
            return network
        raise UserError(
            f"{path}: its network takes uint8 pixels, and the manifest scales them to {black:g}..{white:g};"
            " publish a network that takes float32"
        )
    # The network's own shape, so that one which contradicts the manifest is refused where all models are checked.
    pixels = keras.Input(network.input_shape[1:], dtype="uint8", name="pixels")
    scaled = keras.layers.Rescaling((white - black) / 255, offset=black, dtype="float32", name=RANGE_LAYER)(pixels)
    return keras.Model(pixels, network(scaled), name="from_pixels")


def has_gpu() -> bool:
    """Whether Keras' backend sees a GPU."""
    try:
        return bool(keras.distribution.list_devices("gpu"))
    except RuntimeError:
        # On a machine without a GPU TensorFlow returns an empty list, but JAX raises.
        return False
