"""How fast a device's worker is, and since when it gets nowhere."""

import os
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from worker.telemetry.heartbeat import Beat
from worker.telemetry.status_file import IDLE, Seen

#: Seconds over which a rate is measured.
_WINDOW: Final = 60.0


class Throughput:
    """What one look at a worker cannot tell: it remembers those before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: Moments and how many scans were decided by then.
        self._looks: deque[tuple[float, int]] = deque()
        self._well_at = clock()

    def beat(self, worker: Seen, waiting: int) -> Beat:
        """Look again.

        Args:
            worker: as it is now.
            waiting: chunks in its model's queue.
        """
        status, now = worker.status, self._clock()
        stalled = self._stalled(now, worker, waiting)
        return Beat(
            host=socket.gethostname(),
            pid=os.getpid(),
            device=worker.device,
            model=status.name,
            model_sha12=worker.model[:12],
            state=status.state,
            decided=status.decided,
            rate=self._rate(now, status.decided),
            speed=status.speed,
            restarts=status.restarts,
            progress_age=max(0.0, time.time() - status.progress_at) if status.progress_at else None,
            stalled=stalled,
        )

    def _stalled(self, now: float, worker: Seen, waiting: int) -> float:
        """Seconds. A load is no progress: a worker that dies of each chunk loads again and again."""
        nothing_to_do = worker.status.state == IDLE and not waiting
        decided_more = bool(self._looks) and worker.status.decided != self._looks[-1][1]
        if nothing_to_do or decided_more:
            self._well_at = now
        return now - self._well_at

    def _rate(self, now: float, decided: int) -> float:
        if self._looks and decided < self._looks[-1][1]:
            # Another model's count.
            self._looks.clear()
        self._looks.append((now, decided))
        while len(self._looks) > 2 and now - self._looks[1][0] >= _WINDOW:
            self._looks.popleft()
        since, before = self._looks[0]
        return (decided - before) / (now - since) if now > since else 0.0


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
