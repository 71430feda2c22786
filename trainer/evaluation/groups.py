"""Evaluates scores in groups of scans, by sex, age and view; and the key of a scan's patient."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.labels.csv_file import LabelRow
from db.metrics.bootstrap import Estimate, bootstrap_patients
from db.metrics.formulas import Labels, ScoreArray, roc_curve

#: Upper ends of age bands in years, exclusive, and the bands' names.
_AGE_BANDS: Final = ((18, "0-17"), (40, "18-39"), (60, "40-59"), (80, "60-79"), (np.inf, "80+"))
_UNKNOWN: Final = "unknown"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Scans of one sex, age band or view."""

    scans: int
    positives: int
    auroc: Estimate


def evaluate_groups(
    rows: Sequence[LabelRow], truth: Labels, scores: ScoreArray, rounds: int
) -> dict[str, dict[str, Group]]:
    """Evaluate one finding's scores (N,) in each group: `sex`, `age` and `view` to groups by name."""
    groups = {}
    for kind, name_group in _GROUPINGS.items():
        names = np.array([name_group(row) for row in rows])
        groups[kind] = {str(name): _group(rows, truth, scores, names == name, rounds) for name in np.unique(names)}
    return groups


def patients_of(rows: Sequence[LabelRow]) -> list[str]:
    """A key of each row's patient; a scan without a patient has a key of its own."""
    return [row.image_name if row.patient_id is None else f"patient {row.patient_id}" for row in rows]


def interval_of_several(figure: Estimate, patients: Sequence[str], truth: Labels) -> Estimate:
    """A figure of a ranking, without its interval if all positives or all negatives are of one patient.

    Draws of patients then repeat or miss this one patient, and say nothing of how others would have been ranked.
    """
    of_each = np.asarray(patients)
    is_of_one = min(len(set(of_each[truth])), len(set(of_each[~truth]))) < 2
    return replace(figure, low=None, high=None) if is_of_one else figure


def _group(
    rows: Sequence[LabelRow], truth: Labels, scores: ScoreArray, is_member: NDArray[np.bool_], rounds: int
) -> Group:
    members = [row for row, belongs in zip(rows, is_member, strict=True) if belongs]
    group_truth, group_scores = truth[is_member], scores[is_member]
    patients = patients_of(members)
    (auroc,) = bootstrap_patients(
        patients, lambda times: [roc_curve(group_truth, group_scores, times).auroc], rounds=rounds
    )
    auroc = interval_of_several(auroc, patients, group_truth)
    return Group(scans=len(members), positives=int(group_truth.sum()), auroc=auroc)


def _age_band(row: LabelRow) -> str:
    if row.age_years is None:
        return _UNKNOWN
    return next(name for end, name in _AGE_BANDS if row.age_years < end)


#: Kind of group to the function that names a row's group.
_GROUPINGS: Final[dict[str, Callable[[LabelRow], str]]] = {
    "sex": lambda row: row.sex or _UNKNOWN,
    "age": _age_band,
    "view": lambda row: row.view or _UNKNOWN,
}
