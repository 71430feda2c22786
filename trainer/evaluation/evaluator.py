"""Evaluates a model's scores of labelled scans. The figures are those of `db.evaluation`, as in a run's report."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.evaluation.cohort import (
    AGE,
    MANUFACTURER,
    SEX,
    UNKNOWN,
    VIEW,
    Cohort,
    age_band,
    group_kinds,
    number_patients,
    sex_group,
    view_group,
)
from db.evaluation.evaluate import Evaluation, evaluate
from db.labels.csv_file import LabelRow
from db.metrics.formulas import ScoreArray
from db.metrics.run_metrics import DEFAULT_THRESHOLDS
from trainer.data.labels import is_known

#: The baseline that scores a scan by its brightness. If its AUROC is far from 0.5, in either direction, a model can
#: succeed by exposure alone.
MEAN_PIXEL: Final = "mean_pixel"


def evaluate_scores(
    cohort: Cohort, thresholds: Mapping[str, Mapping[str, float]], mean_pixels: ScoreArray
) -> Evaluation:
    """Evaluate a cohort at a run's default thresholds and at a model's own.

    Args:
        cohort: N scans.
        thresholds: the manifest's, by finding and name; no threshold is chosen here.
        mean_pixels: each scan's mean pixel, (N,) in 0..255.
    """
    return evaluate(
        cohort, thresholds=DEFAULT_THRESHOLDS, own_thresholds=thresholds, baselines={MEAN_PIXEL: mean_pixels}
    )


def make_cohort(
    rows: Sequence[LabelRow],
    labels: NDArray[np.float32],
    scores: NDArray[np.float32],
    *,
    findings: Sequence[str],
    manufacturers: Mapping[str, str],
) -> Cohort:
    """Make a cohort of labelled scans.

    Args:
        rows: the scans, (N,).
        labels: float32 (N, findings): 1, 0, or NaN for unknown.
        scores: float32 (N, findings) in [0, 1].
        findings: the names of the columns.
        manufacturers: by image name, of the scans of which it is known.
    """
    patients, has_patient = number_patients([row.patient_id for row in rows])
    return Cohort(
        findings=tuple(findings),
        scores=scores.astype(np.float64),
        labels=labels > 0,
        known=is_known(labels),
        patients=patients,
        has_patient=has_patient,
        groupings=group_kinds(
            {
                VIEW: [view_group(row.view) for row in rows],
                SEX: [sex_group(row.sex) for row in rows],
                AGE: [age_band(row.age_years) for row in rows],
                MANUFACTURER: [manufacturers.get(row.image_name, UNKNOWN) for row in rows],
            }
        ),
    )
