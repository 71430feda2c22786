"""Intervals judged as a whole: by how often they hold the truth, and by the bootstrap over patients."""

import numpy as np
import pytest

from db.evaluation.cohort import Sample
from db.evaluation.evaluate import figures_of
from tests.support.bootstrap import draw_patients
from tests.support.clustered_sets import STRONG, WEAK, clustered_set, patients_for
from tests.support.coverage import FIGURES, RATES, coverage, figures_by_name, true_figures


def test_intervals_hold_the_truth_in_about_95_of_100_sets():
    """400 sets with 30 positives of alike scans; bench_intervals has 4,000 of six kinds.

    Of 400, 95% are 380 with a deviation of 4.4. By the normal distribution and without leaving patients out it is 86%
    to 91%.
    """
    found = coverage(STRONG, true_figures(STRONG, patients=40_000), positives=30, sets=400)
    assert found.judged > 390
    assert {name: share for name, share in found.covered.items() if not 0.92 <= share <= 0.99} == {}


def test_deviations_are_those_of_the_bootstrap_over_patients():
    """Of every figure to 12%, on one set of 150 positives; 250 draws know a deviation to 4.5%."""
    sample = clustered_set(WEAK, patients_for(WEAK, 150), np.random.default_rng(5))

    def values(times):
        rows = np.repeat(np.arange(len(times)), times)
        drawn = Sample(labels=sample.labels[rows], scores=sample.scores[rows], patients=sample.patients[rows])
        return [one.value for one in figures_by_name(drawn, WEAK.threshold).values()]

    found = figures_by_name(sample, WEAK.threshold)
    judged = np.std(draw_patients(sample.patients.tolist(), values, rounds=250), axis=0)
    ratios = {
        name: (one.high - one.low) / (2 * 1.97) / judge
        for (name, one), judge in zip(found.items(), judged, strict=True)
    }
    assert {name: ratio for name, ratio in ratios.items() if not 0.88 < ratio < 1.12} == {}


def test_sets_are_as_clustered_as_nihs():
    """Three in five patients have one scan, some have 30, and positive scans have positive neighbours."""
    for kind, alike in ((WEAK, 0.11), (STRONG, 0.36)):
        sample = clustered_set(kind, 30_000, np.random.default_rng(0))
        scans, positives = np.bincount(sample.patients), np.bincount(sample.patients, sample.labels)
        assert sample.labels.mean() == pytest.approx(kind.prevalence, rel=0.05)
        assert np.mean(scans == 1) == pytest.approx(0.6, abs=0.02)
        assert np.sum(positives * (positives - 1)) / np.sum(positives * (scans - 1)) == pytest.approx(alike, abs=0.02)
        assert patients_for(kind, sample.positives) == pytest.approx(30_000, rel=0.05)


def test_every_figure_is_judged():
    """A figure that is added has its coverage measured."""
    figures = figures_of(clustered_set(WEAK, 100, np.random.default_rng(0)))
    assert {name for name, value in vars(figures).items() if hasattr(value, "low")} == {*FIGURES}
    assert len({*FIGURES, *RATES}) == 13
