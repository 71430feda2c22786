"""Computes the class activation maps of scans with the models of the store; loads TensorFlow when one is asked for."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING, Final

from db.errors import TemporaryError
from producer.browse.rendering.recently_used import RecentlyUsed
from worker.artifacts.model_store import open_model_store
from worker.images.pixels import Pixels
from worker.processes import native_stderr_muted
from worker.settings import ModelSettings

if TYPE_CHECKING:
    from worker.scoring.activation_map import ActivationMapper, ActivationMaps

#: For the maps of about 200 scans: a reader looks at one finding's map after the other, and goes back.
_KEPT_BYTES: Final = 2**20
#: What hides the GPUs from TensorFlow and from JAX.
_CPU_ONLY: Final = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
#: Requests that compute a map or wait for it. More would take the threads that answer for all other pages.
_MAX_WAITING: Final = 4


class Maps:
    """The maps of any model in the store. One model is loaded at a time; every thread may use it."""

    def __init__(self, settings: ModelSettings) -> None:
        """Load nothing yet."""
        self._store = open_model_store(settings.model_dir, settings.home)
        self._lock = Lock()
        self._waiting = BoundedSemaphore(_MAX_WAITING)
        self._loaded: tuple[str, ActivationMapper] | None = None
        self._kept = RecentlyUsed["ActivationMaps"](_KEPT_BYTES, lambda maps: maps.cells.nbytes)

    def maps_of(self, model_sha256: str, pixels: Pixels) -> "ActivationMaps":
        """The maps of all findings of one scan.

        Args:
            model_sha256: of the artifact.
            pixels: uint8 (H, W, C), as the artifact's manifest has them made.

        Raises:
            UserError: the model is no longer in CXR_MODEL_DIR, is damaged, or has no maps.
            TemporaryError: too many other maps are waited for.
        """
        key = (model_sha256, hashlib.sha256(pixels.tobytes()).digest())
        return self._kept.get_or_make(key, lambda: self._compute(model_sha256, pixels))

    def _compute(self, model_sha256: str, pixels: Pixels) -> "ActivationMaps":
        if not self._waiting.acquire(blocking=False):
            raise TemporaryError("other maps are being computed; ask again in a moment")
        try:
            with self._lock:
                return self._mapper(model_sha256).maps(pixels)
        finally:
            self._waiting.release()

    def _mapper(self, model_sha256: str) -> "ActivationMapper":
        if self._loaded is None or self._loaded[0] != model_sha256:
            artifact = self._store.find(model_sha256)
            # Before the other one is loaded, so that memory holds one.
            self._loaded = None
            with _gpus_hidden(), native_stderr_muted():
                from worker.scoring.activation_map import load_activation_mapper

                self._loaded = (model_sha256, load_activation_mapper(artifact))
        return self._loaded[1]


@contextmanager
def _gpus_hidden() -> Iterator[None]:
    """Keep off GPUs: their memory is the workers', and some multiply float32 with fewer digits.

    A backend looks for devices when it loads its first model; then the environment is as it was.
    """
    before = {name: os.environ.get(name) for name in _CPU_ONLY}
    os.environ.update(_CPU_ONLY)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
