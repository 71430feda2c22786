"""The metadata baseline: it predicts a finding from age, sex and view, without the image.

If its AUROC is close to a model's, the model may have learned which patients are scanned how, not what a scan shows.
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
#: Below every known value, so that trees set it apart. NaN would do, but not for a column that holds nothing else.
_UNKNOWN: Final = -1.0
_FEATURE_VALUES: Final = {None: _UNKNOWN, "F": 0.0, "M": 1.0, "PA": 0.0, "AP": 1.0}


def metadata_scores(rows: Sequence[LabelRow], truth: Labels, patients: Sequence[str]) -> ScoreArray | None:
    """Predict each scan's finding by a model that was fitted on other patients.

    The model consists of boosted trees, because risk is not linear in age, and unknown values get their own branch.

    Returns:
        Scores (N,) in [0, 1]; None if a class has fewer than 10 patients, or no age, sex or view is known.
    """
    groups = np.asarray(patients)
    if min(len(set(groups[truth])), len(set(groups[~truth]))) < 2 * _FOLDS:
        return None
    features = [
        [
            _UNKNOWN if row.age_years is None else row.age_years,
            _FEATURE_VALUES.get(row.sex, 0.5),
            _FEATURE_VALUES.get(row.view, 0.5),
        ]
        for row in rows
    ]
    if all(value == _UNKNOWN for values in features for value in values):
        return None
    model = HistGradientBoostingClassifier(max_depth=3, max_iter=60, learning_rate=0.1, random_state=0)
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    # Trees this small gain nothing from threads, and their threads spin while they wait, which took a minute beside
    # other work.
    with threadpool_limits(1):
        scores: Any = cross_val_predict(
            model, np.array(features), truth, groups=groups, cv=folds, method="predict_proba"
        )
    return np.asarray(scores[:, 1], np.float64)
