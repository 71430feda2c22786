import pytest

from db.errors import UserError
from db.labels.csv_file import LabelRow
from trainer.data.split import (
    count_duplicates,
    shared_images,
    shared_patients,
    split_by_image,
    split_by_lists,
    split_by_patient,
)
from worker.artifacts.split_file import SplitRow, read_split, write_split


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


#: The first scans of the patients 1 to 10 are one image; so are the second of 9 and 11, and the first of 20 and 30.
DUPLICATES = {
    **{row(patient, 0).image_name: "a" for patient in range(1, 11)},
    **{row(patient, 1).image_name: "b" for patient in (9, 11)},
    **{row(patient, 0).image_name: "c" for patient in (20, 30)},
}


def split(rows=ROWS, seed=0, **options):
    return split_by_patient(rows, validation_share=0.15, test_share=0.25, seed=seed, **options)


def patients_of(rows, subset):
    return {one.patient_id for one in rows if one.subset == subset}


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_is_in_two_subsets(seed):
    """All scans of a patient are in the same subset."""
    rows = split(seed=seed)
    subsets = [patients_of(rows, subset) for subset in ("train", "validation", "test")]
    assert sum(map(len, subsets)) == len(set.union(*subsets)) == 60


def test_every_scan_has_a_subset_and_the_shares_are_kept():
    """One row per scan, in order; the shares are exact to within one patient's scans."""
    rows = split()
    assert [one.image_name for one in rows] == [one.image_name for one in ROWS]
    for subset, share in (("test", 0.25), ("validation", 0.15)):
        found = sum(one.subset == subset for one in rows)
        assert share * len(ROWS) <= found < share * len(ROWS) + 5


def test_the_order_of_the_csv_does_not_matter():
    """The same patients and the same seed give the same subsets."""
    assert patients_of(split(), "test") == patients_of(split(ROWS[::-1]), "test")


def test_too_few_patients_are_refused():
    """At least one patient must be left to train on."""
    with pytest.raises(UserError, match="2 patients are too few"):
        split([row(1, 0), row(1, 1), row(2, 0)])


def test_a_scan_without_a_patient_is_refused():
    """Its patient could be in two subsets."""
    with pytest.raises(UserError, match="a row of the CSV has no patient"):
        split([*ROWS, row(None, 0)])


def test_a_split_by_image_divides_patients():
    """As in the mini project: shares are exact to the scan, and patients have scans in both subsets."""
    rows = split_by_image(ROWS, validation_share=0, test_share=0.2, seed=0)
    assert sum(one.subset == "test" for one in rows) == round(0.2 * len(ROWS))
    assert {one.subset for one in rows} == {"train", "test"}
    assert shared_patients(rows) > 10
    assert shared_patients(split()) == 0


def subsets_of(rows, patients):
    return {one.subset for one in rows if int(one.patient_id) in patients}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("order", [1, -1])
def test_patients_with_one_image_are_in_one_subset(seed, order):
    """They are perhaps one person under several ids; a chain of shared images joins all of its patients."""
    rows = split(ROWS[::order], seed=seed, contents=DUPLICATES)
    assert len(subsets_of(rows, range(1, 12))) == len(subsets_of(rows, {20, 30})) == 1
    assert shared_patients(rows) == 0


@pytest.mark.parametrize("seed", range(5))
def test_one_image_is_in_one_subset_in_a_split_by_image(seed):
    """Test figures would flatter a model that was fitted on the very image."""
    rows = split_by_image(ROWS, validation_share=0.2, test_share=0.3, seed=seed, contents=DUPLICATES)
    for content in "abc":
        names = {name for name, found in DUPLICATES.items() if found == content}
        assert len({one.subset for one in rows if one.image_name in names}) == 1


def test_contents_that_differ_change_no_split():
    """A fit whose images all differ has the split that it had before contents were known."""
    contents = {one.image_name: one.image_name for one in ROWS}
    assert split(contents=contents) == split()


def test_duplicates_and_shared_images_are_counted():
    """By content; a scan whose content is not known is no duplicate."""
    where = [
        ("a", "train"),
        ("a", "test"),
        ("a", "test"),
        ("b", "train"),
        ("b", "train"),
        ("c", "test"),
        (None, "test"),
    ]
    rows = [
        SplitRow(image_name=f"{number}.png", patient_id=None, subset=subset, content=content)
        for number, (content, subset) in enumerate([*where, (None, "train")])
    ]
    assert (count_duplicates(rows), shared_images(rows)) == (5, 1)


def test_shares_that_leave_no_training_scans_are_refused():
    """The sentence names both flags."""
    with pytest.raises(UserError, match="leave no scans to fit on"):
        split_by_patient(ROWS, validation_share=0.5, test_share=0.5, seed=0)


@pytest.fixture
def lists(tmp_path):
    """NIH's two lists with patients 1 to 40 and 41 to 58; patients 59 and 60 are in neither."""
    train, test = tmp_path / "train_val_list.txt", tmp_path / "test_list.txt"
    train.write_text("\n".join(one.image_name for one in ROWS if int(one.patient_id) <= 40))
    test.write_text("\n".join(one.image_name for one in ROWS if 40 < int(one.patient_id) <= 58) + "\n")
    return {"train_list": train, "test_list": test, "validation_share": 0.2, "seed": 0}


def test_official_lists_decide_what_is_tested(lists):
    """Patients of the first are assigned to validation; patients in neither list are not used."""
    rows = split_by_lists(ROWS, **lists)
    assert {int(patient) for patient in patients_of(rows, "test")} == set(range(41, 59))
    fitted, tuned = patients_of(rows, "train"), patients_of(rows, "validation")
    assert {int(patient) for patient in fitted | tuned} == set(range(1, 41))
    assert tuned
    assert not fitted & tuned


def test_a_scan_on_both_lists_is_refused(lists):
    """The model would be tested on what it learned."""
    lists["test_list"].write_text(ROWS[0].image_name)
    with pytest.raises(UserError, match="1 of its scans are also in"):
        split_by_lists(ROWS, **lists)


@pytest.mark.parametrize("which", ["train_list", "test_list"])
def test_a_list_of_other_scans_is_refused(lists, which):
    """The sentence names the file."""
    lists[which].write_text("nobody.png")
    with pytest.raises(UserError, match=f"{lists[which].name}: names no labelled scan"):
        split_by_lists(ROWS, **lists)


def test_a_split_that_was_written_is_read_back(tmp_path):
    """Through `split.csv`."""
    write_split(tmp_path, split())
    assert tuple(read_split(tmp_path)) == split()
