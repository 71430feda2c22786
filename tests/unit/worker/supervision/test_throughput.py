"""How fast a worker is, and whether it is stuck, over many looks."""

import os

from tests.support.fake_clock import Clock
from worker.supervision.liveness import Throughput
from worker.telemetry.status_file import Seen, Status


class Worker:
    """A worker that is looked at every two seconds."""

    def __init__(self):
        self.clock = Clock()
        self.pace = Throughput(self.clock)

    def look(self, seconds=2, waiting=0, **status):
        self.clock.now += seconds
        status = Status(**{"ready": True, "pid": os.getpid(), **status})
        return self.pace.beat(Seen(device="cpu", model="a" * 64, status=status, parent=0), waiting)


def test_a_rate_is_that_of_the_last_minute():
    """Ten scans a second for a minute, then none: the rate falls to 0 within a minute, not at once."""
    worker = Worker()
    beats = [worker.look(scored=20 * look, scoring=True) for look in range(40)]
    assert (beats[0].rate, beats[-1].rate) == (0, 10)
    idle = [worker.look(scored=780) for _ in range(40)]
    assert 5 < idle[10].rate < 10
    assert idle[-1].rate == 0


def test_a_new_models_counts_begin_at_0_and_give_no_negative_rate():
    """A switch of models is no loss of scans."""
    worker = Worker()
    worker.look(scored=500), worker.look(scored=600)
    assert worker.look(scored=0).rate == 0
    assert worker.look(scored=10).rate == 5


def test_an_idle_worker_is_never_stuck_and_work_starts_its_clock():
    """Hours without work are well; from the moment that a chunk waits or is in hand, seconds count."""
    worker = Worker()
    worker.look()
    assert worker.look(seconds=7200).stalled == 0
    assert worker.look(waiting=3).stalled == 2
    assert worker.look(scoring=True).stalled == 4
    assert worker.look(scoring=True, scored=1).stalled == 0


def test_a_worker_that_loads_again_and_again_is_stuck():
    """Each load is followed by a death before the first scan is decided: no progress, though it moves."""
    worker = Worker()
    for look in range(10):
        beat = worker.look(ready=look % 2 == 0, scoring=look % 2 == 0, starts=look)
    assert beat.stalled == 20


def test_rejects_are_progress():
    """A night of broken images is slow to nobody."""
    worker = Worker()
    worker.look(scoring=True)
    assert worker.look(scoring=True, rejected={"empty": 1}).stalled == 0
