"""Who is stuck, and who is only slow, idle, dying or without a database."""

import os

from tests.support.fake_clock import Clock
from worker.supervision.liveness import Watchdog
from worker.telemetry.status_file import Seen, Status

PATIENCE = 300


class Worker:
    """A worker that is looked at once in a while."""

    def __init__(self):
        self.clock = Clock()
        self.watchdog = Watchdog(PATIENCE, self.clock)

    def look(self, seconds=2, waiting=0, parent=7, **status):
        self.clock.now += seconds
        status = Status(**{"ready": True, "pid": os.getpid(), **status})
        return self.watchdog.is_stuck(Seen(device="cpu", model="a" * 64, status=status, parent=parent), waiting)


def test_one_that_has_a_chunk_in_hand_and_decides_nothing_is_stuck():
    """Once the patience has passed since its last sign of life, and not before."""
    worker = Worker()
    assert not worker.look(scoring=True, scored=64)
    assert not worker.look(seconds=PATIENCE, scoring=True, scored=64)
    assert worker.look(scoring=True, scored=64)


def test_one_that_takes_no_chunk_though_one_waits_is_stuck():
    """Its parent hangs."""
    worker = Worker()
    worker.look(waiting=3)
    assert worker.look(seconds=PATIENCE + 1, waiting=3)


def test_one_that_loads_for_ever_is_stuck():
    worker = Worker()
    worker.look(ready=False)
    assert worker.look(seconds=PATIENCE + 1, ready=False)


def test_an_idle_one_is_never_stuck_and_work_starts_its_clock():
    worker = Worker()
    worker.look()
    assert not worker.look(seconds=7200)
    assert not worker.look(waiting=1)
    assert not worker.look(seconds=PATIENCE - 2, waiting=1)


def test_another_process_gets_all_the_time_again():
    """What was put down is not put down again before it could do anything."""
    worker = Worker()
    worker.look(scoring=True)
    assert worker.look(seconds=PATIENCE + 1, scoring=True)
    assert not worker.look(parent=8, ready=False)
    assert not worker.look(seconds=PATIENCE - 2, parent=8, ready=False)


def test_one_without_a_process_is_not_stuck():
    """It waits for its turn to be started."""
    worker = Worker()
    worker.look(parent=0, ready=False)
    assert not worker.look(seconds=PATIENCE + 1, parent=0, ready=False)


def test_chunks_that_are_handed_back_are_signs_of_life():
    """An outage of the database restarts nobody who notices it."""
    worker = Worker()
    looks = [worker.look(seconds=20, waiting=5, scoring=number % 2 == 0, chunks=number // 2) for number in range(60)]
    assert not any(looks)
