"""Computes metrics of scores against labels: arithmetic on arrays, no SQL. An undefined metric is None, never 0.

Labels are (N,) bool, scores (N,) float64 in [0, 1]; a prediction is score >= threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Labels: TypeAlias = NDArray[np.bool_]
ScoreArray: TypeAlias = NDArray[np.float64]
CountArray: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrix:
    """The confusion matrix of one finding at one threshold, in scans, and the rates that follow from it.

    Source, unless a rate names another: Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27
    (2006), figure 1.
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
        """2 TP / (2 TP + FP + FN); undefined only if no label and no prediction is positive."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def accuracy(self) -> float | None:
        """(TP + TN) / (TP + FP + FN + TN); undefined without a scan."""
        return _ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    @property
    def balanced_accuracy(self) -> float | None:
        """The mean of recall and specificity; undefined if either is.

        Source: Brodersen et al., The balanced accuracy and its posterior distribution, ICPR 2010.
        """
        recall, specificity = self.recall, self.specificity
        return None if recall is None or specificity is None else (recall + specificity) / 2


@dataclass(frozen=True, kw_only=True)
class RocCurve:
    """The ROC curve in counts: true and false positives with each of the K distinct scores as the threshold.

    Every other metric of the same labels and scores follows from it, so they are sorted only once.

    Source: Fawcett (2006, see `ConfusionMatrix`), algorithm 1.
    """

    #: (K,) the distinct scores, in descending order.
    thresholds: ScoreArray
    #: (K,) true positives at each threshold, ascending.
    tp: CountArray
    #: (K,) false positives at each threshold, ascending.
    fp: CountArray

    @cached_property
    def positives(self) -> int:
        """Scans with a positive label."""
        return int(self.tp[-1]) if len(self.tp) else 0

    @cached_property
    def negatives(self) -> int:
        """Scans with a negative label."""
        return int(self.fp[-1]) if len(self.fp) else 0

    def confusion_matrix_at(self, threshold: float) -> ConfusionMatrix:
        """The confusion matrix at any threshold; a prediction is score >= threshold."""
        return self.confusion_matrices_at([threshold])[0]

    def confusion_matrices_at(self, thresholds: Sequence[float]) -> list[ConfusionMatrix]:
        """The confusion matrices at many thresholds."""
        # At a threshold above all scores it is the count before the first one.
        places = len(self.thresholds) - np.searchsorted(self._ascending_thresholds, thresholds)
        tp, fp = (np.concatenate([[0], counts])[places].tolist() for counts in (self.tp, self.fp))
        return [
            ConfusionMatrix(tp=true, fp=false, fn=self.positives - true, tn=self.negatives - false)
            for true, false in zip(tp, fp, strict=True)
        ]

    @property
    def auroc(self) -> float | None:
        """The area under the ROC curve, in [0, 1]; None unless both classes are present.

        Source: Fawcett (2006, see `ConfusionMatrix`), algorithm 2: trapezoids, so a tie counts as one half.
        """
        if not self._has_both_classes:
            return None
        # Twice the area, in whole numbers: only the division at the end rounds.
        twice_area = np.sum(_increments(self.fp) * (2 * self.tp - _increments(self.tp)))
        return int(twice_area) / (2 * self.positives * self.negatives)

    @property
    def average_precision(self) -> float | None:
        """The mean precision over the steps of recall, not interpolated, in [0, 1].

        None unless both classes are present. Source: Manning, Raghavan and Schütze, Introduction to information
        retrieval (2008), section 8.4; ties count as in scikit-learn's `average_precision_score`.
        """
        if not self._has_both_classes:
            return None
        return float(np.sum(_increments(self.tp) * (self.tp / (self.tp + self.fp))) / self.positives)

    @property
    def best_f1_threshold(self) -> float | None:
        """The threshold with the best F1 among the scores; of several, the highest. None without a positive label."""
        if not self.positives:
            return None
        # F1 = 2 TP / (predicted + positives). Division rounds correctly, so equal ratios tie; argmax takes the first.
        return float(self.thresholds[np.argmax(2 * self.tp / (self.tp + self.fp + self.positives))])

    @property
    def youden_threshold(self) -> float | None:
        """The threshold with the best J = recall + specificity - 1 among the scores; of several, the highest.

        None unless both classes are present. Source: Youden, Index for rating diagnostic tests, Cancer 3 (1950).
        """
        if not self._has_both_classes:
            return None
        # J * positives * negatives, in whole numbers: rounding decides no tie.
        return float(self.thresholds[np.argmax(self.tp * self.negatives - self.fp * self.positives)])

    def threshold_at_recall(self, recall: float) -> float | None:
        """The highest score that, as threshold, has at least this recall, in (0, 1]. None without a positive label."""
        if not self.positives:
            return None
        return float(self.thresholds[np.argmax(self.tp >= recall * self.positives)])

    @property
    def _has_both_classes(self) -> bool:
        return self.positives > 0 and self.negatives > 0

    @cached_property
    def _ascending_thresholds(self) -> ScoreArray:
        return np.ascontiguousarray(self.thresholds[::-1])


def roc_curve(labels: Labels, scores: ScoreArray, *, order: CountArray | None = None) -> RocCurve:
    """Compute the ROC curve of labels, (N,) bool, and scores, (N,) float64.

    Args:
        labels: (N,).
        scores: (N,).
        order: (N,) the places of the scans by descending score; None means that they are sorted here.

    Raises:
        ValueError: a score is NaN, so it has no rank.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is not a number")
    order = np.argsort(-scores) if order is None else order
    descending = scores[order]
    last_of_ties = np.flatnonzero(np.append(descending[1:] != descending[:-1], True)[: len(descending)])
    tp = np.cumsum(labels[order], dtype=np.int64)[last_of_ties]
    return RocCurve(thresholds=descending[last_of_ties], tp=tp, fp=last_of_ties + 1 - tp)


def confusion_matrix_at(labels: NDArray[Any], scores: NDArray[Any], threshold: float) -> ConfusionMatrix:
    """The confusion matrix at one threshold.

    Args:
        labels: (N,) bool or 0/1.
        scores: (N,) in [0, 1]; compared as float64, because 0.7 in float32 is below 0.7.
        threshold: in [0, 1].
    """
    truth = labels.astype(np.bool_)
    predicted = scores.astype(np.float64) >= threshold
    tp, positives = int((truth & predicted).sum()), int(truth.sum())
    fp = int(predicted.sum()) - tp
    return ConfusionMatrix(tp=tp, fp=fp, fn=positives - tp, tn=len(truth) - positives - fp)


def auroc(labels: Labels, scores: ScoreArray) -> float | None:
    """The area under the ROC curve, in [0, 1]; None unless both classes are present."""
    return roc_curve(labels, scores).auroc


def has_both_classes(labels: Labels) -> bool:
    """Whether both a positive and a negative label are present."""
    return bool(labels.any() and not labels.all())


def _ratio(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None


def _increments(cumulative: CountArray) -> CountArray:
    """(K,) the difference between each count and the one before, which is 0 for the first."""
    return np.diff(cumulative, prepend=0)
