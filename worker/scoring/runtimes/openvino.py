"""Scores on the CPU with OpenVINO from an artifact's exports, without loading TensorFlow or Keras."""

import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Final

import numpy as np

from db.errors import UserError
from worker.artifacts.exports import INT8, ExportCheck, FloatPrecision, export_sha256, read_format
from worker.artifacts.manifest import Artifact
from worker.images.pixels import Pixels
from worker.scoring.precision import choose_precision
from worker.scoring.runtimes.openvino_import import openvino
from worker.scoring.scorer import Scores, check_model_shapes, pad_batch

_PRECISION_HINTS: Final[dict[FloatPrecision, str]] = {"float32": "f32", "bfloat16": "bf16"}
#: Scans per core in one pass. With more, the activations between layers no longer fit the core's cache.
_SCANS_PER_CORE: Final = 8
#: Where NNCF writes in the graph how it was quantized, and what stands there if weights have seven bits.
_QUANTIZER_NOTES: Final = ["nncf", "quantization", "advanced_parameters"]
_SEVEN_BITS: Final = "'overflow_fix': 'enable'"


class OpenvinoScorer:
    """See `Scorer`. Computes each batch in small passes of one fixed size, on two streams side by side."""

    def __init__(self, artifact: Artifact, precision: str = "auto", check_export: ExportCheck | None = None) -> None:
        manifest = artifact.manifest
        self.findings = manifest.findings
        self.batch_size = manifest.batch_size
        self.runtime = f"openvino {openvino.__version__.split('-')[0]}"
        is_int8 = precision == "int8"
        # Layers that are not quantized are computed in this type.
        self._floats = choose_float_precision("auto" if is_int8 else precision)
        self.precision: str = "int8" if is_int8 else self._floats
        self._shape = manifest.preprocessing.shape
        name = INT8 if is_int8 else "openvino"
        files = read_format(artifact, name)
        self.export_sha256 = export_sha256({file: hashlib.sha256(files[file]).hexdigest() for file in files})
        if check_export is not None:
            check_export(name, self.export_sha256)
        graph, weights = files.values()
        # From memory, so that the loaded bytes are the verified ones.
        self._model = openvino.Core().read_model(graph, weights)
        if is_int8:
            _check_overflow(artifact, self._model)
        # Only the batch dimension is dynamic.
        inputs, outputs = self._model.input().partial_shape, self._model.output().partial_shape
        check_model_shapes(artifact, tuple(side.get_length() for side in list(inputs)[1:]), outputs[-1].get_length())
        cores = os.cpu_count() or 1
        #: Two passes at once, each on half of the cores, so that decoding on one core delays only one of them.
        self.streams = min(2, cores)
        self._threads = ThreadPoolExecutor(self.streams, thread_name_prefix="openvino")
        self._pass_size = min(self.batch_size, _SCANS_PER_CORE * math.ceil(cores / self.streams))
        self._compile()

    def score(self, pixels: Pixels) -> Scores:
        """See `Scorer.score`."""
        # Read once, because another thread may shrink it meanwhile.
        size = self._pass_size
        passes = [pixels[at : at + size] for at in range(0, len(pixels), size)]
        # The passes run side by side, so that even a single batch uses all cores.
        return np.concatenate(list(self._threads.map(self._score, passes)))

    def _score(self, pixels: Pixels) -> Scores:
        requests = self._requests
        request = requests.get()
        try:
            size = request.input_tensors[0].shape[0]
            if len(pixels) > size:
                # Another thread has shrunk the passes since these were cut; `score_all` cuts them again.
                raise MemoryError
            scores = request.infer([pad_batch(pixels, size)], share_inputs=True)[0]
            return np.array(scores[: len(pixels)], np.float32)
        finally:
            requests.put(request)

    def shrink(self) -> None:
        """See `Scorer.shrink`."""
        self.batch_size //= 2
        self._pass_size = min(self._pass_size, self.batch_size)
        self._compile()

    def _compile(self) -> None:
        shape = (self._pass_size, *self._shape)
        graph = compile_graph(self._model, shape, self._floats, streams=self.streams)
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.streams):
            request = graph.create_infer_request()
            request.infer([np.zeros(shape, np.uint8)])
            self._requests.put(request)


def _check_overflow(artifact: Artifact, graph: Any) -> None:
    """Refuse an int8 graph whose weights have eight bits: on CPUs without VNNI, sums overflow and scores are wrong."""
    if not graph.has_rt_info(_QUANTIZER_NOTES) or _SEVEN_BITS not in graph.get_rt_info(_QUANTIZER_NOTES).value:
        raise UserError(
            f"{artifact.folder}: its int8 export was made by an earlier version, and gives wrong scores on some CPUs; "
            "run 'trainer export --int8' again"
        )


def choose_float_precision(requested: str) -> FloatPrecision:
    """See `choose_precision`."""
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return choose_precision(requested, has_bfloat16="BF16" in capabilities)


def compile_graph(graph: Any, shape: tuple[int, ...], floats: FloatPrecision, *, streams: int = 1) -> Any:
    """Compile a graph for passes of one fixed shape.

    Args:
        graph: an `openvino.Model`, which is reshaped in place.
        shape: of uint8 pixels (batch, height, width, channels).
        floats: the type of all arithmetic that is not int8.
        streams: the number of requests that run side by side, each on its share of the cores.

    Returns:
        An `openvino.CompiledModel`.
    """
    graph.reshape(list(shape))
    # Set explicitly, because by default OpenVINO silently uses bfloat16 where the CPU has it.
    hints = {"INFERENCE_PRECISION_HINT": _PRECISION_HINTS[floats], "NUM_STREAMS": str(streams)}
    return openvino.Core().compile_model(graph, "CPU", hints)
