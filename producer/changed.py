"""Which scored scans have another image now.

Two folders may hold files of the same names, and a CSV of the same name. A scan whose image lies elsewhere than when
it was scored is read, and is due again if the bytes differ; one that merely moved keeps its score.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from db.errors import NightreadError
from db.models import find_model
from db.outcomes import ScoredImage, scored_images
from db.session import reading
from worker.images import read_image

#: Reading is waiting: for a disk, or for a store.
_THREADS = 16


def changed_images(engine: Engine, dataset: str, model: str | None, locations: Mapping[str, str]) -> frozenset[str]:
    """Names of the scans that were scored from other bytes than lie at their new locations."""
    with reading(engine) as connection:
        scored = scored_images(connection, dataset, find_model(connection, model).id)
    moved = [image for image in scored if locations.get(image.image_name, image.location) != image.location]
    with ThreadPoolExecutor(_THREADS) as pool:
        differs = pool.map(lambda image: _differs(image, locations[image.image_name]), moved)
        return frozenset(image.image_name for image, other in zip(moved, differs, strict=True) if other)


def _differs(image: ScoredImage, location: str) -> bool:
    try:
        return read_image(location).content != image.content
    except NightreadError:
        # What cannot be read cannot be scored either; the score that is there stays.
        return False
