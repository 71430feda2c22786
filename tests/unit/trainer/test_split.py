import pytest

from db.errors import UserError
from db.labels_csv import LabelRow
from trainer.split import split_by_patient, write_split
from worker.artifact import read_split


def row(patient, scan):
    return LabelRow(
        image_name=f"{patient or 0:08}_{scan:03}.png",
        findings=("No Finding",),
        patient_id=None if patient is None else str(patient),
        view=None,
        sex=None,
        age_years=None,
        follow_up=scan,
    )


ROWS = [row(patient, scan) for patient in range(1, 61) for scan in range(patient % 5 + 1)]


def split(rows=ROWS, seed=0):
    return split_by_patient(rows, validation_share=0.15, test_share=0.25, seed=seed)


def patients_of(rows, subset):
    return {one.patient_id for one in rows if one.subset == subset}


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_is_in_two_subsets(seed):
    """All scans of a patient go the same way."""
    rows = split(seed=seed)
    subsets = [patients_of(rows, subset) for subset in ("train", "validation", "test")]
    assert sum(map(len, subsets)) == len(set.union(*subsets)) == 60


def test_every_scan_has_its_place_and_the_shares_are_kept():
    """One row a scan, in order; the shares hold to within one patient's scans."""
    rows = split()
    assert [one.image_name for one in rows] == [one.image_name for one in ROWS]
    for subset, share in (("test", 0.25), ("validation", 0.15)):
        found = sum(one.subset == subset for one in rows)
        assert share * len(ROWS) <= found < share * len(ROWS) + 5


def test_the_order_of_the_csv_does_not_matter():
    """The same patients and the same seed give the same subsets."""
    assert patients_of(split(), "test") == patients_of(split(ROWS[::-1]), "test")


def test_too_few_patients_are_refused():
    """A fit without anyone left to train on is no fit."""
    with pytest.raises(UserError, match="2 patients are too few"):
        split([row(1, 0), row(1, 1), row(2, 0)])


def test_a_scan_without_a_patient_is_refused():
    """Split by image and a patient may be on both sides."""
    with pytest.raises(UserError, match="which patient"):
        split([*ROWS, row(None, 0)])


def test_what_was_written_is_what_is_read(tmp_path):
    """`split.csv` survives the way through the file."""
    write_split(tmp_path, split())
    assert tuple(read_split(tmp_path)) == split()
