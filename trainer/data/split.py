"""Assigns scans to training, validation and test; by default all scans of a patient stay together."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from db.errors import UserError
from db.labels.csv_file import LabelRow
from worker.artifacts.split_file import SUBSETS, SplitRow


def split_by_patient(
    rows: Sequence[LabelRow], *, validation_share: float, test_share: float, seed: int
) -> tuple[SplitRow, ...]:
    """Assign whole patients, in random order, to test, then to validation, until each has its share of scans.

    Returns:
        One row for each given row, in their order.

    Raises:
        UserError: a scan has no patient, or there are too few patients for the subsets.
    """
    return _assign(rows, [_patient_of(row) for row in rows], _shares(validation_share, test_share), seed, "patients")


def split_by_image(
    rows: Sequence[LabelRow], *, validation_share: float, test_share: float, seed: int
) -> tuple[SplitRow, ...]:
    """Assign scans regardless of patients. Test figures then flatter the model, because it knows the patients."""
    return _assign(rows, [row.image_name for row in rows], _shares(validation_share, test_share), seed, "scans")


def split_by_lists(
    rows: Sequence[LabelRow], *, train_list: Path, test_list: Path, validation_share: float, seed: int
) -> tuple[SplitRow, ...]:
    """Take NIH's official lists of image names, and assign whole patients of the training list to validation.

    Returns:
        One row for each given row that a list names, in their order.

    Raises:
        UserError: a list cannot be read, a list names no scan, or both lists name the same scan.
    """
    listed = {path: _read_list(path) for path in (train_list, test_list)}
    both = listed[train_list] & listed[test_list]
    if both:
        raise UserError(f"{test_list}: {len(both)} of its scans are also in {train_list}; remove them from one list")
    chosen = {path: [row for row in rows if row.image_name in names] for path, names in listed.items()}
    for path, found in chosen.items():
        if not found:
            raise UserError(f"{path}: names no labelled scan of the CSV; choose the list that belongs to it")
    fitted = split_by_patient(chosen[train_list], validation_share=validation_share, test_share=0, seed=seed)
    subsets = {row.image_name: row.subset for row in fitted} | {row.image_name: "test" for row in chosen[test_list]}
    return tuple(_split_row(row, subsets[row.image_name]) for row in rows if row.image_name in subsets)


def shared_patients(split: Iterable[SplitRow]) -> int:
    """The number of patients with scans in more than one subset."""
    subsets: dict[str, set[str]] = {}
    for row in split:
        if row.patient_id is not None:
            subsets.setdefault(row.patient_id, set()).add(row.subset)
    return sum(len(found) > 1 for found in subsets.values())


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
