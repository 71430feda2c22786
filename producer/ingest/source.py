"""Reads what a person wants scored: a labels CSV, a folder or bucket of images, or both."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias

from db.counted import counted
from db.errors import UserError
from db.labels.csv_file import LabelRow, LabelsFile, read_labels_csv
from db.labels.reading import DEFAULT_READING, Reading
from db.ledger.scans import FoundImage
from producer.ingest.conflicts import Contradiction, find_contradictions
from worker.dicom.header import NoImage
from worker.storage.content import OTHER_CONTENTS
from worker.storage.image_store import SCHEME, LeftOut, Listing, find_images, is_one_file
from worker.storage.rows import rows_with_headers

#: Gives for a dataset the SOP Instance UIDs of images that were read before, by `FoundImage.seen_as`.
KnownInstances: TypeAlias = Callable[[str], Mapping[str, str]]

#: What was left out, as noun and why.
_LEFT_OUT_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    LeftOut.OTHER_NAME: ("file", " not named like an image"),
    LeftOut.HIDDEN: ("hidden file", ""),
    LeftOut.UNREADABLE: ("file", " that cannot be read"),
    LeftOut.INVALID_NAME: ("name", " that SQL cannot store"),
    LeftOut.UNREADABLE_FOLDER: ("folder", " that cannot be read"),
    LeftOut.SYMLINKED_FOLDER: ("symlinked folder", ""),
    NoImage.DICOMDIR: ("DICOMDIR", ""),
    NoImage.OTHER: ("DICOM file", " without an image"),
    # Without its article.
    **{content.key: (content.phrase.partition(" ")[2], "") for content in OTHER_CONTENTS},
    OTHER_CONTENTS[-1].key: ("file", " of another kind"),
}


def _none_known(_dataset: str) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a person wants scored, as typed on the command line."""

    csv: Path | None = None
    #: Folder or s3://bucket/prefix, or one image; None looks next to the CSV.
    images: str | None = None
    reading: Reading = DEFAULT_READING
    #: Image names are unique within it; None is the CSV's stem, or the name of the folder or prefix.
    dataset: str | None = None
    #: Name or hash; None is the active model.
    model: str | None = None
    #: Use only this many rows.
    limit: int | None = None
    #: Score scans again that already have an outcome.
    rescore: bool = False
    #: Take images in other places than before for the same scans, whatever their bytes are.
    moved: bool = False
    #: Take the patient ids of the CSV for right where the ledger has others.
    correct_patients: bool = False
    #: Register the study dates of DICOM.
    study_dates: bool = False
    #: List the images. If false, each image is assumed to lie in `images` under its name.
    check: bool = True

    @property
    def display_name(self) -> str:
        """The path or address under which people know it."""
        return str(self.csv or self.images)


@dataclass(frozen=True, kw_only=True)
class SourceContents:
    """The scans of a source, and where their images lie."""

    dataset: str
    #: Of the CSV's bytes, or of the listing of images.
    sha256: str
    rows: tuple[LabelRow, ...]
    #: By image name.
    found: Mapping[str, FoundImage]
    #: None if no row has a label.
    labels: LabelsFile | None
    #: How many entries of the folder or prefix were left out, by reason. With a CSV, without the files
    #: that it does not list. None if nothing was listed.
    left_out: Mapping[str, int] | None
    #: See `LabelsFile`.
    ignored: Mapping[str, int] = field(default_factory=dict)
    #: By image name, why it is not known which image or patient is meant.
    contradictions: Mapping[str, Contradiction] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """How many scans have no image."""
        return sum(row.image_name not in self.found for row in self.rows)


def check_source(source: Source) -> None:
    """Check the flags, without looking at any file.

    Raises:
        UserError: a flag is missing, or two contradict each other.
    """
    if source.dataset is not None and not source.dataset.strip():
        raise UserError("--dataset is empty")
    if source.csv is not None:
        return
    if source.images is None:
        raise UserError("nothing to score: add --csv FILE, --images FOLDER or s3://bucket/prefix, or both")
    if not source.check:
        raise UserError("--no-check takes the image names from a CSV: add --csv")
    if source.reading != DEFAULT_READING:
        raise UserError("--image-column and the flags like it say how a CSV is read: add --csv")


def read_source(source: Source, known: KnownInstances = _none_known) -> SourceContents:
    """Read the CSV and list the images.

    Args:
        source: what to read.
        known: gives for a dataset the images that need not be read again, see `find_images`.

    Raises:
        UserError: the CSV is not a labels file, the folder or bucket does not exist, no image is found, or flags
            contradict each other.
    """
    check_source(source)
    if source.csv is not None:
        return _read_csv(source, read_labels_csv(source.csv, source.reading), known)
    return _read_images(source, source.images or "", known)


