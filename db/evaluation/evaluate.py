"""Evaluates a cohort: every finding on all its scans and in its groups, at thresholds, and beside baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.evaluation.calibration import (
    CalibrationPoint,
    brier_statistic,
    calibration_curve,
    calibration_intercept_statistic,
    calibration_slope_statistic,
    observed_over_expected_statistic,
)
from db.evaluation.cohort import AGE, SEX, VIEW, Cohort, Sample
from db.evaluation.estimate import Estimate, Scale, Statistic, estimate, within
from db.evaluation.metadata import auroc_within_folds, cross_fit, share_by_group
from db.evaluation.ranking import auroc_statistic, average_precision_statistic
from db.evaluation.rates import PredictiveValues, Rates, predictive_values, rates_at
from db.findings import ABNORMAL
from db.metrics.formulas import confusion_matrix_at

GIVEN: Final = "given"
#: The name that the manifest of an imported model has for a threshold that its publisher states.
PUBLISHED: Final = "published"
#: Where baselines predict.
_BASELINE_THRESHOLD: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One finding's figures on some scans that need no threshold. An undefined figure is None."""

    #: With a known label.
    scans: int
    positives: int
    negatives: int
    patients: int
    #: Why no figure of these scans has an interval, as a sentence; None where they have.
    no_interval: str | None
    auroc: Estimate
    average_precision: Estimate
    brier: Estimate
    calibration_slope: Estimate
    calibration_intercept: Estimate
    observed_over_expected: Estimate


@dataclass(frozen=True, kw_only=True)
class ThresholdFigures:
    """One finding's counts and rates at one threshold."""

    #: `given`, or the name under which the model's manifest has it, such as `youden`: chosen on the validation scans.
    #: `published` is stated by the model's publisher.
    chosen_by: str
    rates: Rates
    #: None unless a prevalence was stated.
    at_prevalence: PredictiveValues | None


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What predictions reach that look at no image."""

    auroc: Estimate
    #: At 0.5; None for scores that are not in [0, 1].
    f1: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True, kw_only=True)
class FindingEvaluation:
    """One finding on a cohort."""

    figures: Figures
    #: The given thresholds, ascending, then the model's own.
    thresholds: tuple[ThresholdFigures, ...]
    calibration: tuple[CalibrationPoint, ...]
    #: By kind (`view`, `sex`, `age`, `manufacturer`) and name.
    groups: Mapping[str, Mapping[str, Figures]]
    #: `always_positive`, `majority`, `view_only`, `metadata_only`, and the caller's.
    baselines: Mapping[str, Baseline]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The figures of all findings on one cohort."""

    scans: int
    #: With a known id.
    patients: int
    scans_without_patient: int
    #: Over the findings that have both classes, `Abnormal` apart. Without an interval if one of them has none.
    mean_auroc: Estimate
    findings: Mapping[str, FindingEvaluation]


def evaluate(
    cohort: Cohort,
    *,
    findings: Sequence[str] | None = None,
    thresholds: Sequence[float],
    own_thresholds: Mapping[str, Mapping[str, float]] | None = None,
    prevalence: Mapping[str, float] | None = None,
    baselines: Mapping[str, NDArray[np.float64]] | None = None,
) -> Evaluation:
    """Evaluate a cohort's scores. Each finding's figures are of the scans whose label of it is known.

    Args:
        cohort: the scans.
        findings: the findings to evaluate; None means all.
        thresholds: each in [0, 1].
        own_thresholds: the manifest's, by finding and name; they were chosen on the validation scans, or published.
        prevalence: by finding, in (0, 1): the share of positives where the model shall be used.
        baselines: by name, scores (N,) of any range that look at no image; only their AUROC is computed.
    """
    chosen = cohort.findings if findings is None else findings
    specific = [finding for finding in chosen if finding != ABNORMAL]
    return Evaluation(
        scans=len(cohort.scores),
        patients=len(np.unique(cohort.patients[cohort.has_patient])),
        scans_without_patient=int((~cohort.has_patient).sum()),
        mean_auroc=_mean_auroc(cohort, specific),
        findings={
            finding: _evaluate_finding(
                cohort,
                finding,
                thresholds=sorted(set(thresholds)),
                own_thresholds=(own_thresholds or {}).get(finding, {}),
                prevalence=(prevalence or {}).get(finding),
                baselines=baselines or {},
            )
            for finding in chosen
        },
    )


def mean_auroc_statistic(cohort: Cohort, findings: Sequence[str]) -> Statistic | None:
    """The mean AUROC of those of some findings that have both classes; None if there is none.

    A patient's influence on the mean is the mean of the influences. `difference` compares two cohorts' statistics if
    only their scores differ.
    """
    names, patients = np.unique(cohort.patients, return_inverse=True)
    values, influence = [], np.zeros(len(names))
    for finding in findings:
        statistic = auroc_statistic(cohort.sample(finding))
        if statistic is not None:
            values.append(statistic.value)
            known = cohort.known[:, cohort.findings.index(finding)]
            influence[np.unique(patients[known])] += statistic.influence
    return Statistic(value=float(np.mean(values)), influence=influence / len(values)) if values else None


