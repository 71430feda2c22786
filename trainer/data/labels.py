"""Labels as numbers: 1, 0, or NaN for unknown. The only place that turns a row of a CSV into them.

An unknown label is no negative one, and a scan with one keeps its other labels: it weighs nothing in a fit, and no
figure counts it. Source: Irvin et al., CheXpert, AAAI 2019, who call this U-Ignore. Every comparison with NaN is False,
which would take an unknown label for a negative one, so `is_known` comes first wherever labels are compared.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from db.errors import UserError
from db.findings import ABNORMAL, FINDINGS, NIH_FINDINGS, NO_FINDING
from db.labels.csv_file import LabelRow

_POSITIVE, _NEGATIVE, _UNKNOWN = 1.0, 0.0, float("nan")
_NIH: Final = frozenset(NIH_FINDINGS)


def labelled_rows(rows: Sequence[LabelRow]) -> list[LabelRow]:
    """The rows that have labels. An unlabelled scan is not a normal one, so nothing can be learned from it.

    Raises:
        UserError: no row has a label.
    """
    labelled = [row for row in rows if row.is_labelled]
    if not labelled:
        raise UserError("no row of the CSV has a label, so there is nothing to learn; choose a CSV with labels")
    return labelled


def label_matrix(rows: Sequence[LabelRow], findings: Sequence[str], *, covered: Collection[str]) -> NDArray[np.float32]:
    """Labels as float32 (N, findings): 1, 0, or NaN for unknown.

    Args:
        rows: the scans.
        findings: the columns, of `db.findings.FINDINGS`.
        covered: findings that a labelled row does not have unless it says so, as `LabelsFile.covered`.
    """
    labels = [[_label(row, finding, covered) for finding in findings] for row in rows]
    return np.array(labels, np.float32).reshape(len(rows), len(findings))


def is_known(labels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where labels are known: bool, in their shape."""
    known: NDArray[np.bool_] = ~np.isnan(labels)
    return known


def known_only(labels: NDArray[np.float32], *others: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """One finding's known labels (K,), and of each other array of (N,) what belongs to them."""
    known = is_known(labels)
    return labels[known], *(other[known] for other in others)


def learnable_findings(
    rows: Sequence[LabelRow], wanted: Sequence[str] = (), *, covered: Collection[str]
) -> tuple[str, ...]:
    """The wanted findings, or by default all that can be learned: some of these rows have it, and others do not.

    Args:
        rows: the training scans.
        wanted: findings, or () for all.
        covered: see `label_matrix`.

    Raises:
        UserError: a wanted finding cannot be learned, or none can.
    """
    labels = label_matrix(rows, FINDINGS, covered=covered)
    has_positive, has_negative = ((labels == value).any(axis=0) for value in (_POSITIVE, _NEGATIVE))
    learnable = tuple(finding for finding, *both in zip(FINDINGS, has_positive, has_negative, strict=True) if all(both))
    if not learnable:
        raise UserError("no finding is positive in one training scan and negative in another; choose a CSV with both")
    for finding in wanted:
        if finding not in learnable:
            has_it = finding in FINDINGS and has_positive[FINDINGS.index(finding)]
            cause = "no training scan is labelled as without it" if has_it else "no training scan has it"
            raise UserError(f"--target {finding}: {cause}; choose from {', '.join(learnable)}")
    return tuple(finding for finding in learnable if not wanted or finding in wanted)


def _label(row: LabelRow, finding: str, covered: Collection[str]) -> float:
    if finding == ABNORMAL:
        return _abnormal(row, covered)
    if finding in row.findings:
        return _POSITIVE
    if finding in row.uncertain:
        return _UNKNOWN
    is_absent = finding in row.negative or (finding in covered and row.is_labelled)
    return _NEGATIVE if is_absent else _UNKNOWN


def _abnormal(row: LabelRow, covered: Collection[str]) -> float:
    if not _NIH.isdisjoint(row.findings):
        return _POSITIVE
    if NO_FINDING in row.findings:
        return _NEGATIVE
    # Only a row that was read for all fourteen says that none of them is there.
    is_normal = row.is_labelled and _NIH.issubset(covered) and _NIH.isdisjoint(row.uncertain)
    return _NEGATIVE if is_normal else _UNKNOWN
