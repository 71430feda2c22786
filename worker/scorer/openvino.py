"""OpenVINO on the CPU: what `trainer export` made of the model. Neither TensorFlow nor Keras is loaded."""

from typing import Any, Final

import numpy as np

from worker.artifact import Artifact
from worker.exports import INT8, read_format
from worker.pixels import Pixels
from worker.precision import Floats, choose_precision
from worker.quiet import openvino
from worker.scorer import Scores, check_fit, padded, score_all

_HINTS: Final[dict[Floats, str]] = {"float32": "f32", "bfloat16": "bf16"}


class OpenvinoScorer:
    """Scores with OpenVINO."""

    def __init__(self, artifact: Artifact, precision: str = "auto") -> None:
        manifest = artifact.manifest
        self.findings = manifest.findings
        self.batch_size = manifest.batch_size
        self.runtime = f"openvino {openvino.__version__.split('-')[0]}"
        is_int8 = precision == "int8"
        # What is not in int8 is in this.
        self._floats = choose_floats("auto" if is_int8 else precision)
        self.precision: str = "int8" if is_int8 else self._floats
        self._shape = manifest.preprocessing.shape
        graph, weights = read_format(artifact, INT8 if is_int8 else "openvino").values()
        # From memory: what is loaded is what was hashed.
        self._model = openvino.Core().read_model(graph, weights)
        # The batch is open, the rest is not.
        given, made = self._model.input().partial_shape, self._model.output().partial_shape
        check_fit(artifact, tuple(side.get_length() for side in list(given)[1:]), made[-1].get_length())
        self._request = compile_graph(self._model, (self.batch_size, *self._shape), self._floats)
        score_all(self, np.zeros((self.batch_size, *self._shape), np.uint8))

    def score(self, pixels: Pixels) -> Scores:
        """See `Scorer.score`."""
        scores = self._request.infer([padded(pixels, self.batch_size)], share_inputs=True)[0]
        return np.array(scores[: len(pixels)], np.float32)

    def shrink(self) -> None:
        """See `Scorer.shrink`."""
        self.batch_size //= 2
        self._request = compile_graph(self._model, (self.batch_size, *self._shape), self._floats)


def choose_floats(wish: str) -> Floats:
    """See `choose_precision`."""
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return choose_precision(wish, has_bfloat16="BF16" in able)


def compile_graph(graph: Any, shape: tuple[int, ...], floats: Floats) -> Any:
    """What infers in passes of this one shape (batch, height, width, channels), to which the graph is changed.

    What the graph does not say is int8 is computed in `floats`.
    """
    graph.reshape(list(shape))
    # Said outright: left to itself OpenVINO takes bfloat16 where the CPU has it, and nobody would know.
    hints = {"INFERENCE_PRECISION_HINT": _HINTS[floats], "PERFORMANCE_HINT": "LATENCY"}
    return openvino.Core().compile_model(graph, "CPU", hints).create_infer_request()