def describe_clusters(evaluation: Evaluation) -> str:
    """What the intervals are clustered by, as the end of a sentence: `clustered by patient`, or what is wrong."""
    return clusters_of(evaluation.scans, evaluation.patients, evaluation.scans_without_patient)


def clusters_of(scans: int, patients: int, without: int) -> str:
    """The same, from the number of scans, of patients with an id, and of scans without one."""
    if scans and not patients:
        return "by scan, too narrow: no patient is known"
    known = "clustered by patient"
    return known + (f"; {without:,} scans without a patient id count as patients of their own" if without else "")


def figures_of(sample: Sample) -> Figures:
    """The figures of a sample that need no threshold."""
    return Figures(
        scans=len(sample.labels),
        positives=sample.positives,
        negatives=sample.negatives,
        patients=sample.patient_count,
        no_interval=sample.no_interval,
        auroc=_figure(sample, auroc_statistic(sample), "logit"),
        average_precision=_figure(sample, average_precision_statistic(sample), "logit"),
        brier=within(_figure(sample, brier_statistic(sample), "log"), 0, 1),
        calibration_slope=_figure(sample, calibration_slope_statistic(sample), "identity"),
        calibration_intercept=_figure(sample, calibration_intercept_statistic(sample), "identity"),
        observed_over_expected=_figure(sample, observed_over_expected_statistic(sample), "log"),
    )


def _figure(sample: Sample, statistic: Statistic | None, scale: Scale) -> Estimate:
    shown = estimate(statistic, scale)
    return shown if sample.no_interval is None else Estimate(value=shown.value)


def _evaluate_finding(
    cohort: Cohort,
    finding: str,
    *,
    thresholds: Sequence[float],
    own_thresholds: Mapping[str, float],
    prevalence: float | None,
    baselines: Mapping[str, NDArray[np.float64]],
) -> FindingEvaluation:
    sample, known = cohort.sample(finding), cohort.known[:, cohort.findings.index(finding)]
    named = [(GIVEN, threshold) for threshold in thresholds] + list(own_thresholds.items())
    rates = rates_at(sample, [threshold for _, threshold in named])
    return FindingEvaluation(
        figures=figures_of(sample),
        thresholds=tuple(
            ThresholdFigures(
                chosen_by=name,
                rates=at_threshold,
                at_prevalence=None if prevalence is None else predictive_values(at_threshold, prevalence),
            )
            for (name, _), at_threshold in zip(named, rates, strict=True)
        ),
        calibration=calibration_curve(sample),
        groups={
            kind: {
                name: figures_of(cohort.sample(finding, grouping.places == place))
                for place, name in enumerate(grouping.names)
                if (known & (grouping.places == place)).any()
            }
            for kind, grouping in cohort.groupings.items()
        },
        baselines=_baselines(cohort, sample, known, baselines),
    )


def _baselines(
    cohort: Cohort, sample: Sample, known: NDArray[np.bool_], given: Mapping[str, NDArray[np.float64]]
) -> dict[str, Baseline]:
    always, never = np.ones(len(sample.labels)), np.zeros(len(sample.labels))
    by_name = {
        "always_positive": _baseline(sample, always),
        "majority": _baseline(sample, always if 2 * sample.positives >= len(always) else never),
    }
    groupings = {kind: grouping.filter(known) for kind, grouping in cohort.groupings.items()}
    by_view = share_by_group(sample, groupings[VIEW]) if VIEW in groupings else None
    if by_view is not None:
        by_name["view_only"] = _baseline(sample, by_view)
    fitted = cross_fit(sample, [groupings[kind] for kind in (VIEW, SEX, AGE) if kind in groupings])
    if fitted is not None:
        by_name["metadata_only"] = _baseline(sample, fitted.scores, auroc_within_folds(sample, fitted))
    return by_name | {name: Baseline(auroc=_auroc(sample, scores[known])) for name, scores in given.items()}


def _baseline(sample: Sample, scores: NDArray[np.float64], statistic: Statistic | None = None) -> Baseline:
    counts = confusion_matrix_at(sample.labels, scores, _BASELINE_THRESHOLD)
    auroc = _auroc(sample, scores) if statistic is None else _figure(sample, statistic, "logit")
    return Baseline(auroc=auroc, f1=counts.f1, accuracy=counts.accuracy)


def _auroc(sample: Sample, scores: NDArray[np.float64]) -> Estimate:
    statistic = auroc_statistic(Sample(labels=sample.labels, scores=scores, patients=sample.patients))
    shown = _figure(sample, statistic, "logit")
    # If all scans have the same score, the AUROC is 0.5 for any patients.
    return shown if shown.value is None or np.ptp(scores) else Estimate(value=shown.value)


def _mean_auroc(cohort: Cohort, findings: Sequence[str]) -> Estimate:
    mean = estimate(mean_auroc_statistic(cohort, findings), "logit")
    samples = [cohort.sample(finding) for finding in findings]
    sure = all(sample.no_interval is None for sample in samples if sample.positives and sample.negatives)
    return mean if sure else Estimate(value=mean.value)
