"""Keras, compiled by XLA, on whatever backend it is set to (`KERAS_BACKEND`): TensorFlow or JAX, for GPUs above all."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

# Before the import: TensorFlow reads it once, and logs a page otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from db.errors import UserError
from worker.artifacts.keras_model import has_gpu, load_keras_model
from worker.artifacts.manifest import Artifact
from worker.images.pixels import Pixels
from worker.scoring.precision import choose_precision, cpu_has_bfloat16
from worker.scoring.scorer import Scores, check_model_shapes, pad_batch, score_all

#: Batch, height, width, channels.
_FEATURE_MAP_RANK: Final = 4
_OUT_OF_MEMORY_MESSAGES: Final = ("RESOURCE_EXHAUSTED", "ResourceExhausted", "out of memory")


class KerasScorer:
    """Scores with Keras."""

    def __init__(self, artifact: Artifact, precision: str = "auto") -> None:
        manifest = artifact.manifest
        self.findings = manifest.findings
        self.batch_size = manifest.batch_size
        self.precision: str = choose_precision(precision, has_bfloat16=has_gpu() or cpu_has_bfloat16())
        self.runtime = f"keras {keras.__version__} on {keras.backend.backend()}"
        self._shape = manifest.preprocessing.shape
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
        """See `Scorer.shrink`. XLA compiles for the new shape at the next pass."""
        self.batch_size //= 2


@contextmanager
def _translated_memory_errors() -> Iterator[None]:
    """XLA's word for a device without memory becomes Python's; each backend has a class of its own for it."""
    try:
        yield
    except Exception as error:
        if any(word in str(error) for word in _OUT_OF_MEMORY_MESSAGES):
            raise MemoryError("the device has no memory left") from error
        raise


def _to_bfloat16(model: Any) -> None:
    """Compute what makes maps of maps in bfloat16; the few numbers behind them, and the scores, stay float32."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            _to_bfloat16(layer)
        elif len(layer.output.shape) == _FEATURE_MAP_RANK:
            layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")


def _compile(model: Any) -> Callable[[Pixels], Any]:
    if keras.backend.backend() == "jax":
        import jax

        trained = [variable.value for variable in model.trainable_variables]
        fixed = [variable.value for variable in model.non_trainable_variables]
        forward: Callable[[Pixels], Any] = jax.jit(
            lambda batch: model.stateless_call(trained, fixed, batch, training=False)[0]
        )
        return forward
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(lambda batch: model(batch, training=False), jit_compile=True)
        return lambda batch: compiled(tf.constant(batch))
    raise UserError(f"--runtime keras: KERAS_BACKEND is {keras.backend.backend()}, not tensorflow or jax")
