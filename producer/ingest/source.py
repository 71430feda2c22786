"""What a person asks to have scored: a labels CSV, a folder or bucket of images, or both."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from db.errors import UserError
from db.labels.csv_file import Columns, LabelRow, LabelsFile, read_labels_csv
from db.ledger.scans import FoundImage
from worker.storage.image_store import SCHEME, find_images


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a person asks to have scored, as it was typed."""

    csv: Path | None = None
    #: Folder or s3://bucket/prefix; None looks beside the CSV.
    images: str | None = None
    columns: Columns = field(default_factory=Columns)
    #: What the scans' names are unique in; None is the CSV's stem, or the folder's name.
    dataset: str | None = None
    #: Name or hash; None is the active model.
    model: str | None = None
    #: Only the first rows.
    limit: int | None = None
    #: Score again what has scores already.
    rescore: bool = False
    #: Look for the images. Without a look each row's image is taken to lie in `images` under its name.
    check: bool = True

    @property
    def shown(self) -> str:
        """What people call it."""
        return str(self.csv or self.images)


@dataclass(frozen=True, kw_only=True)
class Input:
    """A source as it was read: its scans, and where their images lie."""

    dataset: str
    #: Of the CSV's bytes, or of the listing.
    sha256: str
    rows: tuple[LabelRow, ...]
    found: Mapping[str, FoundImage]
    #: None where nothing is labelled.
    labels: LabelsFile | None
    #: In a folder without a CSV: those not named like an image.
    left_out: int = 0


def check_source(source: Source) -> None:
    """Whether what was typed makes sense, before anything is looked at.

    Raises:
        UserError: flags that are missing or contradict each other.
    """
    if source.dataset is not None and not source.dataset.strip():
        raise UserError("--dataset is empty")
    if source.csv is not None:
        return
    if source.images is None:
        raise UserError("nothing to score: say --csv FILE, --images FOLDER or s3://bucket/prefix, or both")
    if not source.check:
        raise UserError("--no-check takes the images' names from a CSV: say --csv too")
    if source.columns != Columns():
        raise UserError("--image-column, --label-column and --patient-column name columns of a CSV: say --csv too")


def read_source(source: Source) -> Input:
    """Read the CSV and look for the images.

    Raises:
        UserError: no labels file, no such folder or bucket, no image at all, or flags that contradict each other.
    """
    check_source(source)
    if source.csv is not None:
        return _from_csv(source, read_labels_csv(source.csv, source.columns))
    return _from_images(source, source.images or "")


def _from_csv(source: Source, file: LabelsFile) -> Input:
    rows = file.rows[: source.limit]
    return Input(
        dataset=source.dataset or file.dataset,
        sha256=file.sha256,
        rows=rows,
        found=_look(source, rows) if source.check else _trust(source, rows),
        labels=file if any(row.findings for row in rows) else None,
    )


def _from_images(source: Source, images: str) -> Input:
    listing = find_images(None, images)
    if not listing.images:
        raise UserError(f"{images}: no image is here ({listing.other_files} files of other names)")
    names = sorted(listing.images)[: source.limit]
    found = {name: listing.images[name] for name in names}
    return Input(
        dataset=source.dataset or _dataset_of(images),
        sha256=_sha256_of(found),
        rows=tuple(_unlabelled(name) for name in names),
        found=found,
        labels=None,
        left_out=listing.other_files,
    )


def _look(source: Source, rows: Sequence[LabelRow]) -> Mapping[str, FoundImage]:
    found = find_images(source.csv, source.images, {row.image_name for row in rows}).images
    if not found:
        where = source.images or f"the CSV's folder, its images/, images_*/images/ or sample/images/ ({source.csv})"
        raise UserError(f"none of the {len(rows)} images of {source.shown} is in {where}; say --images")
    return found


def _trust(source: Source, rows: Sequence[LabelRow]) -> Mapping[str, FoundImage]:
    if source.images is None:
        raise UserError("--no-check needs --images: where the images are taken to lie")
    is_s3 = source.images.startswith(SCHEME)
    root = (source.images if is_s3 else str(Path(source.images).absolute())).rstrip("/")
    return {row.image_name: FoundImage(location=f"{root}/{row.image_name}") for row in rows}


def _unlabelled(image_name: str) -> LabelRow:
    nothing: dict[str, None] = dict.fromkeys(("patient_id", "view", "sex", "age_years", "follow_up"))
    return LabelRow(image_name=image_name, findings=(), **nothing)


def _dataset_of(images: str) -> str:
    """A folder's name; a bucket's whole address, for `2026-11` may be in many."""
    if images.startswith(SCHEME):
        return images.removeprefix(SCHEME).strip("/")
    return Path(images).absolute().name or images


def _sha256_of(found: Mapping[str, FoundImage]) -> str:
    listed = "".join(f"{name}\0{image.version}\0" for name, image in found.items())
    return hashlib.sha256(listed.encode()).hexdigest()
