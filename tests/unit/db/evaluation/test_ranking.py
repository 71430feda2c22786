"""AUROC and average precision: what a patient adds to them; and the rank correlation."""

import numpy as np
import pytest

from db.evaluation.cohort import Sample
from db.evaluation.ranking import auroc_statistic, average_precision_statistic, rank_correlation
from db.metrics.formulas import roc_curve
from tests.support.clustered_sets import STRONG, clustered_set

STATISTICS = {"auroc": auroc_statistic, "average_precision": average_precision_statistic}


@pytest.mark.parametrize("name", STATISTICS)
def test_an_influence_is_what_the_figure_loses_without_the_patient(name):
    """Computed once more without each of 150 patients; ties included."""
    sample = clustered_set(STRONG, 150, np.random.default_rng(0))
    sample = Sample(labels=sample.labels, scores=np.round(sample.scores, 2), patients=sample.patients)
    found = STATISTICS[name](sample)
    without = [
        getattr(roc_curve(sample.labels[others], sample.scores[others]), name)
        for others in (sample.patients != patient for patient in range(150))
    ]
    assert found.value == getattr(sample.curve, name)
    assert found.influence == pytest.approx(found.value - np.array(without), abs=0.015)
    assert np.corrcoef(found.influence, without)[0, 1] < -0.98
    # The jackknife's own centre is the mean without a patient.
    assert found.variance == pytest.approx(149**2 / 150**2 * np.sum((np.mean(without) - without) ** 2), rel=0.1)


def test_the_variance_of_an_auroc_of_single_scans_is_delongs():
    """Their formula on its own: the variances of both classes' shares, each over the number of scans."""
    rng = np.random.default_rng(0)
    labels = rng.random(300) < 0.3
    scores = rng.random(300) / 2 + labels * rng.random(300) / 2
    wins = (scores[labels][:, np.newaxis] > scores[~labels]).astype(float)
    delong = wins.mean(axis=1).var(ddof=1) / labels.sum() + wins.mean(axis=0).var(ddof=1) / (~labels).sum()
    found = auroc_statistic(Sample(labels=labels, scores=scores, patients=np.arange(300)))
    assert found.value == pytest.approx(wins.mean())
    assert found.variance == pytest.approx(delong, rel=0.02)


def test_copies_of_a_patients_scans_add_no_knowledge():
    """Twenty copies of each scan leave the variance as it is; as patients of their own they would divide it by 20."""
    sample = clustered_set(STRONG, 60, np.random.default_rng(0))
    copies = {name: np.repeat(getattr(sample, name), 20) for name in ("labels", "scores", "patients")}
    for statistic in STATISTICS.values():
        once, repeated = statistic(sample), statistic(Sample(**copies))
        assert (repeated.value, repeated.variance) == pytest.approx((once.value, once.variance))


def test_the_rank_correlation_is_spearmans():
    """With many ties, by scipy; 1 and -1 of scores in the same and in the opposite order."""
    from scipy.stats import spearmanr

    first, second = np.random.default_rng(0).integers(0, 12, (2, 500)) / 11
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert rank_correlation(first, first**2) == 1
    assert rank_correlation(first, -first) == -1


def test_equal_scores_have_no_rank_correlation():
    """Of either side; nor has a single scan."""
    rising = np.arange(30) / 30
    assert rank_correlation(np.full(30, 0.1), rising) is rank_correlation(rising, np.full(30, 0.7)) is None
    assert rank_correlation(rising[:1], rising[:1]) is None
