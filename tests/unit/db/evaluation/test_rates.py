"""Counts, rates and net benefit at thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.evaluation.cohort import Sample
from db.evaluation.estimate import Estimate
from db.evaluation.patient_counts import PatientCounts
from db.evaluation.rates import net_benefit, predictive_values, rates_at, treat_all
from db.metrics.formulas import ConfusionMatrix, confusion_matrix_at
from tests.support.clustered_sets import STRONG, clustered_set

RATES = ("precision", "recall", "specificity", "f1", "accuracy", "balanced_accuracy")
SCANS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0]), st.integers(0, 4)), max_size=40
)
THRESHOLDS = st.lists(st.sampled_from([0.0, 0.1, np.nextafter(0.3, 1), 0.3, 0.55, 1.0]), min_size=1, max_size=5)


def sample_of(scans):
    labels, scores, patients = zip(*scans, strict=True) if scans else ((), (), ())
    return Sample(
        labels=np.array(labels, np.bool_),
        scores=np.array(scores, np.float64),
        patients=np.unique(np.array(patients, np.int64), return_inverse=True)[1],
    )


@given(SCANS, THRESHOLDS)
def test_counts_and_rates_are_those_of_each_threshold_alone(scans, thresholds):
    """In the order given, repeated ones too, at ties and at 0 and 1; an undefined rate is None."""
    sample = sample_of(scans)
    found = rates_at(sample, thresholds)
    assert [rates.threshold for rates in found] == thresholds
    for rates in found:
        counts = confusion_matrix_at(sample.labels, sample.scores, rates.threshold)
        assert (rates.tp, rates.fp, rates.fn, rates.tn) == (counts.tp, counts.fp, counts.fn, counts.tn)
        for name in RATES:
            right = getattr(counts, name)
            assert getattr(rates, name).value == (None if right is None else pytest.approx(right))
        negative = counts.tn + counts.fn
        assert rates.npv.value == (pytest.approx(counts.tn / negative) if negative else None)


@given(SCANS, THRESHOLDS)
def test_sums_over_patients_are_those_of_each_patient_counted_alone(scans, thresholds):
    """For a function that is no polynomial: each patient's number of right ones over the number of wrong ones."""
    sample = sample_of(scans)
    found = PatientCounts.of(sample, thresholds).sums(lambda counts: [(counts[0] + counts[3]) / (1 + counts[1])])
    for threshold, value in zip(thresholds, found[0], strict=True):
        alone = [
            confusion_matrix_at(sample.labels[members], sample.scores[members], threshold)
            for members in (sample.patients == patient for patient in range(sample.patient_count))
        ]
        assert value == pytest.approx(sum((one.tp + one.tn) / (1 + one.fp) for one in alone))


def test_the_interval_of_single_scans_is_that_of_a_binomial_on_the_logit_scale():
    """200 patients with one scan each, 60 of 80 positives found: a deviation of 1 / sqrt(80 x 0.75 x 0.25)."""
    sample = Sample(
        labels=np.arange(200) < 80, scores=np.where(np.arange(200) % 4 == 0, 0.2, 0.8), patients=np.arange(200)
    )
    found = rates_at(sample, [0.5])[0].recall
    assert found.value == 0.75
    odds, deviation = np.log(3), 1 / np.sqrt(80 * 0.75 * 0.25)
    ends = [1 / (1 + np.exp(-odds - sign * 1.98 * deviation)) for sign in (-1, 1)]
    assert (found.low, found.high) == pytest.approx(ends, abs=0.002)


def test_copies_of_a_patients_scans_do_not_narrow_an_interval():
    """Twenty copies of each scan leave every rate as it is."""
    sample = clustered_set(STRONG, 100, np.random.default_rng(0))
    copies = {name: np.repeat(getattr(sample, name), 20) for name in ("labels", "scores", "patients")}
    once, repeated = rates_at(sample, [0.2])[0], rates_at(Sample(**copies), [0.2])[0]
    for name in (*RATES, "npv"):
        first, second = getattr(once, name), getattr(repeated, name)
        assert (second.value, second.low, second.high) == pytest.approx((first.value, first.low, first.high))


