"""Defines the scorer, which turns batches of pixels into scores on any runtime, and retries in smaller batches."""

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
_shrink_lock = Lock()


class Scorer(Protocol):
    """A loaded and warmed-up model.

    A scorer may have an int attribute `streams`, the number of threads that may call `score` at once; the default is 1.
    One that scores with an export of the model has `export_sha256`, the hash of that export.
    """

    #: The model's outputs, in order.
    findings: tuple[str, ...]
    #: The largest number of scans in one call of `score`; only `shrink` changes it.
    batch_size: int
    #: Recorded with every outcome, for instance `openvino 2026.4.1` and `float32`.
    runtime: str
    precision: str

    def score(self, pixels: Pixels) -> Scores:
        """Score uint8 (n, height, width, channels), 1 <= n <= batch_size, as float32 (n, findings) in [0, 1].

        Every pass has the same number of rows, whatever n is, so that a scan's scores do not depend on its neighbours.

        Raises:
            MemoryError: the device has no memory for a pass of this size.
        """

    def shrink(self) -> None:
        """Halve `batch_size`, which is at least 2, permanently."""


def streams_of(scorer: Scorer) -> int:
    """The number of batches that a scorer computes at once."""
    return getattr(scorer, "streams", 1)


def export_of(scorer: Scorer) -> str | None:
    """The sha256 of the export that a scorer computes with; None if it uses the artifact's own model file."""
    return getattr(scorer, "export_sha256", None)


def score_all(scorer: Scorer, pixels: Pixels) -> Scores:
    """Score uint8 (n, height, width, channels), n >= 1, in batches that fit the device's memory.

    Returns:
        float32 (n, findings) in [0, 1].

    Raises:
        OutOfDeviceMemory: the device has no memory for a batch of one scan.
    """
    while True:
        size = scorer.batch_size
        try:
            return np.concatenate([scorer.score(pixels[at : at + size]) for at in range(0, len(pixels), size)])
        except MemoryError as error:
            if size == 1:
                raise OutOfDeviceMemory("the device has no memory for a batch of one scan") from error
            with _shrink_lock:
                # If the size has changed, another thread has already shrunk the scorer.
                if scorer.batch_size == size:
                    scorer.shrink()
                    logger.warning("no memory for a batch of %d scans: %d from now on", size, scorer.batch_size)


def check_model_shapes(artifact: Artifact, shape: tuple[int, ...], outputs: int) -> None:
    """Check a loaded model's input shape (height, width, channels) and number of outputs against its manifest.

    Raises:
        UserError: they differ, so scores would be stored under the wrong findings.
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


def pad_batch(pixels: Pixels, batch_size: int) -> Pixels:
    """Fill a batch up to `batch_size` with black scans."""
    missing = batch_size - len(pixels)
    return np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), np.uint8)]) if missing else pixels
