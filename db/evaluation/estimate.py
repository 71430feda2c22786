"""Figures with intervals that are clustered by patient, because scans of one patient are alike.

Patients are independent. So the sum of the squares of their influences, each about what the figure is less what it
would be without that patient, is the figure's variance (the jackknife). A few patients with many scans may make most of
it; then the variance itself is little known, and the interval is that of Student's t with few degrees of freedom.

Sources: Efron and Stein, The jackknife estimate of variance, Annals of Statistics 9 (1981); for clusters: Bell and
McCaffrey, Bias reduction in standard errors for linear regression with multi-stage samples, Survey Methodology 28
(2002).
docs/evaluation.md has how often the intervals cover.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from math import erfc, exp, inf, isfinite, log, log1p, sqrt
from statistics import NormalDist
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: On what scale a figure's interval is symmetric: a figure without bounds, above 0, or in [0, 1].
Scale: TypeAlias = Literal["identity", "log", "logit"]
#: The level of every interval that is shown.
LEVEL: Final = 0.95
#: With fewer degrees of freedom a patient would have more than all of the variance.
_FEWEST_DEGREES: Final = 2.0
#: An interval that reaches further on the logarithm, to a million times the figure, tells nothing of it.
_WIDEST: Final = log(1e6)


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
    #: (P,) float64: about `value` less what it would be without the patient.
    influence: NDArray[np.float64]

    @property
    def variance(self) -> float:
        """The variance of the figure; infinite with fewer than two patients."""
        return float(np.sum(self.influence**2)) if len(self.influence) > 1 else inf

    @property
    def degrees_of_freedom(self) -> float:
        """How well the variance is known, see `degrees_of_freedom`."""
        if not isfinite(self.variance):
            return inf
        squares = self.influence**2
        return float(degrees_of_freedom(np.asarray(squares.sum()), np.asarray(np.sum(squares**2))))


def leave_out(influence: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """The influences on a mean that patients have if each is left out, from those to first order.

    Args:
        influence: (P,) the derivative of the figure by each patient's weight.
        share: (P,) of the scans that the mean is of.
    """
    return np.divide(influence, 1 - share, out=np.zeros_like(influence), where=share < 1)


def degrees_of_freedom(squares: NDArray[np.float64], fourth_powers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The degrees of freedom of variances that are sums of squares of influences: of any shape, at least 2.

    Of n normal influences the fourth powers sum up to 3 / n of the square of the sum of squares. So a sum of other
    influences is known as well as one of 3 squares^2 / fourth_powers normal ones. Source: Satterthwaite, An approximate
    distribution of estimates of variance components, Biometrics Bulletin 2 (1946).
    """
    patients = np.full(squares.shape, inf)
    np.divide(3 * squares**2, fourth_powers, out=patients, where=(fourth_powers > 0) & np.isfinite(fourth_powers))
    # Sums of fourth powers of very large clusters are rounded.
    return np.asarray(np.maximum(patients - 1, _FEWEST_DEGREES), np.float64)


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

    Returns:
        Without an interval if the variance is unknown, the value lies at a bound of its scale, or an end would be a
        million times as large or small as a value above 0.
    """
    if statistic is None:
        return UNDEFINED
    value, reach = statistic.value, t_quantile(level, statistic.degrees_of_freedom) * sqrt(statistic.variance)
    return _symmetric(value, reach, scale)


def within(figure: Estimate, low: float, high: float) -> Estimate:
    """The figure with its interval cut to what is possible."""
    if figure.low is None or figure.high is None:
        return figure
    return replace(figure, low=max(low, figure.low), high=min(high, figure.high))


def p_value(statistic: Statistic) -> float:
    """Two-sided, of a figure of 0; below 0.05 exactly where the interval on the identity scale leaves out 0.

    Args:
        statistic: its variance is finite and above 0.
    """
    return t_tails(abs(statistic.value) / sqrt(statistic.variance), statistic.degrees_of_freedom)


def estimate_share(share: float, *, variance: float, freedom: float, patients: float) -> Estimate:
    """A share with its interval: symmetric on the logit scale, or Wilson's where no patient differs from the others.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927), with patients
    for trials.

    Args:
        share: in [0, 1].
        variance: clustered by patient.
        freedom: the variance's degrees of freedom.
        patients: of equal weight that would know as much if all scans of a patient were alike (Kish, Survey sampling
            (1965), section 11.7).
    """
    # A variance below this is rounding: as if every patient had the same share.
    if variance > 1e-12 * share * (1 - share):
        return _symmetric(share, t_quantile(LEVEL, freedom) * sqrt(variance), "logit")
    z = t_quantile(LEVEL, inf)
    middle = (share + z**2 / (2 * patients)) / (1 + z**2 / patients)
    reach = z * sqrt(share * (1 - share) / patients + (z / (2 * patients)) ** 2) / (1 + z**2 / patients)
    # At 0 and 1 the ends are those, but for rounding.
    return Estimate(value=share, low=max(0.0, min(share, middle - reach)), high=min(1.0, max(share, middle + reach)))


def add(
    first: Estimate,
    second: Estimate,
    correlation: float,
    scales: tuple[Callable[[float], float], Callable[[float], float]],
) -> Estimate:
    """The sum of an increasing function of each of two estimates; its interval follows from both estimates' ends.

    Source: Zou, Toward using confidence intervals to compare correlations, Psychological Methods 12
    (2007).
    """
    if first.value is None or second.value is None:
        return UNDEFINED
    values = scales[0](first.value), scales[1](second.value)
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Estimate(value=sum(values))
    lows, highs = (
        (scales[0](one), scales[1](other)) for one, other in ((first.low, second.low), (first.high, second.high))
    )
    if not isfinite(sum(values)):
        return Estimate(value=sum(values), low=sum(lows), high=sum(highs))

    def reach(ends: tuple[float, float]) -> float:
        one, other = ends[0] - values[0], ends[1] - values[1]
        if not isfinite(one + other):
            return inf
        return sqrt(max(0.0, one**2 + other**2 + 2 * correlation * one * other))

    return Estimate(value=sum(values), low=sum(values) - reach(lows), high=sum(values) + reach(highs))


def t_quantile(level: float, freedom: float) -> float:
    """How many deviations an interval reaches to either side: 1.96 of level 0.95 and infinite degrees of freedom.

    Right to 1% from 2 degrees of freedom and up to level 0.95. Source: Abramowitz and Stegun, Handbook of mathematical
    functions (1964), 26.7.5.
    """
    quantile = 0.0
    for coefficient in reversed(_expansion(level)):
        quantile = quantile / freedom + coefficient
    return quantile


def t_tails(reach: float, freedom: float) -> float:
    """The chance that Student's t is further from 0 than `reach`; 0.05 exactly at `t_quantile(LEVEL, freedom)`.

    sqrt(log(1 + t^2 / freedom)) is about proportional to a normal deviate (Wallace, Bounds on normal approximations to
    Student's and the chi-square distributions, Annals of Mathematical Statistics 30 (1959)); the factor is the one with
    which p < 0.05 says the same as the interval. From 2 degrees of freedom, right to 4% from 0.02 up and to 8% at 0.01;
    of less, too large.

    Args:
        reach: in deviations, 0 or more.
        freedom: finite.
    """
    share = log1p(reach**2 / freedom) / log1p(t_quantile(LEVEL, freedom) ** 2 / freedom)
    return erfc(t_quantile(LEVEL, inf) * sqrt(share / 2))


@cache
def _expansion(level: float) -> tuple[float, ...]:
    """The coefficients of the quantile's expansion by the powers of 1 / freedom."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    return (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )


def chance(log_odds: float) -> float:
    """The share of which these are the log odds."""
    return 1 / (1 + exp(-log_odds)) if log_odds > -700 else 0.0


def _symmetric(value: float, reach: float, scale: Scale) -> Estimate:
    at_bound = (scale != "identity" and value <= 0) or (scale == "logit" and value >= 1)
    if at_bound or not isfinite(reach):
        return Estimate(value=value)
    if scale == "identity":
        return Estimate(value=value, low=value - reach, high=value + reach)
    if scale == "log":
        if reach / value > _WIDEST:
            return Estimate(value=value)
        factor = exp(reach / value)
        return Estimate(value=value, low=value / factor, high=value * factor)
    odds, of_odds = log(value / (1 - value)), reach / (value * (1 - value))
    return Estimate(value=value, low=chance(odds - of_odds), high=chance(odds + of_odds))
