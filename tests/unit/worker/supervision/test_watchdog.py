"""Which worker is stuck, and which is only slow, idle, dying or without a database."""

import os

from tests.support.fake_clock import Clock
from worker.supervision.liveness import Watchdog
from worker.telemetry.device_status import DeviceStatus

STALL_SECONDS = 300


class Worker:
    """A worker that is checked once in a while."""

    def __init__(self):
        self.clock = Clock()
        self.watchdog = Watchdog(STALL_SECONDS, self.clock)

    def is_stuck(self, seconds=2, waiting=0, parent=7, **status):
        self.clock.now += seconds
        status = DeviceStatus(**{"parent": parent, "ready": True, "pid": os.getpid(), **status})
        return self.watchdog.is_stuck(status, waiting)


def test_one_that_has_a_chunk_in_hand_and_decides_nothing_is_stuck():
    """Once the time has passed since its last sign of life, and not before."""
    worker = Worker()
    assert not worker.is_stuck(scoring=True, scored=64)
    assert not worker.is_stuck(seconds=STALL_SECONDS, scoring=True, scored=64)
    assert worker.is_stuck(scoring=True, scored=64)


def test_one_that_takes_no_chunk_though_one_waits_is_stuck():
    """Its parent hangs."""
    worker = Worker()
    worker.is_stuck(waiting=3)
    assert worker.is_stuck(seconds=STALL_SECONDS + 1, waiting=3)


def test_one_that_loads_for_ever_is_stuck():
    worker = Worker()
    worker.is_stuck(ready=False)
    assert worker.is_stuck(seconds=STALL_SECONDS + 1, ready=False)


def test_an_idle_one_is_never_stuck_and_work_starts_its_clock():
    worker = Worker()
    worker.is_stuck()
    assert not worker.is_stuck(seconds=7200)
    assert not worker.is_stuck(waiting=1)
    assert not worker.is_stuck(seconds=STALL_SECONDS - 2, waiting=1)


def test_a_new_process_gets_all_the_time_again():
    """A worker that was killed is not killed again before it could do anything."""
    worker = Worker()
    worker.is_stuck(scoring=True)
    assert worker.is_stuck(seconds=STALL_SECONDS + 1, scoring=True)
    assert not worker.is_stuck(parent=8, ready=False)
    assert not worker.is_stuck(seconds=STALL_SECONDS - 2, parent=8, ready=False)


def test_one_without_a_process_is_not_stuck():
    """It waits for its turn to be started."""
    worker = Worker()
    worker.is_stuck(parent=0, ready=False)
    assert not worker.is_stuck(seconds=STALL_SECONDS + 1, parent=0, ready=False)


def test_chunks_that_are_handed_back_are_signs_of_life():
    """A worker that notices an outage of the database is not restarted for it."""
    worker = Worker()
    checks = [
        worker.is_stuck(seconds=20, waiting=5, scoring=number % 2 == 0, chunks=number // 2) for number in range(60)
    ]
    assert not any(checks)
