"""The share of a run's scans that one worker could not score lately. Pure."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

#: Runs whose windows are kept; with one more, the oldest window is dropped and that run begins again.
_MAX_RUNS: Final = 64


@dataclass(frozen=True, kw_only=True)
class Excess:
    """A run with too many rejections."""

    run_id: int
    #: Scans: `rejected` of the last `attempted`.
    rejected: int
    attempted: int
    #: The most frequent reason code.
    reason: str

    @property
    def sentence(self) -> str:
        """Why the run is stopped. It names no scan."""
        return (
            f"{self.rejected} of the last {self.attempted} scans that one worker tried could not be scored, "
            f"most often for the reason '{self.reason}'"
        )


class ErrorRates:
    """The last attempts at each run's scans."""

    def __init__(self, *, after: int, rate: float) -> None:
        """Judge a run once `after` of its scans were tried, by the share in [0, 1] of the last `after` that failed."""
        self._after = after
        self._rate = rate
        #: Reasons by run and the moment of its last resumption: a resumed run begins again.
        self._windows: dict[tuple[int, datetime | None], deque[str | None]] = {}

    def record(self, runs: Mapping[int, datetime | None], reason: str | None) -> None:
        """Add an attempt at one scan.

        Args:
            runs: the runs that wait for the scan, by id, and when each was resumed last.
            reason: why the scan was rejected; None where it was scored.
        """
        for key in runs.items():
            if key not in self._windows and len(self._windows) == _MAX_RUNS:
                self._windows.pop(next(iter(self._windows)))
            self._windows.setdefault(key, deque(maxlen=self._after)).append(reason)

    def excesses(self, runs: Iterable[tuple[int, datetime | None]]) -> Iterator[Excess]:
        """Those of these runs whose last attempts failed too often."""
        for key in runs:
            window = self._windows.get(key, ())
            reasons = Counter(reason for reason in window if reason is not None)
            if len(window) == self._after and reasons.total() > self._rate * self._after:
                reason = reasons.most_common(1)[0][0]
                yield Excess(run_id=key[0], rejected=reasons.total(), attempted=self._after, reason=reason)
