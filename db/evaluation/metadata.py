"""Scores of a finding from what is known of a scan without its image: view, sex and age.

If their AUROC is close to a model's, the model may have learned which patients are scanned how, not what a scan shows.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from db.evaluation.cohort import Grouping, Sample
from db.evaluation.logistic import fit_logistic
from db.metrics.formulas import ScoreArray

_FOLDS: Final = 5
#: The penalty on a group's coefficient, as in scikit-learn's `LogisticRegression`: small groups are drawn to the mean.
_RIDGE: Final = 1.0
_SEED: Final = 0


def share_by_group(sample: Sample, grouping: Grouping) -> ScoreArray | None:
    """Score each scan by its group's share of positives among these scans; None if all are of one group.

    There are as many parameters as groups, so no other patients are needed: cross-fitting would order groups of like
    shares against the finding.

    Args:
        sample: N scans.
        grouping: of these scans.
    """
    if len(np.unique(grouping.places)) < 2:
        return None
    size = len(grouping.names)
    scans = np.bincount(grouping.places, minlength=size)
    positives = np.bincount(grouping.places[sample.labels], minlength=size)
    return np.asarray(positives[grouping.places] / scans[grouping.places], np.float64)


def metadata_scores(sample: Sample, groupings: Sequence[Grouping]) -> ScoreArray | None:
    """Score each scan by a logistic regression on its groups that was fitted on other patients.

    Args:
        sample: N scans.
        groupings: of these scans; a group is one column.

    Returns:
        Scores (N,) in [0, 1]; None if a class has fewer than 10 patients, or no kind has two groups.
    """
    of_class = (len(np.unique(sample.patients[chosen])) for chosen in (sample.labels, ~sample.labels))
    if min(of_class) < 2 * _FOLDS or all(len(np.unique(grouping.places)) < 2 for grouping in groupings):
        return None
    cells, cell_of = np.unique(
        np.column_stack([grouping.places for grouping in groupings]), axis=0, return_inverse=True
    )
    cell_of = cell_of.reshape(-1)
    columns = np.column_stack(
        [np.ones(len(cells)), *(cells[:, [at]] == np.arange(len(one.names)) for at, one in enumerate(groupings))]
    ).astype(np.float64)
    penalties = np.append(0, np.full(columns.shape[1] - 1, _RIDGE))
    fold_of = (np.random.default_rng(_SEED).permutation(sample.patient_count) % _FOLDS)[sample.patients]
    scores = np.zeros(len(sample.labels))
    for fold in range(_FOLDS):
        others = fold_of != fold
        totals = np.bincount(cell_of[others], minlength=len(cells)).astype(np.float64)
        positives = np.bincount(cell_of[others & sample.labels], minlength=len(cells)).astype(np.float64)
        fit = fit_logistic(columns, positives, totals, ridge=penalties)
        if fit is None:
            return None
        scores[~others] = (1 / (1 + np.exp(-columns @ fit)))[cell_of[~others]]
    return scores
