"""Assigns scans to training, validation and test; by default all scans of a patient stay together.

Scans whose images are byte for byte the same stay together in any split, and take what belongs to them along: only
official lists can part them. `contents` are hashes of the encoded images by image name, as far as they are known.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from db.errors import UserError
from db.labels.csv_file import LabelRow
from worker.artifacts.split_file import SUBSETS, SplitRow

_UNKNOWN: Final[Mapping[str, str]] = MappingProxyType({})


def split_by_patient(
    rows: Sequence[LabelRow],
    *,
    validation_share: float,
    test_share: float,
    seed: int,
    contents: Mapping[str, str] = _UNKNOWN,
) -> tuple[SplitRow, ...]:
    """Assign whole patients, in random order, to test, then to validation, until each has its share of scans.

    Returns:
        One row for each given row, in their order.

    Raises:
        UserError: a scan has no patient, or there are too few patients for the subsets.
    """
    groups = _join_duplicates(rows, [_patient_of(row) for row in rows], contents)
    return _assign(rows, groups, _shares(validation_share, test_share), seed, "patients")


def split_by_image(
    rows: Sequence[LabelRow],
    *,
    validation_share: float,
    test_share: float,
    seed: int,
    contents: Mapping[str, str] = _UNKNOWN,
) -> tuple[SplitRow, ...]:
    """Assign scans regardless of patients. Test figures then flatter the model, because it knows the patients."""
    groups = _join_duplicates(rows, [row.image_name for row in rows], contents)
    return _assign(rows, groups, _shares(validation_share, test_share), seed, "scans")


def split_by_lists(
    rows: Sequence[LabelRow],
    *,
    train_list: Path,
    test_list: Path,
    validation_share: float,
    seed: int,
    contents: Mapping[str, str] = _UNKNOWN,
    image_names: Mapping[str, str] = _UNKNOWN,
) -> tuple[SplitRow, ...]:
    """Take NIH's official lists of image names, and assign whole patients of the training list to validation.

    `image_names` are those of the rows whose CSV and lists may say another name, see `Listing.image_names`.

    Returns:
        One row for each given row that a list names, in their order.

    Raises:
        UserError: a list cannot be read, a list names no scan, or both lists name the same scan.
    """
    listed = {path: {image_names.get(name, name) for name in _read_list(path)} for path in (train_list, test_list)}
    both = listed[train_list] & listed[test_list]
    if both:
        raise UserError(f"{test_list}: {len(both)} of its scans are also in {train_list}; remove them from one list")
    chosen = {path: [row for row in rows if row.image_name in names] for path, names in listed.items()}
    for path, found in chosen.items():
        if not found:
            raise UserError(f"{path}: names no labelled scan of the CSV; choose the list that belongs to it")
    fitted = split_by_patient(
        chosen[train_list], validation_share=validation_share, test_share=0, seed=seed, contents=contents
    )
    subsets = {row.image_name: row.subset for row in fitted} | {row.image_name: "test" for row in chosen[test_list]}
    return tuple(_split_row(row, subsets[row.image_name]) for row in rows if row.image_name in subsets)


def shared_patients(split: Iterable[SplitRow]) -> int:
    """The number of patients with scans in more than one subset."""
    return _count_shared(split, lambda row: row.patient_id)


def shared_images(split: Iterable[SplitRow]) -> int:
    """The number of images, by their bytes, that are in more than one subset."""
    return _count_shared(split, lambda row: row.content)


def count_duplicates(split: Iterable[SplitRow]) -> int:
    """The number of scans whose image is byte for byte that of another scan."""
    return sum(scans for content, scans in Counter(row.content for row in split).items() if content and scans > 1)


def _count_shared(split: Iterable[SplitRow], key_of: Callable[[SplitRow], str | None]) -> int:
    subsets: dict[str, set[str]] = {}
    for row in split:
        if (key := key_of(row)) is not None:
            subsets.setdefault(key, set()).add(row.subset)
    return sum(len(found) > 1 for found in subsets.values())


def _join_duplicates(rows: Sequence[LabelRow], keys: Sequence[str], contents: Mapping[str, str]) -> list[str]:
    """The key of each row's group: keys whose rows share a content are one group, which has the least of these keys.

    So a split is the same with and without contents where no two scans share one.
    """
    parents = {key: key for key in keys}

    def root(key: str) -> str:
        while parents[key] != key:
            # Halves the path, or a chain of joins would be walked again and again.
            parents[key] = key = parents[parents[key]]
        return key

    first: dict[str, str] = {}
    for row, key in zip(rows, keys, strict=True):
        if (content := contents.get(row.image_name)) is not None:
            one, other = sorted((root(key), root(first.setdefault(content, key))))
            parents[other] = one
    return [root(key) for key in keys]


def _shares(validation: float, test: float) -> dict[str, float]:
    if validation + test >= 1:
        raise UserError(f"--validation-share {validation} and --test-share {test} leave no scans to fit on")
    return {subset: share for subset, share in (("test", test), ("validation", validation)) if share}


def _assign(
    rows: Sequence[LabelRow], keys: Sequence[str], shares: dict[str, float], seed: int, kind: str
) -> tuple[SplitRow, ...]:
    """Assign rows of one key together; `shares` are shares of rows, in the order in which subsets are filled."""
    sizes = Counter(keys)
    assigned: Counter[str] = Counter()
    subsets: dict[str, str] = {}
    for key in np.random.default_rng(seed).permutation(sorted(sizes)).tolist():
        unfilled = (subset for subset, share in shares.items() if assigned[subset] < share * len(rows))
        subsets[key] = next(unfilled, "train")
        assigned[subsets[key]] += sizes[key]
    empty = [subset for subset in SUBSETS if subset in {*shares, "train"} and not assigned[subset]]
    if empty:
        raise UserError(f"{len(sizes)} {kind} are too few for this split: none are left for the {empty[0]} subset")
    return tuple(_split_row(row, subsets[key]) for row, key in zip(rows, keys, strict=True))


def _split_row(row: LabelRow, subset: str) -> SplitRow:
    return SplitRow(image_name=row.image_name, patient_id=row.patient_id, subset=subset)


def _patient_of(row: LabelRow) -> str:
    if row.patient_id is None:
        raise UserError(
            "a row of the CSV has no patient, and a split by patient needs one in each row; fill in the column"
            " 'Patient ID', or choose --split image"
        )
    return row.patient_id


def _read_list(path: Path) -> set[str]:
    try:
        return set(path.read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of image names ({error})") from error
