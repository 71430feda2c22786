"""Finds scans whose image has changed since it was decided.

A listing gives an image's location and version (an object's ETag, a file's size and time). Only an image that is listed
differently than when its scan was decided is compared. A new ETag means other content; a file is read and hashed, so
that a file that was merely moved or touched keeps its score. A file of the same size, time and place counts as
unchanged. An image that cannot be read now is compared again by the next enqueue.
"""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Engine

from db.engine.bulk_insert import sliced
from db.engine.session import read_transaction
from db.errors import NightreadError
from db.ledger.models import find_model
from db.ledger.outcomes import DecidedImage, decided_images
from db.ledger.scans import FoundImage
from worker.storage.image_store import read_image

#: More than there are cores: reading is mostly waiting for a disk or a store.
_READ_THREADS: Final = 16
#: Images in the thread pool's queue at a time: after a restored backup, every image is compared.
_MAX_QUEUED_READS: Final = 1024
_SHA256_PREFIX: Final = "sha256:"


@dataclass(frozen=True, kw_only=True)
class ImageChanges:
    """Which of the images that are listed differently now have other bytes."""

    #: Names of the scans that were decided from other bytes.
    changed: frozenset[str] = frozenset()
    #: By outcome id, how an image whose bytes are the same is listed now (`FoundImage.seen_as`).
    unchanged: Mapping[int, str] = field(default_factory=dict)


def find_image_changes(
    engine: Engine, dataset: str, model: str | None, found: Mapping[str, FoundImage]
) -> ImageChanges:
    """Compare the images of a dataset with those that its scans were decided from under a model.

    Args:
        engine: the ledger.
        dataset: the dataset's name.
        model: name or hash; None is the active model.
        found: the images as they are listed now, by name.

    Raises:
        UserError: there is no such model.
    """
    with read_transaction(engine) as connection:
        decided = decided_images(connection, dataset, find_model(connection, model).id)
        suspects = [
            (image, found[image.image_name])
            for image in decided
            if image.image_name in found and found[image.image_name].seen_as not in (None, image.seen_as)
        ]
    with ThreadPoolExecutor(_READ_THREADS) as pool:
        answers = [
            answer
            for piece in sliced(suspects, _MAX_QUEUED_READS)
            for answer in pool.map(_differs, *zip(*piece, strict=True))
        ]
    compared = list(zip(suspects, answers, strict=True))
    return ImageChanges(
        changed=frozenset(image.image_name for (image, _), differs in compared if differs),
        unchanged={image.outcome_id: str(now.seen_as) for (image, now), differs in compared if differs is False},
    )


def _differs(image: DecidedImage, now: FoundImage) -> bool | None:
    """Whether the image has other bytes now; None if it cannot be read."""
    if image.content is None:
        # The bytes were never hashed: the listed version has to do, if there is one.
        return image.seen_as.partition(" ")[0] != now.version if image.seen_as else None
    if image.content.startswith("etag:") and (now.version or "").startswith("etag:"):
        return image.content != now.version
    try:
        read = read_image(now.location)
    except NightreadError:
        # A worker could not score it either: the outcome stands for now.
        return None
    if image.content.startswith(_SHA256_PREFIX):
        return image.content != f"{_SHA256_PREFIX}{hashlib.sha256(read.data).hexdigest()}"
    return image.content != read.content
