"""Images that hang or are slow to read do not hold up other images."""

import threading
import time

import pytest

import worker.scoring.process
from worker.scoring.process import LONE_SCAN_BUDGETS


@pytest.fixture
def delay_reads(monkeypatch):
    """Returns a function that lets `before(location)` run before each read."""
    real = worker.scoring.process.read_image

    def delay_reads(before):
        def slow(location, *version, **how):
            before(location)
            return real(location, *version, **how)

        monkeypatch.setattr(worker.scoring.process, "read_image", slow)

    return delay_reads


def test_images_that_hang_hold_up_no_other_chunk(work, delay_reads):
    """A lost share never answers, and the next chunk does not use the threads that wait for it."""
    gone = threading.Event()
    hanging = {work.scans[at].location for at in (0, 1)}
    delay_reads(lambda location: location not in hanging or gone.wait())
    assert len(work.handle(work.scans[:2])) == 2
    assert work.handle(work.scans[2:]) == []
    assert work.pending == 2
    gone.set()


def test_slow_images_come_again_in_halves_and_finally_alone(work, delay_reads):
    """No image is read within the time budget; a lone scan gets several budgets."""
    delay_reads(lambda _: time.sleep(1.5 * work.budget))
    assert LONE_SCAN_BUDGETS > 1.5
    chunks = work.handle(work.scans[:2])
    assert chunks == [[scan.outcome_id] for scan in reversed(work.scans[:2])]
    for scan in work.scans[:2]:
        assert work.handle([scan]) == []
    assert work.pending == 6 - 2
