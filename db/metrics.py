"""Metrics of scores against labels: arithmetic on arrays, no SQL. What is undefined is None, never 0.

Labels are (N,) bool, scores (N,) float64 in [0, 1]; a prediction is score >= threshold.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Labels: TypeAlias = NDArray[np.bool_]
ScoreArray: TypeAlias = NDArray[np.float64]


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
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores)) if has_both_classes(labels) else None


def average_precision(labels: Labels, scores: ScoreArray) -> float | None:
    """The mean precision over recall steps, not interpolated, in [0, 1]; None unless both classes are present."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, scores)) if has_both_classes(labels) else None


def best_f1_threshold(labels: Labels, scores: ScoreArray) -> float | None:
    """The score that makes the best F1 as a threshold; of several, the highest. None without a positive label."""
    if not labels.any():
        return None
    thresholds, tp, fp = _steps(labels, scores)
    # F1 = 2 TP / (predicted + positives). Division rounds correctly, so equal fractions tie and argmax takes the first.
    return float(thresholds[np.argmax(2 * tp / (tp + fp + labels.sum()))])


def youden_threshold(labels: Labels, scores: ScoreArray) -> float | None:
    """The score that makes the best recall + specificity - 1 as a threshold; of several, the highest.

    None unless both classes are present. Source: Youden, Index for rating diagnostic tests, Cancer 3 (1950).
    """
    if not has_both_classes(labels):
        return None
    thresholds, tp, fp = _steps(labels, scores)
    positives = int(labels.sum())
    # J times positives times negatives, in whole numbers: no rounding decides a tie.
    return float(thresholds[np.argmax(tp * (len(labels) - positives) - fp * positives)])


def has_both_classes(labels: Labels) -> bool:
    """Whether there is a positive and a negative label."""
    return bool(labels.any() and not labels.all())


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _steps(labels: Labels, scores: ScoreArray) -> tuple[ScoreArray, NDArray[np.int64], NDArray[np.int64]]:
    """Every distinct score, highest first, with the TP and FP that it gives as a threshold: three (K,) arrays."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_its_kind = np.append(ranked[1:] != ranked[:-1], True).nonzero()[0]
    tp = np.cumsum(labels[order], dtype=np.int64)[last_of_its_kind]
    return ranked[last_of_its_kind], tp, last_of_its_kind + 1 - tp
