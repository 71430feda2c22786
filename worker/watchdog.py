"""Tells a worker that is stuck from one that is slow: from its supervisor's looks at it alone."""

import time
from collections.abc import Callable

from worker.status import IDLE, Seen


class Watchdog:
    """One device's. `clock` gives seconds that never run backward.

    A process that dies and is replaced, a chunk that begins or ends and a decided scan are signs of life, whatever
    comes of them: an outage of the database or the broker restarts nobody who notices it.
    """

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`patience` is in seconds."""
        self._patience = patience
        self._clock = clock
        self._sign: object = None
        self._since = clock()

    def is_stuck(self, worker: Seen, waiting: int) -> bool:
        """Look again: whether it has had something to do and has given no sign of life for longer than the patience.

        Args:
            worker: as it is now.
            waiting: chunks in its model's queue.
        """
        status, now = worker.status, self._clock()
        sign = (worker.parent, status.pid, status.ready, status.scoring, status.chunks, status.decided)
        nothing_to_do = status.state == IDLE and not waiting
        if sign != self._sign or nothing_to_do or not worker.parent:
            self._sign, self._since = sign, now
        return now - self._since > self._patience
