"""Counts, rates and net benefit at thresholds, with intervals clustered by patient.

Every rate is a ratio of sums over patients of the counts x = (TP, FP, positives, negatives): sum(a x) / sum(b x). So
its variance follows from the sums of the products of these counts (the linearised variance of a ratio, Cochran,
Sampling techniques (1977), section 6.4), which are computed once for all rates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.evaluation.cohort import Sample
from db.evaluation.estimate import UNDEFINED, Estimate, estimate_proportion
from db.metrics.formulas import ConfusionMatrix, CountArray, Labels

#: Numerator and denominator of each rate by (TP, FP, positives, negatives).
_RATIOS: Final = {
    name: np.array(ratio, np.float64)
    for name, ratio in {
        "precision": ((1, 0, 0, 0), (1, 1, 0, 0)),
        "recall": ((1, 0, 0, 0), (0, 0, 1, 0)),
        "specificity": ((0, -1, 0, 1), (0, 0, 0, 1)),
        "npv": ((0, -1, 0, 1), (-1, -1, 1, 1)),
        "f1": ((2, 0, 0, 0), (1, 1, 1, 0)),
        "accuracy": ((1, -1, 0, 1), (0, 0, 1, 1)),
    }.items()
}


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The counts of one finding at one threshold, in scans, and the rates that follow from them, each in [0, 1].

    Precision is also called positive predictive value, recall sensitivity; `npv` is the negative predictive value.
    """

    threshold: float
    tp: int
    fp: int
    fn: int
    tn: int
    precision: Estimate
    recall: Estimate
    specificity: Estimate
    npv: Estimate
    f1: Estimate
    accuracy: Estimate
    #: The mean of recall and specificity.
    balanced_accuracy: Estimate
    #: In true positives per scan, see `net_benefit`.
    net_benefit: float | None


@dataclass(frozen=True, kw_only=True)
class PredictiveValues:
    """Precision and NPV where a share of patients has the finding that is stated, not that of the scans at hand."""

    prevalence: float
    precision: Estimate
    npv: Estimate


def rates_at(sample: Sample, thresholds: Sequence[float]) -> tuple[Rates, ...]:
    """The counts and rates at each threshold, in the order given; a prediction is score >= threshold."""
    moments = _moments(sample, thresholds)
    return tuple(
        _rates(sample, threshold, of_threshold) for threshold, of_threshold in zip(thresholds, moments, strict=True)
    )


def net_benefit(counts: ConfusionMatrix, threshold: float) -> float | None:
    """TP / N - FP / N * t / (1 - t) at the threshold t; None without a scan, or at t = 1.

    Source: Vickers and Elkin, Decision curve
    analysis, Medical Decision Making 26 (2006).
    """
    scans = counts.tp + counts.fp + counts.fn + counts.tn
    if not scans or threshold >= 1:
        return None
    return (counts.tp - counts.fp * threshold / (1 - threshold)) / scans


def treat_all(sample: Sample, threshold: float) -> float | None:
    """The net benefit of a positive prediction for every scan; that of none is 0."""
    return net_benefit(ConfusionMatrix(tp=sample.positives, fp=sample.negatives, fn=0, tn=0), threshold)


def predictive_values(rates: Rates, prevalence: float) -> PredictiveValues:
    """Precision and NPV at a prevalence in (0, 1), by Bayes' rule from recall and specificity.

    The ends of the intervals are those of both rates at once, so the intervals are rather too wide.
    """
    recall, specificity = rates.recall, rates.specificity
    return PredictiveValues(
        prevalence=prevalence,
        precision=_by_ends(
            lambda sensitivity, specific: _bayes(sensitivity * prevalence, (1 - specific) * (1 - prevalence)),
            recall,
            specificity,
        ),
        npv=_by_ends(
            lambda sensitivity, specific: _bayes(specific * (1 - prevalence), (1 - sensitivity) * prevalence),
            recall,
            specificity,
        ),
    )


def _by_ends(rule: Callable[[float, float], float | None], first: Estimate, second: Estimate) -> Estimate:
    """A figure that grows with both estimates."""
    value, low, high = (
        None if a is None or b is None else rule(a, b)
        for a, b in ((first.value, second.value), (first.low, second.low), (first.high, second.high))
    )
    return Estimate(value=value, low=low, high=high)


