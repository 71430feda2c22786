"""Which of the files that a folder or prefix holds are the images that are asked for."""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from db.errors import UserError
from db.ledger.scans import FoundImage

#: A file's name relative to the root, parts joined by '/', and how to look at it: a look costs a `stat`.
Offer = tuple[str, Callable[[], FoundImage]]

_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What was found in a folder or prefix."""

    #: Image name to where it lies.
    images: dict[str, FoundImage]
    #: Files that were left out: not asked for, not named like an image, hidden, or with a name that SQL cannot hold.
    other_files: int


def named_like_image(name: str) -> bool:
    """Whether a name ends as those of images do, and no part of it is hidden."""
    return name.lower().endswith(_SUFFIXES) and not _is_hidden(name)


def fits_sql(name: str) -> bool:
    """Not so: bytes of a file name that are no UTF-8, and the NUL that an S3 key may hold."""
    return "\0" not in name and name == name.encode(errors="ignore").decode()


def choose(
    offers: Iterable[Offer], wanted: AbstractSet[str] | None, same_bytes: Callable[[FoundImage, FoundImage], bool]
) -> Listing:
    """Keep the wanted names (a relative path, or else a base name), or without any all that is named like an image.

    What is kept grows with `wanted`, not with what else there is.

    Raises:
        UserError: two files of different bytes have one wanted name.
    """
    exact, by_base = _Kept(same_bytes=same_bytes), _Kept(same_bytes=same_bytes)
    other_files = 0
    for name, look in offers:
        base = name.rpartition("/")[2]
        if not fits_sql(name):
            other_files += 1
        elif name in wanted if wanted is not None else named_like_image(name):
            exact.add(name, look())
        elif wanted and base in wanted and not _is_hidden(name):
            by_base.add(base, look())
        else:
            other_files += 1
    _refuse_rivals({name: places for name, places in by_base.rivals.items() if name not in exact.images})
    _refuse_rivals(exact.rivals)
    return Listing(images={**by_base.images, **exact.images}, other_files=other_files)


@dataclass(kw_only=True)
class _Kept:
    same_bytes: Callable[[FoundImage, FoundImage], bool]
    images: dict[str, FoundImage] = field(default_factory=dict)
    #: Two places of one name whose bytes differ.
    rivals: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, name: str, image: FoundImage) -> None:
        first = self.images.setdefault(name, image)
        if first.location == image.location:
            return
        if not self.same_bytes(first, image):
            self.rivals[name] = (first.location, image.location)
        # Of copies the one that sorts first, in whatever order they were listed.
        self.images[name] = min(first, image, key=lambda one: one.location)


def _refuse_rivals(rivals: dict[str, tuple[str, str]]) -> None:
    if rivals:
        name = min(rivals)
        one, other = sorted(rivals[name])
        raise UserError(f"two different images are named {name!r}: {one!r} and {other!r}; name them by their paths")


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or "/." in name
