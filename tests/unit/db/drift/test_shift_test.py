"""The permutation test, beside all ways to draw the night's units of a tiny set."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chi2, norm, rankdata

from db.drift import shift_test
from db.drift.shift_test import Feature, ShiftTest

COUNTS = np.array([1, 4, 2, 1, 3, 1, 2])
NIGHT_UNITS = 3
#: Of each scan: its group of three, and how many of two cuts its score reaches; 3 is no score.
GROUPS = np.array([0, 1, 1, 0, 1, 2, 2, 0, 0, 0, 1, 2, 0, 1])
REACHED = np.array([0, 2, 2, 1, 3, 0, 0, 3, 1, 0, 0, 1, 2, 2])
FEATURES = (
    Feature(places=GROUPS, members=np.eye(3, dtype=bool), eligible=np.ones(3, bool)),
    Feature(
        places=REACHED,
        members=np.array([[False, True, True, False], [False, False, True, False]]),
        eligible=np.array([True, True, True, False]),
    ),
)


#: Of two findings, with ties; the scans without a score are those above.
SCORES = np.where(REACHED[:, None] == 3, np.nan, np.random.default_rng(8).integers(0, 8, (14, 2)) / 10)


def shift_test_of_all():
    return ShiftTest(FEATURES, SCORES, COUNTS, night_units=NIGHT_UNITS)


def draws():
    """(35, 5) of each way to draw the night: by how much its scans that count exceed those expected."""
    unit = np.repeat(np.arange(len(COUNTS)), COUNTS)
    counting = np.stack([*(group == GROUPS for group in range(3)), np.isin(REACHED, (1, 2)), REACHED == 2])
    of = np.stack([np.ones(len(unit), bool)] * 3 + [REACHED < 3] * 2)
    residuals = counting - (counting.sum(axis=1) / of.sum(axis=1))[:, None] * of
    return np.array([residuals[:, np.isin(unit, units)].sum(axis=1) for units in combinations(range(7), NIGHT_UNITS)])


def draws_of_scores():
    """(35,) of each way to draw the night: how far the sums of its ranks are from none, as the larger of two."""
    unit, known = np.repeat(np.arange(len(COUNTS)), COUNTS), REACHED < 3
    ranks = np.zeros(SCORES.shape)
    ranks[known] = (rankdata(SCORES[known], axis=0) - 0.5) / known.sum() - 0.5
    sums = np.array([ranks[np.isin(unit, units)].sum(axis=0) for units in combinations(range(7), NIGHT_UNITS)])
    inverse = np.linalg.inv(np.cov(sums.T, bias=True) + np.eye(2) / 12)
    squares = np.einsum("nf,fg,ng->n", sums, inverse, sums)
    return norm.isf((1 - chi2.cdf(squares, 2) ** 0.5) / 2)


def exact_test():
    """The standardised shifts of the first draw, which is the night itself, and the share of draws that reach it."""
    standardised = np.column_stack([draws() / np.sqrt(draws().var(axis=0) + 1), draws_of_scores()])
    largest = np.abs(standardised).max(axis=1)
    return standardised[0], np.mean(largest >= largest[0] * (1 - 1e-9))


def test_a_shift_is_standardised_by_its_deviation_among_all_draws_and_one_scan():
    shares = shift_test_of_all().shares()
    *standardised, joint = exact_test()[0]
    assert shares.standardised == pytest.approx(standardised)
    # Of two findings the cube root of chi-square is normal to a few hundredths.
    assert shares.joint == pytest.approx(joint, abs=0.05)
    assert shares.night == pytest.approx([2 / 7, 3 / 7, 2 / 7, 3 / 6, 2 / 6])
    assert shares.reference == pytest.approx([4 / 7, 2 / 7, 1 / 7, 4 / 6, 2 / 6])


def test_a_p_value_is_the_share_of_draws_that_reach_the_night(monkeypatch):
    """With all 999 permutations it is known to 1.6 points."""
    monkeypatch.setattr(shift_test, "_ENOUGH", 1000)
    test = shift_test_of_all()
    exact = exact_test()[1]
    assert 0.1 < exact < 0.9
    assert test.p_value(np.random.default_rng(0)) == pytest.approx(exact, abs=0.05)


def test_permutations_end_at_the_tenth_that_reaches_the_night():
    """The p-value is then 11 over their number and one, for the night itself."""
    test = shift_test_of_all()
    p_values = [test.p_value(np.random.default_rng(seed)) for seed in range(20)]
    assert all(11 / p_value == pytest.approx(round(11 / p_value)) for p_value in p_values)
    assert np.mean(p_values) == pytest.approx(exact_test()[1], rel=0.3)
