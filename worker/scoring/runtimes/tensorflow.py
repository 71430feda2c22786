"""TensorFlow: the model's graph frozen at one batch shape, on the CPU or a GPU."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

# Before the import: TensorFlow reads it once, and logs a page otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from worker.artifacts.keras_model import load_keras_model
from worker.artifacts.manifest import Artifact
from worker.images.pixels import Pixels
from worker.scoring.precision import choose_precision, cpu_has_bfloat16
from worker.scoring.scorer import Scores, check_model_shapes, pad_batch, score_all

#: Grappler's option.
_BFLOAT16: Final = "auto_mixed_precision_onednn_bfloat16"

logger = logging.getLogger(__name__)


class TensorflowScorer:
    """Scores with TensorFlow.

    Freezing turns variables into constants, which lets Grappler fold batch normalisation into convolutions: a
    sixth more scans a second than `tf.function`, 40% more than `model.predict` on two cores, for a difference
    of 1e-7.
    """

    def __init__(self, artifact: Artifact, precision: str = "auto") -> None:
        manifest = artifact.manifest
        self.findings = manifest.findings
        self.batch_size = manifest.batch_size
        self.runtime = f"tensorflow {tf.__version__}"
        self._shape = manifest.preprocessing.shape
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        self.precision: str = choose_precision(precision, has_bfloat16=cpu_has_bfloat16() and not on_gpu)
        with _translated_memory_errors():
            # Kept, for `shrink`: the file may be gone by then.
            self._model = load_keras_model(artifact)
            check_model_shapes(artifact, tuple(self._model.input_shape[1:]), self._model.output_shape[-1])
            self._forward = _freeze(self._model, (self.batch_size, *self._shape))
        _warn_of_cpu()
        score_all(self, np.zeros((self.batch_size, *self._shape), np.uint8))

    def score(self, pixels: Pixels) -> Scores:
        """See `Scorer.score`."""
        with _translated_memory_errors(), _computing_in(self.precision):
            (scores,) = self._forward(tf.constant(pad_batch(pixels, self.batch_size)))
            return np.asarray(scores.numpy()[: len(pixels)], np.float32)

    def shrink(self) -> None:
        """See `Scorer.shrink`."""
        self.batch_size //= 2
        with _translated_memory_errors():
            self._forward = _freeze(self._model, (self.batch_size, *self._shape))


@contextmanager
def _translated_memory_errors() -> Iterator[None]:
    """TensorFlow's word for a device without memory becomes Python's."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError("the device has no memory left") from error


def _warn_of_cpu() -> None:
    """A process that was pinned to a GPU sees that one only, as GPU:0, where TensorFlow puts the graph by itself."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") and not tf.config.list_physical_devices("GPU"):
        logger.warning("this TensorFlow cannot use the GPU that it was given, and scores on the CPU")


@contextmanager
def _computing_in(precision: str) -> Iterator[None]:
    """Within, oneDNN computes graphs in it: on the CPU, for GPUs take no notice. Another's graphs stay as they are."""
    if precision == "float32":
        yield
        return
    # The head stays float32, or scores would be rounded to eight bits. A list that contradicts itself would do nothing.
    for change in ("ALLOWLIST_REMOVE=MatMul", "INFERLIST_REMOVE=Sigmoid", "DENYLIST_ADD=MatMul,Sigmoid"):
        name, _, operations = change.partition("=")
        os.environ[f"TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_{name}"] = operations
    before = tf.config.optimizer.get_experimental_options().get(_BFLOAT16, False)
    tf.config.optimizer.set_experimental_options({_BFLOAT16: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({_BFLOAT16: before})


def _freeze(model: Any, shape: tuple[int, ...]) -> Any:
    forward = tf.function(
        lambda pixels: model(pixels, training=False), input_signature=[tf.TensorSpec(shape, tf.uint8)]
    )
    return convert_variables_to_constants_v2(forward.get_concrete_function())
