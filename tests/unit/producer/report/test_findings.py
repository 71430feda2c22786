"""The main finding is one that has figures, and its thresholds are as short as their counts allow."""

import numpy as np
import pytest

from db.errors import UserError
from producer.report.main_finding import choose_finding, round_threshold

SHOWN = ("Abnormal", "Effusion", "Mass", "Pleural_Thickening")


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [(None, "Abnormal"), ("Effusion", "Effusion"), ("mass", "Mass"), ("pleural thickening", "Pleural_Thickening")],
)
def test_a_finding_may_be_typed_in_any_case_and_with_spaces(wanted, chosen):
    """Without one, it is `Abnormal`."""
    assert choose_finding(SHOWN, wanted) == chosen


def test_a_model_that_does_not_score_abnormal_is_reported_by_its_first_finding():
    """In the manifest's order."""
    assert choose_finding(("Mass", "Effusion"), None) == "Mass"


@pytest.mark.parametrize(
    ("wanted", "named"),
    [("Efusion", "but of Effusion$"), ("x", "but of Abnormal, Effusion, Mass, Pleural_Thickening")],
)
def test_an_unknown_finding_names_the_nearest_ones(wanted, named):
    """Or all of them, if none is near."""
    with pytest.raises(UserError, match=named):
        choose_finding(SHOWN, wanted)


@pytest.mark.parametrize(
    ("threshold", "others", "short"),
    [
        (0.30219560861587524, (0.2, 0.9), 0.302),
        (0.9999123, (0.9999, 0.2), 0.99991),
        (0.9999123, (0.99991, 0.2), 0.999912),
        (0.30219560861587524, (0.30219560861587519,), 0.30219560861587524),
    ],
)
def test_a_threshold_keeps_the_digits_that_separate_its_scores(threshold, others, short):
    """Never fewer than three decimals are tried."""
    assert round_threshold(threshold, np.array([threshold, *others])) == short


def test_a_rounded_threshold_gives_the_same_counts():
    """Whatever the scores are."""
    rng = np.random.default_rng(0)
    for scores in (rng.random(500), 1 - rng.random(500) * 1e-9, rng.random(500) * 1e-12):
        for threshold in rng.choice(scores, 20).tolist():
            short = round_threshold(threshold, scores)
            assert np.array_equal(scores >= short, scores >= threshold)
