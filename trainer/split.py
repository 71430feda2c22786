"""Which patients a model is fitted, tuned and tested on: a patient's scans never part."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from db.errors import UserError
from db.labels_csv import LabelRow
from worker.artifact import SUBSETS, SplitRow
from worker.manifest import SPLIT_FILE


def split_by_patient(
    rows: Sequence[LabelRow], *, validation_share: float, test_share: float, seed: int
) -> tuple[SplitRow, ...]:
    """Deal whole patients, in random order, to test, then validation, until each has its share of scans.

    Returns:
        One row for each given row, in their order.

    Raises:
        UserError: a scan without a patient, or too few patients for three subsets.
    """
    scans = Counter(_patient_of(row) for row in rows)
    wanted = {"test": test_share * len(rows), "validation": validation_share * len(rows)}
    subsets = _deal(scans, wanted, seed)
    missing = [subset for subset in SUBSETS if subset not in subsets.values()]
    if missing:
        raise UserError(f"{len(scans)} patients are too few for this split: nobody is left for {missing[0]}")
    return tuple(
        SplitRow(image_name=row.image_name, patient_id=row.patient_id, subset=subsets[_patient_of(row)]) for row in rows
    )


def write_split(folder: Path, split: Iterable[SplitRow]) -> None:
    """Write `split.csv` as `worker.artifact.read_split` reads it."""
    with (folder / SPLIT_FILE).open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("image_name", "patient_id", "subset"))
        lines.writerows((row.image_name, row.patient_id or "", row.subset) for row in split)


def _patient_of(row: LabelRow) -> str:
    if row.patient_id is None:
        raise UserError("the CSV does not say which patient a scan is of; a split by patient needs 'Patient ID'")
    return row.patient_id


def _deal(scans: Counter[str], wanted: dict[str, float], seed: int) -> dict[str, str]:
    order = np.random.default_rng(seed).permutation(sorted(scans)).tolist()
    dealt: Counter[str] = Counter()
    subsets: dict[str, str] = {}
    for patient in order:
        test, validation = (dealt[subset] >= wanted[subset] for subset in ("test", "validation"))
        subset = "train" if test and validation else "validation" if test else "test"
        subsets[patient] = subset
        dealt[subset] += scans[patient]
    return subsets
