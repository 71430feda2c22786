"""Renders a scan's image for a browser: the film, its thumbnail, and the pixels that the model gets.

All is decoded by the worker's own functions, by the rule of the model that the run scored with. So what is shown is
what was scored, and what the worker refuses to decode is not shown.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from db.errors import PermanentError
from db.ledger.outcomes import KILLED_WORKER
from db.ledger.scan_images import ScanImage
from producer.browse.rendering.recently_used import RecentlyUsed
from worker.images.pixels import decode_full, keep_to_cv2, preprocess
from worker.images.preprocessing import Preprocessing
from worker.settings import MAX_PIXELS
from worker.storage.image_store import read_image

#: Length of a thumbnail's longer side, in pixels.
THUMBNAIL_SIDE: Final = 160

#: Some hundred thumbnails.
_THUMBNAIL_BYTES: Final = 4_000_000
#: Three films of 5 megapixels, so that what a page shows of one scan is decoded once.
_FILM_BYTES: Final = 16_000_000
#: Images that are decoded at once. JPEG 2000 takes 40 MB for a film of 5 megapixels.
_DECODERS: Final = 2
#: How long a store may take to send an image that a person waits for.
_READ_SECONDS: Final = 20.0
#: Of 100.
_JPEG_QUALITY: Final = 85

Pixels = NDArray[np.uint8]


class Films:
    """Renders the images of scans. Any number of threads may call it.

    Only the location that the ledger has is read, and only bytes that the outcome is of are shown. A film that was
    rejected for what it shows or for what its header says is decoded all the same.

    Every method raises:
        PermanentError: the image is missing, refused or damaged, as the worker says it; the outcome's own reason if
            the run has no image of the scan; `changed` if the bytes at its location are no longer those that the
            outcome is of; `killed_worker` if the image may be what ended a worker.
        TemporaryError: the disk or the store does not answer.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        """Decode no image that claims more pixels than `max_pixels` (`WorkerSettings.max_pixels`)."""
        self._max_pixels = max_pixels
        # Threads of their own: each thread that ever decoded keeps memory, and a web server has forty.
        self._decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode")
        self._thumbnails = RecentlyUsed[bytes](_THUMBNAIL_BYTES, len)
        self._films = RecentlyUsed[Pixels](_FILM_BYTES, lambda film: film.nbytes)
        # The process is to start at once and to stay small.
        keep_to_cv2()

    def film(self, image: ScanImage) -> bytes:
        """The image at its full resolution, as a PNG of 8 bits: gray, or RGB if its channels differ."""
        return _encode(".png", _without_equal_channels(self._decoded(image)))

    def thumbnail(self, image: ScanImage) -> bytes:
        """The image as a JPEG whose longer side has at most `THUMBNAIL_SIDE` pixels."""
        if image.content is None:
            return _thumbnail(self._decode(image))
        return self._thumbnails.get_or_make(_key(image), lambda: _thumbnail(self._decode(image)))

    def model_input(self, image: ScanImage) -> bytes:
        """The pixels that the model gets, as a PNG of 8 bits, of the manifest's height, width and colour."""
        return _encode(".png", self.pixels(image))

    def pixels(self, image: ScanImage) -> Pixels:
        """The pixels that the model gets: uint8 (height, width, channels), of the manifest's `Preprocessing.shape`."""
        return preprocess(self._decoded(image), _rule(image))

    def _decoded(self, image: ScanImage) -> Pixels:
        """The image at its full resolution, uint8 (height, width) or (height, width, 3) BGR; kept for the next call."""
        if image.content is None:
            # The next call may find other bytes.
            return self._decode(image)
        return self._films.get_or_make(_key(image), lambda: self._decode(image))

    def _decode(self, image: ScanImage) -> Pixels:
        return self._decoders.submit(_decode, image, self._max_pixels).result()


def _decode(image: ScanImage, max_pixels: int) -> Pixels:
    return decode_full(_read(image), _rule(image), max_pixels, refused=frozenset()).image


def _rule(image: ScanImage) -> Preprocessing:
    return Preprocessing.model_validate(image.preprocessing)


def _key(image: ScanImage) -> tuple[object, ...]:
    return image.content, _rule(image)


def _read(image: ScanImage) -> bytes:
    """The bytes that the outcome is of."""
    if image.is_suspect:
        raise PermanentError(KILLED_WORKER, "the image is not opened here, because it may be what ended a worker")
    if image.location is None:
        raise PermanentError(image.reason or "missing", image.detail or "the run has no image of this scan")
    encoded = read_image(image.location, image.version, _READ_SECONDS)
    if image.content not in (None, encoded.content):
        raise PermanentError("changed", "the image at this place has changed since the run read it")
    return encoded.data


def _thumbnail(image: Pixels) -> bytes:
    height, width = image.shape[:2]
    scale = min(1.0, THUMBNAIL_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return _encode(".jpg", small, cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)


def _without_equal_channels(image: Pixels) -> Pixels:
    """Gray that is stored in three equal channels, as one: a third of the bytes."""
    if image.ndim == 3 and (image == image[..., :1]).all():
        return image[..., 0]
    return image


def _encode(suffix: str, image: NDArray[Any], *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()
