"""Finds and reads encoded images in a folder or under an S3 prefix; the address tells which."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from db.errors import PermanentError, TemporaryError, UserError
from db.ledger.scans import FoundImage
from worker.storage.examination import Examiner
from worker.storage.folder import list_file, list_folder, read_file, same_file_bytes
from worker.storage.matching import Candidate, LeftOut, Listing, select_images
from worker.storage.s3 import SCHEME, list_s3, read_object
from worker.storage.size_limit import MAX_FILE_BYTES
from worker.storage.versions import Version

__all__ = ["SCHEME", "EncodedImage", "LeftOut", "Listing", "find_images", "is_one_file", "read_image", "same_bytes"]

#: Where Kaggle's and NIH's archives unpack to; NIH's full set is `images_001/images` to `images_012/images`.
_IMAGE_FOLDERS: Final = ("images", "images_*/images", "sample/images")


@dataclass(frozen=True, kw_only=True)
class EncodedImage:
    """The bytes of an image, and their hash (`sha256:...`)."""

    data: bytes
    content: str


def find_images(
    csv: Path | None,
    images: str | None,
    wanted: AbstractSet[str] | None = None,
    known: Mapping[str, str] | None = None,
) -> Listing:
    """Find images in a folder or under an S3 prefix, or beside a CSV if neither is given.

    Args:
        csv: the CSV whose images are looked for.
        images: a folder, or `s3://bucket/prefix`; or one image, a file or `s3://bucket/key`, as if it were alone in its
            folder.
        wanted: image names, each a path relative to the folder or prefix, or else the base name of a file in any
            subfolder, or the SOP Instance UID of DICOM. If it is None, every image is found, whatever its name is: a
            file of a folder is an image by its content, or by the suffix of one; in S3, by the suffix of a PNG, JPEG,
            TIFF or BMP, or else by its content.
        known: by `FoundImage.seen_as`, the SOP Instance UIDs of files whose headers need not be read again. Their
            headers hold nothing else.

    Raises:
        UserError: the folder, bucket or prefix cannot be listed, the store refuses to be read, or two different images
            have one wanted name.
    """
    # A request per object would be a request for each of a million PNGs.
    trusts_names = wanted is not None or (images or "").startswith(SCHEME)
    examiner = Examiner(trusts_names=trusts_names, known=known or {})
    return select_images(_candidates(csv, images), wanted, same_bytes, examiner.examine)


def is_one_file(images: str) -> bool:
    """Whether a person named one file of this machine, not a folder or prefix."""
    # Unlike Path.is_file, this raises nothing where the path is too long or its folder may not be searched.
    return os.path.isfile(images)  # noqa: PTH113


def read_image(location: str, version: str | None = None, seconds: float = 60.0) -> EncodedImage:
    """Read one image completely.

    Args:
        location: a path or `s3://bucket/key`.
        version: `FoundImage.version` in the listing by which the image was asked for; None takes any.
        seconds: how long a store may take to send the bytes.

    Raises:
        PermanentError: `missing`, `unreadable`, `too_large` or `s3`, as `StoreRefused` if the whole store is refused;
            `changed` if the image has another version now.
        TemporaryError: the disk or the store did not answer.
    """
    if location.startswith(SCHEME):
        data = read_object(location, seconds, version=version, max_bytes=MAX_FILE_BYTES)
    else:
        data = read_file(location, version)
    return EncodedImage(data=data, content=f"sha256:{hashlib.sha256(data).hexdigest()}")


def _candidates(csv: Path | None, images: str | None) -> Iterator[Candidate]:
    if images and images.startswith(SCHEME):
        return list_s3(images)
    if images and is_one_file(images):
        return list_file(Path(images))
    if images:
        return list_folder(Path(images), recursive=True)
    if csv is None:
        raise UserError("give --csv, --images or both: there is nothing to look for")
    here = csv.absolute().parent
    # A CSV may lie beside anything, but what is called `images` is all images.
    image_folders = (folder for pattern in _IMAGE_FOLDERS for folder in sorted(here.glob(pattern)) if folder.is_dir())
    return chain(list_folder(here, recursive=False), *(list_folder(folder, recursive=True) for folder in image_folders))


def same_bytes(one: FoundImage, other: FoundImage) -> bool:
    """Whether two images have the same bytes; False where one cannot be read or was not checked."""
    if one.version is None or other.version is None:
        return False
    if not (one.location.startswith(SCHEME) or other.location.startswith(SCHEME)):
        return same_file_bytes(one.location, other.location)
    if Version.parse(one.version).size != Version.parse(other.version).size:
        return False
    try:
        # Not their ETags: a store may give all objects the same one.
        return read_image(one.location).data == read_image(other.location).data
    except (PermanentError, TemporaryError):
        return False
