"""The baseline that sees no image: what age, sex and view alone say of a finding.

Where it comes near a model's AUROC, the model may have learned who is scanned how, and not what is seen.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from db.labels.csv_file import LabelRow
from db.metrics.formulas import Labels, ScoreArray

_FOLDS: Final = 5
_CODES: Final = {None: np.nan, "F": 0.0, "M": 1.0, "PA": 0.0, "AP": 1.0}


def metadata_scores(rows: Sequence[LabelRow], truth: Labels, patients: Sequence[str]) -> ScoreArray | None:
    """Scores (N,) of scans from age, sex and view, each by a model of other patients; None with too few of a class.

    Trees, for risk does not rise straight with age, and what is unknown is a branch of its own.
    """
    groups = np.asarray(patients)
    if min(len(set(groups[truth])), len(set(groups[~truth]))) < 2 * _FOLDS:
        return None
    table = [[_number(row.age_years), _CODES.get(row.sex, 0.5), _CODES.get(row.view, 0.5)] for row in rows]
    model = HistGradientBoostingClassifier(max_depth=3, max_iter=60, learning_rate=0.1, random_state=0)
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    # Trees this small gain nothing from threads, which wait for one another by spinning: beside other work, a minute.
    with threadpool_limits(1):
        scores: Any = cross_val_predict(model, np.array(table), truth, groups=groups, cv=folds, method="predict_proba")
    return np.asarray(scores[:, 1], np.float64)


def _number(value: float | None) -> float:
    return np.nan if value is None else value
