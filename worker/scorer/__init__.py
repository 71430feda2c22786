"""A scorer turns a batch of pixels into scores. Which runtime does it is behind this door."""

import importlib.util
import logging
import os
from collections.abc import Callable
from threading import Lock
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from db.errors import NoRoom, UserError
from worker.artifact import Artifact
from worker.exports import EXPORTS_FILE, read_format
from worker.pixels import Pixels

Scores = NDArray[np.float32]

logger = logging.getLogger(__name__)
_shrinking = Lock()


class Scorer(Protocol):
    """A loaded and warm model.

    It may say in `streams`, an int, how many threads may call `score` at once; without it, one at a time.
    """

    #: The model's outputs, in order.
    findings: tuple[str, ...]
    #: Scans that it is given at once, always the same but for `shrink`.
    batch_size: int
    #: Recorded with every outcome, for instance `tensorflow 2.21.0` and `float32`.
    runtime: str
    precision: str

    def score(self, pixels: Pixels) -> Scores:
        """Score uint8 (n, height, width, channels), 1 <= n <= batch_size, to float32 (n, findings) in [0, 1].

        Every pass has as many rows, whatever n is, so that a scan's scores do not depend on its neighbours.

        Raises:
            MemoryError: the device has no room for a pass of this size.
        """

    def shrink(self) -> None:
        """Halve `batch_size`, which is 2 or more, for good."""


def streams_of(scorer: Scorer) -> int:
    """How many batches it scores at once."""
    return getattr(scorer, "streams", 1)


def score_all(scorer: Scorer, pixels: Pixels) -> Scores:
    """Score uint8 (n, height, width, channels), n >= 1, in passes that the device has room for.

    Raises:
        NoRoom: it has none for a pass of one scan.
    """
    while True:
        size = scorer.batch_size
        try:
            return np.concatenate([scorer.score(pixels[at : at + size]) for at in range(0, len(pixels), size)])
        except MemoryError as error:
            if size == 1:
                raise NoRoom("the device has no memory for a batch of one scan") from error
            with _shrinking:
                # Else another thread has done it.
                if scorer.batch_size == size:
                    scorer.shrink()
                    logger.warning("no memory for a batch of %d scans: %d from now on", size, scorer.batch_size)


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
        MemoryError, NoRoom: the device has no memory for it.
    """
    if ":" in runtime:
        return _load_factory(runtime)(artifact)
    chosen = _fastest(artifact, precision) if runtime == "auto" else runtime
    if precision == "int8" and chosen != "openvino":
        raise UserError("--precision int8: OpenVINO alone computes in it, on the CPU: --runtime openvino")
    if chosen == "openvino":
        if not _has_openvino():
            raise UserError("--runtime openvino: it is not installed: pip install 'nightread[openvino]'")
        from worker.scorer.openvino import OpenvinoScorer

        return OpenvinoScorer(artifact, precision)
    if chosen == "keras":
        from worker.scorer.keras import KerasScorer

        return KerasScorer(artifact, precision)
    if chosen == "tensorflow":
        from worker.scorer.tensorflow import TensorflowScorer

        return TensorflowScorer(artifact, precision)
    raise UserError(f"--runtime {runtime}: this program knows auto, tensorflow, openvino and keras")


def _load_factory(runtime: str) -> Callable[[Artifact], Scorer]:
    module, _, name = runtime.partition(":")
    try:
        return cast("Callable[[Artifact], Scorer]", getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise UserError(f"--runtime {runtime}: {error}") from error


def _fastest(artifact: Artifact, precision: str) -> str:
    """TensorFlow on a GPU; on the CPU OpenVINO, where it is installed and the model was exported to it.

    Or where nothing else computes in this precision: it then says what is missing.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        return "tensorflow"
    return "openvino" if precision == "int8" or _can_openvino(artifact) else "tensorflow"


def _can_openvino(artifact: Artifact) -> bool:
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


def check_fit(artifact: Artifact, shape: tuple[int, ...], outputs: int) -> None:
    """Compare what a loaded model takes (height, width, channels) and makes with what its manifest promises.

    Raises:
        UserError: they differ; scores would land under the wrong findings.
    """
    manifest = artifact.manifest
    if shape != manifest.preprocessing.shape:
        raise UserError(
            f"{artifact.folder}: the model takes {shape}, its manifest promises {manifest.preprocessing.shape}"
        )
    if outputs != len(manifest.findings):
        raise UserError(
            f"{artifact.folder}: the model has {outputs} outputs, its manifest promises {len(manifest.findings)}"
        )


def padded(pixels: Pixels, batch_size: int) -> Pixels:
    """The batch filled up with black scans to its one fixed size."""
    missing = batch_size - len(pixels)
    return np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), np.uint8)]) if missing else pixels
