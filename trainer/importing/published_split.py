"""Draws a publisher's split of NIH's list again, from the seed of the program that drew it."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from db.labels.csv_file import LabelsFile, read_labels_csv
from worker.artifacts.split_file import SplitRow

_SCANS: Final = 112_120
_PATIENTS: Final = 30_805
_NAME: Final = re.compile(r"(\d{8})_\d{3}\.png")
_SEED: Final = 0


def torchxrayvision_split(csv: Path) -> tuple[SplitRow, ...]:
    """What torchxrayvision's own script fits, tunes and tests a model of NIH alone on, in the order of the list.

    Source: mlmed/torchxrayvision, `scripts/train_model.py` at dba73af and `scripts/train_utils.py` at 74431d0, whose
    default seed is 0. The first sets 20% of the patients apart; the second sets 20% of the others apart, and keeps the
    epoch that is best on them. Hence `test` and `validation`. It takes the views PA and AP, which are all that NIH
    has. Only the set of patients decides the split, so the lists of 2017 and 2020 give the same if their patients are
    the same, in whatever order.

    This is no split of the weights `densenet121-res224-nih` that the library downloads. The script's first version drew
    single scans with PyTorch's generator, and the author of the weights says that their split was not kept (issue 47
    there), so their fitted scans stay unknown. `scripts/model_calibrate.py` chooses the library's thresholds on `test`,
    so figures at a published threshold may be too good there.

    Args:
        csv: `Data_Entry_2017_v2020.csv` or `Data_Entry_2017.csv`, as NIH publishes it, or gzipped.

    Raises:
        UserError: the file cannot be read, or is not the whole of NIH's list.
    """
    file = _read_nih_list(csv)
    subsets = assign_subsets([row.patient_id or "" for row in file.rows])
    return tuple(
        SplitRow(image_name=row.image_name, patient_id=row.patient_id, subset=subset, dataset=file.dataset)
        for row, subset in zip(file.rows, subsets, strict=True)
    )


def assign_subsets(patients: Sequence[str]) -> list[str]:
    """The subset of each of N scans: two of scikit-learn's `GroupShuffleSplit(train_size=0.8, test_size=0.2)`.

    Args:
        patients: (N,) the patient of each scan.
    """
    others, test = _split_patients(np.unique(patients))
    _, validation = _split_patients(others)
    subset_of = dict.fromkeys(test.tolist(), "test") | dict.fromkeys(validation.tolist(), "validation")
    return [subset_of.get(patient, "train") for patient in patients]


def _split_patients(patients: NDArray[np.str_]) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Split patients into four fifths, sorted, and one fifth, as scikit-learn does. `patients` are sorted too."""
    # The legacy generator is scikit-learn's; its stream never changes.
    order = np.random.RandomState(_SEED).permutation(len(patients))
    apart = math.ceil(0.2 * len(patients))
    return np.sort(patients[order[apart:]]), patients[order[:apart]]


def _read_nih_list(csv: Path) -> LabelsFile:
    file = read_labels_csv(csv)
    names = [_NAME.fullmatch(row.image_name) for row in file.rows]
    are_nihs = all(
        name is not None and row.patient_id == str(int(name[1])) for name, row in zip(names, file.rows, strict=True)
    )
    if not are_nihs or len(file.rows) != _SCANS or len({row.patient_id for row in file.rows}) != _PATIENTS:
        raise UserError(
            f"{csv}: not the whole of NIH's list ({_SCANS:,} scans of {_PATIENTS:,} patients, each name beginning with"
            " its patient's id); give Data_Entry_2017_v2020.csv as NIH publishes it"
        )
    return file
