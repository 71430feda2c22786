"""`producer labels --inspect` counts what a file says, and what it does not."""

from pathlib import Path

import pytest

from db.labels.csv_file import Reading, read_labels_csv
from producer.ingest.label_inspection import FindingCounts, inspect_labels

LAYOUTS = Path(__file__).parents[3] / "support" / "label_layouts"


def inspect(name, **reading):
    return inspect_labels(read_labels_csv(LAYOUTS / f"{name}.csv", Reading(**reading)))


def test_every_scan_is_positive_negative_uncertain_or_unknown_for_each_finding():
    """The four counts of a finding add up to the scans; a finding of which nothing is said is not listed."""
    for name in ("chexpert", "padchest", "vindr", "rsna_boxes", "adjudicated"):
        found = inspect(name, ignore_unknown=True)
        for counts in found.findings.values():
            assert counts.positive + counts.negative + counts.uncertain + counts.unknown == found.scans
            assert counts.unknown < found.scans
        assert "Hernia" not in found.findings or name == "adjudicated", "only NIH's lists speak of it"


@pytest.mark.parametrize(
    ("reading", "counts"),
    [
        ({}, FindingCounts(positive=1, negative=2, uncertain=2, unknown=0)),
        ({"blank": "ignore"}, FindingCounts(positive=1, negative=1, uncertain=2, unknown=1)),
        ({"uncertain": "positive"}, FindingCounts(positive=3, negative=2, uncertain=0, unknown=0)),
    ],
)
def test_counts_follow_what_minus_one_and_blanks_mean(reading, counts):
    """Counted by hand in the fixture: Edema is 1 once, -1 twice and blank twice, once beside `No Finding`."""
    assert inspect("chexpert", **reading).findings["Edema"] == counts


def test_a_labelled_scan_without_no_finding_is_a_negative_of_it():
    """Only of the one scan whose cell is empty is it unknown whether something was found."""
    counts = inspect("padchest", ignore_unknown=True).findings["No Finding"]
    assert (counts.positive + counts.negative, counts.uncertain, counts.unknown) == (4, 0, 1)


def test_rows_scans_patients_and_labelled_scans_are_counted():
    """A scan with an empty cell is not labelled; of VinDr's patients nothing is known."""
    padchest, vindr = inspect("padchest", ignore_unknown=True), inspect("vindr", ignore_unknown=True)
    assert (padchest.rows, padchest.scans, padchest.patients, padchest.labelled) == (5, 5, 5, 4)
    assert (vindr.rows, vindr.scans, vindr.patients, vindr.scans_without_patient) == (8, 3, 0, 3)
    assert (padchest.layout, vindr.layout) == ("bracketed list", "rows")
    assert padchest.ignored_words == {"scoliosis": 2}
    assert padchest.columns["Labels"] == "findings"
    assert "Report" in padchest.unread_columns
