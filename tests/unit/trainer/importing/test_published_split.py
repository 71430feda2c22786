"""Splits that publishers state, from NIH's own list, against scikit-learn."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import GroupShuffleSplit

from db.errors import UserError
from tests.support.world import HEADER
from trainer.importing.published_split import assign_subsets, torchxrayvision_split

NIH = Path(__file__).parents[5] / "shared/data/Data_Entry_2017_v2020.csv.gz"


def expected_subsets(patients):
    """As the library's two scripts: a split of all scans, and one of those that it leaves."""

    def split(numbers):
        groups = np.array(patients, object)[numbers]
        splitter = GroupShuffleSplit(train_size=0.8, test_size=0.2, random_state=0)
        return tuple(numbers[part] for part in next(splitter.split(numbers, groups=groups)))

    subsets = np.full(len(patients), "train", object)
    others, test = split(np.arange(len(patients)))
    subsets[test] = "test"
    subsets[split(others)[1]] = "validation"
    return subsets.tolist()


@pytest.mark.parametrize("count", [5, 12, 203])
def test_patients_are_split_as_scikit_learn_splits_them(count):
    """In whatever order the scans come; ids are texts, so 10 comes before 9."""
    patients = [str(number % 7 * 31 + number % count) for number in range(3 * count)]
    assert assign_subsets(patients) == expected_subsets(patients)
    assert assign_subsets(patients[::-1]) == expected_subsets(patients)[::-1]


@pytest.mark.slow
def test_nihs_whole_list_has_three_subsets_without_a_common_patient():
    """The real list: 64, 16 and 20% of 30,805 patients."""
    if not NIH.exists():
        pytest.skip("NIH's list is not there")
    rows = torchxrayvision_split(NIH)
    assert [row.subset for row in rows] == expected_subsets([row.patient_id for row in rows])
    patients = Counter(subset for subset, _ in {(row.subset, row.patient_id) for row in rows})
    assert patients == {"train": 19_715, "validation": 4_929, "test": 6_161}
    assert (rows[0].image_name, rows[0].dataset, rows[0].content) == ("00000001_000.png", "Data_Entry_2017_v2020", None)


@pytest.mark.parametrize("name", ["00000001_000.png", "film.png", "00000002_000.png"])
def test_a_csv_that_is_not_nihs_whole_list_is_refused(name, tmp_path):
    """A sample, other names, another patient's id: a split drawn from it would call fitted scans held out."""
    csv = tmp_path / "some.csv"
    csv.write_text(",".join(HEADER) + os.linesep + f"{name},Mass,0,1,60,M,PA,96,96,0.14,0.14\n")
    with pytest.raises(UserError, match=r"some\.csv: not the whole of NIH's list \(112,120 scans .*\); give Data_"):
        torchxrayvision_split(csv)
