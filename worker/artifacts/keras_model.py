"""Loads the Keras model of an artifact, verified and without code of its own; and looks for a GPU."""

from typing import Any

from db.errors import UserError
from worker.artifacts.artifact import verified_copy
from worker.artifacts.keras_import import keras
from worker.artifacts.manifest import MODEL_FILE, Artifact


def load_keras_model(artifact: Artifact) -> Any:
    """Load the `keras.Model` whose sha256 the manifest gives.

    Raises:
        UserError: Keras cannot load it, it contains code, or its file was damaged after the artifact was verified.
    """
    path = artifact.folder / MODEL_FILE
    try:
        with verified_copy(artifact, MODEL_FILE) as copy:
            # Safe mode refuses layers that contain code, such as Lambda.
            return keras.models.load_model(copy, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        # Keras prints the whole configuration first; the last line gives the cause.
        cause = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise UserError(f"{path}: Keras {keras.__version__} cannot load it: {cause[0]:.300}") from error


def has_gpu() -> bool:
    """Whether Keras' backend sees a GPU."""
    try:
        return bool(keras.distribution.list_devices("gpu"))
    except RuntimeError:
        # On a machine without a GPU TensorFlow returns an empty list, but JAX raises.
        return False