def _read_csv(source: Source, file: LabelsFile, known: KnownInstances) -> SourceContents:
    rows, dataset = file.rows[: source.limit], source.dataset or file.dataset
    listing = _list_images(source, rows, known(dataset)) if source.check else None
    if listing:
        rows = rows_with_headers(rows, listing)
    return SourceContents(
        dataset=dataset,
        sha256=file.sha256,
        rows=rows,
        found=_registered(source, listing.images) if listing else _assume_locations(source, rows),
        labels=file if any(row.is_labelled for row in rows) else None,
        ignored=file.ignored,
        left_out=_without_other_names(listing.left_out) if listing else None,
        contradictions=find_contradictions(rows, listing) if listing else {},
    )


def _registered(source: Source, images: Mapping[str, FoundImage]) -> Mapping[str, FoundImage]:
    """The images with what is registered of their headers."""
    return images if source.study_dates else {name: _without_study_date(image) for name, image in images.items()}


def _without_study_date(image: FoundImage) -> FoundImage:
    if image.header is None or image.header.study_date is None:
        return image
    return replace(image, header=replace(image.header, study_date=None))


def _without_other_names(left_out: Mapping[str, int]) -> Mapping[str, int]:
    return {reason: count for reason, count in left_out.items() if reason != LeftOut.OTHER_NAME}


def _list_images(source: Source, rows: Sequence[LabelRow], known: Mapping[str, str]) -> Listing:
    listing = find_images(source.csv, source.images, {row.image_name for row in rows}, known)
    if not listing.images:
        where = source.images or f"the CSV's folder, its images/, images_*/images/ or sample/images/ ({source.csv})"
        images = counted(len(rows), "image")
        unreadable = describe_left_out({key: n for key, n in listing.left_out.items() if key == LeftOut.UNREADABLE})
        others = f" ({unreadable})" if unreadable else ""
        raise UserError(f"none of the {images} of {source.display_name} is in {where}{others}; set --images")
    return listing


def _assume_locations(source: Source, rows: Sequence[LabelRow]) -> Mapping[str, FoundImage]:
    if source.images is None:
        raise UserError("--no-check assumes that the images lie in --images: add --images")
    is_s3 = source.images.startswith(SCHEME)
    root = (source.images if is_s3 else str(Path(source.images).absolute())).rstrip("/")
    return {row.image_name: FoundImage(location=f"{root}/{row.image_name}") for row in rows}


def _read_images(source: Source, images: str, known: KnownInstances) -> SourceContents:
    # Of one object of a bucket nothing is known, and it is read again.
    listing = find_images(None, images, known=known(source.dataset or _dataset_of(_folder_of(images, {}))))
    if not listing.images:
        others = f" (left out: {describe_left_out(listing.left_out)})" if listing.left_out else ""
        raise UserError(f"{images}: no image is here{others}")
    names = sorted(listing.images)[: source.limit]
    found = {name: listing.images[name] for name in names}
    rows = rows_with_headers([unlabelled_row(name) for name in names], listing)
    return SourceContents(
        dataset=source.dataset or _dataset_of(_folder_of(images, found)),
        sha256=_sha256_of(found, listing.conflicts),
        rows=rows,
        found=_registered(source, found),
        labels=None,
        left_out=listing.left_out,
        contradictions=find_contradictions(rows, listing),
    )


def unlabelled_row(image_name: str) -> LabelRow:
    """The row of an image of which nothing else is known."""
    return LabelRow(
        image_name=image_name, findings=(), patient_id=None, view=None, sex=None, age_years=None, follow_up=None
    )


def _folder_of(images: str, found: Mapping[str, FoundImage]) -> str:
    """The folder or prefix that was named, or in which the one image lies that was named."""
    if is_one_file(images):
        return str(Path(images).absolute().parent)
    is_object = any(image.location == images for image in found.values())
    return images.rpartition("/")[0] if is_object else images


def _dataset_of(images: str) -> str:
    """The name of a folder; the whole address of a prefix, because many buckets may hold a `2026-11`."""
    if images.startswith(SCHEME):
        return images.removeprefix(SCHEME).strip("/")
    return Path(images).absolute().name or images


def _sha256_of(found: Mapping[str, FoundImage], conflicts: Collection[str]) -> str:
    listed = "".join(f"{name}\0{image.version}\0" for name, image in found.items())
    # Once they are settled, their scans are due, which an open run would not notice.
    listed += "".join(f"{name}\0" for name in sorted(conflicts))
    return hashlib.sha256(listed.encode()).hexdigest()


def describe_left_out(left_out: Mapping[str, int]) -> str:
    """The entries of a folder or prefix that were left out, in words."""
    # A later version may have noted reasons that this one does not know.
    words = ((count, *_LEFT_OUT_WORDS.get(reason, (reason, ""))) for reason, count in sorted(left_out.items()))
    return ", ".join(counted(count, noun) + why for count, noun, why in words)
