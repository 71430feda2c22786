"""Which scans have another image now than the one that decided them.

A listing tells where an image lies and which version it is; only a scan of which it tells something new is looked into.
An object's ETag is its content and decides at once; a file is read, so that one that was merely moved or touched
keeps its score. A file of the same size and time of change is taken for the same.
"""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from sqlalchemy import Engine

from db.errors import NightreadError
from db.models import find_model
from db.outcomes import DecidedImage, decided_images
from db.scans import FoundImage
from db.session import reading
from worker.images import read_image
from worker.messages import in_pieces

#: Reading is waiting: for a disk, or for a store.
_THREADS: Final = 16
#: Images asked for at a time: after a restored backup every one of them is looked into.
_AHEAD: Final = 1024
_HASH: Final = "sha256:"


def changed_images(engine: Engine, dataset: str, model: str | None, found: Mapping[str, FoundImage]) -> frozenset[str]:
    """Names of the scans that were decided under the model (None: the active one) from other bytes than lie there now.

    Raises:
        UserError: there is no such model.
    """
    with reading(engine) as connection:
        decided = decided_images(connection, dataset, find_model(connection, model).id)
        suspects = [
            (image, found[image.image_name])
            for image in decided
            if image.image_name in found and _is_news(image, found[image.image_name])
        ]
    with ThreadPoolExecutor(_THREADS) as pool:
        differs = [
            one for piece in in_pieces(suspects, _AHEAD) for one in pool.map(_differs, *zip(*piece, strict=True))
        ]
    return frozenset(image.image_name for (image, _), other in zip(suspects, differs, strict=True) if other)


def _is_news(image: DecidedImage, now: FoundImage) -> bool:
    return image.location != now.location or _is_new_version(image, now)


def _is_new_version(image: DecidedImage, now: FoundImage) -> bool:
    return None not in (image.version, now.version) and image.version != now.version


def _differs(image: DecidedImage, now: FoundImage) -> bool:
    if image.content is None:
        # Nothing to compare with: the version has to do.
        return _is_new_version(image, now)
    if image.content.startswith("etag:") and (now.version or "").startswith("etag:"):
        return image.content != now.version
    try:
        read = read_image(now.location)
    except NightreadError:
        # What cannot be read cannot be scored either; what was decided stays.
        return False
    if image.content.startswith(_HASH):
        return image.content != f"{_HASH}{hashlib.sha256(read.data).hexdigest()}"
    return image.content != read.content
