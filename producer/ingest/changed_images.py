"""Which scans have another image now than the one that decided them.

A listing tells where an image lies and which version it is; only a scan of which it tells something else than when it
was decided is looked into. An object's ETag is its content and decides at once; a file is read, so that one that was
merely moved or touched keeps its score. A file of the same size, time and place is taken for the same. One that cannot
be read now is looked into again by the next enqueue.
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

#: Reading is waiting: for a disk, or for a store.
_THREADS: Final = 16
#: Images asked for at a time: after a restored backup every one of them is looked into.
_AHEAD: Final = 1024
_HASH: Final = "sha256:"


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a look at the images found."""

    #: Names of the scans that were decided from other bytes.
    changed: frozenset[str] = frozenset()
    #: By outcome id, how images are listed now whose bytes are those that it was decided from.
    same: Mapping[int, str] = field(default_factory=dict)


def look_for_changes(engine: Engine, dataset: str, model: str | None, found: Mapping[str, FoundImage]) -> Looked:
    """Which scans were decided under the model (None: the active one) from other bytes than lie there now.

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
    with ThreadPoolExecutor(_THREADS) as pool:
        differs = [one for piece in sliced(suspects, _AHEAD) for one in pool.map(_differs, *zip(*piece, strict=True))]
    looks = list(zip(suspects, differs, strict=True))
    return Looked(
        changed=frozenset(image.image_name for (image, _), other in looks if other),
        same={image.outcome_id: str(now.seen_as) for (image, now), other in looks if other is False},
    )


def _differs(image: DecidedImage, now: FoundImage) -> bool | None:
    """Whether other bytes lie there now; None where that cannot be told."""
    if image.content is None:
        # Nothing to compare with: the version has to do, where one was noted.
        return image.seen_as.partition(" ")[0] != now.version if image.seen_as else None
    if image.content.startswith("etag:") and (now.version or "").startswith("etag:"):
        return image.content != now.version
    try:
        read = read_image(now.location)
    except NightreadError:
        # What cannot be read cannot be scored either; what was decided stays for now.
        return None
    if image.content.startswith(_HASH):
        return image.content != f"{_HASH}{hashlib.sha256(read.data).hexdigest()}"
    return image.content != read.content
