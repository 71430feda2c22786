"""Metrics of scores against labels: arithmetic on arrays, no SQL. What is undefined is None, never 0.

Labels are (N,) bool, scores (N,) float64 in [0, 1]; a prediction is score >= threshold.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Labels: TypeAlias = NDArray[np.bool_]
ScoreArray: TypeAlias = NDArray[np.float64]
Steps: TypeAlias = NDArray[np.int64]
#: Of the expected calibration error, as in its source.
_BINS: Final = 15


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The confusion matrix of one finding at one threshold, in scans, and the rates that follow from it.

    Source: Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27 (2006), figure 1.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def precision(self) -> float | None:
        """TP / (TP + FP); undefined without a positive prediction."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """TP / (TP + FN), also called sensitivity; undefined without a positive label."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float | None:
        """TN / (TN + FP); undefined without a negative label."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def f1(self) -> float | None:
        """2 TP / (2 TP + FP + FN); undefined only where nothing is positive, neither label nor prediction."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def accuracy(self) -> float | None:
        """(TP + TN) / all; undefined without a scan."""
        return _ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    @property
    def balanced_accuracy(self) -> float | None:
        """The mean of recall and specificity; undefined where either is."""
        recall, specificity = self.recall, self.specificity
        return None if recall is None or specificity is None else (recall + specificity) / 2


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Labels sorted by score, once for every figure: K distinct scores, each of them tried as the threshold."""

    #: (K,) the distinct scores, highest first.
    thresholds: ScoreArray
    #: (K,) what each gives as a threshold: neither ever falls.
    tp: Steps
    fp: Steps

    @cached_property
    def positives(self) -> int:
        """Scans with a positive label."""
        return int(self.tp[-1]) if len(self.tp) else 0

    @cached_property
    def negatives(self) -> int:
        """Scans with a negative label."""
        return int(self.fp[-1]) if len(self.fp) else 0

    def count_at(self, threshold: float) -> Counts:
        """Count predictions (score >= threshold) against labels, at any threshold."""
        step = len(self.thresholds) - 1 - int(np.searchsorted(self._ascending, threshold))
        tp, fp = (int(self.tp[step]), int(self.fp[step])) if step >= 0 else (0, 0)
        return Counts(tp=tp, fp=fp, fn=self.positives - tp, tn=self.negatives - fp)

    @property
    def auroc(self) -> float | None:
        """The area under the ROC curve, in [0, 1]; None unless both classes are present."""
        if not self._has_both_classes:
            return None
        # Twice the area, by trapezoids in whole numbers: what is rounded is one division.
        twice = np.sum(_rises(self.fp) * (2 * self.tp - _rises(self.tp)))
        return int(twice) / (2 * self.positives * self.negatives)

    @property
    def average_precision(self) -> float | None:
        """The mean precision over recall steps, not interpolated, in [0, 1]; None unless both classes are present."""
        if not self._has_both_classes:
            return None
        return float(np.sum(_rises(self.tp) * (self.tp / (self.tp + self.fp))) / self.positives)

    @property
    def best_f1_threshold(self) -> float | None:
        """The score that makes the best F1 as a threshold; of several, the highest. None without a positive label."""
        if not self.positives:
            return None
        # F1 = 2 TP / (predicted + positives). Division rounds correctly, so equal ones tie; argmax takes the first.
        return float(self.thresholds[np.argmax(2 * self.tp / (self.tp + self.fp + self.positives))])

    @property
    def youden_threshold(self) -> float | None:
        """The score that makes the best recall + specificity - 1 as a threshold; of several, the highest.

        None unless both classes are present. Source: Youden, Index for rating diagnostic tests, Cancer 3 (1950).
        """
        if not self._has_both_classes:
            return None
        # J times positives times negatives, in whole numbers: no rounding decides a tie.
        return float(self.thresholds[np.argmax(self.tp * self.negatives - self.fp * self.positives)])

    def threshold_of_recall(self, recall: float) -> float | None:
        """The highest score that keeps this recall, in (0, 1], as a threshold. None without a positive label."""
        if not self.positives:
            return None
        return float(self.thresholds[np.argmax(self.tp >= recall * self.positives)])

    @property
    def _has_both_classes(self) -> bool:
        return self.positives > 0 and self.negatives > 0

    @cached_property
    def _ascending(self) -> ScoreArray:
        return np.ascontiguousarray(self.thresholds[::-1])


def rank(labels: Labels, scores: ScoreArray, times: Steps | None = None) -> Ranked:
    """Sort labels (N,) by their scores (N,); `times`, (N,), is how often each scan counts, once by default.

    Raises:
        ValueError: a score is not a number, so it has no rank.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is not a number")
    order = np.argsort(-scores)
    ranked = scores[order]
    last_of_its_kind = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])
    if times is None:
        tp = np.cumsum(labels[order], dtype=np.int64)[last_of_its_kind]
        return Ranked(thresholds=ranked[last_of_its_kind], tp=tp, fp=last_of_its_kind + 1 - tp)
    counted = times[order]
    tp, fp = (np.cumsum(counted * of, dtype=np.int64)[last_of_its_kind] for of in (labels[order], ~labels[order]))
    reached = (tp + fp) > 0
    return Ranked(thresholds=ranked[last_of_its_kind][reached], tp=tp[reached], fp=fp[reached])


def count_at(labels: NDArray[Any], scores: NDArray[Any], threshold: float) -> Counts:
    """Count predictions against labels at one threshold.

    Args:
        labels: (N,) bool or 0/1.
        scores: (N,) in [0, 1]; compared as float64, for 0.7 in float32 lies below 0.7.
        threshold: in [0, 1].
    """
    truth = labels.astype(np.bool_)
    predicted = scores.astype(np.float64) >= threshold
    tp, positives = int((truth & predicted).sum()), int(truth.sum())
    fp = int(predicted.sum()) - tp
    return Counts(tp=tp, fp=fp, fn=positives - tp, tn=len(truth) - positives - fp)


def auroc(labels: Labels, scores: ScoreArray) -> float | None:
    """The area under the ROC curve, in [0, 1]; None unless both classes are present."""
    return rank(labels, scores).auroc


def brier(labels: Labels, scores: ScoreArray, times: Steps | None = None) -> float | None:
    """The mean square of score less label, in [0, 1]; None without a scan.

    Source: Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950).
    """
    weights = np.ones(len(labels)) if times is None else times
    total = weights.sum()
    return float(np.sum(weights * (scores - labels) ** 2) / total) if total else None


def calibration_error(labels: Labels, scores: ScoreArray, times: Steps | None = None) -> float | None:
    """The expected calibration error, in [0, 1], over fifteen bins of equal width; None without a scan.

    The mean over scans of how far their bin's mean score is from its share of positives.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017, equation 3.
    """
    weights = np.ones(len(labels)) if times is None else times
    bins = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    off = np.bincount(bins, weights * (scores - labels), minlength=_BINS)
    total = weights.sum()
    return float(np.abs(off).sum() / total) if total else None


def has_both_classes(labels: Labels) -> bool:
    """Whether there is a positive and a negative label."""
    return bool(labels.any() and not labels.all())


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _rises(steps: Steps) -> Steps:
    """(K,): by how much each step is higher than the one before, the first than zero."""
    return np.diff(steps, prepend=0)
