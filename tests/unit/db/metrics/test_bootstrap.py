import numpy as np
import pytest

from db.metrics.bootstrap import bootstrap_patients
from db.metrics.formulas import roc_curve

RNG = np.random.default_rng(0)


def mean_of(values):
    return lambda weights: [float(np.sum(weights * values) / weights.sum()) if weights.sum() else None]


def test_an_interval_equals_the_normal_approximation_where_that_holds():
    """For the mean of 400 patients with one scan each, it extends 1.96 standard errors to either side."""
    values = RNG.normal(5, 2, 400)
    (found,) = bootstrap_patients([str(at) for at in range(400)], mean_of(values), rounds=2000)
    error = values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_the_ends_of_an_interval_can_be_chosen():
    """The upper end of 5% to 95% is a one-sided 95% bound: 1.645 standard errors above."""
    values = RNG.normal(5, 2, 400)
    patients = [str(at) for at in range(400)]
    (found,) = bootstrap_patients(patients, mean_of(values), rounds=2000, percentiles=(5, 95))
    assert found.high == pytest.approx(values.mean() + 1.645 * values.std() / 20, abs=0.01)


def test_scans_of_one_patient_count_as_one():
    """Twenty copies of each scan do not narrow the interval."""
    values = RNG.normal(5, 2, 60)
    patients = [str(at) for at in range(60)]
    once = bootstrap_patients(patients, mean_of(values))[0]
    copies = bootstrap_patients(np.repeat(patients, 20).tolist(), mean_of(np.repeat(values, 20)))[0]
    assert copies.high - copies.low == pytest.approx(once.high - once.low)


def test_the_same_seed_gives_the_same_interval():
    """Another seed gives another interval."""
    values, patients = RNG.normal(5, 2, 50), [str(at) for at in range(50)]
    first, second, other = (bootstrap_patients(patients, mean_of(values), seed=seed)[0] for seed in (1, 1, 2))
    assert first == second != other


def test_an_undefined_metric_has_no_interval():
    """With one class there is no AUROC in any draw; without a scan there is no metric."""
    truth = np.ones(20, bool)
    (found,) = bootstrap_patients(
        [str(at) for at in range(20)], lambda weights: [roc_curve(truth, np.arange(20.0), weights).auroc]
    )
    assert (found.value, found.low, found.high) == (None, None, None)
    (empty,) = bootstrap_patients([], lambda _: [None])
    assert empty.value is None


def test_a_weight_of_two_equals_a_repeated_scan():
    """The bootstrap rests on this: a curve with `weights` is the curve of the repeated scans, ties included."""
    labels, scores = RNG.random(200) < 0.3, np.round(RNG.random(200), 1)
    weights = RNG.integers(0, 4, 200)
    weighted = roc_curve(labels, scores, weights)
    repeated = roc_curve(np.repeat(labels, weights), np.repeat(scores, weights))
    for metric in ("auroc", "average_precision", "best_f1_threshold", "youden_threshold"):
        assert getattr(weighted, metric) == getattr(repeated, metric)
