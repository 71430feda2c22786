"""Measures how fast a device's worker is, how long it has stalled, and whether it is stuck."""

import os
import socket
import time
from collections.abc import Callable

from db.rates import SlidingRate
from worker.telemetry.device_status import IDLE, DeviceStatus, Heartbeat


class Throughput:
    """Rate and stall of one device, which take more than one status to tell.

    `clock` gives seconds that never run backward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rate = SlidingRate()
        self._decided: int | None = None
        self._progress_at = clock()

    def heartbeat(self, status: DeviceStatus, waiting: int) -> Heartbeat:
        """Measure, and describe the worker for the fleet.

        Args:
            status: the worker's as of now.
            waiting: chunks in its model's queue.
        """
        now = self._clock()
        if is_unemployed := status.state == IDLE and not waiting:
            self._rate.restart()
        return Heartbeat(
            host=socket.gethostname(),
            pid=os.getpid(),
            device=status.device,
            model=status.name,
            model_sha12=status.model[:12],
            state=status.state,
            decided=status.decided,
            rate=self._rate.update(now, status.decided) or 0.0,
            speed=status.speed,
            restarts=status.restarts,
            progress_age=max(0.0, time.time() - status.progress_at) if status.progress_at else None,
            stalled=self._stalled(now, status.decided, is_unemployed=is_unemployed),
        )

    def _stalled(self, now: float, decided: int, *, is_unemployed: bool) -> float:
        """Seconds. Loading is not progress: a worker that dies of each chunk loads again and again."""
        if is_unemployed or self._decided not in (None, decided):
            self._progress_at = now
        self._decided = decided
        return now - self._progress_at


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
