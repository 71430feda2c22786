"""AUROC and average precision, each with the patients' influence on it, and the rank correlation of two scores."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from db.evaluation.cohort import Sample
from db.evaluation.estimate import Statistic, leave_out
from db.metrics.formulas import ScoreArray


def auroc_statistic(sample: Sample) -> Statistic | None:
    """The AUROC; None unless both classes are present.

    Source of the influence: DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more correlated ROC
    curves, Biometrics 44 (1988); for clusters: Obuchowski, Nonparametric analysis of clustered ROC curve data,
    Biometrics 53 (1997).
    """
    curve, value = sample.curve, sample.curve.auroc
    if value is None:
        return None
    # At each distinct score; a tie counts as one half.
    positives_above, negatives_above = (counts - np.diff(counts, prepend=0) / 2 for counts in (curve.tp, curve.fp))
    of_positive = (1 - negatives_above / sample.negatives - value) / sample.positives
    of_negative = (positives_above / sample.positives - value) / sample.negatives
    of_scans = np.where(sample.labels, of_positive[sample.score_places], of_negative[sample.score_places])
    return Statistic(value=value, influence=_influence(sample, of_scans))


def average_precision_statistic(sample: Sample) -> Statistic | None:
    """The average precision; None unless both classes are present.

    The influence is the derivative by the weight of a scan of `RocCurve.average_precision`: a positive's own precision,
    and the share by which a scan changes the precision of every positive that does not lie above it.
    """
    curve, value = sample.curve, sample.curve.average_precision
    if value is None:
        return None
    predicted = curve.tp + curve.fp
    at_score = np.diff(curve.tp, prepend=0) / predicted**2
    # Sums over the positives at or below each distinct score.
    gain, loss = (np.cumsum((at_score * counts)[::-1])[::-1] for counts in (curve.fp, curve.tp))
    of_positive = (curve.tp / predicted - value + gain)[sample.score_places]
    of_scans = np.where(sample.labels, of_positive, -loss[sample.score_places]) / sample.positives
    return Statistic(value=value, influence=_influence(sample, of_scans))


def rank_correlation(first: ScoreArray, second: ScoreArray) -> float | None:
    """Spearman's correlation of (N,) scores with (N,) others, in [-1, 1]; None if all of either are the same.

    Ties have their mean rank. Source: Spearman, The proof and measurement of association between two things, American
    Journal of Psychology 15 (1904).
    """
    one, other = (centred_ranks(scores) for scores in (first, second))
    scale = sqrt(float(one @ one) * float(other @ other))
    return max(-1.0, min(1.0, float(one @ other) / scale)) if scale else None


def centred_ranks(scores: ScoreArray) -> NDArray[np.float64]:
    """(N,) mean ranks of (N,) scores less the mean of all ranks, exactly 0 if all scores are the same."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return np.asarray((ranks - (len(scores) + 1) / 2)[places], np.float64)


def _influence(sample: Sample, of_scans: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P,) from the derivatives by the weights of scans; a patient is left out of both classes."""
    return sum(
        (
            leave_out(sample.of_patients(of_scans * chosen), sample.of_patients(chosen / chosen.sum()))
            for chosen in (sample.labels, ~sample.labels)
        ),
        start=np.zeros(sample.patient_count),
    )
