"""A CSV and the headers of its films together say what is known of a scan."""

from dataclasses import replace

import pytest

from db.errors import UserError
from db.labels.csv_file import LabelRow
from db.ledger.scans import FoundImage, ImageHeader
from worker.storage.matching import Listing
from worker.storage.rows import contradicted_patients, rows_with_headers

HEADER = ImageHeader(sop_instance_uid="1.2.3", patient_id="7", view="AP", sex="F", age_years=60.0)
LISTING = Listing(
    images={"1.2.3": FoundImage(location="/x/IM1", header=HEADER), "a.png": FoundImage(location="/x/a.png")},
    left_out={},
    image_names={"s1/IM1": "1.2.3"},
)
ROW = LabelRow(
    image_name="s1/IM1", findings=("Mass",), patient_id=None, view=None, sex=None, age_years=None, follow_up=2
)


def test_a_row_gets_the_uid_as_its_name_and_what_it_does_not_say_from_the_header():
    """Its labels stay."""
    assert rows_with_headers([ROW], LISTING) == (
        replace(ROW, image_name="1.2.3", patient_id="7", view="AP", sex="F", age_years=60.0),
    )


def test_what_a_row_says_goes_before_the_header():
    """A person wrote it for this purpose; another patient is told."""
    row = replace(ROW, patient_id="8", view="PA", sex="M", age_years=0.0)
    (completed,) = rows_with_headers([row], LISTING)
    assert completed == replace(row, image_name="1.2.3")
    assert list(contradicted_patients([completed], LISTING)) == [("1.2.3", ("7", "8"))]
    assert list(contradicted_patients(rows_with_headers([ROW], LISTING), LISTING)) == []


def test_a_row_of_an_image_without_a_header_or_of_no_image_stays():
    """PNGs have none."""
    rows = (replace(ROW, image_name="a.png"), replace(ROW, image_name="missing"))
    assert rows_with_headers(rows, LISTING) == rows


def test_two_rows_of_one_film_are_one_or_refused_where_they_differ():
    """One names the file and one the UID."""
    assert len(rows_with_headers([ROW, replace(ROW, image_name="1.2.3")], LISTING)) == 1
    with pytest.raises(UserError, match=r"two rows of the CSV are of the image with SOP Instance UID 1\.2\.3"):
        rows_with_headers([ROW, replace(ROW, image_name="1.2.3", findings=())], LISTING)
