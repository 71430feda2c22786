"""OpenVINO on the CPU: what `trainer export` made of the model. Neither TensorFlow nor Keras is loaded."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Final

import numpy as np

from worker.artifacts.exports import INT8, Floats, read_format
from worker.artifacts.manifest import Artifact
from worker.images.pixels import Pixels
from worker.scoring.precision import choose_precision
from worker.scoring.runtimes.openvino_import import openvino
from worker.scoring.scorer import Scores, check_fit, padded

_HINTS: Final[dict[Floats, str]] = {"float32": "f32", "bfloat16": "bf16"}
#: Scans that a core has in hand at once: of more, what one layer leaves for the next does not stay in the core's cache.
_EACH_CORE: Final = 8


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
        cores = os.cpu_count() or 1
        #: Two passes, each on half of the cores: what decoding takes of one core does not hold up the other.
        self.streams = min(2, cores)
        self._threads = ThreadPoolExecutor(self.streams, thread_name_prefix="openvino")
        self._pass = min(self.batch_size, _EACH_CORE * math.ceil(cores / self.streams))
        self._compile()

    def score(self, pixels: Pixels) -> Scores:
        """See `Scorer.score`."""
        # Read once: another thread may shrink it.
        size = self._pass
        passes = [pixels[at : at + size] for at in range(0, len(pixels), size)]
        # Side by side, so that a batch by itself, the last of a chunk, has all cores.
        return np.concatenate(list(self._threads.map(self._score, passes)))

    def _score(self, pixels: Pixels) -> Scores:
        requests = self._requests
        request = requests.get()
        try:
            size = request.input_tensors[0].shape[0]
            if len(pixels) > size:
                # It was, since these were cut.
                raise MemoryError
            scores = request.infer([padded(pixels, size)], share_inputs=True)[0]
            return np.array(scores[: len(pixels)], np.float32)
        finally:
            requests.put(request)

    def shrink(self) -> None:
        """See `Scorer.shrink`."""
        self.batch_size //= 2
        self._pass = min(self._pass, self.batch_size)
        self._compile()

    def _compile(self) -> None:
        shape = (self._pass, *self._shape)
        graph = compile_graph(self._model, shape, self._floats, streams=self.streams)
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.streams):
            request = graph.create_infer_request()
            request.infer([np.zeros(shape, np.uint8)])
            self._requests.put(request)


def choose_floats(requested: str) -> Floats:
    """See `choose_precision`."""
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return choose_precision(requested, has_bfloat16="BF16" in able)


def compile_graph(graph: Any, shape: tuple[int, ...], floats: Floats, *, streams: int = 1) -> Any:
    """What makes requests for passes of this one shape (batch, height, width, channels), to which the graph is changed.

    Args:
        graph: an `openvino.Model`.
        shape: of uint8 pixels.
        floats: in which all is computed that the graph does not say is int8.
        streams: how many requests run side by side, each on its share of the cores.
    """
    graph.reshape(list(shape))
    # Said outright: left to itself OpenVINO takes bfloat16 where the CPU has it, and nobody would know.
    hints = {"INFERENCE_PRECISION_HINT": _HINTS[floats], "NUM_STREAMS": str(streams)}
    return openvino.Core().compile_model(graph, "CPU", hints)
