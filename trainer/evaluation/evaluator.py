"""How good a model's scores are: the aggregator's own figures with intervals, by group, beside what no model needs.

What is undefined is null. Every figure is of the scans that were given, and of no others.
"""

from collections.abc import Callable, Mapping, Sequence
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
from trainer.evaluation.metadata_baseline import metadata_scores

#: The mini project's table.
TABLE: Final = (0.3, 0.4, 0.5, 0.6, 0.7)
#: Where a score leans to neither side.
_EVEN: Final = 0.5
#: Upper ends of age bands, in years.
_AGE_BANDS: Final = ((18, "0-17"), (40, "18-39"), (60, "40-59"), (80, "60-79"), (np.inf, "80+"))
_UNKNOWN: Final = "unknown"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Scans of one sex, age band or view."""

    scans: int
    positives: int
    auroc: Estimate


@dataclass(frozen=True, kw_only=True)
class FindingEvaluation:
    """One finding's figures."""

    scans: int
    positives: int
    auroc: Estimate
    average_precision: Estimate
    brier: Estimate
    #: Expected calibration error.
    ece: Estimate
    #: At 0.5; at other thresholds it stands below, without an interval.
    accuracy: Estimate
    #: Name of a threshold to the threshold, counts and rates there.
    at_thresholds: Mapping[str, Mapping[str, float | None]]
    #: The same at 0.3 to 0.7.
    table: Sequence[Mapping[str, float | None]]
    #: `sex`, `age` and `view` to groups.
    groups: Mapping[str, Mapping[str, Group]]
    #: What is reached without looking at an image.
    baselines: Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All findings' figures on one set of scans."""

    scans: int
    patients: int
    #: Draws of the patient bootstrap behind each 95% interval.
    bootstrap_rounds: int
    #: Over the NIH findings that have both classes.
    mean_auroc: Estimate
    findings: Mapping[str, FindingEvaluation]

    def as_json(self) -> dict[str, Any]:
        """For `evaluation.json`."""
        return asdict(self)


def evaluate(
    rows: Sequence[LabelRow],
    labels: NDArray[np.float32],
    scores: NDArray[np.float32],
    thresholds: Mapping[str, Mapping[str, float]],
    *,
    findings: Sequence[str],
    means: ScoreArray,
    rounds: int = ROUNDS,
) -> Evaluation:
    """Judge scores, float32 (N, findings), by labels, float32 (N, findings), of rows (N,).

    `thresholds` are the manifest's, chosen elsewhere: none is chosen here. `means`, (N,), is each scan's mean pixel.
    """
    truth, exact = labels > 0, scores.astype(np.float64)
    single = [at for at, finding in enumerate(findings) if finding != ABNORMAL]
    return Evaluation(
        scans=len(rows),
        patients=len(set(patients_of(rows))),
        bootstrap_rounds=rounds,
        mean_auroc=_mean_auroc(rows, truth[:, single], exact[:, single], rounds),
        findings={
            finding: _evaluate_one(rows, truth[:, at], exact[:, at], thresholds.get(finding, {}), means, rounds)
            for at, finding in enumerate(findings)
        },
    )


def _evaluate_one(  # noqa: PLR0917 - all of one kind
    rows: Sequence[LabelRow],
    truth: Labels,
    scores: ScoreArray,
    thresholds: Mapping[str, float],
    means: ScoreArray,
    rounds: int,
) -> FindingEvaluation:
    def figures(times: CountArray) -> list[float | None]:
        ranked = roc_curve(truth, scores, times)
        off = (brier_score(truth, scores, times), expected_calibration_error(truth, scores, times))
        return [ranked.auroc, ranked.average_precision, *off, ranked.confusion_matrix_at(_EVEN).accuracy]

    area, precision, square, calibration, correct = bootstrap_patients(patients_of(rows), figures, rounds=rounds)
    return FindingEvaluation(
        scans=len(rows),
        positives=int(truth.sum()),
        auroc=area,
        average_precision=precision,
        brier=square,
        ece=calibration,
        accuracy=correct,
        at_thresholds={name: _at(truth, scores, threshold) for name, threshold in thresholds.items()},
        table=[_at(truth, scores, threshold) for threshold in TABLE],
        groups={name: _groups(rows, truth, scores, of, rounds) for name, of in _GROUPINGS.items()},
        baselines=_baselines(rows, truth, means),
    )


def _mean_auroc(
    rows: Sequence[LabelRow], truth: NDArray[np.bool_], scores: NDArray[np.float64], rounds: int
) -> Estimate:
    def mean(times: CountArray) -> list[float | None]:
        areas = (roc_curve(truth[:, at], scores[:, at], times).auroc for at in range(truth.shape[1]))
        known = [area for area in areas if area is not None]
        return [float(np.mean(known)) if known else None]

    return bootstrap_patients(patients_of(rows), mean, rounds=rounds)[0]


def _groups(
    rows: Sequence[LabelRow], truth: Labels, scores: ScoreArray, of: Callable[[LabelRow], str], rounds: int
) -> dict[str, Group]:
    names = np.array([of(row) for row in rows])
    return {str(name): _group(rows, truth, scores, names == name, rounds) for name in np.unique(names)}


def _group(
    rows: Sequence[LabelRow], truth: Labels, scores: ScoreArray, inside: NDArray[np.bool_], rounds: int
) -> Group:
    members = [row for row, belongs in zip(rows, inside, strict=True) if belongs]
    own_truth, own_scores = truth[inside], scores[inside]
    (area,) = bootstrap_patients(
        patients_of(members), lambda times: [roc_curve(own_truth, own_scores, times).auroc], rounds=rounds
    )
    return Group(scans=len(members), positives=int(own_truth.sum()), auroc=area)


def _baselines(rows: Sequence[LabelRow], truth: Labels, means: ScoreArray) -> dict[str, dict[str, float | None]]:
    always, never = np.ones(len(truth)), np.zeros(len(truth))
    majority = always if 2 * truth.sum() >= len(truth) else never
    guesses = {
        "always_positive": always,
        "majority": majority,
        "metadata_only": metadata_scores(rows, truth, patients_of(rows)),
    }
    figures = {name: _guessed(truth, guess) for name, guess in guesses.items() if guess is not None}
    # No score, so no predictions; but far from 0.5 either way, a model can succeed by exposure alone.
    return {**figures, "mean_pixel": {"auroc": roc_curve(truth, means).auroc}}


def _guessed(truth: Labels, guess: ScoreArray) -> dict[str, float | None]:
    return {"auroc": roc_curve(truth, guess).auroc, **_rates(confusion_matrix_at(truth, guess, _EVEN))}


def _at(truth: Labels, scores: ScoreArray, threshold: float) -> dict[str, float | None]:
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


def patients_of(rows: Sequence[LabelRow]) -> list[str]:
    """Whose each scan is; a scan without a patient is a patient of its own."""
    return [row.image_name if row.patient_id is None else f"patient {row.patient_id}" for row in rows]


def _age_band(row: LabelRow) -> str:
    if row.age_years is None:
        return _UNKNOWN
    return next(name for end, name in _AGE_BANDS if row.age_years < end)


_GROUPINGS: Final[dict[str, Callable[[LabelRow], str]]] = {
    "sex": lambda row: row.sex or _UNKNOWN,
    "age": _age_band,
    "view": lambda row: row.view or _UNKNOWN,
}
