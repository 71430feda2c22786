"""Whatever scores and labels a few scans have, they are evaluated: a figure may be undefined, and nothing fails."""

import warnings
from dataclasses import asdict
from json import dumps

import numpy as np
import pytest

from db.evaluation.cohort import Cohort, Sample
from db.evaluation.evaluate import evaluate, figures_of
from db.evaluation.rates import rates_at

KINDS = {
    "random": lambda rng, size: rng.random(size),
    "constant": lambda rng, size: np.full(size, rng.random()),
    "nearly constant": lambda rng, size: rng.random() * 0.9 + rng.random(size) * 1e-4,
    "tiny": lambda rng, size: rng.random(size) * 1e-12,
    "0 or 1": lambda rng, size: rng.integers(0, 2, size).astype(float),
}


@pytest.mark.parametrize("kind", KINDS)
def test_few_scans_are_evaluated_whatever_their_scores_are(kind):
    """Without a warning, and every number is finite; one to thirteen scans, some of one patient."""
    for seed in range(80):
        rng = np.random.default_rng(seed)
        size = int(rng.integers(1, 14))
        cohort = Cohort(
            findings=("Effusion",),
            scores=KINDS[kind](rng, (size, 1)).astype(np.float32).astype(np.float64),
            labels=rng.random((size, 1)) < 0.4,
            known=np.ones((size, 1), np.bool_),
            patients=rng.integers(0, max(1, size // 2), size),
            has_patient=np.ones(size, np.bool_),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dumps(asdict(evaluate(cohort, thresholds=(0.3, 0.5))), allow_nan=False)


def test_a_figure_that_may_be_a_million_times_as_large_has_no_interval():
    """All but the score of one scan are next to 0: without its patient the ratio is 10,000,000 times as large."""
    labels, scores = np.arange(100) % 2 == 0, np.append(np.full(99, 1e-15), 1e-6)
    figures = figures_of(Sample(labels=labels, scores=scores, patients=np.arange(100)))
    assert figures.no_interval is None
    ratio = figures.observed_over_expected
    assert ratio.value == pytest.approx(50 / 1e-6, rel=1e-3)
    assert (ratio.low, ratio.high) == (None, None)


def test_scores_of_one_patient_alone_give_no_interval_of_observed_over_expected():
    """Without that patient nothing is expected, so nobody can tell how far the ratio may be off."""
    labels, scores = np.arange(100) % 2 == 0, np.append(np.zeros(99), 0.5)
    ratio = figures_of(Sample(labels=labels, scores=scores, patients=np.arange(100))).observed_over_expected
    assert (ratio.value, ratio.low, ratio.high) == (100.0, None, None)


def test_the_interval_of_a_brier_score_ends_at_1():
    """No score can be worse than 1, though the logarithm on which the interval is symmetric knows no such end."""
    labels = np.arange(40) // 4 % 2 == 0
    scores = np.where(labels, 0.0, 1.0)
    scores[:8] = labels[:8]
    brier = figures_of(Sample(labels=labels, scores=scores, patients=np.arange(40) // 4)).brier
    assert brier.low is not None and brier.low < brier.value == 0.8
    assert brier.high == 1.0


def test_equal_scores_have_no_calibration_slope():
    """There is no line through one point; their intercept and ratio say how far off they are."""
    labels = np.arange(40) % 4 == 0
    figures = figures_of(Sample(labels=labels, scores=np.full(40, 0.37), patients=np.arange(40)))
    assert figures.calibration_slope.value is None
    assert figures.observed_over_expected.value == pytest.approx(0.25 / 0.37)


def test_a_slope_does_not_depend_on_how_far_scores_are_from_a_half():
    """Nor do its ends: scores of a rare finding lie close together, and far from 0.5."""
    rng = np.random.default_rng(0)
    odds = rng.normal(size=400) * 0.01
    labels = rng.random(400) < 1 / (1 + np.exp(-40 * odds))
    near, far = (
        figures_of(
            Sample(labels=labels, scores=1 / (1 + np.exp(-(odds + shift))), patients=np.arange(400) // 2)
        ).calibration_slope
        for shift in (0, -6)
    )
    assert (far.value, far.low, far.high) == pytest.approx((near.value, near.low, near.high), rel=1e-6)


def test_an_interval_holds_its_figure():
    """Also at 0 and 1, where it has one end."""
    for size in range(20, 60):
        sample = Sample(labels=np.arange(size) % 2 == 0, scores=np.arange(size) % 2 / 1.0, patients=np.arange(size))
        for rates in rates_at(sample, (0.0, 0.5, 1.0)):
            for rate in (rates.precision, rates.recall, rates.specificity, rates.npv, rates.accuracy):
                assert rate.low is None or rate.low <= rate.value <= rate.high
