"""A person names findings in any case; those without figures are refused."""

import pytest

from db.errors import UserError
from producer.report.findings import choose_finding, choose_prevalences

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
    with pytest.raises(UserError, match=f"--finding .*{named}"):
        choose_finding(SHOWN, wanted)


def test_a_prevalence_is_of_a_finding_that_the_labels_judge():
    """Its name is found as that of the main finding; without labels there is no precision at all."""
    assert choose_prevalences(SHOWN, {"pleural thickening": 0.1}) == {"Pleural_Thickening": 0.1}
    assert choose_prevalences(None, {}) == {}
    with pytest.raises(UserError, match=r"--prevalence 'Efusion': .* but of Effusion$"):
        choose_prevalences(SHOWN, {"Efusion": 0.1})
    with pytest.raises(UserError, match="no labels"):
        choose_prevalences(None, {"Mass": 0.1})
