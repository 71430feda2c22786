"""Pixels on this machine's disk, so that an archive that is scored again is not decoded again.

What makes them is their key: the image's content and the preprocessing. So nothing in here is ever out of date, and any
file may go at any time. Many processes share one cache; none waits for another.
"""

import contextlib
import hashlib
import logging
import os
import random
import zlib
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Final

import cv2
import numpy as np

from worker.files import write_atomically
from worker.images.pixels import PIXELS_VERSION, Pixels
from worker.images.preprocessing import Preprocessing
from worker.storage.folder import read_all
from worker.storage.image_store import EncodedImage

#: Folders by the first two letters of a key; each holds its share of the whole.
_FOLDERS: Final = 256
#: A look at a folder's size costs as much as several reads, so it is taken after one new file in so many.
_LOOK: Final = 16
_CHECKSUM_BYTES: Final = 4

logger = logging.getLogger(__name__)


class PixelCache:
    """Pixels by content, for one way of preprocessing."""

    def __init__(self, folder: Path, rule: Preprocessing, max_bytes: int) -> None:
        """Keep about `max_bytes` in a folder: each of its 256 parts may have a few files more than its share."""
        self._folder = folder
        self._rule = rule
        self._share = max_bytes // _FOLDERS
        self._size = int(np.prod(rule.shape))
        self._is_refused = False
        self._hits = 0
        self._puts = count()
        self._lock = Lock()
        # Another cv2 may round otherwise.
        self._made_by = f"{PIXELS_VERSION} cv2 {cv2.__version__} {rule.model_dump_json()}"

    def pixels_of(self, image: EncodedImage, make: Callable[[bytes], Pixels]) -> Pixels:
        """An image's pixels: those in here, or what `make` makes of its bytes, which are then kept."""
        key = self.key(image)
        pixels = self.get(key)
        if pixels is not None:
            with self._lock:
                self._hits += 1
            return pixels
        pixels = make(image.data)
        self.put(key, pixels)
        return pixels

    def take_hits(self) -> int:
        """How often an image's pixels were in here since the last such question."""
        with self._lock:
            hits, self._hits = self._hits, 0
        return hits

    def key(self, image: EncodedImage) -> str:
        """What its pixels are kept under; never an ETag, for a store may give two objects the same."""
        is_sha256 = image.content.startswith("sha256:")
        content = image.content if is_sha256 else f"sha256:{hashlib.sha256(image.data).hexdigest()}"
        return hashlib.sha256(f"{self._made_by} {content}".encode()).hexdigest()

    def get(self, key: str) -> Pixels | None:
        """The pixels kept under a key; None where there are none, or damaged ones."""
        try:
            stored = self._read(key)
        except OSError:
            return None
        pixels = memoryview(stored)[: self._size]
        if len(stored) != self._size + _CHECKSUM_BYTES or _checksum(key, pixels) != stored[self._size :]:
            _remove(self._path(key))
            return None
        return np.frombuffer(stored, np.uint8, self._size).reshape(self._rule.shape)

    def put(self, key: str, pixels: Pixels) -> None:
        """Keep pixels; where the disk takes none, that is said once."""
        path, data = self._path(key), pixels.tobytes()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, data + _checksum(key, data))
            if next(self._puts) % _LOOK == 0:
                self._make_room(path.parent)
        except FileNotFoundError:
            # Another process cleared it away before it had its name.
            return
        except OSError as error:
            if not self._is_refused:
                self._is_refused = True
                logger.warning("the pixel cache cannot be written (%s)", error.strerror)

    def _read(self, key: str) -> bytes:
        descriptor = os.open(self._name(key), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return read_all(descriptor, self._size + _CHECKSUM_BYTES)
        finally:
            os.close(descriptor)

    def _path(self, key: str) -> Path:
        return Path(self._name(key))

    def _name(self, key: str) -> str:
        # Put together by hand: `Path` takes a sixth of a look in here.
        return f"{self._folder}/{key[:2]}/{key[2:]}"

    def _make_room(self, folder: Path) -> None:
        """Delete files by chance until the rest is within its share.

        By chance: an archive that is a little larger than the cache would never be found in it, were the oldest to go.
        """
        sizes = {entry.path: entry.stat().st_size for entry in os.scandir(folder)}
        excess = sum(sizes.values()) - self._share
        for path in random.sample(sorted(sizes), len(sizes)):
            if excess <= 0:
                return
            _remove(Path(path))
            excess -= sizes[path]


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _checksum(key: str, data: bytes | memoryview) -> bytes:
    """Of the key too: a file under another's name is not taken for it."""
    return zlib.crc32(data, zlib.crc32(key.encode())).to_bytes(_CHECKSUM_BYTES)
