"""Which scans a model is fitted, tuned and tested on; by default a patient's scans never part."""

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
    """Deal whole patients, in random order, to test, then validation, until each has its share of scans.

    Returns:
        One row for each given row, in their order.

    Raises:
        UserError: a scan without a patient, or too few patients for the subsets.
    """
    return _deal(rows, [_patient_of(row) for row in rows], _shares(validation_share, test_share), seed, "patients")


def split_by_image(
    rows: Sequence[LabelRow], *, validation_share: float, test_share: float, seed: int
) -> tuple[SplitRow, ...]:
    """Deal scans regardless of patients: a test on scans of patients that the model knows, which flatters it."""
    return _deal(rows, [row.image_name for row in rows], _shares(validation_share, test_share), seed, "scans")


def split_by_lists(
    rows: Sequence[LabelRow], *, train_list: Path, test_list: Path, validation_share: float, seed: int
) -> tuple[SplitRow, ...]:
    """Take NIH's official lists of image names, and deal whole patients of the first to validation.

    Returns:
        One row for each given row that a list names, in their order.

    Raises:
        UserError: a list cannot be read, names no scan, or both name one.
    """
    listed = {path: _read_list(path) for path in (train_list, test_list)}
    both = listed[train_list] & listed[test_list]
    if both:
        raise UserError(f"{test_list}: {len(both)} of its scans are in {train_list} too")
    chosen = {path: [row for row in rows if row.image_name in names] for path, names in listed.items()}
    for path, found in chosen.items():
        if not found:
            raise UserError(f"{path}: names no labelled scan of the CSV")
    fitted = split_by_patient(chosen[train_list], validation_share=validation_share, test_share=0, seed=seed)
    subsets = {row.image_name: row.subset for row in fitted} | {row.image_name: "test" for row in chosen[test_list]}
    return tuple(_used(row, subsets[row.image_name]) for row in rows if row.image_name in subsets)


def shared_patients(split: Iterable[SplitRow]) -> int:
    """How many patients have scans in more than one subset."""
    subsets: dict[str, set[str]] = {}
    for row in split:
        if row.patient_id is not None:
            subsets.setdefault(row.patient_id, set()).add(row.subset)
    return sum(len(found) > 1 for found in subsets.values())


def _shares(validation: float, test: float) -> dict[str, float]:
    if validation + test >= 1:
        raise UserError(f"--validation-share {validation} and --test-share {test} leave nothing to fit on")
    return {subset: share for subset, share in (("test", test), ("validation", validation)) if share}


def _deal(
    rows: Sequence[LabelRow], keys: Sequence[str], shares: dict[str, float], seed: int, kind: str
) -> tuple[SplitRow, ...]:
    """Deal rows of one key together; `shares` are of rows, in the order in which subsets are filled."""
    sizes = Counter(keys)
    dealt: Counter[str] = Counter()
    subsets: dict[str, str] = {}
    for key in np.random.default_rng(seed).permutation(sorted(sizes)).tolist():
        open_ones = (subset for subset, share in shares.items() if dealt[subset] < share * len(rows))
        subsets[key] = next(open_ones, "train")
        dealt[subsets[key]] += sizes[key]
    empty = [subset for subset in SUBSETS if subset in {*shares, "train"} and not dealt[subset]]
    if empty:
        raise UserError(f"{len(sizes)} {kind} are too few for this split: nobody is left for {empty[0]}")
    return tuple(_used(row, subsets[key]) for row, key in zip(rows, keys, strict=True))


def _used(row: LabelRow, subset: str) -> SplitRow:
    return SplitRow(image_name=row.image_name, patient_id=row.patient_id, subset=subset)


def _patient_of(row: LabelRow) -> str:
    if row.patient_id is None:
        raise UserError("the CSV does not say which patient a scan is of; a split by patient needs 'Patient ID'")
    return row.patient_id


def _read_list(path: Path) -> set[str]:
    try:
        return set(path.read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of image names ({error})") from error