def test_a_rate_of_1_reaches_down_by_the_number_of_patients():
    """All positives are found. 6 patients with 5 positives each know as much as 6 scans, not as 30."""
    labels = np.arange(60) < 30
    sample = Sample(labels=labels, scores=labels * 0.9, patients=np.arange(60) // 5)
    found = rates_at(sample, [0.5])[0].recall
    assert found == Estimate(value=1.0, low=pytest.approx(6 / (6 + 1.96**2), abs=1e-4), high=1.0)


def test_the_rates_of_too_few_have_no_interval():
    """Four positives: values alone."""
    sample = Sample(labels=np.arange(100) < 4, scores=np.linspace(1, 0, 100), patients=np.arange(100))
    found = rates_at(sample, [0.5])[0]
    assert found.recall == Estimate(value=1.0)
    assert found.balanced_accuracy.low is None
    assert predictive_values(found, 0.1).precision.low is None


def test_net_benefit_is_vickers_formula():
    """By hand for his example of counts: 20 TP and 30 FP of 100 scans at a threshold of 0.2."""
    counts = ConfusionMatrix(tp=20, fp=30, fn=5, tn=45)
    assert net_benefit(counts, 0.2) == pytest.approx(0.2 - 0.3 * 0.2 / 0.8)
    assert net_benefit(counts, 0.2) == pytest.approx(0.125)
    assert (net_benefit(counts, 1.0), net_benefit(ConfusionMatrix(tp=0, fp=0, fn=0, tn=0), 0.5)) == (None, None)


def test_net_benefit_is_what_decisions_are_worth_in_true_positives():
    """At threshold t a false positive costs the odds of t. Compared with treating none, scan by scan."""
    sample = clustered_set(STRONG, 100, np.random.default_rng(0))
    for rates in rates_at(sample, [0.0, 0.05, 0.2, 0.6]):
        worth = np.where(sample.labels, 1.0, -rates.threshold / (1 - rates.threshold))
        assert rates.net_benefit == pytest.approx(np.mean(worth * (sample.scores >= rates.threshold)))
        assert treat_all(sample.positives, sample.negatives, rates.threshold) == pytest.approx(worth.mean())


def test_treating_all_is_worth_the_prevalence_at_0_and_nothing_at_the_prevalence():
    """As in every decision curve."""
    sample = clustered_set(STRONG, 100, np.random.default_rng(0))
    prevalence = sample.labels.mean()
    assert (
        treat_all(sample.positives, sample.negatives, 0.0)
        == rates_at(sample, [0.0])[0].net_benefit
        == pytest.approx(prevalence)
    )
    assert treat_all(sample.positives, sample.negatives, prevalence) == pytest.approx(0, abs=1e-12)


def test_predictive_values_at_a_prevalence_are_those_by_hand():
    """Recall 0.8, specificity 0.9: of 1,000 patients with prevalence 0.05 there are 40 TP, 95 FP, 10 FN and 855 TN."""
    labels = np.arange(200) < 50
    scores = np.where(labels, np.arange(200) % 5 != 0, np.arange(200) % 10 == 0).astype(np.float64)
    rates = rates_at(Sample(labels=labels, scores=scores, patients=np.arange(200)), [0.5])[0]
    found = predictive_values(rates, 0.05)
    assert (found.precision.value, found.npv.value) == pytest.approx((40 / 135, 855 / 865))
    assert found.precision.low < found.precision.value < found.precision.high


def test_predictive_values_at_the_samples_own_prevalence_are_precision_and_npv():
    """Also without a false positive, or without a true one."""
    sample = clustered_set(STRONG, 200, np.random.default_rng(0))
    for rates in rates_at(sample, [0.0, 0.05, 0.2, 0.6, float(sample.scores.max()), 1.0]):
        found = predictive_values(rates, float(sample.labels.mean()))
        for one, other in ((found.precision, rates.precision), (found.npv, rates.npv)):
            assert one.value == (None if other.value is None else pytest.approx(other.value))


def test_predictive_values_without_any_false_one_reach_down_to_both_lower_ends():
    """Precision is 1 at any prevalence; its lower end is that of the lower ends of recall and specificity."""
    labels = np.arange(100) < 30
    rates = rates_at(Sample(labels=labels, scores=labels * 0.9, patients=np.arange(100)), [0.5])[0]
    found = predictive_values(rates, 0.1).precision
    false = (1 - rates.specificity.low) * 0.9
    low = rates.recall.low * 0.1 / (rates.recall.low * 0.1 + false)
    assert found == Estimate(value=1.0, low=pytest.approx(low), high=1.0)
