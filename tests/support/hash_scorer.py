"""A fast fake scorer: scores are a hash of the pixels, so that a test can check every row of a run.

Worker processes load it by CXR_RUNTIME=tests.support.hash_scorer:HashScorer. HASH_SCORER_SECONDS slows each batch down,
and HASH_SCORER_LOAD_SECONDS slows the load down.
A scan that is nearly white everywhere kills the process, as a crash of a decoder or a driver would. A model named
`unloadable` cannot be loaded, like a model for another version or a larger GPU. No model can be loaded on the GPU that
the file HASH_SCORER_BROKEN names, as if another program had taken its memory.

The file HASH_SCORER_ROOM contains the largest batch that the device has memory for, or -1 if it has none for the model
itself. While the file HASH_SCORER_BUG exists, no batch can be scored. Another content of the model file than that of
`world.hash_artifact` gives other scores, as another model would.
"""

import hashlib
import os
import signal
import time
from pathlib import Path

import numpy as np

try:
    from worker.artifacts.artifact import verified_copy
except ImportError:
    # Under the older program that `tests/containers` upgrades from.
    verified_copy = None

#: The same as in `worker.artifacts.manifest`, which the older program has in another place.
MODEL_FILE = "model.keras"

#: No pixel of a poison scan is darker.
POISON = 250
UNLOADABLE = "unloadable"
#: With this model file, scores are a hash of the pixels alone.
MODEL = b"not a model"


class HashScorer:
    """Derives a scan's scores from its pixels alone."""

    runtime = "hash"
    precision = "float32"

    def __init__(self, artifact):
        if artifact.manifest.name == UNLOADABLE or _is_broken(os.environ.get("CUDA_VISIBLE_DEVICES")):
            raise RuntimeError("this model cannot be loaded")
        if _room() < 0:
            raise MemoryError("the device is full")
        time.sleep(float(os.environ.get("HASH_SCORER_LOAD_SECONDS", "0")))
        self._weights = _weights(artifact)
        self.findings = artifact.manifest.findings
        self.batch_size = artifact.manifest.batch_size
        self._seconds = float(os.environ.get("HASH_SCORER_SECONDS", "0"))

    def score(self, pixels):
        if self.batch_size > _room():
            raise MemoryError("the device is full")
        if Path(os.environ.get("HASH_SCORER_BUG", "/nowhere")).exists():
            raise RuntimeError("a bug")
        time.sleep(self._seconds)
        if any(scan.min() >= POISON for scan in pixels):
            os.kill(os.getpid(), signal.SIGKILL)
        return np.stack([hash_scores(scan, len(self.findings), self._weights) for scan in pixels])

    def shrink(self):
        self.batch_size //= 2


def _weights(artifact):
    if verified_copy is None:
        return (artifact.folder / MODEL_FILE).read_bytes()
    with verified_copy(artifact, MODEL_FILE) as model:
        return model.read_bytes()


def _room():
    named = Path(os.environ.get("HASH_SCORER_ROOM", "/nowhere"))
    return float(named.read_text()) if named.exists() else float("inf")


def _is_broken(gpu):
    named = Path(os.environ.get("HASH_SCORER_BROKEN", "/nowhere"))
    return named.exists() and named.read_text() == gpu


def hash_scores(pixels, count, model=MODEL):
    """float32 (count,) in [0, 1), the same for the same pixels and model."""
    digest = hashlib.shake_128(pixels.tobytes() + (b"" if model == MODEL else model)).digest(2 * count)
    return (np.frombuffer(digest, np.uint16) / 65536).astype(np.float32)
