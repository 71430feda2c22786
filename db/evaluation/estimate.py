"""Figures with 95% intervals that are clustered by patient, because scans of one patient are alike.

A figure is a smooth function of sums over scans. What a patient's scans add to it to first order is the patient's
influence; patients are independent, so the sum of their squares is the figure's variance (the infinitesimal jackknife).

Source: Huber and Ronchetti, Robust statistics (2009), section 1.5; for clusters: Liang and Zeger, Longitudinal data
analysis using generalized linear models, Biometrika 73 (1986).
"""

from dataclasses import dataclass
from math import exp, isinf, log, sqrt
from statistics import NormalDist
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: On what scale a figure's interval is symmetric: a figure without bounds, above 0, or in [0, 1].
Scale: TypeAlias = Literal["identity", "log", "logit"]
#: The level of every interval that is shown.
LEVEL: Final = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and the ends of its 95% interval. None is undefined, or an interval that cannot be given."""

    value: float | None
    low: float | None = None
    high: float | None = None


UNDEFINED: Final = Estimate(value=None)


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A figure and each patient's influence on it."""

    value: float
    #: (P,) float64; they sum to 0.
    influence: NDArray[np.float64]

    @property
    def variance(self) -> float:
        """The variance of the figure, with the usual correction for P patients."""
        patients = len(self.influence)
        return float(np.sum(self.influence**2) * patients / (patients - 1)) if patients > 1 else np.inf


def difference(first: Statistic, second: Statistic) -> Statistic:
    """`first` minus `second`, two figures of the same patients in the same order."""
    return Statistic(value=first.value - second.value, influence=first.influence - second.influence)


def estimate(statistic: Statistic | None, scale: Scale, *, level: float = LEVEL) -> Estimate:
    """The figure with its interval, which is symmetric on the given scale.

    Args:
        statistic: None for a figure that is undefined.
        scale: see `Scale`.
        level: the share of samples whose interval covers the truth. One end of an interval of level 0.9 is a one-sided
            bound of level 0.95.
    """
    if statistic is None:
        return UNDEFINED
    value, reach = statistic.value, normal_quantile(level) * sqrt(statistic.variance)
    if scale == "identity":
        return Estimate(value=value, low=value - reach, high=value + reach)
    if scale == "log":
        if value <= 0:
            return Estimate(value=value)
        factor = exp(reach / value)
        return Estimate(value=value, low=value / factor, high=value * factor)
    if not 0 < value < 1:
        return Estimate(value=value)
    odds, of_odds = log(value / (1 - value)), reach / (value * (1 - value))
    return Estimate(value=value, low=1 / (1 + exp(of_odds - odds)), high=1 / (1 + exp(-of_odds - odds)))


def estimate_proportion(value: float, variance: float, trials: int) -> Estimate:
    """A share of trials with its interval: Wilson's, with as many trials as would give the clustered variance.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927); for clusters:
    Korn and Graubard, Confidence intervals for proportions with small expected number of positive counts estimated from
    survey data, Survey Methodology 24 (1998).
    """
    if isinf(variance):
        # One patient does not tell how patients differ.
        return Estimate(value=value)
    effective = min(value * (1 - value) / variance, trials) if variance > 0 else trials
    z = normal_quantile(LEVEL)
    middle = (value + z**2 / (2 * effective)) / (1 + z**2 / effective)
    reach = z * sqrt(value * (1 - value) / effective + (z / (2 * effective)) ** 2) / (1 + z**2 / effective)
    return Estimate(value=value, low=max(0.0, middle - reach), high=min(1.0, middle + reach))


def normal_quantile(level: float) -> float:
    """How many deviations an interval of a level reaches to either side: 1.96 for 0.95."""
    return NormalDist().inv_cdf((1 + level) / 2)
