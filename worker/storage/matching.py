"""Selects the wanted images from the files of a folder or prefix."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import accumulate
from posixpath import commonpath
from typing import Final, TypeAlias

from db.errors import UserError
from db.ledger.scans import FoundImage
from worker.dicom.uid import is_uid


class LeftOut(StrEnum):
    """Why an entry of a folder or prefix is left out. The values are keys of JSON, so they are public interface.

    Files whose content is no image are counted under `worker.storage.content.OtherContent.key` and
    `worker.dicom.header.NoImage`.
    """

    #: Not in the CSV. Older programs also counted names here that have not the suffix of an image.
    OTHER_NAME = "other_name"
    #: Hidden, or in a hidden folder.
    HIDDEN = "hidden"
    #: SQL cannot store the name.
    INVALID_NAME = "invalid_name"
    #: A file that cannot be read, so that it is not known what it is.
    UNREADABLE = "unreadable"
    #: A folder that cannot be listed.
    UNREADABLE_FOLDER = "unreadable_folder"
    #: A link to a folder, which is not entered.
    SYMLINKED_FOLDER = "symlinked_folder"


#: A file's name relative to the root, with '/' between its parts, and a function that finds its location and version,
#: which costs a `stat`; or a folder's name, and why it was not entered.
Candidate = tuple[str, Callable[[], FoundImage] | LeftOut]
#: A candidate that is a file.
_File: TypeAlias = tuple[str, Callable[[], FoundImage]]
#: An image, with its header if it is DICOM; or the key under which a file is left out.
Examined = FoundImage | str
#: Looks into files, see `worker.storage.examination.Examiner`.
ExamineAll = Callable[[Iterable[Candidate]], Iterator[tuple[str, Examined]]]

#: The suffixes of images that are always named by their path, because they have no header.
_PLAIN_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp")
_IMAGE_SUFFIXES: Final = (*_PLAIN_SUFFIXES, ".dcm", ".dicom")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The images that were found in a folder or prefix."""

    #: By image name: the SOP Instance UID of DICOM that has one, and else the wanted name, or the relative path.
    images: dict[str, FoundImage]
    #: How many entries were left out, by `LeftOut` or kind of content; reasons without an entry are absent.
    left_out: Mapping[str, int]
    #: The image name of each wanted name that is not one itself.
    image_names: Mapping[str, str] = field(default_factory=dict)
    #: By image name, two places of different bytes with one SOP Instance UID.
    conflicts: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def has_plain_suffix(name: str) -> bool:
    """Whether a name has the suffix of a PNG, JPEG, TIFF or BMP."""
    return name.lower().endswith(_PLAIN_SUFFIXES)


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
    examine: ExamineAll,
) -> Listing:
    """Select the images whose relative path, or else base name, is wanted; without `wanted`, all images.

    A wanted name without the suffix of an image is that of a file with any such suffix, or the SOP Instance UID of a
    file of any name. If all wanted names begin with the same folders, the root may be one of these folders instead of
    the one that holds them.

    Of copies, the one at the relative path is taken, or the one that sorts first. Memory grows with the images that are
    selected, not with the number of candidates.

    Raises:
        UserError: a wanted name without a folder or suffix is that of two files with different bytes.
    """
    left_out = Counter[str]()
    storable = _storable(candidates, left_out)
    if wanted is not None:
        return _select_wanted(storable, wanted, same_bytes, examine, left_out)
    images = _Selection(same_bytes=same_bytes)
    for name, image in examine(_visible(storable, left_out)):
        if isinstance(image, FoundImage):
            images.add(image.instance or name, image)
        else:
            left_out[image] += 1
    return Listing(images=images.images, left_out=left_out, conflicts=images.conflicts)


def _storable(candidates: Iterable[Candidate], left_out: Counter[str]) -> Iterator[_File]:
    """The candidates that are files; all others are counted."""
    for name, describe in candidates:
        if not can_store_name(name):
            left_out[LeftOut.INVALID_NAME] += 1
        elif isinstance(describe, LeftOut):
            left_out[describe] += 1
        else:
            yield name, describe


def _visible(candidates: Iterable[_File], left_out: Counter[str]) -> Iterator[_File]:
    for name, describe in candidates:
        if _is_hidden(name):
            left_out[LeftOut.HIDDEN] += 1
        else:
            yield name, describe


def _select_wanted(
    candidates: Iterable[_File],
    wanted: AbstractSet[str],
    same_bytes: Callable[[FoundImage, FoundImage], bool],
    examine: ExamineAll,
    left_out: Counter[str],
) -> Listing:
    named = _Named(wanted, same_bytes)
    others = named.take(candidates)
    by_uid = _Selection(same_bytes=same_bytes)
    if any(map(is_uid, wanted)):
        for _, image in examine((name, describe) for name, describe in others if not _is_hidden(name)):
            if isinstance(image, FoundImage) and image.instance in wanted:
                by_uid.add(str(image.instance), image)
    else:
        deque(others, maxlen=0)
    images, image_names = _Selection(same_bytes=same_bytes), dict[str, str]()
    found = named.images()
    described = ((image.location, partial(_itself, image)) for image in found.values())
    for (name, listed), (_, examined) in zip(found.items(), examine(described), strict=True):
        if examined == LeftOut.UNREADABLE:
            left_out[LeftOut.UNREADABLE] += 1
            continue
        # What else a CSV names is an image, whatever it holds: the worker says what is wrong with it.
        image = examined if isinstance(examined, FoundImage) else listed
        image_name = image.instance or name
        if name in by_uid.images and image_name != name:
            # The file is only named like the image that the row means.
            continue
        images.add(image_name, image)
        if image_name != name:
            image_names[name] = image_name
    for name, image in by_uid.images.items():
        images.add(name, image)
    left_out[LeftOut.OTHER_NAME] += named.other_count - len(by_uid.images)
    return Listing(
        images=images.images,
        left_out=+left_out,
        image_names=image_names,
        conflicts={**by_uid.conflicts, **images.conflicts},
    )


def _itself(image: FoundImage) -> FoundImage:
    return image


class _Named:
    """The files whose names are wanted."""

    def __init__(self, wanted: AbstractSet[str], same_bytes: Callable[[FoundImage, FoundImage], bool]) -> None:
        self._wanted = wanted
        self._loose_names = _LooseNames(wanted)
        self._exact, self._by_base = _Selection(same_bytes=same_bytes), _Selection(same_bytes=same_bytes)
        self._loosely = _Selection(same_bytes=same_bytes)
        #: How many others there were.
        self.other_count = 0

    def take(self, candidates: Iterable[_File]) -> Iterator[_File]:
        """Keep the candidates whose names are wanted, and yield the others."""
        for name, describe in candidates:
            base = name.rpartition("/")[2]
            if name in self._wanted:
                self._exact.add(name, describe())
            elif base in self._wanted and not _is_hidden(name):
                self._by_base.add(base, describe())
            elif meant := self._loose_names.find(name):
                self._loosely.add(meant, describe())
            else:
                self.other_count += 1
                yield name, describe

    def images(self) -> dict[str, FoundImage]:
        """The files that were kept, by wanted name.

        Raises:
            UserError: see `select_images`.
        """
        for name in self._by_base.images.keys() & self._exact.images.keys():
            self._by_base.add(name, self._exact.images[name])
        found = {**self._by_base.images, **self._exact.images}
        loose_conflicts = {name: places for name, places in self._loosely.conflicts.items() if name not in found}
        _refuse_conflicts(self._by_base.conflicts | self._exact.conflicts | loose_conflicts)
        return {**self._loosely.images, **found}


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
