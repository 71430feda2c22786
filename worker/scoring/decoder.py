"""From an image's bytes to its pixels, as a worker has them made: out of the cache, or decoded as cores allow."""

from threading import BoundedSemaphore

from worker.images.pixel_cache import PixelCache
from worker.images.pixels import Pixels, to_pixels
from worker.images.preprocessing import Preprocessing
from worker.settings import WorkerSettings
from worker.storage.image_store import EncodedImage
from worker.telemetry.counters import DECODE, Stopwatch


class Decoder:
    """One model's preprocessing, for any number of threads."""

    def __init__(self, rule: Preprocessing, settings: WorkerSettings, stopwatch: Stopwatch) -> None:
        """Decode as many images at once as there are cores for it, and note in `stopwatch` what that takes."""
        self._rule = rule
        self._max_pixels = settings.max_pixels
        self._cores = BoundedSemaphore(settings.decode_threads)
        self._stopwatch = stopwatch
        size = round(settings.pixel_cache_gb * 2**30)
        self._cache = PixelCache(settings.pixel_cache, rule, size) if size else None

    def __call__(self, image: EncodedImage) -> Pixels:
        """An image's pixels. What is rejected is looked at each time; all else may be in the cache.

        Raises:
            PermanentError: as `worker.images.pixels.decode`.
        """
        return self._cache.pixels_of(image, self._decode) if self._cache else self._decode(image.data)

    def take_hits(self) -> int:
        """How often an image's pixels were in the cache since the last such question."""
        return self._cache.take_hits() if self._cache else 0

    def _decode(self, encoded: bytes) -> Pixels:
        with self._cores, self._stopwatch.time(DECODE):
            return to_pixels(encoded, self._rule, self._max_pixels)
