"""Compares two sets of scores of the same scans: differences of figures, agreement, and predictions that changed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from db.evaluation.cohort import Cohort
from db.evaluation.estimate import Estimate


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One figure of both sets of scores, and by how much it differs."""

    #: Each with its own 95% interval.
    first: Estimate
    second: Estimate
    #: `second` minus `first`, with a 95% interval that is paired by scan and clustered by patient.
    difference: Estimate
    #: Two-sided, of no difference; below 0.05 exactly where the interval leaves out 0. None without an interval.
    p_value: float | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two scores of a scan are apart. It needs no label."""

    scans: int
    #: The mean of second score minus first score, clustered by patient.
    mean_difference: Estimate
    #: The limits of agreement: mean difference less and plus 1.96 standard deviations of the differences.
    low: float | None
    high: float | None
    #: Spearman's, in [-1, 1]; None if all scores of either set are the same.
    rank_correlation: float | None


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Scans by what holds under both sets of scores, and McNemar's test that it holds equally often under both."""

    both: int
    only_first: int
    only_second: int
    neither: int
    #: Clustered by patient; None if too few patients changed.
    p_value: float | None


@dataclass(frozen=True, kw_only=True)
class FindingComparison:
    """One finding. Each set of scores predicts at a threshold of its own: a prediction is score >= threshold."""

    first_threshold: float
    second_threshold: float
    agreement: Agreement
    #: Whether a scan is predicted to be positive.
    flagged: Changes
    #: (N,) bool: the scans whose prediction changed.
    changed: NDArray[np.bool_]
    #: Scans whose label is known to both label sets; 0 without labels, and then all below is None.
    judged_scans: int
    #: Of the judged scans, those that are positive under each label set.
    first_positives: int | None
    second_positives: int | None
    #: Why no figure below has an interval, as a sentence; None where they have.
    no_interval: str | None
    #: Whether a judged scan's prediction is what its label says.
    correct: Changes | None
    #: By name: `auroc`, `sensitivity`, `specificity`, `brier`.
    figures: Mapping[str, Difference]


def compare_finding(
    first: Cohort, second: Cohort, finding: str, *, first_threshold: float, second_threshold: float
) -> FindingComparison:
    """Compare one finding's scores on the same N scans.

    Args:
        first: the scans with the first scores, and the labels that judge them.
        second: the same scans in the same order, with the same patients.
        finding: one of the findings of both.
        first_threshold: in [0, 1].
        second_threshold: in [0, 1].
    """
    raise NotImplementedError
