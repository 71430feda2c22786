"""A scorer turns a batch of pixels into scores. Which runtime does it is behind this door."""

import importlib
import logging
from collections.abc import Callable
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from db.errors import NoRoom, UserError
from worker.artifact import Artifact
from worker.pixels import Pixels

Scores = NDArray[np.float32]

logger = logging.getLogger(__name__)


class Scorer(Protocol):
    """A loaded and warm model."""

    #: The model's outputs, in order.
    findings: tuple[str, ...]
    #: Scans in one forward pass, always the same but for `shrink`.
    batch_size: int
    #: Recorded with every outcome, for instance `tensorflow 2.21.0` and `float32`.
    runtime: str
    precision: str

    def score(self, pixels: Pixels) -> Scores:
        """Score uint8 (n, height, width, channels), 1 <= n <= batch_size, to float32 (n, findings) in [0, 1].

        The pass has `batch_size` rows whatever n is, so that a scan's scores do not depend on its neighbours.

        Raises:
            MemoryError: the device has no room for a pass of this size.
        """

    def shrink(self) -> None:
        """Halve `batch_size`, which is 2 or more, for good."""


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
            scorer.shrink()
            logger.warning("no memory for a batch of %d scans: %d from now on", size, scorer.batch_size)


def open_scorer(artifact: Artifact, runtime: str = "auto") -> Scorer:
    """Load and warm an artifact's model.

    Args:
        artifact: a verified artifact.
        runtime: `auto` and `tensorflow` are TensorFlow in float32; `module:callable` is called with the artifact.

    Raises:
        UserError: no such runtime, or the model is not what its manifest says.
        MemoryError, NoRoom: the device has no memory for it.
    """
    if ":" in runtime:
        module, _, name = runtime.partition(":")
        try:
            factory = cast("Callable[[Artifact], Scorer]", getattr(importlib.import_module(module), name))
        except (ImportError, AttributeError) as error:
            raise UserError(f"--runtime {runtime}: {error}") from error
        return factory(artifact)
    if runtime not in ("auto", "tensorflow"):
        raise UserError(f"--runtime {runtime}: this program knows auto and tensorflow")
    from worker.scorer.tensorflow import TensorflowScorer

    return TensorflowScorer(artifact)


def padded(pixels: Pixels, batch_size: int) -> Pixels:
    """The batch filled up with black scans to its one fixed size."""
    missing = batch_size - len(pixels)
    return np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), np.uint8)]) if missing else pixels
