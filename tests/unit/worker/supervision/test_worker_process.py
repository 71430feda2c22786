"""What a supervisor knows of a worker process, whatever its status file holds."""

import pytest

from worker.supervision.devices import Device
from worker.supervision.worker_process import WorkerProcess
from worker.telemetry.counters import ScoringCounters

MODEL = "a" * 64


@pytest.fixture
def process():
    process = WorkerProcess("1a2b3c4d5e6f", MODEL, Device(uuid=None), number=0, processes=1)
    yield process
    process.kill()


def known_to_the_supervisor(process):
    snapshot = process.snapshot
    return snapshot.device, snapshot.model, snapshot.parent


@pytest.mark.parametrize("content", [b"", b"{", b'{"device": "gpu 7", "model": "b", "parent": 7, "scored": 5}'])
def test_device_model_and_parent_are_the_supervisors_to_say(process, content):
    """Before the scoring process has written anything, and whatever it has written."""
    process._status_file.write_bytes(content)
    assert known_to_the_supervisor(process) == ("cpu", MODEL, 0)


def test_the_counts_are_those_of_the_scoring_process(process):
    counters = ScoringCounters(process._status_file, MODEL)
    counters.rejected("empty", 3)
    counters.save()
    assert process.snapshot.rejected == {"empty": 3}
    assert known_to_the_supervisor(process) == ("cpu", MODEL, 0)
