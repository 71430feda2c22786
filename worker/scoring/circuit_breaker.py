"""Circuit breaker: says when too many of a run's scans fail, and when to abandon the chunk in hand. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from db.ledger.outcomes import Rejected, Scored
from worker.scoring.error_rate import ErrorRates, Excess


class CircuitBreaker:
    """One worker's view of the runs that wait for its chunk."""

    def __init__(self, rates: ErrorRates) -> None:
        self._rates = rates
        #: By outcome: the open runs that wait for it, and when each was resumed last.
        self._runs: Mapping[int, Mapping[int, datetime | None]] = {}
        #: The same runs, whatever outcome they wait for.
        self._open_runs: dict[int, datetime | None] = {}
        #: Whether a run of the chunk was stopped or closed since the chunk began.
        self.is_open = False

    def begin_chunk(self, runs: Mapping[int, Mapping[int, datetime | None]]) -> None:
        """Begin a chunk whose outcomes these open runs wait for (`db.ledger.runs.open_runs_of`)."""
        self._runs = runs
        self._open_runs = {run: resumed_at for waiting in runs.values() for run, resumed_at in waiting.items()}
        self.is_open = False

    @property
    def run_ids(self) -> list[int]:
        """The runs that wait for the chunk, in order."""
        return sorted(self._open_runs)

    def runs_of(self, outcome_id: int) -> list[int]:
        """The runs that wait for one outcome, in order."""
        return [*self._runs.get(outcome_id, ())]

    def see(self, open_runs: Mapping[int, datetime | None]) -> None:
        """Compare with the chunk's runs that are open now: where one is missing or was resumed, open the circuit."""
        self.is_open = self.is_open or open_runs != self._open_runs

    def record(self, outcomes: Sequence[Scored | Rejected]) -> list[Excess]:
        """Count a batch's outcomes, and give the runs that have too many rejections."""
        for outcome in outcomes:
            reason = outcome.reason if isinstance(outcome, Rejected) else None
            self._rates.record(self._runs.get(outcome.outcome_id, {}), reason)
        return list(self._rates.excesses(self._open_runs.items()))
