"""Figures of two sets of scores, beside scipy's and those computed by hand."""

from math import log

import numpy as np
import pytest
from scipy.stats import ks_2samp

from db.drift.score_shift import decile_cuts, kolmogorov_smirnov, population_stability_index, score_shift


@pytest.mark.parametrize("decimals", [1, 2, 16])
def test_kolmogorov_smirnov_is_scipys(decimals):
    """In either direction, with many ties, few and none."""
    rng = np.random.default_rng(0)
    for size, exponent in ((1, 1.0), (7, 2.0), (300, 0.7)):
        night, reference = np.round(rng.random(size) ** exponent, decimals), np.round(rng.random(500), decimals)
        for first, second in ((night, reference), (reference, night)):
            assert kolmogorov_smirnov(first, second) == pytest.approx(ks_2samp(first, second).statistic)


def test_the_population_stability_index_is_the_one_by_hand():
    """Of a reference whose tenths are 0.0 to 0.1, ...; of the night half lies in the first and half in the last."""
    reference, night = np.linspace(0, 0.99, 100), np.array([0.05] * 5 + [0.95] * 4 + [0.90])
    # Each of the 8 empty tenths counts as half a scan of 10.
    by_hand = 2 * (0.5 - 0.1) * log(0.5 / 0.1) + 8 * (0.05 - 0.1) * log(0.05 / 0.1)
    assert population_stability_index(night, reference) == pytest.approx(by_hand)
    assert population_stability_index(reference, reference) == 0


@pytest.mark.parametrize(
    ("scores", "cuts"),
    [
        (np.arange(20), np.arange(2, 20, 2)),
        # Equal scores are not parted, and a cut counts once.
        ([0, 0, 0, 0, 0, 0, 1, 1, 2, 2], [1, 2]),
        # Some scores lie below every cut.
        ([0] * 99 + [1], [1]),
        ([0] + [1] * 99, [1]),
        ([0.5] * 9, []),
        ([], []),
    ],
)
def test_cuts_part_scores_into_tenths_as_far_as_they_differ(scores, cuts):
    assert decile_cuts(np.array(scores, np.float64)).tolist() == list(cuts)


def test_scores_that_are_missing_in_the_night_have_no_shift():
    found = score_shift("Effusion", np.empty(0), np.array([0.2, 0.4]))
    assert found.reference_mean == pytest.approx(0.3)
    assert found.night_mean is found.kolmogorov_smirnov is found.population_stability_index is None


def test_a_reference_of_one_score_has_no_stability_index():
    """It has no tenths, and 0 would say that nothing moved."""
    found = score_shift("Effusion", np.array([0.9, 0.8]), np.full(9, 0.5))
    assert (found.kolmogorov_smirnov, found.population_stability_index) == (1, None)
