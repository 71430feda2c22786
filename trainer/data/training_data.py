"""Loads what a fit works on: labelled scans, their subsets, and the findings to learn."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from db.labels.csv_file import LabelRow, LabelsFile, read_labels_csv
from db.labels.reading import DEFAULT_READING, Reading
from db.labels.words import describe_ignored
from db.ledger.scans import FoundImage
from trainer.console.progress import print_status
from trainer.data.dataset import Examples, check_unreadable_share, read_scans
from trainer.data.labels import is_known, label_matrix, labelled_rows, learnable_findings
from trainer.data.split import (
    count_duplicates,
    shared_images,
    shared_patients,
    split_by_image,
    split_by_lists,
    split_by_patient,
)
from trainer.phantoms.marker import is_marked
from trainer.recipe import Recipe
from worker.artifacts.manifest import SYNTHETIC_NOTE
from worker.artifacts.split_file import SUBSETS, SplitRow
from worker.images.pixels import Pixels
from worker.storage.image_store import Listing, find_images
from worker.storage.rows import contradicted_patients, rows_with_headers

#: Assigns rows to subsets; see `trainer.data.split` for the hashes, by image name.
_Assign: TypeAlias = Callable[[Sequence[LabelRow], Mapping[str, str]], Sequence[SplitRow]]


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """A labels CSV and the images that were found of it."""

    #: In its rows the name, patient, view, sex and age of a DICOM film are those of its header where the CSV is silent.
    file: LabelsFile
    #: By the rows' image names.
    found: Mapping[str, FoundImage]
    #: The image name of each row that the CSV names otherwise, by the CSV's name.
    image_names: Mapping[str, str]

    @property
    def manufacturers(self) -> dict[str, str]:
        """Of the images whose DICOM header names one, by image name."""
        named = {name: image.header.manufacturer for name, image in self.found.items() if image.header}
        return {name: manufacturer for name, manufacturer in named.items() if manufacturer is not None}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where scans and labels are."""

    csv: Path
    #: A folder or `s3://bucket/prefix`; None looks beside the CSV.
    images: str | None = None
    reading: Reading = DEFAULT_READING
    #: NIH's official lists of image names; both or neither.
    train_list: Path | None = None
    test_list: Path | None = None

    def read_labels(self) -> LabelsFile:
        """Read and check the CSV, and print the words that it leaves out.

        Raises:
            UserError: see `db.labels.csv_file.read_labels_csv`.
        """
        file = read_labels_csv(self.csv, self.reading)
        if file.ignored:
            print_status(describe_ignored(file.ignored))
        return file

    def find_scans(self) -> LabelledImages:
        """Read the CSV and find its images, with the headers of those that are DICOM, as a run does.

        Raises:
            UserError: as `read_labels`; the images cannot be listed; or CSV and headers contradict each other.
        """
        file = self.read_labels()
        listing = find_images(self.csv, self.images, {row.image_name for row in file.rows})
        rows = rows_with_headers(file.rows, listing)
        _check_identities(rows, listing)
        return LabelledImages(file=replace(file, rows=rows), found=listing.images, image_names=listing.image_names)


@dataclass(frozen=True, kw_only=True)
class Subset:
    """The scans of one subset."""

    rows: tuple[LabelRow, ...]
    #: uint8 (M, H, W, C), shared by all subsets.
    pixels: Pixels
    #: (N,) index in `pixels` of each of `rows`.
    indices: NDArray[np.int64]
    #: float32 (N, findings): 1, 0, or NaN for unknown.
    labels: NDArray[np.float32]
    #: As `LabelledImages.manufacturers`.
    manufacturers: Mapping[str, str] = field(default_factory=dict)

    @property
    def mean_pixels(self) -> NDArray[np.float64]:
        """Each scan's mean pixel, float64 (N,) in 0..255."""
        return np.array([self.pixels[index].mean(dtype=np.float64) for index in self.indices])


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """All subsets of a fit."""

    labels_file: LabelsFile
    findings: tuple[str, ...]
    #: One row for each readable scan that is used.
    split: tuple[SplitRow, ...]
    #: By the names in `SUBSETS`.
    subsets: Mapping[str, Subset]
    #: Reason code to the number of labelled scans that could not be read.
    unreadable: Mapping[str, int]
    #: Whether the scans are phantoms.
    is_synthetic: bool


