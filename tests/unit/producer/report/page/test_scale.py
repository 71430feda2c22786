"""Axes that Python draws."""

import pytest

from producer.report.page.scale import Scale


@pytest.mark.parametrize(
    ("low", "high", "count", "ticks"),
    [
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-0.12, 0.13, 4, [-0.1, 0, 0.1]),
        (0, 6, 3, [0, 2, 4, 6]),
        (0, 34.2, 3, [0, 20]),
    ],
)
def test_ticks_are_round_and_lie_on_the_axis(low, high, count, ticks):
    """Steps of 1, 2 or 5 of some power of ten."""
    assert Scale(low=low, high=high, start=0, end=1).ticks(count) == pytest.approx(ticks)


def test_what_lies_beyond_the_axis_lies_on_its_end():
    """On an axis that goes upwards, too, and on one by the square root."""
    up = Scale(low=0, high=4, start=100, end=0)
    assert [up(value) for value in (-1, 0, 1, 4, 9)] == [100, 100, 75, 0, 0]
    root = Scale(low=0, high=4, start=0, end=100, is_root=True)
    assert [root(value) for value in (-1, 0, 1, 4, 9)] == [0, 0, 50, 100, 100]