def _bayes(right: float, wrong: float) -> float | None:
    return right / (right + wrong) if right + wrong else None


def _rates(sample: Sample, threshold: float, moments: NDArray[np.float64]) -> Rates:
    counts = sample.curve.confusion_matrix_at(threshold)
    totals = np.array([counts.tp, counts.fp, sample.positives, sample.negatives], np.float64)
    rates = {name: _ratio(totals, moments, ratio, sample.patient_count) for name, ratio in _RATIOS.items()}
    return Rates(
        threshold=threshold,
        tp=counts.tp,
        fp=counts.fp,
        fn=counts.fn,
        tn=counts.tn,
        **rates,
        balanced_accuracy=_mean(rates["recall"], rates["specificity"]),
        net_benefit=net_benefit(counts, threshold),
    )


def _ratio(
    totals: NDArray[np.float64], moments: NDArray[np.float64], ratio: NDArray[np.float64], patients: int
) -> Estimate:
    numerator, denominator = ratio
    total = float(denominator @ totals)
    if total == 0:
        return UNDEFINED
    value = float(numerator @ totals) / total
    residual = numerator - value * denominator
    correction = patients / (patients - 1) if patients > 1 else np.inf
    variance = float(residual @ moments @ residual) / total**2
    return estimate_proportion(value, variance * correction if variance > 0 else 0.0, int(total))


def _mean(first: Estimate, second: Estimate) -> Estimate:
    """The mean of two figures of different scans, by the square-and-add rule.

    Source: Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27 (2008).
    """
    if first.value is None or second.value is None:
        return UNDEFINED
    value = (first.value + second.value) / 2
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Estimate(value=value)
    below = hypot(first.value - first.low, second.value - second.low) / 2
    above = hypot(first.high - first.value, second.high - second.value) / 2
    return Estimate(value=value, low=max(0.0, value - below), high=min(1.0, value + above))


def _moments(sample: Sample, thresholds: Sequence[float]) -> NDArray[np.float64]:
    """(K, 4, 4) the sums over patients of the products of their (TP, FP, positives, negatives) at K thresholds.

    As a threshold falls to a scan's score, one count of the scan's patient grows from k to k + 1. Its product with
    another count x of the patient grows by x, its square by 2 k + 1. So each moment is a sum over the scans that are
    predicted, and one sort by patient and score serves all thresholds.
    """
    order = np.lexsort((-sample.scores, sample.patients))
    labels, patients = sample.labels[order], sample.patients[order]
    totals = [np.bincount(patients, chosen, minlength=sample.patient_count) for chosen in (labels, ~labels)]
    # The counts of its patient before each scan.
    before = [
        np.cumsum(chosen) - chosen - (np.cumsum(of_class) - of_class)[patients]
        for chosen, of_class in zip((labels, ~labels), totals, strict=True)
    ]
    ascending = np.unique(np.asarray(thresholds, np.float64))
    reached = np.searchsorted(ascending, sample.scores[order], side="right")
    place = np.searchsorted(ascending, thresholds)

    def sum_predicted(growth: CountArray, chosen: Labels) -> NDArray[np.float64]:
        of_steps = np.bincount(reached[chosen], growth[chosen], minlength=len(ascending) + 1)
        return np.cumsum(of_steps[::-1], dtype=np.float64)[::-1][1:][place]

    sums = np.empty((len(thresholds), 4, 4))
    for row, chosen in enumerate((labels, ~labels)):
        sums[:, row, row] = sum_predicted(2 * before[row] + 1, chosen)
        for column, of_class in enumerate(totals, start=2):
            sums[:, row, column] = sums[:, column, row] = sum_predicted(of_class[patients], chosen)
        for column, of_class in enumerate(totals):
            sums[:, row + 2, column + 2] = totals[row] @ of_class
    sums[:, 0, 1] = sums[:, 1, 0] = sum_predicted(before[1], labels) + sum_predicted(before[0], ~labels)
    return sums
