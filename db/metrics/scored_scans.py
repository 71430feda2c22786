"""Reads the scored scans of a run, with labels and what the model has seen, into arrays."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, case, func, select

from db.engine.session import STREAMING
from db.findings import FINDINGS, NO_FINDING, column_of
from db.metrics.formulas import Labels, ScoreArray
from db.metrics.held_out import seen_scans
from db.schema.tables import SCORED, Label, Model, Outcome, Run, RunScan, Scores

HELD_OUT: Final = "held_out"
ALL: Final = "all"
#: What figures can be figures of: scans that the model has not seen, or every scan.
SUBSETS: Final = (HELD_OUT, ALL)

_COLUMN_OF_LABEL: Final = {finding: column for column, finding in enumerate((*FINDINGS, NO_FINDING))}


@dataclass(frozen=True, kw_only=True)
class ScoredScans:
    """The N scored scans of a run, in the order of their ids, under a label set (or none: nothing is labelled)."""

    #: What the model scores: F names, the columns of `scores` and `labels`.
    findings: tuple[str, ...]
    #: (N, F) float64 in [0, 1].
    scores: ScoreArray
    #: (N, F) bool; false where unlabelled.
    labels: Labels
    #: (N,) bool: the label set has a row for the scan.
    labelled: Labels
    #: (N,) bool: the model was fitted or tuned on this very scan.
    seen_itself: Labels
    #: (N,) bool: not on this scan, but on another of its patient.
    seen_patient: Labels

    def in_subset(self, subset: str) -> Labels:
        """(N,) bool: the scans of `held_out` or `all`, labelled or not."""
        seen = self.seen_itself | self.seen_patient
        return ~seen if subset == HELD_OUT else np.ones_like(seen)

    def only(self, chosen: Labels) -> "ScoredScans":
        """The chosen scans, by (N,) bool."""
        if chosen.all():
            return self
        return ScoredScans(
            findings=self.findings,
            scores=self.scores[chosen],
            labels=self.labels[chosen],
            labelled=self.labelled[chosen],
            seen_itself=self.seen_itself[chosen],
            seen_patient=self.seen_patient[chosen],
        )

    def of(self, finding: str, chosen: Labels | None = None) -> tuple[Labels, ScoreArray]:
        """One finding's labels (N,) and scores (N,), or those of the `chosen` scans, by (N,) bool."""
        column = self.findings.index(finding)
        rows = slice(None) if chosen is None else chosen
        return self.labels[rows, column], np.ascontiguousarray(self.scores[rows, column])


def read_scored(connection: Connection, run_id: int, label_set_id: int | None) -> ScoredScans:
    """Read everything that a run's figures are made of."""
    findings = _findings(connection, run_id)
    scan_ids, scores = _read_scores(connection, run_id, findings)
    truth = _read_labels(connection, run_id, label_set_id, scan_ids)
    how = _spread(_read_table(connection, seen_scans(run_id)), scan_ids, missing=-1)
    return ScoredScans(
        findings=findings,
        scores=scores,
        labels=truth[:, [_COLUMN_OF_LABEL[finding] for finding in findings]],
        labelled=truth.max(axis=1),
        seen_itself=how == 1,
        seen_patient=how == 0,
    )


def _findings(connection: Connection, run_id: int) -> tuple[str, ...]:
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
    table = _read_table(connection, query)
    _check_complete(table, findings)
    return table[:, 0].astype(np.int64), table[:, 1:]


def _check_complete(table: NDArray[np.float64], findings: tuple[str, ...]) -> None:
    missing = np.argwhere(np.isnan(table))
    if len(missing):
        row, column = missing[0]
        raise ValueError(f"scan {int(table[row, 0])} has no score for {findings[column - 1]}, which its model scores")


def _read_labels(connection: Connection, run_id: int, label_set_id: int | None, scan_ids: NDArray[np.int64]) -> Labels:
    """(N, 16) bool, a column for each of FINDINGS and the last for `No Finding`; a row of false is unlabelled."""
    # A bit a finding: one short row a scan, whatever it is labelled with. A scan has a finding once.
    bits = func.sum(case({finding: 1 << column for finding, column in _COLUMN_OF_LABEL.items()}, value=Label.finding))
    query = (
        select(Label.scan_id, bits)
        .join(RunScan, RunScan.scan_id == Label.scan_id)
        .where(RunScan.run_id == run_id, Label.label_set_id == label_set_id)
        .group_by(Label.scan_id)
    )
    labels = _spread(_read_table(connection, query), scan_ids, missing=0)
    truth = np.empty((len(scan_ids), len(_COLUMN_OF_LABEL)), np.bool_)
    # By column: all at once would be a quarter of a kilobyte a scan.
    for column in range(truth.shape[1]):
        truth[:, column] = labels >> column & 1
    # `Abnormal` is in no CSV: it is any of the fourteen.
    truth[:, 0] = truth[:, 1:-1].any(axis=1)
    return truth


def _spread(pairs: NDArray[np.float64], scan_ids: NDArray[np.int64], *, missing: int) -> NDArray[np.int64]:
    """(N,) what (M, 2) pairs of scan id and number say of these (N,) ascending scans; `missing` for those not in it."""
    ids, values = pairs.astype(np.int64).T
    spread = np.full(len(scan_ids), missing)
    known = np.isin(ids, scan_ids)
    spread[np.searchsorted(scan_ids, ids[known])] = values[known]
    return spread


def _read_table(connection: Connection, query: Select[*tuple[Any, ...]]) -> NDArray[np.float64]:
    """Every row of a query as (N, columns). Ids are exact in float64 up to 2**53; NULL becomes NaN."""
    blocks = connection.execute(query, execution_options=STREAMING).partitions()
    flat = (np.nan if value is None else value for block in blocks for row in block for value in row)
    return np.fromiter(flat, np.float64).reshape(-1, len(query.selected_columns))
