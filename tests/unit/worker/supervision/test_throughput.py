"""How fast a worker is, and how long it has stalled, over many heartbeats."""

import os

from tests.support.fake_clock import Clock
from worker.supervision.liveness import Throughput
from worker.telemetry.device_status import DeviceStatus


class Worker:
    """A worker that is measured every two seconds."""

    def __init__(self):
        self.clock = Clock()
        self.throughput = Throughput(self.clock)

    def heartbeat(self, seconds=2, waiting=0, **status):
        self.clock.now += seconds
        status = DeviceStatus(**{"device": "cpu", "model": "a" * 64, "ready": True, "pid": os.getpid(), **status})
        return self.throughput.heartbeat(status, waiting)


def test_an_idle_worker_has_no_rate_and_its_idle_time_slows_none():
    """Ten scans a second, then an hour without work, then twenty a second."""
    worker = Worker()
    busy = [worker.heartbeat(scored=20 * turn, scoring=True) for turn in range(40)]
    assert (busy[0].rate, busy[-1].rate) == (0, 10)
    assert {worker.heartbeat(scored=780).rate for _ in range(1800)} == {0}
    assert [worker.heartbeat(scored=780 + 40 * turn, scoring=True) for turn in range(1, 6)][-1].rate == 20


def test_a_worker_between_two_chunks_keeps_its_rate():
    """It holds no chunk for a moment, but more wait."""
    worker = Worker()
    for turn in range(40):
        worker.heartbeat(scored=20 * turn, scoring=True)
    assert worker.heartbeat(scored=800, waiting=3).rate == 10


def test_a_new_models_counts_begin_at_0_and_give_no_negative_rate():
    """A switch of models does not count as a loss of scans."""
    worker = Worker()
    for turn in range(40):
        worker.heartbeat(scored=20 * turn, scoring=True)
    assert worker.heartbeat(scored=0, scoring=True).rate == 0
    assert [worker.heartbeat(scored=100 * turn, scoring=True) for turn in range(1, 6)][-1].rate == 50


def test_an_idle_worker_never_stalls_and_work_starts_its_clock():
    """Hours without work are no stall; from the moment that a chunk waits or is in hand, seconds count."""
    worker = Worker()
    worker.heartbeat()
    assert worker.heartbeat(seconds=7200).stalled == 0
    assert worker.heartbeat(waiting=3).stalled == 2
    assert worker.heartbeat(scoring=True).stalled == 4
    assert worker.heartbeat(scoring=True, scored=1).stalled == 0


def test_a_worker_that_loads_again_and_again_has_stalled():
    """Each load is followed by a death before the first scan is decided: no progress, though it moves."""
    worker = Worker()
    for turn in range(10):
        heartbeat = worker.heartbeat(ready=turn % 2 == 0, scoring=turn % 2 == 0, starts=turn)
    assert heartbeat.stalled == 20


def test_rejects_are_progress():
    """A night of broken images is not a stall."""
    worker = Worker()
    worker.heartbeat(scoring=True)
    assert worker.heartbeat(scoring=True, rejected={"empty": 1}).stalled == 0
