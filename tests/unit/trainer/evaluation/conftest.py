"""300 scored scans of 100 patients."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from db.labels.csv_file import LabelRow
from trainer.evaluation.evaluator import evaluate_scores, make_cohort

THRESHOLDS = {"Abnormal": {"best_f1": 0.375}}


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scans with labels and scores."""

    findings: tuple[str, ...]
    rows: list[LabelRow]
    labels: NDArray[np.float32]
    scores: NDArray[np.float32]
    manufacturers: dict[str, str]

    def cohort(self):
        return make_cohort(
            self.rows, self.labels, self.scores, findings=self.findings, manufacturers=self.manufacturers
        )

    def evaluate(self, **changed):
        """The evaluation of these scans, or of the same with other fields."""
        scored = replace(self, **changed)
        return evaluate_scores(scored.cohort(), THRESHOLDS, np.arange(len(scored.rows), dtype=np.float64))


def scan(number, **known):
    """Every third scan begins another patient."""
    plain = {"patient_id": str(number // 3), "view": "PA", "sex": "F", "age_years": 60.0, "follow_up": 0}
    return LabelRow(image_name=f"{number}.png", findings=("No Finding",), **plain | known)


@pytest.fixture(scope="session")
def scored():
    """Scores tell something about `Abnormal` and `Effusion`; no scan has `Hernia`."""
    rng = np.random.default_rng(0)
    labels = np.zeros((300, 3), np.float32)
    labels[:, :2] = rng.random((300, 2)) < [0.4, 0.1]
    rows = [
        scan(
            number,
            view="AP" if number % 4 == 0 else "PA",
            sex="F" if number % 2 else "M",
            age_years=float(rng.integers(5, 90)),
        )
        for number in range(300)
    ]
    return Scored(
        findings=("Abnormal", "Effusion", "Hernia"),
        rows=rows,
        labels=labels,
        scores=np.clip(0.3 * labels + rng.random((300, 3)) * 0.7, 0, 1).astype(np.float32),
        manufacturers={f"{number}.png": "Acme" for number in range(200)},
    )


@pytest.fixture(scope="session")
def evaluation(scored):
    return scored.evaluate()
