"""Decodes every image of a fit once, by the worker's own preprocessing, into one file of uint8.

The file `pixels` holds one scan after the other. The file `contents` holds the sha256 of each encoded image, which is
zeros until its pixels are on disk. They are written in place, so that a killed fit continues where it stopped. Two fits
of the same scans write the same bytes, and the next fit tries again what could not be read. `pixels` is read through a
memory map, which costs a process no memory of its own.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.errors import PermanentError, TemporaryError, UserError
from db.ledger.scans import FoundImage
from worker.dicom.admission import REFUSED
from worker.files import PRIVATE
from worker.images.pixels import Pixels, made_by, prepare
from worker.images.preprocessing import Preprocessing
from worker.storage.image_store import read_image

#: Scans between two writes of `contents`.
_BLOCK_SCANS: Final = 256
_HASH_BYTES: Final = hashlib.sha256().digest_size


@dataclass(frozen=True, kw_only=True)
class DecodedImages:
    """The pixels of the scans of a fit, in the order of its images."""

    folder: Path
    #: uint8 (N, H, W, C), a memory map; zeros for a scan that could not be read.
    pixels: Pixels
    #: uint8 (N, 32), the sha256 of each encoded image, from a bucket too; zeros for one that could not be read.
    hashes: NDArray[np.uint8]
    #: By position: the reason why a scan could not be read.
    unreadable: dict[int, str]


def load_decoded_images(
    root: Path,
    images: Sequence[FoundImage | None],
    rule: Preprocessing,
    *,
    refused: AbstractSet[str] = REFUSED,
    advance: Callable[[int], None] | None = None,
) -> DecodedImages:
    """Decode the images that were not decoded before, and open the pixels of all.

    Args:
        root: holds one folder for each combination of images, preprocessing, `refused` and version of the code.
        images: the location of each scan; None counts as `missing`.
        rule: the preprocessing.
        refused: the codes that reject a DICOM film, see `worker.dicom.admission`. Lateral films are read.
        advance: called with the number of scans that were finished since the last call, decoded now or before.

    Raises:
        UserError: the files cannot be written.
    """
    folder = root / _key(images, rule, refused)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unreadable = _decode_missing(folder, images, rule, refused, advance or (lambda _: None))
    except OSError as error:
        raise UserError(f"{folder}: the decoded images cannot be written ({error.strerror})") from error
    pixels = np.memmap(folder / "pixels", np.uint8, "r", shape=(len(images), *rule.shape))
    hashes = np.fromfile(folder / "contents", np.uint8).reshape(-1, _HASH_BYTES)
    return DecodedImages(folder=folder, pixels=pixels, hashes=hashes, unreadable=unreadable)


def _key(images: Sequence[FoundImage | None], rule: Preprocessing, refused: AbstractSet[str]) -> str:
    # The order counts, because a scan is found by its position.
    digest = hashlib.sha256(f"{made_by(rule)} {sorted(refused)}".encode())
    for image in images:
        digest.update(json.dumps(image and (image.location, image.version)).encode())
    return digest.hexdigest()[:16]


def _decode_missing(
    folder: Path,
    images: Sequence[FoundImage | None],
    rule: Preprocessing,
    refused: AbstractSet[str],
    advance: Callable[[int], None],
) -> dict[int, str]:
    size = int(np.prod(rule.shape))
    unreadable: dict[int, str] = {}
    read = partial(_read, rule, refused)
    # Written with `pwrite`, where a full disk is an error; in a memory map it is a crash.
    with (
        _open_sized(folder / "pixels", len(images) * size) as pixels,
        _open_sized(folder / "contents", len(images) * _HASH_BYTES) as hashes,
        ThreadPoolExecutor() as pool,
    ):
        for start in range(0, len(images), _BLOCK_SCANS):
            block = images[start : start + _BLOCK_SCANS]
            stored = os.pread(hashes, len(block) * _HASH_BYTES, start * _HASH_BYTES)
            known = np.frombuffer(stored, np.uint8).reshape(-1, _HASH_BYTES).copy()
            waiting = [start + int(place) for place in np.flatnonzero(~known.any(axis=1))]
            for place, one in zip(waiting, pool.map(read, [images[at] for at in waiting]), strict=True):
                if isinstance(one, str):
                    unreadable[place] = one
                else:
                    os.pwrite(pixels, one.pixels.tobytes(), place * size)
                    known[place - start] = np.frombuffer(one.sha256, np.uint8)
            if waiting:
                os.fsync(pixels)
                os.pwrite(hashes, known.tobytes(), start * _HASH_BYTES)
            advance(len(block))
    return unreadable


@contextmanager
def _open_sized(path: Path, size: int) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE)
    try:
        os.ftruncate(descriptor, size)
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(frozen=True, kw_only=True)
class _Decoded:
    pixels: NDArray[np.uint8]
    sha256: bytes


def _read(rule: Preprocessing, refused: AbstractSet[str], image: FoundImage | None) -> _Decoded | str:
    if image is None:
        return "missing"
    try:
        data = read_image(image.location, image.version).data
        return _Decoded(pixels=prepare(data, rule, refused=refused).pixels, sha256=hashlib.sha256(data).digest())
    except PermanentError as error:
        return error.reason
    except TemporaryError:
        return "unreachable"
