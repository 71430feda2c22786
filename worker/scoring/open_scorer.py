"""Chooses the runtime and loads the model."""

import importlib.util
import logging
import os
from collections.abc import Callable
from typing import cast

from db.errors import UserError
from worker.artifacts.exports import EXPORTS_FILE, ExportCheck, read_format
from worker.artifacts.manifest import Artifact
from worker.scoring.scorer import Scorer

logger = logging.getLogger(__name__)


def open_scorer(
    artifact: Artifact, runtime: str = "auto", precision: str = "auto", check_export: ExportCheck | None = None
) -> Scorer:
    """Load an artifact's model and warm it up.

    Args:
        artifact: a verified artifact.
        runtime: `openvino`, `keras` (on the backend that Keras is set to), `auto`, which is the faster of the two here,
            or `package.module:callable`, which is called with the artifact and returns a `Scorer`.
        precision: `float32`, `bfloat16`, or `auto`, which is the faster of the two on this device. `int8`, whose scores
            differ, must be requested, and the model must have been exported to it.
        check_export: asked before an export is loaded. One that it refuses is not replaced by another runtime.

    Raises:
        UserError: the runtime or precision is unknown or not available, the model was not exported to it, its
            export is refused, or the model does not match its manifest.
        MemoryError, OutOfDeviceMemory: the device has no memory for the model.
    """
    if ":" in runtime:
        return _load_factory(runtime)(artifact)
    chosen = _choose_runtime(artifact, precision) if runtime == "auto" else runtime
    if precision == "int8" and chosen != "openvino":
        raise UserError("--precision int8: only OpenVINO on a CPU supports it; use --runtime openvino")
    if chosen == "openvino":
        if not _has_openvino():
            raise UserError("--runtime openvino: it is not installed; run pip install 'nightread[openvino]'")
        from worker.scoring.runtimes.openvino import OpenvinoScorer

        return OpenvinoScorer(artifact, precision, check_export)
    # Earlier versions had a runtime of their own for TensorFlow, and settings may still name it.
    if chosen in ("keras", "tensorflow"):
        from worker.scoring.runtimes.keras import KerasScorer

        return KerasScorer(artifact, precision)
    raise UserError(f"--runtime {runtime}: unknown; use auto, openvino, keras or package.module:callable")


def _load_factory(runtime: str) -> Callable[[Artifact], Scorer]:
    module, _, name = runtime.partition(":")
    try:
        return cast("Callable[[Artifact], Scorer]", getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise UserError(f"--runtime {runtime}: cannot be imported: {error}") from error


def _choose_runtime(artifact: Artifact, precision: str) -> str:
    """Keras on a GPU; on a CPU OpenVINO if it is installed and the model was exported to it, otherwise Keras."""
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        return "keras"
    # Only OpenVINO computes in int8. If it cannot here, opening it raises the error that says why.
    return "openvino" if precision == "int8" or _can_use_openvino(artifact) else "keras"


def _can_use_openvino(artifact: Artifact) -> bool:
    if not _has_openvino() or not (artifact.folder / EXPORTS_FILE).exists():
        return False
    try:
        read_format(artifact, "openvino")
    except UserError as error:
        # Slow scoring is better than none.
        logger.warning("%s; scoring with Keras instead", error)
        return False
    return True


def _has_openvino() -> bool:
    return importlib.util.find_spec("openvino") is not None
