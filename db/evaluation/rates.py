"""Counts, rates and net benefit at thresholds, with intervals clustered by patient.

Every rate is a share of right ones among right and wrong ones, whose counts are sums over patients. So its variance,
and how well that is known, follow from the sums over patients of the products of both counts (the linearised variance
of a ratio, Cochran, Sampling techniques (1977), section 6.4).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, inf, isnan, log
from typing import Final

import numpy as np

from db.evaluation.cohort import Sample
from db.evaluation.estimate import UNDEFINED, Estimate, add, chance, degrees_of_freedom, estimate_share
from db.evaluation.patient_counts import PatientCounts, Values
from db.metrics.formulas import ConfusionMatrix

#: What is right and what is wrong by each rate, from (TP, FP, FN, TN).
_RATES: Final[dict[str, Callable[[Values], tuple[Values, Values]]]] = {
    "precision": lambda counts: (counts[0], counts[1]),
    "recall": lambda counts: (counts[0], counts[2]),
    "specificity": lambda counts: (counts[3], counts[1]),
    "npv": lambda counts: (counts[3], counts[2]),
    "f1": lambda counts: (2 * counts[0], counts[1] + counts[2]),
    "accuracy": lambda counts: (counts[0] + counts[3], counts[1] + counts[2]),
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
    #: Of recall and specificity, over samples of patients, in [-1, 1]; 0 where it is unknown.
    correlation: float


@dataclass(frozen=True, kw_only=True)
class PredictiveValues:
    """Precision and NPV where a share of patients has the finding that is stated, not that of the scans at hand."""

    prevalence: float
    precision: Estimate
    npv: Estimate


def rates_at(sample: Sample, thresholds: Sequence[float]) -> tuple[Rates, ...]:
    """The counts and rates at each threshold, in the order given; a prediction is score >= threshold."""
    matrices = sample.curve.confusion_matrices_at(thresholds)
    # Between two scores all rates are the same: a small group has far fewer of them than the page has thresholds.
    distinct = dict(zip(matrices, thresholds, strict=True))
    counts = PatientCounts.of(sample, list(distinct.values()))
    shares = {name: _Shares.of(counts, rule) for name, rule in _RATES.items()}
    correlations = _correlations(counts, shares["recall"], shares["specificity"]).tolist()
    columns = [of_rate.estimates(why_not=sample.no_interval) for of_rate in shares.values()]
    found = {
        matrix: (correlation, dict(zip(shares, of_rates, strict=True)))
        for matrix, correlation, *of_rates in zip(distinct, correlations, *columns, strict=True)
    }
    return tuple(
        _rates(threshold, matrix, *found[matrix]) for threshold, matrix in zip(thresholds, matrices, strict=True)
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


def treat_all(positives: int, negatives: int, threshold: float) -> float | None:
    """The net benefit of a positive prediction for every one of some scans; that of none is 0."""
    return net_benefit(ConfusionMatrix(tp=positives, fp=negatives, fn=0, tn=0), threshold)


def predictive_values(rates: Rates, prevalence: float) -> PredictiveValues:
    """Precision and NPV at a prevalence in (0, 1), by Bayes' rule from recall and specificity.

    Their log odds are sums, such as log(recall) - log(1 - specificity) and the log odds of the prevalence, so the ends
    of their intervals follow from those of both rates.
    """
    recall, specificity, correlation = rates.recall, rates.specificity, rates.correlation
    return PredictiveValues(
        prevalence=prevalence,
        precision=_by_bayes(recall, specificity, prevalence, correlation),
        npv=_by_bayes(specificity, recall, 1 - prevalence, correlation),
    )


def _by_bayes(right: Estimate, other: Estimate, prior: float, correlation: float) -> Estimate:
    """The share of one class among what is predicted to be of it.

    Args:
        right: the rate at which predictions are right for this class.
        other: the same for the other class.
        prior: this class' share.
        correlation: of both rates.
    """
    if right.value is None or other.value is None or (right.value == 0 and other.value == 1):
        return UNDEFINED
    odds = add(
        right, other, correlation, (lambda rate: _log(rate * prior), lambda rate: -_log((1 - rate) * (1 - prior)))
    )
    return Estimate(
        value=None if odds.value is None else chance(odds.value),
        low=None if odds.low is None else chance(odds.low),
        high=None if odds.high is None else chance(odds.high),
    )


def _rates(threshold: float, counts: ConfusionMatrix, correlation: float, rates: dict[str, Estimate]) -> Rates:
    return Rates(
        threshold=threshold,
        tp=counts.tp,
        fp=counts.fp,
        fn=counts.fn,
        tn=counts.tn,
        **rates,
        balanced_accuracy=add(
            rates["recall"], rates["specificity"], correlation, (lambda rate: rate / 2, lambda rate: rate / 2)
        ),
        net_benefit=net_benefit(counts, threshold),
        correlation=correlation,
    )


@dataclass(frozen=True, kw_only=True)
class _Shares:
    """A rate at K thresholds; arrays are (K,) float64, NaN where there is nothing right and nothing wrong."""

    share: Values
    #: To first order.
    variance: Values
    freedom: Values
    #: The sum of the squares of the patients' shares in all that is right or wrong.
    concentration: Values

    @classmethod
    def of(cls, counts: PatientCounts, rule: Callable[[Values], tuple[Values, Values]]) -> "_Shares":
        sums = counts.sums(lambda of_patients: _powers(*rule(of_patients)))
        total, squares, fourth = sums[0] + sums[1], sums[2:5], sums[5:]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = sums[0] / total
            variance = _of_residuals(share, squares) / total**2
            return cls(
                share=share,
                variance=variance,
                freedom=degrees_of_freedom(variance, _of_residuals(share, fourth) / total**4),
                concentration=(squares[0] + 2 * squares[1] + squares[2]) / total**2,
            )

    def estimates(self, *, why_not: str | None) -> list[Estimate]:
        """K estimates; without intervals if there is a reason why not."""
        with np.errstate(divide="ignore", invalid="ignore"):
            # As if every patient were left out, and all had a share of the average size.
            variance = np.where(self.concentration < 1, self.variance / (1 - self.concentration), inf)
            patients = 1 / self.concentration
        columns = (values.tolist() for values in (self.share, variance, self.freedom, patients))
        return [_estimate(*of_threshold, why_not=why_not) for of_threshold in zip(*columns, strict=True)]


def _estimate(share: float, variance: float, freedom: float, patients: float, *, why_not: str | None) -> Estimate:
    if isnan(share):
        return UNDEFINED
    if why_not is not None:
        return Estimate(value=share)
    return estimate_share(share, variance=variance, freedom=freedom, patients=patients)


def _powers(right: Values, wrong: Values) -> tuple[Values, ...]:
    """Ten of (M,): both counts, then their products of second and of fourth order, each from all right to all wrong."""
    squares = right * right, right * wrong, wrong * wrong
    fourth = *(squares[0] * one for one in squares), squares[1] * squares[2], squares[2] * squares[2]
    return right, wrong, *squares, *fourth


def _of_residuals(share: Values, moments: Values) -> Values:
    """(K,) the sums over patients of an even power of right - share * (right + wrong), from moments (power + 1, K)."""
    power = len(moments) - 1
    terms = [
        comb(power, wrong) * (1 - share) ** (power - wrong) * (-share) ** wrong * moment
        for wrong, moment in enumerate(moments)
    ]
    # Rounding may take a sum that is 0 below it.
    return np.asarray(np.maximum(np.sum(terms, axis=0), 0.0), np.float64)


def _correlations(counts: PatientCounts, recall: _Shares, specificity: _Shares) -> Values:
    """(K,) the correlation of recall and specificity; 0 where it is unknown."""
    tp_tn, tp_fp, fn_tn, fn_fp = counts.sums(
        lambda each: (each[0] * each[3], each[0] * each[1], each[2] * each[3], each[2] * each[1])
    )
    positives, negatives = counts.first[2:].sum(axis=1)
    right, well = recall.share, specificity.share
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = (
            (1 - right) * ((1 - well) * tp_tn - well * tp_fp) - right * ((1 - well) * fn_tn - well * fn_fp)
        ) / (positives * negatives)
        correlation = covariance / np.sqrt(recall.variance * specificity.variance)
    return np.where(np.isfinite(correlation), np.clip(correlation, -1, 1), 0.0)


def _log(value: float) -> float:
    return log(value) if value > 0 else -inf
