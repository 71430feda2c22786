"""Scores of a finding from what is known of a scan without its image: view, sex and age.

If their AUROC is close to a model's, the model may have learned which patients are scanned how, not what a scan shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from db.evaluation.cohort import Grouping, Numbers, Sample
from db.evaluation.estimate import Statistic
from db.evaluation.logistic import fit_logistic
from db.evaluation.ranking import auroc_statistic
from db.metrics.formulas import ScoreArray

_FOLDS: Final = 5
#: The penalty on a group's coefficient, as in scikit-learn's `LogisticRegression`: small groups are drawn to the mean.
_RIDGE: Final = 1.0
_SEED: Final = 0


@dataclass(frozen=True, kw_only=True)
class CrossFit:
    """Scores of N scans from models that were fitted on other patients."""

    #: (N,) in [0, 1].
    scores: ScoreArray
    #: (N,) the fold of each scan's patient; scans of one fold were scored by one model.
    folds: Numbers


def share_by_group(sample: Sample, grouping: Grouping) -> ScoreArray | None:
    """Score each scan by its group's share of positives among these scans; None if all are of one group.

    There are as few parameters as groups, so no other patients are needed. The AUROC is never below 0.5, and without
    any signal a little above it: with 30 positives of two views by 0.04.

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


def cross_fit(sample: Sample, groupings: Sequence[Grouping]) -> CrossFit | None:
    """Score each scan by a logistic regression on its groups that was fitted on other patients.

    Args:
        sample: N scans.
        groupings: of these scans; a group is one column.

    Returns:
        None if a class has fewer than 10 patients, or no kind has two groups.
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
    folds = _random_folds(sample, cell_of)[sample.patients]
    scores = np.zeros(len(sample.labels))
    for fold in range(_FOLDS):
        others = folds != fold
        totals = np.bincount(cell_of[others], minlength=len(cells)).astype(np.float64)
        positives = np.bincount(cell_of[others & sample.labels], minlength=len(cells)).astype(np.float64)
        coefficients = fit_logistic(columns, positives, totals, ridge=penalties)
        if coefficients is None:
            return None
        scores[~others] = (1 / (1 + np.exp(-columns @ coefficients)))[cell_of[~others]]
    return CrossFit(scores=scores, folds=folds)


def auroc_within_folds(sample: Sample, fit: CrossFit) -> Statistic | None:
    """The AUROC over the pairs of a positive and a negative of the same fold; None if no fold has both.

    A fold with many positives leaves fewer to the others, so its scores are lower: pairs of two folds would order
    against the finding, and the AUROC of no signal would lie below 0.5.
    """
    pairs, value, influence = 0, 0.0, np.zeros(sample.patient_count)
    for fold in range(_FOLDS):
        members = fit.folds == fold
        patients, renumbered = np.unique(sample.patients[members], return_inverse=True)
        of_fold = Sample(labels=sample.labels[members], scores=fit.scores[members], patients=renumbered)
        statistic, weight = auroc_statistic(of_fold), of_fold.positives * of_fold.negatives
        if statistic is not None:
            pairs += weight
            value += weight * statistic.value
            influence[patients] = weight * statistic.influence
    return Statistic(value=value / pairs, influence=influence / pairs) if pairs else None


def _random_folds(sample: Sample, cell_of: Numbers) -> Numbers:
    """(P,) the fold of each patient, drawn at random; the order of scans and patients changes no figure.

    Args:
        sample: N scans.
        cell_of: (N,) the scans' groups of all kinds as one number.
    """
    rng = np.random.default_rng(_SEED)
    # Patients with the same scans have the same sum, and it makes no difference which of them comes first.
    numbers = rng.integers(1 << 40, size=(2, int(cell_of.max()) + 1))
    sums = np.zeros(sample.patient_count, np.int64)
    np.add.at(sums, sample.patients, numbers[sample.labels.astype(np.int64), cell_of])
    folds = np.empty(sample.patient_count, np.int64)
    folds[np.argsort(sums)] = rng.permutation(sample.patient_count) % _FOLDS
    return folds
