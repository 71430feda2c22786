"""Chooses the runtime and loads the model."""

import importlib.util
import logging
import os
from collections.abc import Callable
from typing import cast

from db.errors import UserError
from worker.artifacts.exports import EXPORTS_FILE, read_format
from worker.artifacts.manifest import Artifact
from worker.scoring.scorer import Scorer

logger = logging.getLogger(__name__)


def open_scorer(artifact: Artifact, runtime: str = "auto", precision: str = "auto") -> Scorer:
    """Load and warm an artifact's model.

    Args:
        artifact: a verified artifact.
        runtime: `tensorflow`, `openvino`, `keras` (on the backend that Keras is set to), or `auto`, the fastest of them
            that is here; `module:callable` is called with the artifact.
        precision: `float32`, `bfloat16`, or `auto`, the fastest of these that the device computes in; `int8` where it
            was exported, for its scores are others.

    Raises:
        UserError: no such runtime or precision, the model was not exported to it, or is not what its manifest says.
        MemoryError, OutOfDeviceMemory: the device has no memory for it.
    """
    if ":" in runtime:
        return _load_factory(runtime)(artifact)
    chosen = _choose_runtime(artifact, precision) if runtime == "auto" else runtime
    if precision == "int8" and chosen != "openvino":
        raise UserError("--precision int8: OpenVINO alone computes in it, on the CPU: --runtime openvino")
    if chosen == "openvino":
        if not _has_openvino():
            raise UserError("--runtime openvino: it is not installed: pip install 'nightread[openvino]'")
        from worker.scoring.runtimes.openvino import OpenvinoScorer

        return OpenvinoScorer(artifact, precision)
    if chosen == "keras":
        from worker.scoring.runtimes.keras import KerasScorer

        return KerasScorer(artifact, precision)
    if chosen == "tensorflow":
        from worker.scoring.runtimes.tensorflow import TensorflowScorer

        return TensorflowScorer(artifact, precision)
    raise UserError(f"--runtime {runtime}: this program knows auto, tensorflow, openvino and keras")


def _load_factory(runtime: str) -> Callable[[Artifact], Scorer]:
    module, _, name = runtime.partition(":")
    try:
        return cast("Callable[[Artifact], Scorer]", getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise UserError(f"--runtime {runtime}: {error}") from error


def _choose_runtime(artifact: Artifact, precision: str) -> str:
    """TensorFlow on a GPU; on the CPU OpenVINO, where it is installed and the model was exported to it.

    Or where nothing else computes in this precision: it then says what is missing.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        return "tensorflow"
    return "openvino" if precision == "int8" or _can_use_openvino(artifact) else "tensorflow"


def _can_use_openvino(artifact: Artifact) -> bool:
    if not _has_openvino() or not (artifact.folder / EXPORTS_FILE).exists():
        return False
    try:
        read_format(artifact, "openvino")
    except UserError as error:
        # Slower is better than not at all.
        logger.warning("%s; scored on TensorFlow instead", error)
        return False
    return True


def _has_openvino() -> bool:
    return importlib.util.find_spec("openvino") is not None
