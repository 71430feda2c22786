"""Reads the decided scans of runs from SQL into arrays. A pending scan is none, nor is one that a person cancelled."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, Connection, Row, Select, case, exists, func, select
from sqlalchemy.orm import aliased

from db.drift.scans import SCORED, DecidedScans, Names
from db.engine.session import STREAMING
from db.evaluation.cohort import (
    AGE,
    MANUFACTURER,
    SEX,
    UNKNOWN,
    VIEW,
    Mask,
    Numbers,
    age_band,
    sex_group,
    view_group,
)
from db.findings import column_of
from db.ledger.outcomes import PASSING_REASONS
from db.metrics.scored_scans import model_findings
from db.schema.tables import PENDING, Outcome, RunScan, Scan, Scores

#: The reason of a scan that was pending when a person cancelled its run: it says nothing about the scan.
_CANCELLED: Final = "cancelled"
#: The kinds of groups, and how a value of each is named.
_KINDS: Final[dict[str, Callable[[Any], str]]] = {
    VIEW: view_group,
    SEX: sex_group,
    AGE: age_band,
    MANUFACTURER: lambda maker: maker or UNKNOWN,
}


@dataclass(frozen=True, kw_only=True)
class RunScans:
    """The decided scans of runs, in the order of runs and then of scans, and the outcome of each."""

    scans: DecidedScans
    #: (N,).
    outcome_ids: Numbers

    def of_runs(self, first: int, last: int) -> "RunScans":
        """Those of these runs and of the runs between them. They share the memory of the arrays."""
        low, high = np.searchsorted(self.scans.runs, [first, last + 1]).tolist()
        return self._take(slice(low, high))

    def without(self, others: "RunScans") -> "RunScans":
        """Those whose outcome others do not have."""
        is_shared = np.isin(self.outcome_ids, others.outcome_ids)
        return self._take(~is_shared) if is_shared.any() else self

    def once(self) -> "RunScans":
        """Each outcome in the first run that has it: a run that was open when the next one was opened shares some."""
        first = np.unique(self.outcome_ids, return_index=True)[1]
        return self if len(first) == len(self.outcome_ids) else self._take(np.sort(first))

    def _take(self, rows: slice | Mask | Numbers) -> "RunScans":
        scans = DecidedScans(
            findings=self.scans.findings,
            runs=self.scans.runs[rows],
            patients=self.scans.patients[rows],
            scores=self.scans.scores[rows],
            outcomes=_take_names(self.scans.outcomes, rows),
            groups={kind: _take_names(names, rows) for kind, names in self.scans.groups.items()},
        )
        return RunScans(scans=scans, outcome_ids=self.outcome_ids[rows])


def _take_names(names: Names, rows: slice | Mask | Numbers) -> Names:
    return Names(names=names.names, places=names.places[rows])


def read_run_scans(connection: Connection, run_ids: Sequence[int], *, own: bool) -> RunScans:
    """Read the decided scans of runs of one model.

    Args:
        connection: a `read_transaction`.
        run_ids: at least one.
        own: only those that the run decided itself, without those that it rejected once more for a reason for which an
            earlier run had: each night tries these again, so they say nothing of what came in this one.
    """
    findings = model_findings(connection, run_ids[0])
    numbered = _NumberedRows()
    rows = connection.execute(_query(run_ids, findings, own=own), execution_options=STREAMING)
    table = np.fromiter(chain.from_iterable(numbered.number(rows)), np.float64)
    table = table.reshape(-1, numbered.count + len(findings))
    runs, outcome_ids, patients, outcomes, *groups = table[:, : numbered.count].T.astype(np.int64)
    scans = DecidedScans(
        findings=findings,
        runs=runs,
        patients=patients,
        scores=table[:, numbered.count :],
        outcomes=numbered.outcomes.to_names(outcomes),
        groups={kind: names.to_names(of) for (kind, names), of in zip(numbered.groups.items(), groups, strict=True)},
    )
    return RunScans(scans=scans, outcome_ids=outcome_ids)


def _query(run_ids: Sequence[int], findings: Sequence[str], *, own: bool) -> Select[*tuple[Any, ...]]:
    outcome = case((Outcome.state == SCORED, SCORED), else_=func.coalesce(Outcome.reason, UNKNOWN))
    scores = (getattr(Scores, column_of(finding)) for finding in findings)
    known = (Scan.dataset, Scan.patient_id, outcome, Scan.view, Scan.sex, Scan.age_years, Scan.manufacturer)
    query = (
        select(RunScan.run_id, RunScan.scan_id, RunScan.outcome_id, *known, *scores)
        .join(Scan, Scan.id == RunScan.scan_id)
        .join(Outcome, Outcome.id == RunScan.outcome_id)
        .outerjoin(Scores, Scores.outcome_id == Outcome.id)
        .where(RunScan.run_id.in_(run_ids), Outcome.state != PENDING, outcome != _CANCELLED)
        .order_by(RunScan.run_id, RunScan.scan_id)
    )
    return query.where(~RunScan.reused, ~_is_repeated()) if own else query


def _is_repeated() -> ColumnElement[bool]:
    """Whether a scan was rejected again for a reason that may pass, but had not."""
    earlier = aliased(Outcome)
    same = (earlier.scan_id == Outcome.scan_id) & (earlier.model_id == Outcome.model_id)
    same &= (earlier.revision < Outcome.revision) & (earlier.reason == Outcome.reason)
    return Outcome.reason.in_(PASSING_REASONS) & exists().where(same)


class _NumberedNames(dict[Any, int]):
    """Numbers the names of values in the order in which they are met."""

    def __init__(self, name_of: Callable[[Any], str]) -> None:
        self._name_of = name_of
        self._places: dict[str, int] = {}

    def __missing__(self, value: Any) -> int:
        place = self._places.setdefault(self._name_of(value), len(self._places))
        self[value] = place
        return place

    def to_names(self, places: Numbers) -> Names:
        """The names of N values, from (N,) their numbers."""
        return Names(names=tuple(self._places), places=places)


class _NumberedRows:
    """Turns rows of the query into numbers, so that a million of them are one array and no strings."""

    def __init__(self) -> None:
        self.outcomes = _NumberedNames(str)
        self.groups = {kind: _NumberedNames(name_of) for kind, name_of in _KINDS.items()}
        #: Numbers before the scores of a row.
        self.count: Final = 4 + len(self.groups)
        self._patients: dict[str | int, int] = {}

    def number(self, rows: Iterable[Row[*tuple[Any, ...]]]) -> Iterator[Iterable[float]]:
        """Run, outcome, patient, what became of it, groups and scores of each row."""
        patients, outcomes, groups = self._patients, self.outcomes, self.groups.values()
        for run_id, scan_id, outcome_id, dataset, patient, outcome, *rest in rows:
            # A patient id is one patient's only within a dataset.
            key = scan_id if patient is None else f"{dataset}\0{patient}"
            yield (run_id, outcome_id, patients.setdefault(key, len(patients)), outcomes[outcome])
            yield [names[value] for names, value in zip(groups, rest, strict=False)]
            yield [np.nan if score is None else score for score in rest[len(groups) :]]
