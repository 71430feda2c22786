"""Compares the images of a source with those that the ledger knows: which have changed, and which lie elsewhere now.

A listing gives an image's location and version (an object's ETag, a file's size and time). Only an image that is listed
differently than when its scan was decided is compared. A new ETag means other content; a file is read and hashed, so
that a file that was merely moved or touched keeps its score. A file of the same size, time and place counts as
unchanged. An image that cannot be read now is compared again by the next enqueue.

An image in another place may be another scan of the same name. It counts as the same one if its bytes are those that
were read before, or if nothing was ever read from the place that the ledger knows.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias, TypeVar

from sqlalchemy import Engine

from db.engine.bulk_insert import sliced
from db.engine.session import read_transaction
from db.errors import NightreadError
from db.ledger.models import find_model
from db.ledger.outcomes import KnownImage, SeenBytes, known_images, seen_bytes
from db.ledger.scans import FoundImage
from worker.storage.image_store import read_image, same_bytes

T = TypeVar("T")

#: More than there are cores: reading is mostly waiting for a disk or a store.
_READ_THREADS: Final = 16
#: Images in the thread pool's queue at a time: after a restored backup, every image is compared.
_MAX_QUEUED_READS: Final = 1024
_SHA256_PREFIX: Final = "sha256:"
_ETAG_PREFIX: Final = "etag:"


@dataclass(kw_only=True)
class ImageChanges:
    """Which of the images that are listed differently now have other bytes, and which are the same in another place."""

    #: Names of the scans that were decided from other bytes, or that wait for another place or version.
    changed: set[str] = field(default_factory=set)
    #: By outcome id, how an image whose bytes are the same is listed now (`FoundImage.seen_as`).
    unchanged: dict[int, str] = field(default_factory=dict)
    #: By name, where the ledger knows the scans that lie elsewhere now and are the same.
    moved: dict[str, str] = field(default_factory=dict)


#: An image as the ledger knows it, and as it is listed now.
_Pair: TypeAlias = tuple[KnownImage, FoundImage]


def find_image_changes(
    engine: Engine, dataset: str, model: str | None, found: Mapping[str, FoundImage], *, trust_moved: bool = False
) -> ImageChanges:
    """Compare the images of a source with those that the scans of its dataset have under a model.

    Args:
        engine: the ledger.
        dataset: the dataset's name.
        model: name or hash; None is the active model.
        found: the images as they are listed now, by name.
        trust_moved: take images in other places for the same scans, whatever their bytes are.

    Raises:
        UserError: there is no such model.
    """
    elsewhere, here, seen = _suspects(engine, dataset, model, found)
    changes = ImageChanges()
    for (known, now), is_same in _in_threads(partial(_is_same_scan, seen=seen), elsewhere):
        if is_same or trust_moved:
            changes.moved[known.image_name] = str(known.location)
            if known.is_pending or (known.stands and not is_same):
                changes.changed.add(known.image_name)
            elif known.content is not None and known.content == seen[known.scan_id].content:
                _note_unchanged(changes, known, now)
            elif known.stands:
                here.append((known, now))
    changes.changed |= {known.image_name for known, _ in here if known.is_pending}
    for (known, now), differs in _in_threads(_differs, [pair for pair in here if pair[0].stands]):
        if differs:
            changes.changed.add(known.image_name)
        elif differs is False:
            _note_unchanged(changes, known, now)
    return changes


def _note_unchanged(changes: ImageChanges, known: KnownImage, now: FoundImage) -> None:
    if known.outcome_id is not None and now.seen_as is not None:
        changes.unchanged[known.outcome_id] = now.seen_as


def _suspects(
    engine: Engine, dataset: str, model: str | None, found: Mapping[str, FoundImage]
) -> tuple[list[_Pair], list[_Pair], dict[int, SeenBytes]]:
    """The images in other places than the ledger knows, and those in the same place that are listed differently.

    Returns:
        Both, and what is known of the bytes of the former, by scan id.
    """
    elsewhere, here = list[_Pair](), list[_Pair]()
    with read_transaction(engine) as connection:
        for known in known_images(connection, dataset, find_model(connection, model).id):
            now = found.get(known.image_name)
            if now is None:
                continue
            if known.location not in (None, now.location):
                elsewhere.append((known, now))
            elif now.seen_as not in (None, known.seen_as) and (known.stands or (known.is_pending and known.seen_as)):
                here.append((known, now))
        return elsewhere, here, seen_bytes(connection, [known.scan_id for known, _ in elsewhere])


def _in_threads(function: Callable[[_Pair], T], pairs: Sequence[_Pair]) -> Iterator[tuple[_Pair, T]]:
    with ThreadPoolExecutor(_READ_THREADS) as pool:
        for piece in sliced(pairs, _MAX_QUEUED_READS):
            yield from zip(piece, pool.map(function, piece), strict=True)


def _is_same_scan(pair: _Pair, *, seen: Mapping[int, SeenBytes]) -> bool:
    """Whether an image in another place than the ledger knows is the same scan's."""
    known, now = pair
    evidence = seen.get(known.scan_id)
    if evidence is None:
        # Nothing was ever read from the place that the ledger knows.
        return True
    if evidence.content is not None and _has_content(now, evidence.content):
        return True
    if not evidence.is_open:
        return False
    # Its newest bytes were not hashed yet.
    if known.version is not None and known.version == now.version:
        return True
    return same_bytes(FoundImage(location=str(known.location), version=known.version), now)


def _differs(pair: _Pair) -> bool | None:
    """Whether the image has other bytes than its scan was decided from; None if it cannot be read."""
    known, now = pair
    if known.content is None:
        # The bytes were never hashed: the listed version has to do, if there is one.
        return known.version != now.version if known.version else None
    has_content = _has_content(now, known.content)
    return None if has_content is None else not has_content


def _has_content(now: FoundImage, content: str) -> bool | None:
    """Whether the image has the bytes that `content` identifies; None if it cannot be read."""
    if content.startswith(_ETAG_PREFIX) and (now.version or "").startswith(_ETAG_PREFIX):
        return content == now.version
    try:
        read = read_image(now.location)
    except NightreadError:
        # A worker could not score it either: the outcome stands for now.
        return None
    if content == read.content:
        return True
    if content.startswith(_SHA256_PREFIX):
        # Of a file, `read.content` is this hash already.
        is_hashed = read.content.startswith(_SHA256_PREFIX)
        return not is_hashed and content == f"{_SHA256_PREFIX}{hashlib.sha256(read.data).hexdigest()}"
    # Of an object that was uploaded in one part, most stores' ETag is the MD5 hash.
    return content == f"{_ETAG_PREFIX}{hashlib.md5(read.data, usedforsecurity=False).hexdigest()}"
