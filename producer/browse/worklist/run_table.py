"""The scans of a run as arrays, which are read once and then serve every page of its worklist."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock, RLock
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from db.engine.session import read_transaction
from db.ledger.run_columns import (
    Answers,
    Floats,
    LabelCodes,
    RunFacts,
    ScanIds,
    ScanStates,
    read_fingerprint,
    read_labels,
    read_run_facts,
    read_scores,
    read_states,
)
from db.schema.tables import PENDING, SCORED

#: How old a table may be, in seconds: of a run in which nothing is pending, and of one that goes on.
_SETTLED_SECONDS: Final = 600.0
_OPEN_SECONDS: Final = 5.0
#: A large run that goes on is not read all the time: it is left alone for this many times as long as reading took.
_REST_FACTOR: Final = 10.0
#: The tables that are kept, and the scans of all of them but the latest: a million take 60 MB.
_MAX_TABLES: Final = 4
_MAX_SCANS: Final = 1_000_000

T = TypeVar("T")


class Columns(Protocol):
    """Reads the columns that only some queries need."""

    def scores(self, finding: str) -> Floats:
        """(N,) the scores, NaN without one."""

    def labels(self) -> LabelCodes:
        """All labels of the N scans."""


class RunTable:
    """The N scans of a run at one moment, in the order of their ids. Usable from several threads at once."""

    def __init__(self, facts: RunFacts, states: ScanStates, columns: Columns, *, read_at: datetime) -> None:
        """Columns are read when they are first asked for."""
        #: The moment that states, scores and counts are of, in UTC.
        self.read_at = read_at
        #: Those that the run's model scores.
        self.findings = facts.findings
        self.has_labels = facts.label_set_id is not None
        self.states = states
        self._columns = columns
        self._kept: dict[object, Any] = {}
        self._lock = RLock()

    @property
    def scan_ids(self) -> ScanIds:
        """(N,) int64, ascending."""
        return self.states.scan_ids

    @property
    def counts(self) -> Mapping[str, int]:
        """Scans by state; a state without scans is missing."""
        return {str(state): scans for state, scans in self.states.states.counts().items()}

    def scores(self, finding: str) -> Floats:
        """(N,) float64 in [0, 1]; NaN for a scan that was not scored at the moment of `read_at`."""
        return self._keep(("scores", finding), lambda: self._scored_then(self._columns.scores(finding)))

    def labels(self, finding: str) -> Answers:
        """(N,) int8: 1, 0, or -1 if it is not known."""
        return self._keep(("labels", finding), lambda: self._keep("labels", self._columns.labels).of(finding))

    def order(self, finding: str, *, descending: bool) -> NDArray[np.int32]:
        """(N,) the places of the scans by score, those without a score last; ties by scan id."""
        return self._keep(("order", finding, descending), lambda: _order(self.scores(finding), descending=descending))

    def _scored_then(self, scores: Floats) -> Floats:
        """Without those that came after the states were read: they would be scores of scans that count as pending."""
        return np.where(self.states.states.equals(SCORED), scores, np.nan)

    def _keep(self, key: object, read: Callable[[], T]) -> T:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = read()
            kept: T = self._kept[key]
            return kept


def _order(scores: Floats, *, descending: bool) -> NDArray[np.int32]:
    return np.argsort(-scores if descending else scores, kind="stable").astype(np.int32)


@dataclass(frozen=True, kw_only=True)
class _LedgerColumns:
    """The columns of a run in the ledger."""

    engine: Engine
    run_id: int
    label_set_id: int | None
    scan_ids: ScanIds

    def scores(self, finding: str) -> Floats:
        with read_transaction(self.engine) as connection:
            return read_scores(connection, self.run_id, finding, self.scan_ids)

    def labels(self) -> LabelCodes:
        with read_transaction(self.engine) as connection:
            return read_labels(connection, self.run_id, self.label_set_id, self.scan_ids)


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """A table, and until when it is good."""

    table: RunTable
    fingerprint: tuple[object, ...]
    #: As the clock of `RunTables` counts.
    good_until: float


@dataclass(kw_only=True)
class _Entry:
    """The place of one run's table. Who holds the lock reads it; another request waits and takes what was read."""

    lock: Lock = field(default_factory=Lock)
    kept: _Kept | None = None


class RunTables:
    """The tables of the last few runs that were asked for. Usable from several threads at once."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is read yet.

        Args:
            engine: only reads.
            clock: in seconds.
        """
        self._engine = engine
        self._clock = clock
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._lock = Lock()

    def get(self, run_id: int) -> RunTable:
        """The run's table, read again if what it rests on may have changed, or if it is too old.

        Raises:
            UserError: there is no such run.
        """
        with read_transaction(self._engine) as connection:
            fingerprint = read_fingerprint(connection, run_id)
        entry = self._entry(run_id)
        with entry.lock:
            kept = entry.kept
            if kept is None or kept.fingerprint != fingerprint or self._clock() > kept.good_until:
                self._drop_old_tables()
                entry.kept = kept = self._read(run_id)
            return kept.table

    def _entry(self, run_id: int) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault(run_id, _Entry())
            self._entries.move_to_end(run_id)
            return entry

    def _drop_old_tables(self) -> None:
        """Drop those that were asked for the longest time ago. Requests that use one keep it as long."""
        with self._lock:
            while len(self._entries) > 1 and (len(self._entries) > _MAX_TABLES or self._count_older() > _MAX_SCANS):
                self._entries.popitem(last=False)

    def _count_older(self) -> int:
        """Scans of all tables but the latest that was asked for."""
        kept = (entry.kept for entry in [*self._entries.values()][:-1])
        return sum(len(one.table.scan_ids) for one in kept if one is not None)

    def _read(self, run_id: int) -> _Kept:
        started, read_at = self._clock(), datetime.now(UTC)
        with read_transaction(self._engine) as connection:
            fingerprint = read_fingerprint(connection, run_id)
            facts, states = read_run_facts(connection, run_id), read_states(connection, run_id)
        columns = _LedgerColumns(
            engine=self._engine, run_id=run_id, label_set_id=facts.label_set_id, scan_ids=states.scan_ids
        )
        table = RunTable(facts, states, columns, read_at=read_at)
        ended = self._clock()
        rest = max(_OPEN_SECONDS, _REST_FACTOR * (ended - started))
        settled = facts.finished and PENDING not in table.counts
        return _Kept(table=table, fingerprint=fingerprint, good_until=ended + (_SETTLED_SECONDS if settled else rest))
