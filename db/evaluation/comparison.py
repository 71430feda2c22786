"""Compares two sets of scores of the same scans: differences of figures, agreement, and predictions that changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.evaluation.calibration import ratio_statistic
from db.evaluation.cohort import MIN_OF_EACH_CLASS, Cohort, Mask, Numbers, Sample
from db.evaluation.estimate import UNDEFINED, Estimate, Statistic, difference, estimate, p_value, within
from db.evaluation.judged import Judged
from db.evaluation.mcnemar import mcnemar
from db.evaluation.ranking import rank_correlation
from db.metrics.formulas import ScoreArray

#: Limits of agreement hold 95% of differences that are normal.
_LIMITS: Final = 1.96
#: A variance below this is rounding.
_ROUNDING: Final = 1e-28


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
    #: Of the judged scans, those whose label is another one under the second label set.
    labels_changed: int | None
    #: Why no figure below has an interval, as a sentence; None where they have.
    no_interval: str | None
    #: Whether a judged scan's prediction is what its label says.
    correct: Changes | None
    #: By name, always all of them: `auroc`, `sensitivity`, `specificity`, `brier`. A difference to which fewer than
    #: five patients add anything has no interval either.
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
    column, other_column = first.findings.index(finding), second.findings.index(finding)
    known = first.known[:, column] & second.known[:, other_column]
    scores, other_scores = first.scores[:, column], second.scores[:, other_column]
    flags, other_flags = scores >= first_threshold, other_scores >= second_threshold
    one = Judged(sample=first.sample(finding, known), threshold=first_threshold)
    other = Judged(sample=second.sample(finding, known), threshold=second_threshold)
    judged = bool(known.any())
    why_not = one.sample.no_interval or other.sample.no_interval
    return FindingComparison(
        first_threshold=first_threshold,
        second_threshold=second_threshold,
        agreement=_agreement(scores, other_scores, first.patients),
        flagged=_changes(flags, other_flags, first.patients),
        changed=flags != other_flags,
        judged_scans=int(known.sum()),
        first_positives=one.sample.positives if judged else None,
        second_positives=other.sample.positives if judged else None,
        labels_changed=int((one.sample.labels != other.sample.labels).sum()) if judged else None,
        no_interval=why_not if judged else None,
        correct=_changes(one.correct, other.correct, one.sample.patients) if judged else None,
        figures=_differences(one, other, with_intervals=why_not is None),
    )


def _differences(one: Judged, other: Judged, *, with_intervals: bool) -> dict[str, Difference]:
    first, second = (side.estimates(with_intervals=with_intervals) for side in (one, other))
    found = {}
    for name, rows in one.changed(other).items():
        enough = with_intervals and _patients_of(one.sample.patients[rows]) >= MIN_OF_EACH_CLASS
        paired = _paired(one.statistics[name], other.statistics[name]) if enough else None
        found[name] = Difference(
            first=first[name],
            second=second[name],
            difference=_without_interval(first[name], second[name])
            if paired is None
            else within(estimate(paired, "identity"), -1, 1),
            p_value=None if paired is None else p_value(paired),
        )
    return found


def _paired(first: Statistic | None, second: Statistic | None) -> Statistic | None:
    """`second` minus `first`; None if either is undefined or the difference is the same without any patient."""
    if first is None or second is None:
        return None
    paired = difference(second, first)
    return paired if paired.variance > _ROUNDING else None


def _without_interval(first: Estimate, second: Estimate) -> Estimate:
    return UNDEFINED if first.value is None or second.value is None else Estimate(value=second.value - first.value)


def _agreement(first: ScoreArray, second: ScoreArray, patients: Numbers) -> Agreement:
    apart = second - first
    sample = Sample(labels=apart > 0, scores=apart, patients=np.unique(patients, return_inverse=True)[1])
    mean = ratio_statistic(sample, apart, np.ones(len(apart)))
    if mean is None:
        return Agreement(scans=0, mean_difference=UNDEFINED, low=None, high=None, rank_correlation=None)
    sure = _patients_of(patients[apart != 0]) >= MIN_OF_EACH_CLASS and mean.variance > _ROUNDING
    reach = _LIMITS * float(apart.std(ddof=1)) if len(apart) > 1 else None
    return Agreement(
        scans=len(apart),
        mean_difference=within(estimate(mean, "identity"), -1, 1) if sure else Estimate(value=mean.value),
        low=None if reach is None else mean.value - reach,
        high=None if reach is None else mean.value + reach,
        rank_correlation=rank_correlation(first, second),
    )


def _changes(first: Mask, second: Mask, patients: Numbers) -> Changes:
    only_first, only_second = first & ~second, second & ~first
    end = int(patients.max(initial=-1)) + 1
    gained, lost = (np.bincount(patients[rows], minlength=end) for rows in (only_second, only_first))
    return Changes(
        both=int((first & second).sum()),
        only_first=int(only_first.sum()),
        only_second=int(only_second.sum()),
        neither=int((~first & ~second).sum()),
        p_value=mcnemar(lost - gained),
    )


def _patients_of(patients: Numbers) -> int:
    return int(np.count_nonzero(np.bincount(patients)))
