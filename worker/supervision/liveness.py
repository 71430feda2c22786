"""Measures how fast a device's worker is, how long it has stalled, and whether it is stuck."""

import os
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from worker.telemetry.device_status import IDLE, DeviceStatus, Heartbeat

#: Seconds over which a rate is measured.
RATE_WINDOW: Final = 60.0


class Throughput:
    """Rate and stall of one device, which take more than one status to tell.

    `clock` gives seconds that never run backward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: Moments, and how many scans were decided by then.
        self._history: deque[tuple[float, int]] = deque()
        self._progress_at = clock()

    def heartbeat(self, status: DeviceStatus, waiting: int) -> Heartbeat:
        """Measure, and describe the worker for the fleet.

        Args:
            status: the worker's as of now.
            waiting: chunks in its model's queue.
        """
        now = self._clock()
        stalled = self._stalled(now, status, waiting)
        return Heartbeat(
            host=socket.gethostname(),
            pid=os.getpid(),
            device=status.device,
            model=status.name,
            model_sha12=status.model[:12],
            state=status.state,
            decided=status.decided,
            rate=self._rate(now, status.decided),
            speed=status.speed,
            restarts=status.restarts,
            progress_age=max(0.0, time.time() - status.progress_at) if status.progress_at else None,
            stalled=stalled,
        )

    def _stalled(self, now: float, status: DeviceStatus, waiting: int) -> float:
        """Seconds. Loading is not progress: a worker that dies of each chunk loads again and again."""
        nothing_to_do = status.state == IDLE and not waiting
        has_decided = bool(self._history) and status.decided != self._history[-1][1]
        if nothing_to_do or has_decided:
            self._progress_at = now
        return now - self._progress_at

    def _rate(self, now: float, decided: int) -> float:
        if self._history and decided < self._history[-1][1]:
            # The count of another model.
            self._history.clear()
        self._history.append((now, decided))
        while len(self._history) > 2 and now - self._history[1][0] >= RATE_WINDOW:
            self._history.popleft()
        since, before = self._history[0]
        return (decided - before) / (now - since) if now > since else 0.0


class Watchdog:
    """Tells when one device's worker is stuck.

    A process that is replaced, a chunk that begins or ends and a decided scan are signs of life, even if nothing comes
    of them: a worker that hands chunks back because the database or the broker is away is not stuck.
    """

    def __init__(self, stall_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that never run backward."""
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._last_sign: object = None
        self._last_sign_at = clock()

    def is_stuck(self, status: DeviceStatus, waiting: int) -> bool:
        """Whether the worker has had something to do and has shown no sign of life for more than `stall_seconds`.

        Args:
            status: the worker's as of now.
            waiting: chunks in its model's queue.
        """
        now = self._clock()
        sign = (status.parent, status.pid, status.ready, status.scoring, status.chunks, status.decided)
        nothing_to_do = status.state == IDLE and not waiting
        if sign != self._last_sign or nothing_to_do or not status.parent:
            self._last_sign, self._last_sign_at = sign, now
        return now - self._last_sign_at > self._stall_seconds
