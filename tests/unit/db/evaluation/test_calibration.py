"""How far scores are chances."""

import numpy as np
import pytest

from db.evaluation.calibration import (
    brier_statistic,
    calibration_curve,
    calibration_intercept_statistic,
    calibration_slope_statistic,
    observed_over_expected_statistic,
)
from db.evaluation.cohort import Sample
from tests.support.clustered_sets import STRONG, clustered_set

STATISTICS = (
    brier_statistic,
    observed_over_expected_statistic,
    calibration_slope_statistic,
    calibration_intercept_statistic,
)


def sample_of(labels, scores):
    """Scans of a patient each."""
    return Sample(
        labels=np.array(labels, np.bool_), scores=np.array(scores, np.float64), patients=np.arange(len(labels))
    )


def keep(sample, rows):
    return Sample(
        labels=sample.labels[rows],
        scores=sample.scores[rows],
        patients=np.unique(sample.patients[rows], return_inverse=True)[1],
    )


def test_the_slope_is_that_of_logistic_regression():
    """scikit-learn's without a penalty is the judge."""
    from sklearn.linear_model import LogisticRegression

    sample = clustered_set(STRONG, 200, np.random.default_rng(0))
    odds = np.log(sample.scores / (1 - sample.scores))
    judge = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds[:, np.newaxis], sample.labels)
    assert calibration_slope_statistic(sample).value == pytest.approx(judge.coef_[0, 0], rel=1e-4)


def test_adding_the_intercept_to_all_log_odds_makes_positives_as_many_as_expected():
    """That defines it."""
    sample = clustered_set(STRONG, 200, np.random.default_rng(0))
    odds = np.log(sample.scores / (1 - sample.scores)) + calibration_intercept_statistic(sample).value
    assert np.sum(1 / (1 + np.exp(-odds))) == pytest.approx(sample.positives)


def test_brier_score_and_observed_over_expected_are_those_by_hand():
    """(0.04 + 0.16 + 0.01) / 3, and 1 positive of 1.3 expected."""
    sample = sample_of([True, False, False], [0.8, 0.4, 0.1])
    assert brier_statistic(sample).value == pytest.approx(0.07)
    assert observed_over_expected_statistic(sample).value == pytest.approx(1 / 1.3)
    assert observed_over_expected_statistic(sample_of([False], [0.0])) is None


@pytest.mark.parametrize("statistic", STATISTICS)
def test_an_influence_is_what_the_figure_loses_without_the_patient(statistic):
    """Computed once more without each of 100 patients."""
    sample = clustered_set(STRONG, 100, np.random.default_rng(1))
    found = statistic(sample)
    without = np.array([statistic(keep(sample, sample.patients != patient)).value for patient in range(100)])
    assert np.corrcoef(found.influence, without)[0, 1] < -0.98
    assert found.variance == pytest.approx(np.sum((without.mean() - without) ** 2), rel=0.15)


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([False] * 5 + [True] * 5, np.linspace(0.1, 0.9, 10)),
        ([False] * 5 + [True] * 5, [0.0] * 5 + [1.0] * 5),
        ([True] * 9, np.linspace(0, 1, 9)),
        ([], []),
    ],
)
def test_separated_classes_or_one_class_have_no_slope(labels, scores):
    """The best slope would be infinite."""
    assert calibration_slope_statistic(sample_of(labels, scores)) is None


def test_equal_scores_have_no_slope_but_an_intercept():
    """Any slope fits as well; 3 positives of 10 at a score of 0.5 need log(3 / 7)."""
    sample = sample_of([True] * 3 + [False] * 7, [0.5] * 10)
    assert calibration_slope_statistic(sample) is None
    assert calibration_intercept_statistic(sample).value == pytest.approx(np.log(3 / 7))


def test_scores_of_exactly_0_and_1_have_finite_figures():
    """Their log odds are taken as if they were 1e-7 from the end."""
    rng = np.random.default_rng(0)
    labels = rng.random(400) < 0.3
    scores = np.where(rng.random(400) < 0.8, labels, ~labels).astype(np.float64)
    for statistic in STATISTICS:
        found = statistic(sample_of(labels, scores))
        assert np.isfinite(found.value) and np.isfinite(found.variance)
    # Four in five are right, so the log odds of the truth are log(4), where the score's are 16.
    assert calibration_slope_statistic(sample_of(labels, scores)).value == pytest.approx(np.log(4) / 16, rel=0.2)


def test_the_curve_parts_scans_into_ten_of_ascending_score():
    """Every scan is in one point, and no score is in two."""
    sample = clustered_set(STRONG, 200, np.random.default_rng(0))
    points = calibration_curve(sample)
    assert len(points) == 10
    assert sum(point.scans for point in points) == len(sample.labels)
    assert sum(point.positives for point in points) == sample.positives
    means = [point.mean_score for point in points]
    assert means == sorted(means)
    assert len(calibration_curve(sample_of([True, False] * 50, [0.2] * 80 + [0.9] * 20))) == 2
    assert calibration_curve(sample_of([], [])) == ()


@pytest.mark.parametrize(("scans", "points"), [(7, 1), (39, 1), (40, 2), (109, 5), (200, 10), (999, 10)])
def test_a_point_of_the_curve_is_of_twenty_scans_or_more(scans, points):
    """Of ten scans the share of positives says little, so a small sample has fewer points."""
    curve = calibration_curve(sample_of([False, True] * (scans // 2) + [True] * (scans % 2), np.linspace(0, 1, scans)))
    assert len(curve) == points
    assert min(point.scans for point in curve) >= min(scans, 20)
