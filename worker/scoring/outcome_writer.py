"""The one way from a scored batch to the ledger: asks what is pending, records outcomes, stops and closes runs."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from db.close_run import close_finished_runs
from db.engine.session import LedgerSession, ledger_session
from db.ledger.outcomes import (
    KILLED_WORKER,
    PendingScan,
    Rejected,
    Scored,
    count_attempt,
    forgive_attempt,
    record_outcomes,
    reject_store,
    still_pending,
)
from db.ledger.runs import nothing_pending, open_runs_of, still_open_runs
from db.ledger.stop_run import stop_run
from worker.messaging.messages import Chunk, InvalidMessage
from worker.scoring.circuit_breaker import CircuitBreaker
from worker.telemetry.counters import ScoringCounters
from worker.telemetry.logs import about

logger = logging.getLogger(__name__)


class OutcomeWriter:
    """Records the outcomes of one scoring process. Nothing else in a worker writes outcomes."""

    def __init__(self, engine: Engine, model_sha256: str, breaker: CircuitBreaker, counters: ScoringCounters) -> None:
        self._engine = engine
        self._model = model_sha256
        self._breaker = breaker
        self._counters = counters
        #: Of the open chunk.
        self._ledger: LedgerSession
        #: What each outcome of the chunk meant when it was asked for: whatever is written is written to that alone.
        self._asked: dict[int, PendingScan] = {}
        #: Scans whose counted attempt is to be taken back, since this process lived.
        self._to_forgive: list[PendingScan] = []

    @property
    def run_stopped(self) -> bool:
        """Whether a run of the chunk was stopped or closed: what is left must be asked for again."""
        return self._breaker.is_open

    @property
    def runs(self) -> list[int]:
        """The open runs that wait for the chunk."""
        return self._breaker.run_ids

    @contextmanager
    def open_chunk(self, chunk: Chunk, *, suspicious: bool) -> Iterator[list[PendingScan]]:
        """Give the scans of a chunk that are still pending; at the end close the runs that have nothing pending.

        Args:
            chunk: what was delivered.
            suspicious: the last worker may have died of the chunk's one scan. An attempt is counted against the scan,
                and taken back when the block ends: this worker has lived.

        Raises:
            InvalidMessage: the message is older than the ledger, or foreign.
        """
        self.forgive_attempts()
        ids = [scan.outcome_id for scan in chunk.scans]
        with ledger_session(self._engine) as self._ledger:
            pending = self._pending(chunk)
            if suspicious and pending:
                self._to_forgive.append(self._asked[ids[0]])
                pending = pending if self.count_attempt(ids[0]) else []
            yield pending
            self.forgive_attempts()
            with self._ledger.read_transaction() as connection:
                is_over = bool(nothing_pending(connection, ids))
        if is_over:
            self._close_runs(ids)

    def record_outcomes(self, outcomes: Sequence[Scored | Rejected]) -> None:
        """Record a batch of the open chunk in one transaction, and stop each run that has too many rejections."""
        with self._ledger.write_transaction() as connection:
            recorded = record_outcomes(connection, outcomes, self._breaker.run_ids, asked=self._asked)
        self._breaker.see(recorded.open_runs)
        self._counters.decided(outcomes)
        rejected = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
        for outcome in rejected:
            self._log_rejected(outcome)
        for store, detail in {outcome.store: outcome.detail for outcome in rejected if outcome.store}.items():
            self._reject_store(store, detail)
        self._stop_runs(outcomes)

    def count_attempt(self, outcome_id: int) -> bool:
        """Count an attempt against a scan that was alone when its worker died or failed; at the cap quarantine it.

        Returns:
            Whether the scan may still be tried.
        """
        if (scan := self._asked.get(outcome_id)) is None:
            # It failed before the ledger said what the outcome means, so it is nobody's fault.
            return True
        with self._engine.begin() as connection:
            may_be_tried = count_attempt(connection, scan)
            self._breaker.begin_chunk(open_runs_of(connection, [outcome_id]))
        if not may_be_tried:
            self._counters.quarantined()
            logger.error("outcome %d quarantined: it keeps killing its worker", outcome_id)
            # A fault of the worker or the model would quarantine a night's scans one by one.
            self._stop_runs([Rejected(outcome_id=outcome_id, reason=KILLED_WORKER, detail="")])
        return may_be_tried

    def forgive_attempts(self) -> None:
        """Take back the attempts that no death followed. Where the database was away, a later call does it."""
        if self._to_forgive:
            with self._engine.begin() as connection:
                for scan in self._to_forgive:
                    forgive_attempt(connection, scan)
            self._to_forgive.clear()

    def forgive_if_possible(self) -> None:
        """Take the attempts back now, or at the next chunk where the database is away."""
        with suppress(DBAPIError):
            self.forgive_attempts()

    def keep_attempts(self) -> None:
        """Let the counted attempts stand: the scan made this process fail."""
        self._to_forgive.clear()

    def _pending(self, chunk: Chunk) -> list[PendingScan]:
        """The chunk's scans that have no outcome yet, in the order of outcome ids.

        After a backup was restored, an outcome id may mean another scan than when the message was sent. The message's
        location tells: it is then not the ledger's.
        """
        ids = [scan.outcome_id for scan in chunk.scans]
        with self._ledger.read_transaction() as connection:
            self._asked = {scan.outcome_id: scan for scan in still_pending(connection, ids, chunk.model)}
            self._breaker.begin_chunk(open_runs_of(connection, ids))
        sent = {scan.outcome_id: scan.location for scan in chunk.scans}
        if any(sent[outcome_id] != scan.location for outcome_id, scan in self._asked.items()):
            raise InvalidMessage("for one of its scans the ledger has another location")
        return list(self._asked.values())

    def _stop_runs(self, outcomes: Sequence[Scored | Rejected]) -> None:
        for excess in self._breaker.record(outcomes):
            with self._engine.begin() as connection:
                stopped = stop_run(connection, excess.run_id, excess.sentence)
                self._breaker.see(still_open_runs(connection, self._breaker.run_ids))
            if stopped:
                logger.error("run %d stopped: %s", excess.run_id, excess.sentence, extra=about(run_id=excess.run_id))

    def _reject_store(self, store: str, detail: str) -> None:
        """Reject what waits for a store that refuses this worker; the next run tries it again."""
        with self._engine.begin() as connection:
            count = reject_store(connection, self._model, store, detail)
        if count:
            self._counters.rejected("s3", count)
            logger.error("%s: %d more scans rejected with it", detail, count, extra=about(reason="s3"))
            self._close_runs(None)

    def _close_runs(self, outcome_ids: Sequence[int] | None) -> None:
        for run_id in close_finished_runs(self._engine, outcome_ids):
            logger.info("run %d finished", run_id, extra=about(run_id=run_id))

    def _log_rejected(self, outcome: Rejected) -> None:
        scan_id, runs = self._asked[outcome.outcome_id].scan_id, self._breaker.runs_of(outcome.outcome_id)
        extra = about(run_ids=runs, scan_id=scan_id, reason=outcome.reason)
        logger.warning("scan %d rejected: %s (%s)", scan_id, outcome.reason, name_runs(runs), extra=extra)


def name_runs(runs: Sequence[int]) -> str:
    """`run 3, 4` for a log line."""
    return f"run {', '.join(map(str, runs))}" if runs else "no open run"
