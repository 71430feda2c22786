"""Figures are shown in one form everywhere."""

import numpy as np
import pytest

from db.evaluation.estimate import Estimate
from db.evaluation.format import UNDEFINED, format_estimate, format_interval, format_rate, format_threshold


def test_a_figure_has_three_decimals_and_its_interval():
    """Without an interval a dash stands in its place, and an undefined figure is a dash alone, never 0."""
    assert format_estimate(Estimate(value=0.9064, low=0.8718, high=0.9333)) == "0.906 (0.872 to 0.933)"
    assert format_estimate(Estimate(value=0.9064)) == "0.906 (-)"
    assert format_estimate(Estimate(value=None)) == format_rate(None) == UNDEFINED
    assert format_interval(Estimate(value=0.9, low=0.8, high=1.0)) == "0.800 to 1.000"
    assert format_interval(Estimate(value=0.9)) == "-"


def test_no_figure_is_minus_nought():
    """A calibration intercept may be a little below 0."""
    assert [format_rate(value) for value in (-0.0004, -0.0006, 0.0)] == ["0.000", "-0.001", "0.000"]


@pytest.mark.parametrize(
    ("threshold", "text"),
    [
        (0.3, "0.3"),
        (0.25, "0.25"),
        (0.0, "0"),
        (1.0, "1"),
        (0.30219560861587524, "0.302"),
        (0.99991234567, "0.9999"),
        (0.0000123456789, "0.00001"),
        (np.nextafter(1, 0), "0.9999999999999999"),
    ],
)
def test_a_threshold_has_as_few_digits_as_leave_its_predictions(threshold, text):
    """At 1.000 nothing would be positive, and at 0.000 everything."""
    assert format_threshold(float(threshold)) == text
