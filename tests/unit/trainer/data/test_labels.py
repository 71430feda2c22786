"""Labels as numbers: what is not known is neither positive nor negative."""

import numpy as np
import pytest

from db.errors import UserError
from db.findings import CHEXPERT_FINDINGS, FINDINGS, NIH_FINDINGS, SPECIFIC_FINDINGS
from db.labels.csv_file import LabelRow, read_labels_csv
from trainer.data.labels import is_known, known_only, label_matrix, labelled_rows, learnable_findings

UNKNOWN = None


@pytest.fixture
def rows(phantoms):
    return read_labels_csv(phantoms).rows


def row(*findings, uncertain=(), negative=()):
    return LabelRow(
        image_name="a.png",
        findings=findings,
        uncertain=uncertain,
        negative=negative,
        patient_id="1",
        view=None,
        sex=None,
        age_years=None,
        follow_up=None,
    )


def label(scan, finding, covered=NIH_FINDINGS):
    ((found,),) = label_matrix([scan], [finding], covered=covered).tolist()
    return UNKNOWN if np.isnan(found) else found


def test_a_label_is_one_where_the_csv_says_so(rows):
    """NIH's labels cover its fourteen findings, so that all are known; only findings that occur are learned."""
    findings = learnable_findings(rows, covered=NIH_FINDINGS)
    matrix = label_matrix(rows, findings, covered=NIH_FINDINGS)
    assert findings[0] == "Abnormal"
    assert is_known(matrix).all()
    assert matrix.any(axis=0).all()
    np.testing.assert_array_equal(matrix[:, 0], [row.findings != ("No Finding",) for row in rows])
    np.testing.assert_array_equal(matrix[:, 0], matrix[:, 1:].max(axis=1))


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        (row("Mass"), {"Mass": 1, "Hernia": 0, "Fracture": UNKNOWN, "Abnormal": 1}),
        (row("No Finding"), {"Mass": 0, "Fracture": UNKNOWN, "Abnormal": 0}),
        (row("Fracture"), {"Mass": 0, "Fracture": 1, "Lung Lesion": UNKNOWN, "Abnormal": 0}),
        (row(negative=("No Finding",)), {"Mass": 0, "Fracture": UNKNOWN, "Abnormal": 0}),
        (row(negative=("Fracture",)), {"Mass": 0, "Fracture": 0, "Abnormal": 0}),
        (row(uncertain=("Mass",)), {"Mass": UNKNOWN, "Hernia": 0, "Abnormal": UNKNOWN}),
        (row("Hernia", uncertain=("Mass",)), {"Mass": UNKNOWN, "Hernia": 1, "Abnormal": 1}),
        (row(uncertain=("Fracture",)), {"Mass": 0, "Fracture": UNKNOWN, "Abnormal": 0}),
        (row(), {"Mass": UNKNOWN, "Fracture": UNKNOWN, "Abnormal": UNKNOWN}),
    ],
)
def test_what_a_row_does_not_say_is_negative_only_if_the_labels_cover_it(scan, expected):
    """An uncertain finding is unknown, and so is `Abnormal` if one of NIH's is; the row's other labels are kept."""
    assert {finding: label(scan, finding) for finding in expected} == expected


def test_labels_that_cover_few_findings_do_not_tell_a_normal_scan():
    """Unless the row says `No Finding`: what was not looked for may be there."""
    assert label(row("Fracture"), "Abnormal", covered=("Fracture", "Effusion")) is UNKNOWN
    assert label(row("Fracture"), "Effusion", covered=("Fracture", "Effusion")) == 0
    assert label(row("No Finding"), "Abnormal", covered=()) == 0
    assert label(row("Effusion"), "Abnormal", covered=()) == 1
    assert label(row("Effusion"), "Mass", covered=()) is UNKNOWN


def test_only_what_is_known_is_kept():
    """Of labels and of everything that belongs to them."""
    labels = np.array([1, np.nan, 0], np.float32)
    kept, numbers = known_only(labels, np.arange(3))
    assert (kept.tolist(), numbers.tolist()) == ([1, 0], [0, 2])


def test_chosen_targets_are_learned_and_no_others(rows):
    """In the usual order of findings; a finding that no scan has is refused."""
    assert learnable_findings(rows, ("Effusion", "Abnormal"), covered=NIH_FINDINGS) == ("Abnormal", "Effusion")
    with pytest.raises(UserError, match="--target Hernia: no training scan has it"):
        learnable_findings(rows, ("Hernia",), covered=NIH_FINDINGS)


def test_every_finding_that_labels_tell_apart_is_learned():
    """One of CheXpert's too, but not one of which no scan is known to be free: any image would be one of it."""
    scans = [row("Fracture"), row("Lung Lesion", "Mass", negative=("Fracture",)), row("No Finding")]
    assert learnable_findings(scans, covered=NIH_FINDINGS) == ("Abnormal", "Mass", "Fracture")
    with pytest.raises(UserError, match="--target Lung Lesion: no training scan is labelled as without it; choose"):
        learnable_findings(scans, ("Lung Lesion",), covered=NIH_FINDINGS)
    every = [row(*SPECIFIC_FINDINGS), row("No Finding", negative=CHEXPERT_FINDINGS)]
    assert learnable_findings(every, covered=NIH_FINDINGS) == FINDINGS
    with pytest.raises(UserError, match="no finding is positive in one training scan and negative in another"):
        learnable_findings([row("Fracture")], covered=())


def test_an_unlabelled_scan_is_left_out(rows):
    """It is not a normal scan; one with an uncertain label is labelled. A CSV without labels is refused."""
    uncertain = row(uncertain=("Mass",))
    assert labelled_rows([row(), *rows, uncertain]) == [*rows, uncertain]
    with pytest.raises(UserError, match="nothing to learn"):
        labelled_rows([row()])
