"""Reads a run's scored scans into arrays: scores, labels, and whether the model has seen the scan."""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, case, func, select

from db.engine.session import STREAMING
from db.findings import FINDINGS, NO_FINDING, column_of
from db.metrics.formulas import Labels, ScoreArray
from db.metrics.held_out import seen_scans
from db.schema.label_history import is_label_of
from db.schema.tables import SCORED, Label, LabelSet, Model, Outcome, Run, RunScan, Scores

#: (N,) true for the scans that are meant.
Mask: TypeAlias = NDArray[np.bool_]

HELD_OUT: Final = "held_out"
ALL: Final = "all"
#: The scans that metrics can be computed on: those that the model has not seen, or all.
SUBSETS: Final = (HELD_OUT, ALL)

_COLUMN_OF_LABEL: Final = {finding: column for column, finding in enumerate((*FINDINGS, NO_FINDING))}


@dataclass(frozen=True, kw_only=True)
class ScoredScans:
    """The N scored scans of a run, in the order of their ids, under a label set. Without one, no scan is labelled."""

    #: The F findings that the model scores: the columns of `scores` and `labels`.
    findings: tuple[str, ...]
    #: (N, F) float64 in [0, 1].
    scores: ScoreArray
    #: (N, F) bool; false for an unlabelled scan.
    labels: Labels
    #: (N,) bool: the label set has a row for the scan.
    labelled: Mask
    #: (N,) bool: the model was fitted or tuned on the scan itself.
    seen_itself: Mask
    #: (N,) bool: the model was fitted or tuned on another scan of the patient, but not on this one.
    seen_patient: Mask

    def in_subset(self, subset: str) -> Mask:
        """(N,) bool: the scans in the subset `held_out` or `all`, labelled or not."""
        seen = self.seen_itself | self.seen_patient
        return ~seen if subset == HELD_OUT else np.ones_like(seen)

    def filter(self, mask: Mask) -> "ScoredScans":
        """The scans for which the mask, (N,) bool, is true."""
        if mask.all():
            return self
        return ScoredScans(
            findings=self.findings,
            scores=self.scores[mask],
            labels=self.labels[mask],
            labelled=self.labelled[mask],
            seen_itself=self.seen_itself[mask],
            seen_patient=self.seen_patient[mask],
        )

    def labels_and_scores(self, finding: str, mask: Mask | None = None) -> tuple[Labels, ScoreArray]:
        """One finding's labels and scores, each (N,), or those of the scans for which the mask, (N,) bool, is true."""
        column = self.findings.index(finding)
        rows = slice(None) if mask is None else mask
        return self.labels[rows, column], np.ascontiguousarray(self.scores[rows, column])


def read_scored_scans(connection: Connection, run_id: int, label_set_id: int | None) -> ScoredScans:
    """Read everything that a run's metrics are computed from.

    Raises:
        ValueError: a scored scan has no score for a finding that its model scores.
    """
    findings = _model_findings(connection, run_id)
    scan_ids, scores = _read_scores(connection, run_id, findings)
    truth = _read_labels(connection, run_id, label_set_id, scan_ids)
    seen = _align(_fetch_matrix(connection, seen_scans(run_id)), scan_ids, missing=-1)
    return ScoredScans(
        findings=findings,
        scores=scores,
        labels=truth[:, [_COLUMN_OF_LABEL[finding] for finding in findings]],
        labelled=truth.max(axis=1),
        seen_itself=seen == 1,
        seen_patient=seen == 0,
    )


def _model_findings(connection: Connection, run_id: int) -> tuple[str, ...]:
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
    table = _fetch_matrix(connection, query)
    _check_complete(table, findings)
    return table[:, 0].astype(np.int64), table[:, 1:]


def _check_complete(table: NDArray[np.float64], findings: tuple[str, ...]) -> None:
    missing = np.argwhere(np.isnan(table))
    if len(missing):
        row, column = missing[0]
        raise ValueError(f"scan {int(table[row, 0])} has no score for {findings[column - 1]}, which its model scores")


def _read_labels(connection: Connection, run_id: int, label_set_id: int | None, scan_ids: NDArray[np.int64]) -> Labels:
    """(N, 16) bool: one column for each of FINDINGS, the last for `No Finding`. An unlabelled row is all false."""
    # One bit per finding, so that a scan is one short row, however many labels it has. A scan has each finding once.
    bits = func.sum(case({finding: 1 << column for finding, column in _COLUMN_OF_LABEL.items()}, value=Label.finding))
    query = (
        select(Label.scan_id, bits)
        .join(RunScan, RunScan.scan_id == Label.scan_id)
        .join(LabelSet, is_label_of())
        .where(RunScan.run_id == run_id, LabelSet.id == label_set_id)
        .group_by(Label.scan_id)
    )
    labels = _align(_fetch_matrix(connection, query), scan_ids, missing=0)
    truth = np.empty((len(scan_ids), len(_COLUMN_OF_LABEL)), np.bool_)
    # Column by column: all columns at once would take 256 bytes per scan.
    for column in range(truth.shape[1]):
        truth[:, column] = labels >> column & 1
    # No CSV has `Abnormal`: it means any of the fourteen findings.
    truth[:, 0] = truth[:, 1:-1].any(axis=1)
    return truth


def _align(pairs: NDArray[np.float64], scan_ids: NDArray[np.int64], *, missing: int) -> NDArray[np.int64]:
    """Align (M, 2) pairs of scan id and value with (N,) ascending scan ids: (N,) values, `missing` for other scans."""
    ids, values = pairs.astype(np.int64).T
    aligned = np.full(len(scan_ids), missing)
    known = np.isin(ids, scan_ids)
    aligned[np.searchsorted(scan_ids, ids[known])] = values[known]
    return aligned


def _fetch_matrix(connection: Connection, query: Select[*tuple[Any, ...]]) -> NDArray[np.float64]:
    """All rows of a query as float64 (N, columns). Ids are exact up to 2**53; NULL becomes NaN."""
    blocks = connection.execute(query, execution_options=STREAMING).partitions()
    flat = (np.nan if value is None else value for block in blocks for row in block for value in row)
    return np.fromiter(flat, np.float64).reshape(-1, len(query.selected_columns))
