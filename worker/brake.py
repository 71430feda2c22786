"""Stops a run of which a worker cannot score too much, and ends the chunk in hand once a run of it was stopped."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Engine

from db.outcomes import Rejected, Scored
from db.session import reading
from db.stopping import going_on, stop_run
from worker.error_rate import ErrorRates
from worker.logs import about

logger = logging.getLogger(__name__)


class Brake:
    """What one worker knows of the runs that it works on."""

    def __init__(self, engine: Engine, rates: ErrorRates) -> None:
        self._engine = engine
        self._rates = rates
        self._runs: Mapping[int, Sequence[int]] = {}
        self._going: dict[int, datetime | None] = {}
        #: A run of the chunk in hand was stopped or closed: what is left of the chunk must be looked at anew.
        self.is_on = False

    def release(self, runs: Mapping[int, Sequence[int]]) -> None:
        """Begin a chunk, by outcome id the open runs that wait for it."""
        self._runs = runs
        self._going = self._look()
        self.is_on = False

    def judge(self, outcomes: Sequence[Scored | Rejected]) -> None:
        """Note a batch's outcomes, stop whatever has too many rejections, and see what others stopped."""
        for outcome in outcomes:
            going = {run: self._going[run] for run in self._runs.get(outcome.outcome_id, ()) if run in self._going}
            self._rates.note(going, outcome.reason if isinstance(outcome, Rejected) else None)
        for excess in self._rates.excesses(self._going.items()):
            self._stop(excess.run_id, excess.sentence)
        self.is_on = self.is_on or self._look() != self._going

    def _stop(self, run_id: int, reason: str) -> None:
        with self._engine.begin() as connection:
            stopped = stop_run(connection, run_id, reason)
        if stopped:
            logger.error("run %d stopped: %s", run_id, reason, extra=about(run_id=run_id))

    def _look(self) -> dict[int, datetime | None]:
        with reading(self._engine) as connection:
            return going_on(connection, {run_id for runs in self._runs.values() for run_id in runs})
