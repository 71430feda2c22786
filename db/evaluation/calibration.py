"""How far scores are chances: Brier score, calibration slope and intercept, observed over expected.

Source: Van Calster et al., A calibration hierarchy for risk models, Journal of Clinical Epidemiology 74 (2016).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.evaluation.cohort import Sample
from db.evaluation.estimate import Statistic, leave_out
from db.evaluation.logistic import fit_logistic

#: The log odds of 0 and 1 are infinite. float32 scores nearer to them than this are rounding.
_EDGE: Final = 1e-7
#: Below this share of the product of all patients' diagonal, the determinant of the patients but one is rounding.
_SINGULAR: Final = 1e-9
#: Groups of equal size in a calibration curve, as is usual; fewer where these would be of fewer scans.
_GROUPS: Final = 10
_SCANS_PER_GROUP: Final = 20


@dataclass(frozen=True, kw_only=True)
class CalibrationPoint:
    """Scans of like scores: what the model says, and how many of them are positive."""

    scans: int
    positives: int
    mean_score: float


def brier_statistic(sample: Sample) -> Statistic | None:
    """The mean square of score - label, in [0, 1]; None without a scan.

    Source: Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950).
    """
    return ratio_statistic(sample, (sample.scores - sample.labels) ** 2, np.ones(len(sample.labels)))


def observed_over_expected_statistic(sample: Sample) -> Statistic | None:
    """Positives over the sum of scores; None if every score is 0."""
    return ratio_statistic(sample, sample.labels.astype(np.float64), sample.scores)


def calibration_slope_statistic(sample: Sample) -> Statistic | None:
    """The slope of the label's log odds over the score's; below 1, scores are too extreme.

    None without a finite fit, as if all scores are the same.
    """
    odds = _log_odds(sample.scores)
    if not len(odds) or np.ptp(odds) == 0:
        return None
    # The slope is the same whatever the origin, and scores that hardly differ are told apart from those that do not.
    odds = odds - odds.mean()
    return _coefficient(sample, np.column_stack([np.ones_like(odds), odds]), np.zeros_like(odds), place=1)


def calibration_intercept_statistic(sample: Sample) -> Statistic | None:
    """What has to be added to every score's log odds, with slope 1, so that the positives are as many as expected."""
    odds = _log_odds(sample.scores)
    return _coefficient(sample, np.ones((len(odds), 1)), odds, place=0)


def calibration_curve(sample: Sample) -> tuple[CalibrationPoint, ...]:
    """Up to ten points of about as many scans each, by ascending score. Scans of equal score are not parted.

    Points are of about 20 scans at least, because those of a few scans may lie anywhere.
    """
    groups = max(1, min(_GROUPS, len(sample.scores) // _SCANS_PER_GROUP))
    ascending = sample.order[::-1]
    scores, labels = sample.scores[ascending], sample.labels[ascending]
    wanted = [len(scores) * part // groups for part in range(1, groups)]
    ends = np.searchsorted(scores, scores[wanted])
    parts = zip(np.split(scores, ends), np.split(labels, ends), strict=True)
    return tuple(
        CalibrationPoint(scans=len(part), positives=int(truth.sum()), mean_score=float(part.mean()))
        for part, truth in parts
        if len(part)
    )


def ratio_statistic(
    sample: Sample, numerators: NDArray[np.float64], denominators: NDArray[np.float64]
) -> Statistic | None:
    """The sum of (N,) numerators over the sum of (N,) denominators; None if that is 0.

    The influence of a patient who has all of the denominators is infinite: without it there is no ratio.
    """
    total = float(denominators.sum())
    if total == 0:
        return None
    value = float(numerators.sum()) / total
    to_first_order = sample.of_patients((numerators - value * denominators) / total)
    share = sample.of_patients(denominators) / total
    influence = np.where(share < 1, leave_out(to_first_order, share), np.inf)
    return Statistic(value=value, influence=influence)


def _coefficient(
    sample: Sample, columns: NDArray[np.float64], offset: NDArray[np.float64], *, place: int
) -> Statistic | None:
    truth = sample.labels.astype(np.float64)
    if not 0 < truth.sum() < len(truth):
        return None
    coefficients = fit_logistic(columns, truth, np.ones_like(truth), offset=offset)
    if coefficients is None:
        return None
    chance = 1 / (1 + np.exp(-(offset + np.einsum("nk,k->n", columns, coefficients))))
    scores = np.stack([sample.of_patients((truth - chance) * column) for column in columns.T], axis=-1)
    influence = _steps_without(sample, columns, chance * (1 - chance), scores)[:, place]
    return Statistic(value=float(coefficients[place]), influence=influence)


def _steps_without(
    sample: Sample, columns: NDArray[np.float64], weights: NDArray[np.float64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(P, K) how far one Newton step takes the coefficients if a patient is left out, with the sign turned.

    Infinite where the other patients have no finite fit. Source: Pregibon, Logistic regression diagnostics, Annals of
    Statistics 9 (1981).

    Args:
        sample: N scans of P patients.
        columns: (N, K).
        weights: (N,) the variance of each label.
        scores: (P, K) the derivatives of the log likelihood.
    """
    products = [[sample.of_patients(weights * one * other) for other in columns.T] for one in columns.T]
    information = np.array(products).transpose(2, 0, 1)
    rest = information.sum(axis=0) - information
    solvable = np.linalg.det(rest) > _SINGULAR * np.prod(np.diagonal(information.sum(axis=0)))
    steps = np.full(scores.shape, np.inf)
    steps[solvable] = np.linalg.solve(rest[solvable], scores[solvable][..., None])[..., 0]
    return steps


def _log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(scores, _EDGE, 1 - _EDGE)
    return np.log(inside / (1 - inside))
