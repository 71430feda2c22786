"""Reads what a worklist sorts and filters by: columns of a run's scans as arrays, in the order of scan ids.

Their values are those of the views `results` and `results_wide`. A million rows of a view would take a minute, so each
column is read from the few tables that it needs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, Select, func, or_, select

from db.engine.session import STREAMING
from db.findings import column_of
from db.ledger.runs import no_such_run
from db.metrics.scored_scans import Mask, align, decode_labels, fetch_matrix, read_covered, read_label_codes
from db.schema.tables import SCORED, Forgotten, Model, Outcome, Run, RunFindingMetric, RunScan, Scan, Scores

#: (N,) int64, ascending.
ScanIds = NDArray[np.int64]
#: (N,) float64.
Floats = NDArray[np.float64]
#: (N,) int8: 1 is yes, 0 is no, -1 is unknown.
Answers = NDArray[np.int8]
UNKNOWN_ANSWER: Final = -1


@dataclass(frozen=True, kw_only=True)
class TextColumn:
    """N texts, of which few differ."""

    #: (N,) unsigned, in as few bytes as it takes: which of `values`.
    codes: NDArray[np.unsignedinteger[Any]]
    #: Each once; None is NULL.
    values: tuple[str | None, ...]

    def equals(self, value: str | None) -> Mask:
        """(N,) bool: where the text is this one; None means NULL."""
        if value not in self.values:
            return np.zeros(len(self.codes), np.bool_)
        is_equal: Mask = self.codes == self.values.index(value)
        return is_equal

    def counts(self) -> dict[str | None, int]:
        """How many scans have each value, the most frequent first."""
        counted = zip(self.values, np.bincount(self.codes, minlength=len(self.values)).tolist(), strict=True)
        return {value: scans for value, scans in sorted(counted, key=lambda pair: -pair[1]) if scans}


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What is known of a run beside its scans."""

    #: Those that its model scores.
    findings: tuple[str, ...]
    #: None if the run has no labels.
    label_set_id: int | None
    finished: bool


@dataclass(frozen=True, kw_only=True)
class ScanStates:
    """What is known of the N scans of a run beside their scores and labels."""

    scan_ids: ScanIds
    states: TextColumn
    reasons: TextColumn
    #: (N,) bool: the outcome existed before the run was opened.
    reused: Mask
    held_out: Answers
    views: TextColumn
    sexes: TextColumn
    #: In years; NaN if it is not known.
    ages: Floats


@dataclass(frozen=True, kw_only=True)
class LabelCodes:
    """The labels of N scans, of all findings."""

    #: (N,) int64, see `db.metrics.scored_scans.read_label_codes`.
    codes: NDArray[np.int64]
    #: The findings that a labelled scan has not got if the label set does not name them.
    covered: frozenset[str]

    def of(self, finding: str) -> Answers:
        """(N,) the labels of one finding."""
        labels, known = decode_labels(self.codes, [finding], self.covered)
        return np.where(known[:, 0], labels[:, 0], UNKNOWN_ANSWER).astype(np.int8)


def read_fingerprint(connection: Connection, run_id: int) -> tuple[object, ...]:
    """A value that differs if the columns of a finished run may differ. It takes a few milliseconds.

    It changes with the run's own row, with its metrics, with every patient that is forgotten, and with every new run:
    a source that says something else of known scans opens one.

    Raises:
        UserError: there is no such run.
    """
    computed_at = select(func.max(RunFindingMetric.computed_at)).where(RunFindingMetric.run_id == run_id)
    changing = (select(func.max(Forgotten.id)), select(func.max(Run.id)), computed_at)
    own = (Run.created_at, Run.finished_at, Run.cancelled_at, Run.stopped_at, Run.label_set_id, Run.can_tell_held_out)
    query = select(*own, *(one.scalar_subquery() for one in changing)).where(Run.id == run_id)
    row = connection.execute(query).first()
    if row is None:
        raise no_such_run(run_id)
    return tuple(row)


def read_run_facts(connection: Connection, run_id: int) -> RunFacts:
    """Read what is known of a run beside its scans.

    Raises:
        UserError: there is no such run.
    """
    query = select(Model.manifest, Run.label_set_id, Run.finished_at).join(Run).where(Run.id == run_id)
    row = connection.execute(query).first()
    if row is None:
        raise no_such_run(run_id)
    manifest, label_set_id, finished_at = row
    findings = tuple(manifest["findings"])
    return RunFacts(findings=findings, label_set_id=label_set_id, finished=finished_at is not None)


