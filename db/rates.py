"""One rule for every rate of scans: it is known only if enough scans were counted over enough seconds.

The first batch of a measurement gives its beginning and is not counted, because its work began earlier, unseen.
"""

from collections import deque
from typing import Final

#: Scores are written a batch at a time, usually of 32 scans. With two batches, one more or fewer at the ends of the
#: measurement changes a rate by half at most.
MIN_SCANS: Final = 64
#: One slow read, or the first pass of a model, takes a second or two.
MIN_SECONDS: Final = 5.0
#: Seconds over which the present rate is measured.
RATE_WINDOW: Final = 60.0


def measured_rate(scans: int, seconds: float) -> float | None:
    """Scans per second; None, which is unknown, for fewer than `MIN_SCANS` or less than `MIN_SECONDS`."""
    return scans / seconds if scans >= MIN_SCANS and seconds >= MIN_SECONDS else None


class SlidingRate:
    """The present rate of a count of scans: over the last minute, or over the last `MIN_SCANS` if these took longer."""

    def __init__(self) -> None:
        self._count: int | None = None
        #: Moments at which the count had grown, and the count.
        self._steps: deque[tuple[float, int]] = deque()

    def restart(self) -> None:
        """Forget what was measured: what came before is no part of the next rate."""
        self._count = None
        self._steps.clear()

    def update(self, now: float, count: int) -> float | None:
        """The rate as of now; None while it is unknown.

        Args:
            now: seconds of a clock that never runs backward.
            count: scans so far. A smaller count than before is another measurement.
        """
        if self._count is None or count < self._count:
            self._steps.clear()
        elif count > self._count:
            self._steps.append((now, count))
        self._count = count
        while len(self._steps) > 1 and self._is_enough_without_first(now, count):
            self._steps.popleft()
        if not self._steps:
            return None
        since, before = self._steps[0]
        return measured_rate(count - before, now - since)

    def _is_enough_without_first(self, now: float, count: int) -> bool:
        since, before = self._steps[1]
        return now - since >= RATE_WINDOW and count - before >= MIN_SCANS
