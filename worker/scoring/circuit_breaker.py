"""Stops a run of which a worker cannot score too much, and ends the chunk in hand once a run of it was stopped."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine

from db.ledger.outcomes import Rejected, Scored, decide_and_look
from db.ledger.runs import going_on, open_runs_of
from db.ledger.stop_run import stop_run
from worker.scoring.error_rate import ErrorRates
from worker.telemetry.logs import about

logger = logging.getLogger(__name__)


class CircuitBreaker:
    """What one worker knows of the runs that it works on."""

    def __init__(self, engine: Engine, rates: ErrorRates) -> None:
        self._engine = engine
        self._rates = rates
        self._going: dict[int, datetime | None] = {}
        #: By outcome of the chunk in hand the open runs that wait for it, and when each was resumed last.
        self.runs: Mapping[int, Mapping[int, datetime | None]] = {}
        #: A run of the chunk in hand was stopped or closed: what is left of the chunk must be looked at anew.
        self.is_on = False

    def release(self, connection: Connection, outcome_ids: Sequence[int]) -> None:
        """Begin a chunk."""
        self.runs = open_runs_of(connection, outcome_ids)
        self._going = {run: resumed_at for runs in self.runs.values() for run, resumed_at in runs.items()}
        self.is_on = False

    def decide(self, connection: Connection, outcomes: Sequence[Scored | Rejected]) -> None:
        """Write outcomes, and see what others stopped."""
        _, going = decide_and_look(connection, outcomes, self._going)
        self._see(going)

    def judge(self, outcomes: Sequence[Scored | Rejected]) -> None:
        """Note a batch's outcomes, and stop whatever has too many rejections."""
        for outcome in outcomes:
            reason = outcome.reason if isinstance(outcome, Rejected) else None
            self._rates.note(self.runs.get(outcome.outcome_id, {}), reason)
        for excess in self._rates.excesses(self._going.items()):
            self._stop(excess.run_id, excess.sentence)

    def _see(self, going: Mapping[int, datetime | None]) -> None:
        self.is_on = self.is_on or going != self._going

    def _stop(self, run_id: int, reason: str) -> None:
        with self._engine.begin() as connection:
            stopped = stop_run(connection, run_id, reason)
            self._see(going_on(connection, self._going))
        if stopped:
            logger.error("run %d stopped: %s", run_id, reason, extra=about(run_id=run_id))
