"""A run's scans and a CSV's are put into the same groups, in the same order, whatever their columns hold."""

import numpy as np
import pytest

from db.evaluation.cohort import age_band, group_kinds, sex_group, view_group


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
    given = {
        "view": ["unknown", "AP", "PA", "other"],
        "sex": ["M", "F", "F", "M"],
        "age": ["80+", "unknown", "18-39", "0-17"],
        "manufacturer": ["unknown"] * 4,
    }
    groupings = group_kinds(given)
    assert {kind: grouping.names for kind, grouping in groupings.items()} == {
        "view": ("PA", "AP", "other", "unknown"),
        "sex": ("F", "M"),
        "age": ("0-17", "18-39", "80+", "unknown"),
    }
    for kind, grouping in groupings.items():
        assert [grouping.names[place] for place in grouping.places] == given[kind]


def test_rare_manufacturers_are_one_group():
    """The eight most frequent ones are groups of their own, most frequent first; a header may call a maker `other`."""
    makers = [f"maker {number}" for number in range(10) for _ in range(20 - number)]
    (grouping,) = group_kinds({"manufacturer": [*makers, *["other"] * 30, "unknown"]}).values()
    assert grouping.names == (*(f"maker {number}" for number in range(8)), "other", "unknown")
    assert np.bincount(grouping.places).tolist() == [20, 19, 18, 17, 16, 15, 14, 13, 12 + 11 + 30, 1]
