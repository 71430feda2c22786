"""Reads a run's scored scans into arrays: scores, labels, and whether the model has seen the scan."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Connection, Select, case, cast, func, select

from db.engine.session import STREAMING
from db.findings import ABNORMAL, NIH_FINDINGS, NO_FINDING, SPECIFIC_FINDINGS, column_of
from db.metrics.formulas import Labels, ScoreArray
from db.metrics.held_out import seen_scans
from db.schema.label_history import is_label_of
from db.schema.tables import (
    NEGATIVE,
    POSITIVE,
    SCORED,
    UNCERTAIN,
    Label,
    LabelSet,
    Model,
    Outcome,
    Run,
    RunScan,
    Scores,
)

#: (N,) true for the scans that are meant.
Mask: TypeAlias = NDArray[np.bool_]

HELD_OUT: Final = "held_out"
ALL: Final = "all"
#: The scans that metrics can be computed on: those that the model has not seen, or all.
SUBSETS: Final = (HELD_OUT, ALL)

#: A scan's labels are read as one number, in which each of these findings has two bits, the first one the lowest.
_LABELS: Final = (*SPECIFIC_FINDINGS, NO_FINDING)
_CODES: Final = {POSITIVE: 1, NEGATIVE: 2, UNCERTAIN: 3}


@dataclass(frozen=True, kw_only=True)
class ScoredScans:
    """The N scored scans of a run, in the order of their ids, under a label set. Without one, no label is known."""

    #: The F findings that the model scores: the columns of `scores`, `labels` and `known`.
    findings: tuple[str, ...]
    #: Those of them that have metrics: the label set covers them, or says of any scan whether it has them.
    judged: tuple[str, ...]
    #: (N,) ascending.
    scan_ids: NDArray[np.int64]
    #: (N, F) float64 in [0, 1].
    scores: ScoreArray
    #: (N, F) bool; false where the label is not known.
    labels: Labels
    #: (N, F) bool: the label set says whether the scan has the finding.
    known: Mask
    #: (N,) bool: the label set has a row for the scan, of whatever finding.
    labelled: Mask
    #: (N,) bool: the model was fitted or tuned on the scan itself.
    seen_itself: Mask
    #: (N,) bool: the model was fitted or tuned on another scan of the patient, but not on this one.
    seen_patient: Mask

    def in_subset(self, subset: str) -> Mask:
        """(N,) bool: the scans in the subset `held_out` or `all`, labelled or not."""
        seen = self.seen_itself | self.seen_patient
        return ~seen if subset == HELD_OUT else np.ones_like(seen)

    def labels_and_scores(self, finding: str, mask: Mask | None = None) -> tuple[Labels, ScoreArray]:
        """One finding's labels and scores, each (K,), of the scans whose label of it is known.

        Args:
            finding: one of `findings`.
            mask: (N,) bool: the scans that count; None means all of them.
        """
        column = self.findings.index(finding)
        rows = self.known[:, column] if mask is None else self.known[:, column] & mask
        return self.labels[rows, column], self.scores[rows, column]


def read_scored_scans(connection: Connection, run_id: int, label_set_id: int | None) -> ScoredScans:
    """Read everything that a run's metrics are computed from.

    Raises:
        ValueError: a scored scan has no score for a finding that its model scores.
    """
    findings = model_findings(connection, run_id)
    scan_ids, scores = _read_scores(connection, run_id, findings)
    codes, covered = (
        read_label_codes(connection, run_id, label_set_id, scan_ids),
        read_covered(connection, label_set_id),
    )
    labels, known = decode_labels(codes, findings, covered)
    seen = align(fetch_matrix(connection, seen_scans(run_id)), scan_ids, missing=-1)[:, 0]
    return ScoredScans(
        findings=findings,
        judged=tuple(
            name for name, column in zip(findings, known.T, strict=True) if column.any() or _is_covered(name, covered)
        ),
        scan_ids=scan_ids,
        scores=scores,
        labels=labels,
        known=known,
        labelled=codes > 0,
        seen_itself=seen == 1,
        seen_patient=seen == 0,
    )


def model_findings(connection: Connection, run_id: int) -> tuple[str, ...]:
    """The findings that a run's model scores, in its order."""
    manifest = connection.execute(select(Model.manifest).join(Run).where(Run.id == run_id)).scalar_one()
    return tuple(manifest["findings"])


def _read_scores(
    connection: Connection, run_id: int, findings: tuple[str, ...]
) -> tuple[NDArray[np.int64], ScoreArray]:
    """Scan ids (N,) int64, ascending, and scores (N, F)."""
    query = (
        select(RunScan.scan_id, *(getattr(Scores, column_of(finding)) for finding in findings))
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .join(Scores, Scores.outcome_id == Outcome.id)
        .where(RunScan.run_id == run_id, Outcome.state == SCORED)
        .order_by(RunScan.scan_id)
    )
    table = fetch_matrix(connection, query)
    _check_complete(table, findings)
    return table[:, 0].astype(np.int64), table[:, 1:]


