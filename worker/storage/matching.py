"""Selects the wanted images from the files of a folder or prefix."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from posixpath import commonpath
from typing import Final

from db.errors import UserError
from db.ledger.scans import FoundImage


class LeftOut(StrEnum):
    """Why an entry of a folder or prefix is left out. The values are keys of JSON, so they are public interface."""

    #: Not wanted, not named like an image, or hidden.
    OTHER_NAME = "other_name"
    #: SQL cannot store the name.
    INVALID_NAME = "invalid_name"
    #: A folder that cannot be listed.
    UNREADABLE_FOLDER = "unreadable_folder"
    #: A link to a folder, which is not entered.
    SYMLINKED_FOLDER = "symlinked_folder"


#: A file's name relative to the root, with '/' between its parts, and a function that finds its location and version,
#: which costs a `stat`; or a folder's name, and why it was not entered.
Candidate = tuple[str, Callable[[], FoundImage] | LeftOut]

_IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The images that were found in a folder or prefix."""

    #: By image name.
    images: dict[str, FoundImage]
    #: How many entries were left out, by `LeftOut`; reasons without an entry are absent.
    left_out: Mapping[str, int]


def has_image_name(name: str) -> bool:
    """Whether a name has the suffix of an image, and no part of it is hidden."""
    return name.lower().endswith(_IMAGE_SUFFIXES) and not _is_hidden(name)


def can_store_name(name: str) -> bool:
    """Whether SQL can store a name: a file's name may not be valid UTF-8, and an S3 key may hold a NUL."""
    return "\0" not in name and name == name.encode(errors="ignore").decode()


def select_images(
    candidates: Iterable[Candidate],
    wanted: AbstractSet[str] | None,
    same_bytes: Callable[[FoundImage, FoundImage], bool],
) -> Listing:
    """Select the images whose relative path, or else base name, is wanted; without `wanted`, all image files.

    A wanted name without the suffix of an image is that of a file with any such suffix. If all wanted names begin with
    the same folders, the root may be one of these folders instead of the one that holds them.

    Of copies, the one at the relative path is taken. Memory grows with `wanted`, not with the number of candidates.

    Raises:
        UserError: a wanted name without a folder or suffix is that of two files with different bytes.
    """
    exact, by_base = _Selection(same_bytes=same_bytes), _Selection(same_bytes=same_bytes)
    loosely = _Selection(same_bytes=same_bytes)
    left_out, loose_names = Counter[str](), _LooseNames(wanted or frozenset())
    for name, describe in candidates:
        base = name.rpartition("/")[2]
        if not can_store_name(name):
            left_out[LeftOut.INVALID_NAME] += 1
        elif isinstance(describe, LeftOut):
            left_out[describe] += 1
        elif name in wanted if wanted is not None else has_image_name(name):
            exact.add(name, describe())
        elif wanted and base in wanted and not _is_hidden(name):
            by_base.add(base, describe())
        elif meant := loose_names.find(name):
            loosely.add(meant, describe())
        else:
            left_out[LeftOut.OTHER_NAME] += 1
    for name in by_base.images.keys() & exact.images.keys():
        by_base.add(name, exact.images[name])
    found = {**by_base.images, **exact.images}
    loose_conflicts = {name: places for name, places in loosely.conflicts.items() if name not in found}
    _refuse_conflicts(by_base.conflicts | exact.conflicts | loose_conflicts)
    return Listing(images={**loosely.images, **found}, left_out=left_out)


class _LooseNames:
    """The wanted names of files whose own names are others: without suffix, or with the folders above the root."""

    def __init__(self, wanted: AbstractSet[str]) -> None:
        self._wanted = wanted
        self._lack_suffix = any(not name.lower().endswith(_IMAGE_SUFFIXES) for name in wanted)
        common = commonpath([_folder(min(wanted)), _folder(max(wanted))]) if wanted else ""
        #: The folders with which all wanted names begin: `set/`, `set/train/`.
        self._prefixes = [*(f"{path}/" for path in accumulate(common.split("/"), "{}/{}".format))] if common else []

    def find(self, name: str) -> str | None:
        """The wanted name that a file is meant by, or None."""
        if not has_image_name(name):
            return None
        stem = name.rpartition(".")[0]
        if self._lack_suffix:
            for meant in (stem, stem.rpartition("/")[2]):
                if meant in self._wanted:
                    return meant
        spellings = (name, stem) if self._lack_suffix else (name,)
        possible = (prefix + spelling for prefix in self._prefixes for spelling in spellings)
        return next((meant for meant in possible if meant in self._wanted), None)


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


@dataclass(kw_only=True)
class _Selection:
    same_bytes: Callable[[FoundImage, FoundImage], bool]
    images: dict[str, FoundImage] = field(default_factory=dict)
    #: By name, two locations whose bytes differ.
    conflicts: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, name: str, image: FoundImage) -> None:
        first = self.images.setdefault(name, image)
        if first.location == image.location:
            return
        if not self.same_bytes(first, image):
            self.conflicts[name] = (first.location, image.location)
        # Of several copies the one that sorts first is kept, in whatever order they were listed.
        self.images[name] = min(first, image, key=lambda one: one.location)


def _refuse_conflicts(conflicts: dict[str, tuple[str, str]]) -> None:
    if conflicts:
        name = min(conflicts)
        one, other = sorted(conflicts[name])
        raise UserError(
            f"two different images are named {name!r}: {one!r} and {other!r}; "
            "name them by their relative paths, or rename one of them"
        )


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or "/." in name
