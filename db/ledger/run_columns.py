"""Reads what a worklist sorts and filters by: columns of a run's scans as arrays, in the order of scan ids.

Their values are those of the views `results` and `results_wide`. A million rows of a view would take a minute, so each
column is read from the few tables that it needs.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, func, or_, select

from db.engine.session import STREAMING
from db.findings import column_of
from db.ledger.runs import no_such_run
from db.metrics.scored_scans import Mask, decode_labels, fetch_matrix, read_covered, read_label_codes
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

    #: (N,) int32: which of `values`.
    codes: NDArray[np.int32]
    #: Each once; None is NULL.
    values: tuple[str | None, ...]

    def equals(self, value: str | None) -> Mask:
        """(N,) bool: where the text is this one; None means NULL."""
        if value not in self.values:
            return np.zeros(len(self.codes), np.bool_)
        is_equal: Mask = self.codes == self.values.index(value)
        return is_equal

    def counts(self, mask: Mask | None = None) -> dict[str | None, int]:
        """How many scans have each value, the most frequent first; of those in (N,) `mask`."""
        codes = self.codes if mask is None else self.codes[mask]
        counted = zip(self.values, np.bincount(codes, minlength=len(self.values)).tolist(), strict=True)
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
    """What became of the N scans of a run."""

    scan_ids: ScanIds
    states: TextColumn
    reasons: TextColumn
    #: (N,) bool: the outcome existed before the run was opened.
    reused: Mask
    held_out: Answers


@dataclass(frozen=True, kw_only=True)
class ScanFacts:
    """What the CSV or the image's header says of N scans."""

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
    """Read what became of each scan of a run, rejected, quarantined and pending ones included."""
    query = select(RunScan.scan_id, RunScan.reused, RunScan.seen).where(RunScan.run_id == run_id)
    table = fetch_matrix(connection, query.order_by(RunScan.scan_id))
    scan_ids = table[:, 0].astype(np.int64)
    states, reasons = _read_outcomes(connection, run_id, scan_ids)
    can_tell = connection.execute(select(Run.can_tell_held_out).where(Run.id == run_id)).scalar()
    return ScanStates(
        scan_ids=scan_ids,
        states=states,
        reasons=reasons,
        reused=table[:, 1] == 1,
        held_out=_held_out(table[:, 2] == 1, can_tell=can_tell),
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
    """State and reason of each scan. Only those that differ from most are transferred."""
    query = (
        select(RunScan.scan_id, Outcome.state, Outcome.reason)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .where(RunScan.run_id == run_id, or_(Outcome.state != SCORED, Outcome.reason.is_not(None)))
    )
    ids, states, reasons = _fetch_columns(connection, query)
    return _spread(ids, states, scan_ids, SCORED), _spread(ids, reasons, scan_ids, None)


def read_scores(connection: Connection, run_id: int, finding: str, scan_ids: ScanIds) -> Floats:
    """(N,) the scores of a finding, in [0, 1]; NaN for a scan that has none.

    Args:
        connection: only reads.
        run_id: the run.
        finding: one of `db.findings.FINDINGS`.
        scan_ids: (N,) ascending; other scans of the run are left out.
    """
    query = (
        select(RunScan.scan_id, getattr(Scores, column_of(finding)))
        .join(Scores, Scores.outcome_id == RunScan.outcome_id)
        .where(RunScan.run_id == run_id)
    )
    ids, values = fetch_matrix(connection, query).T
    scores = np.full(len(scan_ids), np.nan)
    places, is_known = _places(ids.astype(np.int64), scan_ids)
    scores[places] = values[is_known]
    return scores


def read_labels(connection: Connection, run_id: int, label_set_id: int | None, scan_ids: ScanIds) -> LabelCodes:
    """Read all labels of each scan under a label set. `scan_ids` as above."""
    codes = read_label_codes(connection, run_id, label_set_id, scan_ids)
    return LabelCodes(codes=codes, covered=read_covered(connection, label_set_id))


def read_scan_facts(connection: Connection, run_id: int, scan_ids: ScanIds) -> ScanFacts:
    """Read view, sex and age of each scan. `scan_ids` as above."""
    query = (
        select(RunScan.scan_id, Scan.view, Scan.sex, Scan.age_years)
        .join(Scan, Scan.id == RunScan.scan_id)
        .where(RunScan.run_id == run_id)
    )
    ids, views, sexes, ages = _fetch_columns(connection, query)
    known_ages = np.full(len(scan_ids), np.nan)
    places, is_known = _places(np.asarray(ids, np.int64), scan_ids)
    known_ages[places] = np.asarray(ages, np.float64)[is_known]
    return ScanFacts(
        views=_spread(ids, views, scan_ids, None), sexes=_spread(ids, sexes, scan_ids, None), ages=known_ages
    )


def _fetch_columns(connection: Connection, query: Select[*tuple[Any, ...]]) -> list[list[Any]]:
    """The rows of a query as columns."""
    columns: list[list[Any]] = [[] for _ in query.selected_columns]
    for block in connection.execute(query, execution_options=STREAMING).partitions():
        for column, values in zip(columns, zip(*block, strict=True), strict=True):
            column.extend(values)
    return columns


def _places(ids: ScanIds, scan_ids: ScanIds) -> tuple[NDArray[np.int64], Mask]:
    """Where in (N,) `scan_ids` each of (M,) `ids` stands that is among them, and (M,) which are."""
    is_known = np.isin(ids, scan_ids, assume_unique=True)
    return np.searchsorted(scan_ids, ids[is_known]), is_known


def _spread(ids: list[int], texts: list[str | None], scan_ids: ScanIds, usual: str | None) -> TextColumn:
    """The texts of some scans as a column of all; the others have the usual one."""
    numbers: dict[str | None, int] = {usual: 0}
    encoded = np.fromiter(_encode(texts, numbers), np.int32, len(texts))
    codes = np.zeros(len(scan_ids), np.int32)
    places, is_known = _places(np.asarray(ids, np.int64), scan_ids)
    codes[places] = encoded[is_known]
    return TextColumn(codes=codes, values=tuple(numbers))


def _encode(texts: Iterable[str | None], numbers: dict[str | None, int]) -> Iterator[int]:
    for one in texts:
        if one not in numbers:
            numbers[one] = len(numbers)
        yield numbers[one]
