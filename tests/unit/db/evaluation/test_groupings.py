"""A run's scans and a CSV's are put into the same groups, in the same order, whatever their columns hold."""

import numpy as np
import pytest

from db.evaluation.cohort import age_band, group_scans, sex_group, view_group


@pytest.mark.parametrize(
    ("view", "group"),
    [("PA", "PA"), ("ap", "AP"), ("Lateral", "LATERAL"), ("Frontal", "other"), ("Smith", "other"), (None, "unknown")],
)
def test_a_view_is_one_of_five_groups(view, group):
    """So that a column of any text shows no text of its own."""
    assert view_group(view) == group


@pytest.mark.parametrize(
    ("sex", "group"),
    [("F", "F"), ("female", "F"), ("M", "M"), ("Male", "M"), ("O", "other"), ("Smith", "other"), (None, "unknown")],
)
def test_a_sex_is_one_of_four_groups(sex, group):
    """So that a column of any text shows no text of its own."""
    assert sex_group(sex) == group


@pytest.mark.parametrize(
    ("age", "band"), [(0, "0-17"), (17.9, "0-17"), (18, "18-39"), (80, "80+"), (411, "80+"), (None, "unknown")]
)
def test_an_age_is_in_one_band(age, band):
    """An unknown age is not an infant's."""
    assert age_band(age) == band


def test_groups_are_in_one_order_and_every_scan_is_in_one():
    """The known names first, the unknown last, whatever order the scans have; unknown kinds are left out."""
    groupings = group_scans(
        views=[None, "AP", "PA", "Frontal"],
        sexes=["M", "F", "F", "M"],
        ages_years=[90, None, 30, 5],
        manufacturers=[None] * 4,
    )
    names = {kind: grouping.names for kind, grouping in groupings.items()}
    assert names == {
        "view": ("PA", "AP", "other", "unknown"),
        "sex": ("F", "M"),
        "age": ("0-17", "18-39", "80+", "unknown"),
    }
    assert [np.array(one.names)[one.places].tolist() for one in groupings.values()] == [
        ["unknown", "AP", "PA", "other"],
        ["M", "F", "F", "M"],
        ["80+", "unknown", "18-39", "0-17"],
    ]
