"""Scores with Keras on the backend that `KERAS_BACKEND` names, TensorFlow or JAX, on a GPU or the CPU."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from worker.artifacts.keras_import import keras
from worker.artifacts.keras_model import RANGE_LAYER, has_gpu, load_keras_model
from worker.artifacts.manifest import Artifact
from worker.images.pixels import Pixels
from worker.scoring.precision import choose_precision, cpu_has_bfloat16
from worker.scoring.scorer import Scores, check_model_shapes, pad_batch, score_all

#: Dimensions of a feature map: batch, height, width, channels.
_FEATURE_MAP_RANK: Final = 4
_OUT_OF_MEMORY: Final = ("resourceexhausted", "resource_exhausted", "out of memory")

logger = logging.getLogger(__name__)


class KerasScorer:
    """See `Scorer`."""

    def __init__(self, artifact: Artifact, precision: str = "auto") -> None:
        manifest = artifact.manifest
        self.findings = manifest.findings
        self.batch_size = manifest.batch_size
        self.precision: str = choose_precision(precision, has_bfloat16=has_gpu() or cpu_has_bfloat16())
        self.runtime = f"keras {keras.__version__} on {keras.backend.backend()}"
        self._shape = manifest.preprocessing.shape
        _warn_of_cpu()
        with _translated_memory_errors():
            model = load_keras_model(artifact)
            check_model_shapes(artifact, tuple(model.input_shape[1:]), model.output_shape[-1])
            if self.precision == "bfloat16":
                _to_bfloat16(model)
            self._forward = _compile(model)
        score_all(self, np.zeros((self.batch_size, *self._shape), np.uint8))

    def score(self, pixels: Pixels) -> Scores:
        """See `Scorer.score`."""
        with _translated_memory_errors():
            scores = keras.ops.convert_to_numpy(self._forward(pad_batch(pixels, self.batch_size)))
        return np.array(scores[: len(pixels)], np.float32)

    def shrink(self) -> None:
        """See `Scorer.shrink`. The model is compiled for the new batch size at the next pass."""
        self.batch_size //= 2


@contextmanager
def _translated_memory_errors() -> Iterator[None]:
    """Raise MemoryError in place of the backends' own errors for a device without memory."""
    try:
        yield
    except Exception as error:
        # Each backend has classes of its own; all of them say it in the class's name or in the message.
        text = f"{type(error).__name__}: {error}".lower()
        if any(word in text for word in _OUT_OF_MEMORY):
            raise MemoryError("the device has no memory left") from error
        raise


def _warn_of_cpu() -> None:
    if os.environ.get("CUDA_VISIBLE_DEVICES") and not has_gpu():
        backend = keras.backend.backend()
        logger.warning("Keras on %s cannot use this worker's GPU; scoring on the CPU", backend)


def _to_bfloat16(model: Any) -> None:
    """Compute feature maps in bfloat16.

    The few features that follow from them and the scores stay float32, and so does the scaling of pixels, whose factors
    bfloat16 would round.
    """
    for layer in model.layers:
        if hasattr(layer, "layers"):
            _to_bfloat16(layer)
        elif len(layer.output.shape) == _FEATURE_MAP_RANK and layer.name != RANGE_LAYER:
            layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")


def _compile(model: Any) -> Callable[[Pixels], Any]:
    """From uint8 (batch, height, width, channels) to the backend's float32 (batch, findings)."""
    if keras.backend.backend() == "jax":
        import jax

        trained = [variable.value for variable in model.trainable_variables]
        fixed = [variable.value for variable in model.non_trainable_variables]
        forward: Callable[[Pixels], Any] = jax.jit(
            lambda batch: model.stateless_call(trained, fixed, batch, training=False)[0]
        )
        return forward
    import tensorflow as tf

    # On a CPU oneDNN, without XLA, scores 1.1 (float32) to 1.6 (bfloat16) times as many scans per second.
    compiled = tf.function(lambda batch: model(batch, training=False), jit_compile=has_gpu())
    return lambda batch: compiled(tf.constant(batch))