def read_states(connection: Connection, run_id: int) -> ScanStates:
    """Read what is known of each scan of a run, rejected, quarantined and pending ones included."""
    # All in one query: each row costs more than a further value in it.
    columns = (RunScan.scan_id, RunScan.reused, RunScan.seen, Scan.view, Scan.sex, Scan.age_years)
    query = select(*columns).join(Scan, Scan.id == RunScan.scan_id).where(RunScan.run_id == run_id)
    views, sexes = _Numbers(), _Numbers()
    rows = (
        (scan_id, reused, seen, views[view], sexes[sex], np.nan if age is None else age)
        for scan_id, reused, seen, view, sex, age in _stream(connection, query.order_by(RunScan.scan_id))
    )
    ids, reused, seen, view_numbers, sex_numbers, ages = _to_matrix(rows, len(columns)).T
    scan_ids = ids.astype(np.int64)
    states, reasons = _read_outcomes(connection, run_id, scan_ids)
    can_tell = connection.execute(select(Run.can_tell_held_out).where(Run.id == run_id)).scalar()
    return ScanStates(
        scan_ids=scan_ids,
        states=states,
        reasons=reasons,
        reused=reused == 1,
        held_out=_held_out(seen == 1, can_tell=can_tell),
        views=views.column(view_numbers),
        sexes=sexes.column(sex_numbers),
        # A copy, or it would keep the whole matrix in memory.
        ages=ages.copy(),
    )


def _held_out(seen: Mask, *, can_tell: bool | None) -> Answers:
    """As the views say it: `seen` means nothing as long as `can_tell` is None."""
    held_out = np.full(len(seen), UNKNOWN_ANSWER, np.int8)
    if can_tell is not None:
        held_out[seen] = 0
    if can_tell:
        held_out[~seen] = 1
    return held_out


def _read_outcomes(connection: Connection, run_id: int, scan_ids: ScanIds) -> tuple[TextColumn, TextColumn]:
    """State and reason of each scan. Only what differs from most scans is transferred."""
    query = (
        select(RunScan.scan_id, Outcome.state, Outcome.reason)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .where(RunScan.run_id == run_id, or_(Outcome.state != SCORED, Outcome.reason.is_not(None)))
    )
    states, reasons = _Numbers({SCORED: 0}), _Numbers({None: 0})
    rows = ((scan_id, states[state], reasons[reason]) for scan_id, state, reason in _stream(connection, query))
    codes = align(_to_matrix(rows, 3), scan_ids, missing=0)
    return states.column(codes[:, 0]), reasons.column(codes[:, 1])


def read_scores(connection: Connection, run_id: int, finding: str, scan_ids: ScanIds) -> Floats:
    """(N,) the scores of a finding, in [0, 1]; NaN for a scan that has none.

    Args:
        connection: only reads.
        run_id: the run.
        finding: one of `db.findings.FINDINGS`.
        scan_ids: (N,) ascending; other scans of the run are left out.
    """
    score = getattr(Scores, column_of(finding))
    query = (
        select(RunScan.scan_id, score)
        .join(Scores, Scores.outcome_id == RunScan.outcome_id)
        .where(RunScan.run_id == run_id, score.is_not(None))
    )
    return align(fetch_matrix(connection, query), scan_ids, missing=np.nan)[:, 0]


def read_labels(connection: Connection, run_id: int, label_set_id: int | None, scan_ids: ScanIds) -> LabelCodes:
    """Read all labels of each scan under a label set. `scan_ids` as above."""
    codes = read_label_codes(connection, run_id, label_set_id, scan_ids)
    return LabelCodes(codes=codes, covered=read_covered(connection, label_set_id))


class _Numbers(dict[str | None, int]):
    """Numbers texts in the order in which they are met."""

    def __missing__(self, text: str | None) -> int:
        self[text] = number = len(self)
        return number

    def column(self, codes: Floats) -> TextColumn:
        """The column of all N texts, from (N,) their numbers."""
        return TextColumn(codes=codes.astype(np.min_scalar_type(len(self))), values=tuple(self))


def _stream(connection: Connection, query: Select[*tuple[Any, ...]]) -> Iterable[Row[*tuple[Any, ...]]]:
    return connection.execute(query, execution_options=STREAMING)


def _to_matrix(rows: Iterable[Sequence[float]], columns: int) -> Floats:
    """(M, columns) float64 from M rows, in which nothing is NULL. Ids are exact up to 2**53."""
    return np.fromiter(chain.from_iterable(rows), np.float64).reshape(-1, columns)