def load_training_data(source: Source, recipe: Recipe, *, cache: Path) -> TrainingData:
    """Read the labels, assign scans to subsets, decode images that the cache lacks, and print the subsets' sizes.

    Raises:
        UserError: the CSV is wrong, images are missing, there are too few patients, no finding can be
            learned, or official lists share patients or images.
    """
    scans = source.find_scans()
    file = scans.file
    labelled = _with_patients(labelled_rows(file.rows), scans.found)
    # Refuses a wrong source before the images are read, which tells the duplicates and can take hours.
    assign = partial(_split, source, recipe, scans.image_names)
    listed = {row.image_name for row in assign(labelled, {})}
    rows = [row for row in labelled if row.image_name in listed]
    examples = read_scans(rows, scans.found, recipe.preprocessing, cache=cache)
    split = _split_examples(assign, file.dataset, rows, examples)
    training_rows = [row for row, split_row in zip(examples.rows, split, strict=True) if split_row.subset == "train"]
    findings = learnable_findings(training_rows, recipe.targets, covered=file.covered)
    subsets = {name: _subset(name, examples, split, findings, scans) for name in SUBSETS}
    _print_subsets(split)
    _print_unknown(subsets["train"])
    _check_apart(split, recipe)
    # On their way through an archive DICOM phantoms lose the marker of their folder.
    is_synthetic = is_marked(source.csv, source.images) or any(
        image.header.synthetic for image in scans.found.values() if image.header
    )
    if is_synthetic:
        print_status(f"these scans are phantoms: the model will be marked as {SYNTHETIC_NOTE}")
    return TrainingData(
        labels_file=file,
        findings=findings,
        split=split,
        subsets=subsets,
        unreadable=examples.unreadable,
        is_synthetic=is_synthetic,
    )


def _check_identities(rows: Sequence[LabelRow], listing: Listing) -> None:
    for name in sorted(listing.conflicts.keys() & {row.image_name for row in rows}):
        raise UserError(
            "two different images have the SOP Instance UID {}: {!r} and {!r}; remove one of them".format(
                name, *listing.conflicts[name]
            )
        )
    for name, (header, csv) in contradicted_patients(rows, listing):
        raise UserError(
            f"the header of {name!r} names patient {header!r} and the CSV patient {csv!r}; correct the CSV, or delete"
            " its column of patients, and the headers' are taken"
        )


def _with_patients(rows: Sequence[LabelRow], found: Mapping[str, FoundImage]) -> list[LabelRow]:
    """The rows that name a patient or have an image, whose header may name one.

    Raises:
        UserError: these are too many.
    """
    kept = [row for row in rows if row.patient_id is not None or row.image_name in found]
    if missing := len(rows) - len(kept):
        check_unreadable_share(Counter(missing=missing), len(rows))
        print_status(f"left out {missing} scans without an image, and so without a patient")
    return kept


def _split_examples(
    assign: _Assign, dataset: str, rows: Sequence[LabelRow], examples: Examples
) -> tuple[SplitRow, ...]:
    """A row for each readable scan. Unreadable ones are assigned too, so that the others' subsets rest on all rows."""
    contents = examples.content_by_name
    assigned = {row.image_name: row for row in assign(rows, contents)}
    return tuple(replace(assigned[name], dataset=dataset, content=content) for name, content in contents.items())


def _split(
    source: Source,
    recipe: Recipe,
    image_names: Mapping[str, str],
    rows: Sequence[LabelRow],
    contents: Mapping[str, str],
) -> Sequence[SplitRow]:
    if (source.train_list is None) != (source.test_list is None):
        raise UserError("--train-list and --test-list are used together; give both or neither")
    if source.train_list and source.test_list:
        return split_by_lists(
            rows,
            train_list=source.train_list,
            test_list=source.test_list,
            validation_share=recipe.validation_share,
            seed=recipe.seed,
            contents=contents,
            image_names=image_names,
        )
    split = split_by_patient if recipe.split == "patient" else split_by_image
    return split(
        rows,
        validation_share=recipe.validation_share,
        test_share=recipe.test_share,
        seed=recipe.seed,
        contents=contents,
    )


def _subset(
    name: str, examples: Examples, split: Sequence[SplitRow], findings: Sequence[str], scans: LabelledImages
) -> Subset:
    chosen = [number for number, row in enumerate(split) if row.subset == name]
    rows = tuple(examples.rows[number] for number in chosen)
    return Subset(
        rows=rows,
        pixels=examples.pixels,
        indices=examples.indices[chosen],
        labels=label_matrix(rows, findings, covered=scans.file.covered),
        manufacturers=scans.manufacturers,
    )


def _print_subsets(split: Sequence[SplitRow]) -> None:
    scans = Counter(row.subset for row in split)
    known = {(row.patient_id, row.subset) for row in split if row.patient_id is not None}
    patients = Counter(subset for _, subset in known)
    sizes = (f"{subset} {scans[subset]} scans of {patients[subset]} patients" for subset in SUBSETS if scans[subset])
    unknown = sum(row.patient_id is None for row in split)
    print_status(
        f"{', '.join(sizes)}; patients in more than one subset: {shared_patients(split)}"
        + (f", scans without a patient id: {unknown}" if unknown else "")
    )
    print_status(
        f"scans whose image is byte for byte that of another: {count_duplicates(split)};"
        f" such images in more than one subset: {shared_images(split)}"
    )


def _print_unknown(training: Subset) -> None:
    unknown = np.count_nonzero(~is_known(training.labels))
    if unknown:
        print_status(f"labels of training scans: {unknown:,} of {training.labels.size:,} are unknown and weigh nothing")


def _check_apart(split: Sequence[SplitRow], recipe: Recipe) -> None:
    for what, shared in (("patients have scans", shared_patients(split)), ("images are", shared_images(split))):
        if recipe.split == "patient" and shared:
            raise UserError(
                f"{shared} {what} in both of --train-list and --test-list, so test figures would flatter the"
                " model; remove them from one list, or choose --split image"
            )
