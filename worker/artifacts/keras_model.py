"""The Keras model of an artifact, loaded as it was published or not at all; and what it may run on."""

from typing import Any

import keras

from db.errors import UserError
from worker.artifacts.artifact import own_copy
from worker.artifacts.manifest import MODEL_FILE, Artifact


def load_keras_model(artifact: Artifact) -> Any:
    """The Keras model whose bytes the manifest vouches for.

    Raises:
        UserError: Keras cannot load it, or it brings code of its own; or its file was damaged since it was verified.
    """
    path = artifact.folder / MODEL_FILE
    try:
        with own_copy(artifact, MODEL_FILE) as copy:
            # Safe: no layer that brings code of its own is made.
            return keras.models.load_model(copy, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        # Keras shows all of the model before it says why.
        cause = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise UserError(f"{path}: Keras {keras.__version__} cannot load it: {cause[0]:.300}") from error


def has_gpu() -> bool:
    """Whether Keras' backend sees a GPU."""
    try:
        return bool(keras.distribution.list_devices("gpu"))
    except RuntimeError:
        # Where there is none, TensorFlow lists none, and JAX knows of no such kind.
        return False
