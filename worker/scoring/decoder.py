"""Turns a scan's encoded bytes into pixels: from the pixel cache, or decoded on as many cores as the process has."""

import time
from collections.abc import Collection
from threading import BoundedSemaphore, get_ident
from typing import Final

from db.errors import PermanentError
from worker.dicom.admission import SENTENCES, refused_codes
from worker.images.pixel_cache import PixelCache
from worker.images.pixels import COLOUR, PreparedImage, prepare
from worker.images.preprocessing import Preprocessing
from worker.settings import WorkerSettings
from worker.storage.image_store import EncodedImage
from worker.telemetry.counters import DECODE, Stopwatch

#: By note: why it rejects an image.
_SENTENCES: Final = {
    **SENTENCES,
    COLOUR: "the image has colour in it, as a screenshot or a photograph has: put the radiograph itself in its place, "
    "or score the scan with --rescore by workers without --reject-colour",
}


class Decoder:
    """Preprocesses images for one model. Any number of threads may call it."""

    def __init__(
        self, rule: Preprocessing, settings: WorkerSettings, stopwatch: Stopwatch, views: Collection[str] = ()
    ) -> None:
        """Prepare to decode.

        Args:
            rule: the model's preprocessing.
            settings: at most `decode_threads` images are decoded at once.
            stopwatch: adds up their seconds.
            views: the views that the model was fitted on, `Manifest.views`.
        """
        self._rule = rule
        self._max_pixels = settings.max_pixels
        self._refused = refused_codes(settings.admitted, views) | ({COLOUR} if settings.reject_colour else set())
        self._cores = BoundedSemaphore(settings.decode_threads)
        self._stopwatch = stopwatch
        #: `time.monotonic()` at the beginning of each decoding, by thread.
        self._running: dict[int, float] = {}
        size = round(settings.pixel_cache_gb * 2**30)
        self._cache = PixelCache(settings.pixel_cache, rule, size) if size else None

    def __call__(self, image: EncodedImage) -> PreparedImage:
        """Give an image's pixels and notes. Rejections are not cached.

        Raises:
            PermanentError: as `worker.images.pixels.prepare`; `colour` if the settings reject images with colour.
        """
        prepared = self._cache.get_or_make(image, self._decode) if self._cache else self._decode(image.data)
        # What another worker admitted and cached, this one may refuse.
        for note in prepared.notes:
            if note in self._refused:
                raise PermanentError(note, _SENTENCES[note])
        return prepared

    def take_hits(self) -> int:
        """How many images came from the cache since the last call."""
        return self._cache.take_hits() if self._cache else 0

    def is_stuck(self, seconds: float) -> bool:
        """Whether an image has been decoded for longer than this. Its thread cannot be ended, and keeps a core."""
        now = time.monotonic()
        return any(now - started > seconds for started in list(self._running.values()))

    def _decode(self, encoded: bytes) -> PreparedImage:
        with self._cores, self._stopwatch.time(DECODE):
            self._running[get_ident()] = time.monotonic()
            try:
                return prepare(encoded, self._rule, self._max_pixels, self._refused)
            finally:
                del self._running[get_ident()]
