"""What the page draws beside the figures of a comparison."""

from dataclasses import replace

from db.evaluation.comparison import Difference
from db.evaluation.estimate import UNDEFINED, Estimate
from producer.compare.page.figures import forest_scale, is_cut


def a_difference(value, reach):
    estimate = Estimate(value=value, low=value - reach, high=value + reach)
    return Difference(first=UNDEFINED, second=UNDEFINED, difference=estimate, p_value=None)


def test_zero_is_in_the_middle_of_the_forest_and_one_wide_interval_is_cut():
    """Or it would press the others together."""
    alike = [a_difference(0.01, 0.02)] * 5
    usual = forest_scale(alike)
    assert (usual.low, usual.high) == (-0.03, 0.03)
    far = a_difference(-0.05, 0.4)
    wide = forest_scale([*alike, far])
    assert (wide.low, round(wide.high, 9)) == (-wide.high, 0.09)
    assert wide(-0.45) == wide(-0.09) == wide.start
    assert wide(0) == (wide.start + wide.end) / 2
    assert [is_cut(one.difference, wide) for one in (alike[0], far)] == [False, True]


def test_the_forest_holds_every_value():
    """Of one finding that differs among seven that cannot, as under two label sets; of one without an interval."""
    equal = Difference(first=UNDEFINED, second=UNDEFINED, difference=Estimate(value=0.0), p_value=None)
    alone = forest_scale([a_difference(-0.225, 0.161), *[equal] * 7])
    assert (alone.low, alone.high) == (-0.386, 0.386)
    bare = replace(equal, difference=Estimate(value=-0.5))
    assert forest_scale([a_difference(0.01, 0.02), bare]).low == -0.5


def test_there_is_an_axis_even_if_nothing_differs():
    """Of two runs with the same scores, or without a figure."""
    for differences in ([], [a_difference(0.0, 0.0)]):
        scale = forest_scale(differences)
        assert scale.low < 0 < scale.high
        assert 0 in scale.ticks(4)
