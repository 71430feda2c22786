"""OpenVINO on the CPU: what `trainer export` made of the model. Neither TensorFlow nor Keras is loaded."""

from typing import Any, Final

import numpy as np

from worker.artifact import Artifact
from worker.exports import OPENVINO_FILE, read_format
from worker.pixels import Pixels
from worker.precision import choose_precision
from worker.quiet import openvino
from worker.scorer import Scores, check_fit, padded, score_all

_HINTS: Final = {"float32": "f32", "bfloat16": "bf16"}
_WEIGHTS_FILE: Final = "openvino.bin"


class OpenvinoScorer:
    """Scores with OpenVINO."""

    def __init__(self, artifact: Artifact, precision: str = "auto") -> None:
        manifest = artifact.manifest
        self.findings = manifest.findings
        self.batch_size = manifest.batch_size
        self.runtime = f"openvino {openvino.__version__.split('-')[0]}"
        self._core = openvino.Core()
        self.precision = choose_precision(
            precision, has_bfloat16="BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        )
        self._shape = manifest.preprocessing.shape
        files = read_format(artifact, "openvino")
        # From memory: what is loaded is what was hashed.
        self._model = self._core.read_model(files[OPENVINO_FILE], files[_WEIGHTS_FILE])
        # The batch is open, the rest is not.
        given, made = self._model.input().partial_shape, self._model.output().partial_shape
        check_fit(artifact, tuple(side.get_length() for side in list(given)[1:]), made[-1].get_length())
        self._request = self._compile()
        score_all(self, np.zeros((self.batch_size, *self._shape), np.uint8))

    def score(self, pixels: Pixels) -> Scores:
        """See `Scorer.score`."""
        scores = self._request.infer([padded(pixels, self.batch_size)], share_inputs=True)[0]
        return np.array(scores[: len(pixels)], np.float32)

    def shrink(self) -> None:
        """See `Scorer.shrink`."""
        self.batch_size //= 2
        self._request = self._compile()

    def _compile(self) -> Any:
        self._model.reshape([self.batch_size, *self._shape])
        # Said outright: left to itself OpenVINO takes bfloat16 where the CPU has it, and nobody would know.
        hints = {"INFERENCE_PRECISION_HINT": _HINTS[self.precision], "PERFORMANCE_HINT": "LATENCY"}
        return self._core.compile_model(self._model, "CPU", hints).create_infer_request()
