"""Keeps pixels on this machine's disk, so that an archive that is scored again is not decoded again.

An entry holds an image's pixels and the notes on it. Its key is the hash of the image's content, of the preprocessing
and of the code that decides pixels. So no entry is ever out of date, and any file may be deleted at any time. Many
processes share one cache, and none waits for another.
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

import numpy as np

from worker.files import PRIVATE, write_atomically
from worker.images.pixels import PreparedImage, made_by
from worker.images.preprocessing import Preprocessing
from worker.storage.folder import read_all
from worker.storage.image_store import EncodedImage

#: One for each pair of hexadecimal digits that a key can begin with; each holds an equal share of the cache.
_FOLDER_COUNT: Final = 256
#: New files between two checks of a folder's size, because a check costs as much as several reads.
_CHECK_EVERY: Final = 16
_CHECKSUM_BYTES: Final = 4

logger = logging.getLogger(__name__)


class PixelCache:
    """Pixels by the content of their image, for one preprocessing."""

    def __init__(self, folder: Path, rule: Preprocessing, max_bytes: int) -> None:
        """Keep about `max_bytes` in `folder`: each of its 256 subfolders may exceed its share by a few files."""
        self._folder = folder
        self._rule = rule
        self._max_folder_bytes = max_bytes // _FOLDER_COUNT
        self._size = int(np.prod(rule.shape))
        self._has_warned = False
        self._hits = 0
        self._puts = count()
        self._lock = Lock()
        self._made_by = made_by(rule)

    def get_or_make(self, image: EncodedImage, make: Callable[[bytes], PreparedImage]) -> PreparedImage:
        """What is cached of an image, or else what `make` makes of its bytes, which is then kept."""
        key = self.key(image)
        found = self.get(key)
        if found is not None:
            with self._lock:
                self._hits += 1
            return found
        made = make(image.data)
        self.put(key, made)
        return made

    def take_hits(self) -> int:
        """How many images' pixels were found since the last call."""
        with self._lock:
            hits, self._hits = self._hits, 0
        return hits

    def key(self, image: EncodedImage) -> str:
        """The key of an image's pixels."""
        return hashlib.sha256(f"{self._made_by} {image.content}".encode()).hexdigest()

    def get(self, key: str) -> PreparedImage | None:
        """What is kept under a key; None if there is nothing or if it is damaged."""
        try:
            stored = self._read(key)
        except OSError:
            return None
        data = memoryview(stored)[:-_CHECKSUM_BYTES]
        if len(data) < self._size or _checksum(key, data) != stored[-_CHECKSUM_BYTES:]:
            _remove(self._path(key))
            return None
        pixels = np.frombuffer(data, np.uint8, self._size).reshape(self._rule.shape)
        notes = str(data[self._size :], "ascii")
        return PreparedImage(pixels=pixels, notes=tuple(notes.split(",")) if notes else ())

    def put(self, key: str, image: PreparedImage) -> None:
        """Keep pixels and notes. If they cannot be written, a warning is logged once and the caller goes on."""
        path, data = self._path(key), image.pixels.tobytes() + ",".join(image.notes).encode("ascii")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, data + _checksum(key, data), mode=PRIVATE)
            if next(self._puts) % _CHECK_EVERY == 0:
                self._evict(path.parent)
        except FileNotFoundError:
            # Another process evicted the file before it was renamed.
            return
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                logger.warning("the pixel cache cannot be written (%s); images are decoded without it", error.strerror)

    def _read(self, key: str) -> bytes:
        descriptor = os.open(self._name(key), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return read_all(descriptor, self._size + _CHECKSUM_BYTES)
        finally:
            os.close(descriptor)

    def _path(self, key: str) -> Path:
        return Path(self._name(key))

    def _name(self, key: str) -> str:
        # A plain string: building a `Path` takes a sixth of the time of a look-up.
        return f"{self._folder}/{key[:2]}/{key[2:]}"

    def _evict(self, folder: Path) -> None:
        """Delete random files until the rest is within the folder's share.

        If the oldest were deleted, an archive that is a little larger than the cache would never be found in it.
        """
        sizes = {entry.path: entry.stat().st_size for entry in os.scandir(folder)}
        excess = sum(sizes.values()) - self._max_folder_bytes
        for path in random.sample(sorted(sizes), len(sizes)):
            if excess <= 0:
                return
            _remove(Path(path))
            excess -= sizes[path]


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _checksum(key: str, data: bytes | memoryview) -> bytes:
    """Covers the key too, so that a file under the name of another is not taken for it."""
    return zlib.crc32(data, zlib.crc32(key.encode())).to_bytes(_CHECKSUM_BYTES)
