"""Evaluates scores: figures with intervals, by group, and beside baselines that look at no image.

The formulas are those of a run's report. An undefined figure is None. A finding's figures are of the given scans whose
label of it is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from db.findings import ABNORMAL
from db.labels.csv_file import LabelRow
from db.metrics.bootstrap import ROUNDS, Estimate, bootstrap_patients
from db.metrics.formulas import (
    ConfusionMatrix,
    CountArray,
    Labels,
    ScoreArray,
    brier_score,
    confusion_matrix_at,
    expected_calibration_error,
    roc_curve,
)
from trainer.data.labels import is_known, known_only
from trainer.evaluation.groups import Group, evaluate_groups, interval_of_several, patients_of
from trainer.evaluation.metadata_baseline import metadata_scores

#: Thresholds of the mini project's table.
TABLE_THRESHOLDS: Final = (0.3, 0.4, 0.5, 0.6, 0.7)
_DEFAULT_THRESHOLD: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class FindingEvaluation:
    """One finding's figures."""

    #: With a known label.
    scans: int
    positives: int
    auroc: Estimate
    average_precision: Estimate
    brier: Estimate
    #: Expected calibration error.
    ece: Estimate
    #: At 0.5, with an interval; `at_thresholds` and `table` have accuracies without one.
    accuracy: Estimate
    #: Name of a threshold to the threshold and the counts and rates at it.
    at_thresholds: Mapping[str, Mapping[str, float | None]]
    #: The same at each of `TABLE_THRESHOLDS`.
    table: Sequence[Mapping[str, float | None]]
    #: `sex`, `age` and `view` to groups by name.
    groups: Mapping[str, Mapping[str, Group]]
    #: Name of a baseline that looks at no image to its figures.
    baselines: Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The figures of all findings on one set of scans."""

    scans: int
    #: With a known id.
    patients: int
    scans_without_patient: int
    #: Bootstrap draws of patients behind each 95% interval. A scan without a patient is drawn by itself.
    bootstrap_rounds: int
    #: Mean over the findings that have both classes, `Abnormal` apart.
    mean_auroc: Estimate
    findings: Mapping[str, FindingEvaluation]

    def as_json(self) -> dict[str, Any]:
        """The figures as `evaluation.json` has them."""
        return asdict(self)


def evaluate(
    rows: Sequence[LabelRow],
    labels: NDArray[np.float32],
    scores: NDArray[np.float32],
    thresholds: Mapping[str, Mapping[str, float]],
    *,
    findings: Sequence[str],
    mean_pixels: ScoreArray,
    rounds: int = ROUNDS,
) -> Evaluation:
    """Compare scores with labels.

    Args:
        rows: the scans, (N,).
        labels: float32 (N, findings): 1, 0, or NaN for unknown.
        scores: float32 (N, findings) in [0, 1].
        thresholds: the manifest's, by finding and name; no threshold is chosen here.
        findings: the names of the columns.
        mean_pixels: each scan's mean pixel, (N,) in 0..255.
        rounds: the number of bootstrap draws of patients.
    """
    known, exact = is_known(labels), scores.astype(np.float64)
    specific = [index for index, finding in enumerate(findings) if finding != ABNORMAL]
    return Evaluation(
        scans=len(rows),
        patients=len({row.patient_id for row in rows} - {None}),
        scans_without_patient=sum(row.patient_id is None for row in rows),
        bootstrap_rounds=rounds,
        mean_auroc=_mean_auroc(rows, labels[:, specific], exact[:, specific], rounds),
        findings={
            finding: _evaluate_finding(
                [rows[at] for at in np.flatnonzero(known[:, index]).tolist()],
                *known_only(labels[:, index], exact[:, index], mean_pixels),
                thresholds=thresholds.get(finding, {}),
                rounds=rounds,
            )
            for index, finding in enumerate(findings)
        },
    )


def _evaluate_finding(
    rows: Sequence[LabelRow],
    labels: NDArray[np.float32],
    scores: ScoreArray,
    mean_pixels: ScoreArray,
    *,
    thresholds: Mapping[str, float],
    rounds: int,
) -> FindingEvaluation:
    truth, patients = labels > 0, patients_of(rows)

    def figures(times: CountArray) -> list[float | None]:
        ranked = roc_curve(truth, scores, times)
        errors = (brier_score(truth, scores, times), expected_calibration_error(truth, scores, times))
        return [
            ranked.auroc,
            ranked.average_precision,
            *errors,
            ranked.confusion_matrix_at(_DEFAULT_THRESHOLD).accuracy,
        ]

    auroc, precision, brier_figure, ece, accuracy = bootstrap_patients(patients, figures, rounds=rounds)
    return FindingEvaluation(
        scans=len(rows),
        positives=int(truth.sum()),
        auroc=interval_of_several(auroc, patients, truth),
        average_precision=interval_of_several(precision, patients, truth),
        brier=brier_figure,
        ece=ece,
        accuracy=accuracy,
        at_thresholds={name: _figures_at(truth, scores, threshold) for name, threshold in thresholds.items()},
        table=[_figures_at(truth, scores, threshold) for threshold in TABLE_THRESHOLDS],
        groups=evaluate_groups(rows, truth, scores, rounds),
        baselines=_baselines(rows, truth, mean_pixels),
    )


def _mean_auroc(
    rows: Sequence[LabelRow], labels: NDArray[np.float32], scores: NDArray[np.float64], rounds: int
) -> Estimate:
    known = is_known(labels)
    columns = [known_only(labels[:, index], scores[:, index]) for index in range(labels.shape[1])]

    def mean(times: CountArray) -> list[float | None]:
        aurocs = (roc_curve(truth > 0, one, times[known[:, index]]).auroc for index, (truth, one) in enumerate(columns))
        defined = [auroc for auroc in aurocs if auroc is not None]
        return [float(np.mean(defined)) if defined else None]

    return bootstrap_patients(patients_of(rows), mean, rounds=rounds)[0]


def _baselines(rows: Sequence[LabelRow], truth: Labels, mean_pixels: ScoreArray) -> dict[str, dict[str, float | None]]:
    always, never = np.ones(len(truth)), np.zeros(len(truth))
    majority = always if 2 * truth.sum() >= len(truth) else never
    scores = {
        "always_positive": always,
        "majority": majority,
        "metadata_only": metadata_scores(rows, truth, patients_of(rows)),
    }
    figures = {name: _baseline_figures(truth, given) for name, given in scores.items() if given is not None}
    # A mean pixel is not in [0, 1], so it makes no predictions. If its AUROC is far from 0.5, in either direction, a
    # model can succeed by exposure alone.
    return {**figures, "mean_pixel": {"auroc": roc_curve(truth, mean_pixels).auroc}}


def _baseline_figures(truth: Labels, scores: ScoreArray) -> dict[str, float | None]:
    return {"auroc": roc_curve(truth, scores).auroc, **_rates(confusion_matrix_at(truth, scores, _DEFAULT_THRESHOLD))}


def _figures_at(truth: Labels, scores: ScoreArray, threshold: float) -> dict[str, float | None]:
    counts = confusion_matrix_at(truth, scores, threshold)
    correct = counts.tp + counts.tn
    return {"threshold": threshold, **asdict(counts), "correct": correct, **_rates(counts)}


def _rates(counts: ConfusionMatrix) -> dict[str, float | None]:
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "specificity": counts.specificity,
        "f1": counts.f1,
        "accuracy": counts.accuracy,
        "balanced_accuracy": counts.balanced_accuracy,
    }
