"""A scorer turns a batch of pixels into scores. Which runtime does it is behind this door."""

import logging
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from db.errors import OutOfDeviceMemory, UserError
from worker.artifacts.manifest import Artifact
from worker.images.pixels import Pixels

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
        OutOfDeviceMemory: it has none for a pass of one scan.
    """
    while True:
        size = scorer.batch_size
        try:
            return np.concatenate([scorer.score(pixels[at : at + size]) for at in range(0, len(pixels), size)])
        except MemoryError as error:
            if size == 1:
                raise OutOfDeviceMemory("the device has no memory for a batch of one scan") from error
            with _shrinking:
                # Else another thread has done it.
                if scorer.batch_size == size:
                    scorer.shrink()
                    logger.warning("no memory for a batch of %d scans: %d from now on", size, scorer.batch_size)


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
