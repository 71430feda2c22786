"""How much of what a worker attempted lately could not be scored, by run. Pure."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

#: Runs that are looked at side by side; of more, the one begun first is judged anew when it comes again.
_RUNS: Final = 64


@dataclass(frozen=True, kw_only=True)
class Excess:
    """Too much of a run cannot be scored."""

    run_id: int
    #: Scans: `rejected` of the last `attempted`.
    rejected: int
    attempted: int
    #: The commonest reason code.
    reason: str

    @property
    def sentence(self) -> str:
        """Why the run is stopped, without any name."""
        return (
            f"{self.rejected} of the last {self.attempted} scans that one worker tried could not be scored, "
            f"most often for the reason '{self.reason}'"
        )


class ErrorRates:
    """The last attempts of each run, and which runs have too many that failed."""

    def __init__(self, *, after: int, rate: float) -> None:
        """Judge a run once `after` scans of it were attempted, by the share of the last so many, `rate` in [0, 1]."""
        self._after = after
        self._rate = rate
        #: By run and the moment since when it goes on: one that was resumed begins anew.
        self._windows: dict[tuple[int, datetime | None], deque[str | None]] = {}

    def note(self, runs: Mapping[int, datetime | None], reason: str | None) -> None:
        """Add an attempt at a scan that these runs wait for (by id, when each was resumed last).

        Args:
            runs: those that wait for it.
            reason: why it was rejected; None where it could be scored.
        """
        for key in runs.items():
            if key not in self._windows and len(self._windows) == _RUNS:
                self._windows.pop(next(iter(self._windows)))
            self._windows.setdefault(key, deque(maxlen=self._after)).append(reason)

    def excesses(self, runs: Iterable[tuple[int, datetime | None]]) -> Iterator[Excess]:
        """Of these runs those that are to be stopped."""
        for key in runs:
            window = self._windows.get(key, ())
            reasons = Counter(reason for reason in window if reason is not None)
            if len(window) == self._after and reasons.total() > self._rate * self._after:
                reason = reasons.most_common(1)[0][0]
                yield Excess(run_id=key[0], rejected=reasons.total(), attempted=self._after, reason=reason)
