"""AUROC and average precision, each with the patients' influence on it."""

import numpy as np

from db.evaluation.cohort import Sample
from db.evaluation.estimate import Statistic
from db.metrics.formulas import ScoreArray


def auroc_statistic(sample: Sample) -> Statistic | None:
    """The AUROC; None unless both classes are present.

    Source of the influence: DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more correlated ROC
    curves, Biometrics 44 (1988); for clusters: Obuchowski, Nonparametric analysis of clustered ROC curve data,
    Biometrics 53 (1997).
    """
    value = sample.curve.auroc
    if value is None:
        return None
    positive, negative = (np.sort(sample.scores[chosen]) for chosen in (sample.labels, ~sample.labels))
    below = _share_below(negative, sample.scores)
    above = 1 - _share_below(positive, sample.scores)
    of_scans = np.where(sample.labels, (below - value) / sample.positives, (above - value) / sample.negatives)
    return Statistic(value=value, influence=sample.of_patients(of_scans))


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
    place = len(curve.thresholds) - 1 - np.searchsorted(curve.thresholds[::-1], sample.scores)
    own = (curve.tp / predicted)[place] - value
    of_scans = np.where(sample.labels, own + gain[place], -loss[place]) / sample.positives
    return Statistic(value=value, influence=sample.of_patients(of_scans))


def _share_below(ascending: ScoreArray, scores: ScoreArray) -> ScoreArray:
    """(N,) the share of some scores that lie below each score; a tie counts as one half."""
    left, right = (np.searchsorted(ascending, scores, side) for side in ("left", "right"))
    return (left + right) / (2 * len(ascending))
