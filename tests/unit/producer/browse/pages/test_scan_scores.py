"""The scores of a scan's page: which threshold holds, and what labels and predictions are called."""

import pytest

from db.ledger.scan_details import DicomHeader, ScanDetails
from producer.browse.pages.scan_scores import other_labels, score_rows
from producer.browse.worklist.query import parse_query

OWN = {"Abnormal": {"best_f1": 0.4, "youden": 0.25}, "Mass": {"youden": 0.3}}
DEFAULTS = {"Abnormal": 0.4, "Mass": 0.5, "Effusion": 0.5}


def scan(**fields):
    unknown = dict.fromkeys(ScanDetails.__dataclass_fields__)
    header = DicomHeader(**dict.fromkeys(DicomHeader.__dataclass_fields__))
    scores = {"Abnormal": 0.4, "Mass": 0.4999}
    return ScanDetails(**unknown | {"scores": scores, "labels": {}, "header": header} | fields)


def rows(address, **fields):
    query = parse_query(address, findings=tuple(DEFAULTS), default_finding="Abnormal", default_threshold=DEFAULTS)
    return {row.finding: row for row in score_rows(scan(**fields), query, OWN)}


@pytest.mark.parametrize(
    ("address", "thresholds"),
    [
        ({}, {"Abnormal": (0.4, "the model's best F1"), "Mass": (0.5, "the model has none of its own")}),
        (
            {"finding": "Mass"},
            {"Abnormal": (0.4, "the model's best F1"), "Mass": (0.5, "the model has none of its own")},
        ),
        ({"threshold": "0.3"}, {"Abnormal": (0.3, "chosen here"), "Mass": (0.3, "the model's Youden")}),
    ],
)
def test_a_given_threshold_holds_for_every_finding_and_otherwise_each_has_its_own(address, thresholds):
    """Beside each threshold stands where it comes from."""
    found = rows(address)
    assert {name: (found[name].threshold, found[name].threshold_name) for name in thresholds} == thresholds


def test_a_score_at_the_threshold_is_positive_and_no_score_is_no_prediction():
    """As everywhere, the prediction is score >= threshold."""
    predictions = {finding: row.prediction for finding, row in rows({}).items()}
    assert predictions == {"Abnormal": "positive", "Mass": "negative", "Effusion": None}


def test_uncertain_is_neither_negative_nor_unlabelled():
    """Four words for four kinds of label; those of findings that the model does not score are named too."""
    labels = {"Abnormal": 1, "Mass": -1, "Hernia": 1, "Edema": -1, "Fibrosis": 0}
    words = {finding: row.label for finding, row in rows({}, labels=labels).items()}
    assert words == {"Abnormal": "positive", "Mass": "uncertain", "Effusion": "unlabelled"}
    assert other_labels(scan(labels=labels), tuple(DEFAULTS)) == ["Hernia", "Edema (uncertain)"]