def _check_complete(table: NDArray[np.float64], findings: tuple[str, ...]) -> None:
    missing = np.argwhere(np.isnan(table))
    if len(missing):
        row, column = missing[0]
        raise ValueError(f"scan {int(table[row, 0])} has no score for {findings[column - 1]}, which its model scores")


def read_covered(connection: Connection, label_set_id: int | None) -> frozenset[str]:
    """The findings that a scan which a label set labels has not got if it has no row of them."""
    covered = connection.execute(select(LabelSet.covered).where(LabelSet.id == label_set_id)).scalar()
    return frozenset((covered or "").split("|"))


def read_label_codes(
    connection: Connection, run_id: int, label_set_id: int | None, scan_ids: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(N,) the labels of each scan in two bits per finding, see `_LABELS`; 0 for an unlabelled scan."""
    # So that a scan is one short row, however many labels it has. A scan has each finding once.
    place = case({finding: 1 << 2 * number for number, finding in enumerate(_LABELS)}, value=Label.finding)
    codes = cast(func.sum(place * case(_CODES, value=Label.value)), BigInteger)
    query = (
        select(Label.scan_id, codes)
        .join(RunScan, RunScan.scan_id == Label.scan_id)
        .join(LabelSet, is_label_of())
        .where(RunScan.run_id == run_id, LabelSet.id == label_set_id)
        .group_by(Label.scan_id)
    )
    return align(fetch_matrix(connection, query), scan_ids, missing=0)[:, 0].astype(np.int64)


def decode_labels(codes: NDArray[np.int64], findings: Sequence[str], covered: frozenset[str]) -> tuple[Labels, Mask]:
    """Labels and whether they are known, each (N, F), from (N,) labels in bits. `db.schema.views` has the same rule."""
    labels, known = (np.zeros((len(codes), len(findings)), np.bool_) for _ in range(2))
    # Column by column: all columns at once would take hundreds of bytes per scan.
    for column, finding in enumerate(findings):
        positive, negative, uncertain = _decode_abnormal(codes) if finding == ABNORMAL else _decode_one(codes, finding)
        labels[:, column], known[:, column] = positive, positive | negative
        if _is_covered(finding, covered):
            known[:, column] |= (codes > 0) & ~uncertain
    return labels, known


def _is_covered(finding: str, covered: frozenset[str]) -> bool:
    """Whether a labelled scan has not got a finding if it has no row of it."""
    return covered >= set(NIH_FINDINGS if finding == ABNORMAL else (finding,))


def _decode_one(codes: NDArray[np.int64], finding: str) -> tuple[Mask, Mask, Mask]:
    """(N,) whether the label of a finding is positive, negative, uncertain."""
    code = codes >> 2 * _LABELS.index(finding) & 3
    return code == _CODES[POSITIVE], code == _CODES[NEGATIVE], code == _CODES[UNCERTAIN]


def _decode_abnormal(codes: NDArray[np.int64]) -> tuple[Mask, Mask, Mask]:
    """The same of `Abnormal`: positive if any of NIH's findings is, negative if `No Finding` is positive."""
    positive, uncertain = (np.zeros(len(codes), np.bool_) for _ in range(2))
    for finding in NIH_FINDINGS:
        is_positive, _, is_uncertain = _decode_one(codes, finding)
        positive |= is_positive
        uncertain |= is_uncertain
    return positive, _decode_one(codes, NO_FINDING)[0] & ~positive, uncertain


def align(table: NDArray[np.float64], scan_ids: NDArray[np.int64], *, missing: float) -> NDArray[np.float64]:
    """Align (M, 1 + C) rows that begin with a scan id with (N,) ascending ids: (N, C), `missing` for other scans."""
    ids = table[:, 0].astype(np.int64)
    places = np.searchsorted(scan_ids, ids)
    # One more, which no id is, for ids above all others.
    is_known = np.append(scan_ids, -1)[places] == ids
    aligned = np.full((len(scan_ids), table.shape[1] - 1), missing, np.float64)
    aligned[places[is_known]] = table[is_known, 1:]
    return aligned


def fetch_matrix(connection: Connection, query: Select[*tuple[Any, ...]]) -> NDArray[np.float64]:
    """All rows of a query as float64 (N, columns). Ids are exact up to 2**53; NULL becomes NaN."""
    # Not by `partitions`, which take as long again.
    rows = connection.execute(query, execution_options=STREAMING)
    flat = (np.nan if value is None else value for row in rows for value in row)
    return np.fromiter(flat, np.float64).reshape(-1, len(query.selected_columns))
