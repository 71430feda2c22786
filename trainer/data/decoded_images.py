"""The pixel cache of fits: every image decoded once, by the worker's own preprocessing, into one file of uint8.

`pixels` holds scan after scan; `decoded` one byte for each, 1 once its pixels are on disk. So a killed fit goes on
where it was, two fits of the same scans write the same bytes, and what could not be read is tried again by the next.
Read through a memory map, it costs a process no memory of its own.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
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
from worker.images.pixels import Pixels, to_pixels
from worker.images.preprocessing import Preprocessing
from worker.storage.image_store import read_image

#: Scans between two notes of what is decoded.
_BLOCK: Final = 256


@dataclass(frozen=True, kw_only=True)
class DecodedImages:
    """Pixels of the scans that were asked for, in their order."""

    folder: Path
    #: uint8 (N, H, W, C), a memory map; zeros where a scan is bad.
    pixels: Pixels
    #: A scan's place to the reason why it cannot be read.
    bad: dict[int, str]


def open_cache(
    root: Path,
    images: Sequence[FoundImage | None],
    rule: Preprocessing,
    *,
    advance: Callable[[int], None] | None = None,
) -> DecodedImages:
    """Decode what is not in the cache yet; `advance` is told of further scans, decoded now or before.

    Args:
        root: holds a folder for each list of images and preprocessing.
        images: where each scan lies; None is `missing`.
        rule: what becomes of an image.
        advance: called with how many further scans are done.

    Raises:
        UserError: the cache cannot be written.
    """
    folder = root / _key(images, rule)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        bad = _fill(folder, images, rule, advance or (lambda _: None))
    except OSError as error:
        raise UserError(f"{folder}: the pixel cache cannot be written ({error.strerror})") from error
    pixels = np.memmap(folder / "pixels", np.uint8, "r", shape=(len(images), *rule.shape))
    return DecodedImages(folder=folder, pixels=pixels, bad=bad)


def _key(images: Sequence[FoundImage | None], rule: Preprocessing) -> str:
    # Order counts: a scan is found by its place.
    digest = hashlib.sha256(rule.model_dump_json().encode())
    for image in images:
        digest.update(json.dumps(image and (image.location, image.version)).encode())
    return digest.hexdigest()[:16]


def _fill(
    folder: Path, images: Sequence[FoundImage | None], rule: Preprocessing, advance: Callable[[int], None]
) -> dict[int, str]:
    size = int(np.prod(rule.shape))
    bad: dict[int, str] = {}
    # Written, not mapped: a full disk is an error in `pwrite` and a crash in a memory map.
    with (
        _sized(folder / "pixels", len(images) * size) as pixels,
        _sized(folder / "decoded", len(images)) as decoded,
        ThreadPoolExecutor() as pool,
    ):
        for start in range(0, len(images), _BLOCK):
            block = images[start : start + _BLOCK]
            done = np.frombuffer(os.pread(decoded, len(block), start), np.uint8).copy()
            waiting = [start + int(place) for place in np.flatnonzero(done == 0)]
            for place, one in zip(waiting, pool.map(partial(_read, rule), [images[at] for at in waiting]), strict=True):
                if isinstance(one, str):
                    bad[place] = one
                else:
                    os.pwrite(pixels, one.tobytes(), place * size)
                    done[place - start] = 1
            if waiting:
                os.fsync(pixels)
                os.pwrite(decoded, done.tobytes(), start)
            advance(len(block))
    return bad


@contextmanager
def _sized(path: Path, size: int) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(descriptor, size)
        yield descriptor
    finally:
        os.close(descriptor)


def _read(rule: Preprocessing, image: FoundImage | None) -> NDArray[np.uint8] | str:
    if image is None:
        return "missing"
    try:
        return to_pixels(read_image(image.location).data, rule)
    except PermanentError as error:
        return error.reason
    except TemporaryError:
        return "unreachable"
