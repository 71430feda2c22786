"""Intervals from the influence of patients."""

from math import inf

import numpy as np
import pytest

from db.evaluation.estimate import (
    Estimate,
    Statistic,
    add,
    degrees_of_freedom,
    difference,
    estimate,
    estimate_share,
    t_quantile,
    t_tails,
)


def of_mean(values):
    """The mean of one value of each patient, with its exact influence."""
    return Statistic(value=float(values.mean()), influence=(values - values.mean()) / (len(values) - 1))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("freedom", [2, 2.5, 3, 5, 10, 30, 1000, np.inf])
def test_quantiles_are_those_of_students_t(level, freedom):
    """To 1%; scipy is the judge."""
    from scipy.stats import t

    assert t_quantile(level, freedom) == pytest.approx(t.ppf((1 + level) / 2, freedom), rel=0.01)


@pytest.mark.parametrize("freedom", [2, 2.5, 3, 5, 10, 30, 1000, 1e9])
def test_tails_are_those_of_students_t(freedom):
    """To 4% from p = 0.02 up, 8% at 0.01, and then too large; 0.05 at the end of a 95% interval. Scipy is the judge."""
    from scipy.stats import t

    for p, off in ((1, 0.001), (0.9, 0.04), (0.5, 0.04), (0.2, 0.04), (0.05, 0.04), (0.02, 0.04), (0.01, 0.08)):
        assert t_tails(float(t.isf(p / 2, freedom)), freedom) == pytest.approx(p, rel=off)
    assert t_tails(float(t.isf(0.00005, freedom)), freedom) >= 0.9999 * 0.0001
    assert t_tails(t_quantile(0.95, freedom), freedom) == pytest.approx(0.05, rel=1e-12)


def test_the_interval_of_a_mean_is_students():
    """Of 400 patients: the variance is the jackknife's, and normal influences have as many degrees of freedom."""
    values = np.random.default_rng(0).normal(5, 2, 400)
    statistic, error = of_mean(values), values.std(ddof=1) / 20
    assert statistic.variance == pytest.approx(error**2, rel=0.01)
    assert statistic.degrees_of_freedom == pytest.approx(399, rel=0.2)
    found = estimate(statistic, "identity")
    assert (found.low, found.high) == pytest.approx((5 - 1.966 * error, 5 + 1.966 * error), abs=0.3)
    assert found.high - found.low == pytest.approx(2 * 1.966 * error, rel=0.01)


def test_one_end_at_level_090_is_a_one_sided_bound_at_095():
    """1.649 deviations from the value, of 400 patients."""
    statistic = of_mean(np.random.default_rng(0).normal(5, 2, 400))
    bound = estimate(statistic, "identity", level=0.9).high
    assert (bound - statistic.value) / statistic.variance**0.5 == pytest.approx(1.649, abs=0.003)


def test_few_patients_who_make_most_of_the_variance_widen_the_interval():
    """One of 100 patients with a hundred times the others' influence: its degrees of freedom are those of few."""
    influence = np.append(np.full(99, 0.001), 0.1)
    statistic = Statistic(value=0.0, influence=influence)
    assert 2 <= statistic.degrees_of_freedom < 4
    assert estimate(statistic, "identity").high > 3 * statistic.variance**0.5


def test_the_difference_of_like_figures_has_the_narrower_interval():
    """Influences of the same patients are subtracted before they are squared: what both share cancels."""
    values = np.random.default_rng(0).normal(0, 1, 200)
    other = values + np.random.default_rng(1).normal(0, 0.01, 200)
    found = difference(of_mean(values), of_mean(other))
    assert found.value == pytest.approx(values.mean() - other.mean())
    assert found.variance == pytest.approx(of_mean(values - other).variance)
    assert found.variance < of_mean(values).variance / 1000
    assert estimate(difference(of_mean(values), of_mean(values)), "identity") == Estimate(value=0, low=0, high=0)


@pytest.mark.parametrize("scale", ["log", "logit"])
@pytest.mark.parametrize("value", [1e-300, 1e-9, 0.5, 1 - 1e-9])
def test_an_interval_stays_within_its_scale(scale, value):
    """However large the variance is; on the logarithm there is none if it is too large."""
    for deviation in (1e-12, 1, 1e9):
        found = estimate(Statistic(value=value, influence=np.full(9, deviation)), scale)
        if scale == "log" and (deviation == 1e9 or found.low is None):
            assert deviation > value and found == Estimate(value=value)
        else:
            assert 0 <= found.low <= value <= found.high
            assert scale == "log" or found.high <= 1


@pytest.mark.parametrize(("scale", "value"), [("log", 0.0), ("logit", 0.0), ("logit", 1.0)])
def test_a_value_at_the_end_of_its_scale_has_no_interval(scale, value):
    """Its log odds are infinite."""
    assert estimate(Statistic(value=value, influence=np.zeros(9)), scale) == Estimate(value=value)


@pytest.mark.parametrize("influence", [[0.1], [np.inf, 0.1, 0.1]])
def test_an_unknown_variance_gives_no_interval(influence):
    """Of one patient, or where the others alone have no figure."""
    assert estimate(Statistic(value=0.4, influence=np.array(influence)), "logit") == Estimate(value=0.4)
    assert estimate(None, "logit") == Estimate(value=None)


def test_a_share_of_all_has_wilsons_interval_of_patients():
    """Ten patients of which none is wrong: down to 0.722 (Wilson), not an interval of width 0."""
    found = estimate_share(1.0, variance=0.0, freedom=np.inf, patients=10)
    assert found == Estimate(value=1.0, low=pytest.approx(0.7225, abs=1e-4), high=1.0)
    assert estimate_share(0.0, variance=0.0, freedom=np.inf, patients=10).high == pytest.approx(0.2775, abs=1e-4)


def test_the_interval_of_a_sum_is_open_where_that_of_an_estimate_is():
    """A rate that may be 1 has infinite log odds there; whatever the correlation, the sum has no end either."""
    one, other = Estimate(value=1.0, low=0.7, high=1.6), Estimate(value=2.0, low=1.6, high=inf)
    same = (lambda value: value, lambda value: value)
    for correlation in (-1.0, -0.4, 0.0, 0.4, 1.0):
        assert add(one, other, correlation, same).high == inf
        assert add(other, one, correlation, same).high == inf
        assert add(one, Estimate(value=2.0, low=-inf, high=2.8), correlation, same).low == -inf


def test_degrees_of_freedom_are_at_least_2_where_rounding_says_less():
    """Sums of fourth powers of clusters of 100,000 scans are not exact."""
    assert degrees_of_freedom(np.array([1e-3]), np.array([9e-6])).tolist() == [2]


def test_a_sum_of_independent_estimates_is_as_wide_as_pythagoras_says():
    """Correlated ones are wider: with correlation 1 both reaches are added."""
    one, other = Estimate(value=1.0, low=0.7, high=1.6), Estimate(value=2.0, low=1.6, high=2.8)
    same = (lambda value: value, lambda value: value)
    assert add(one, other, 0.0, same) == Estimate(value=3.0, low=pytest.approx(2.5), high=pytest.approx(4.0))
    assert add(one, other, 1.0, same).low == pytest.approx(2.3)
    assert add(one, Estimate(value=None), 0.0, same) == Estimate(value=None)
    assert add(one, Estimate(value=2.0), 0.0, same) == Estimate(value=3.0)
