"""Compares the images of a source with those that the ledger knows: which have changed, and which lie elsewhere now.

A listing gives an image's location and version: its size and time, and the ETag of an object. Only an image that is
listed differently than when its scan was decided is compared. It is read and hashed, so that an image that was merely
moved or touched keeps its score. One of the same version and place counts as unchanged. An image that cannot be read
now is compared again by the next enqueue.

Older programs noted only an object's ETag, both as its version and as its content. Such a version holds if the object
at that place still has that ETag, and from then on size and time count too. Such a content holds if it is the MD5 hash
of the bytes, as most stores' ETags are.

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
from worker.storage.image_store import SCHEME, read_image, same_bytes
from worker.storage.versions import Version

T = TypeVar("T")

#: More than there are cores: reading is mostly waiting for a disk or a store.
_READ_THREADS: Final = 16
#: Images in the thread pool's queue at a time: after a restored backup, every image is compared.
_MAX_QUEUED_READS: Final = 1024
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
    changes.changed |= {known.image_name for known, now in here if known.is_pending and not _has_noted_etag(known, now)}
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
    # Its newest bytes were not hashed yet. A file that was moved keeps its time, in nanoseconds.
    if known.version is not None and known.version == now.version and not now.location.startswith(SCHEME):
        return True
    listed = _listed_content(known)
    if listed is not None and _has_content(now, listed):
        return True
    return same_bytes(FoundImage(location=str(known.location), version=known.version), now)


def _differs(pair: _Pair) -> bool | None:
    """Whether the image has other bytes than its scan was decided from; None if it cannot be read."""
    known, now = pair
    if _has_noted_etag(known, now):
        return False
    content = known.content or _listed_content(known)
    if content is None:
        # The bytes were never hashed: the listed version has to do, if there is one.
        return known.version != now.version if known.version else None
    has_content = _has_content(now, content)
    return None if has_content is None else not has_content


def _has_noted_etag(known: KnownImage, now: FoundImage) -> bool:
    """Whether an older program noted an object's ETag, which is all that it noted, and the object still has it."""
    seen = known.seen_as and FoundImage.from_seen_as(known.seen_as)
    return bool(seen and seen.location == now.location and str(now.version).startswith(f"{seen.version} stat:"))


def _listed_content(known: KnownImage) -> str | None:
    """The ETag under which an object was listed, as the content that it may be the hash of."""
    etag = Version.parse(known.version).etag if known.version else None
    return etag and f"{_ETAG_PREFIX}{etag}"


def _has_content(now: FoundImage, content: str) -> bool | None:
    """Whether the image has the bytes that `content` identifies; None if it cannot be read."""
    try:
        read = read_image(now.location)
    except NightreadError:
        # A worker could not score it either: the outcome stands for now.
        return None
    if content.startswith(_ETAG_PREFIX):
        return content == f"{_ETAG_PREFIX}{hashlib.md5(read.data, usedforsecurity=False).hexdigest()}"
    return content == read.content
