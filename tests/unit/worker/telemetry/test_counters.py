"""The counts of the scoring process survive it, and never hinder it."""

import json
import os
import subprocess
import threading
import time

import pytest

from db.ledger.outcomes import Rejected, Scored
from worker.telemetry.counters import DECODE, READ, ScoringCounters, Stopwatch
from worker.telemetry.device_status import DeviceStatus, read_status, record_start

MODEL = "a" * 64


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "status"
    record_start(path)
    return path


def begin(path, model=MODEL):
    counters = ScoringCounters(path, model)
    counters.loaded(name="m", runtime="t", precision="float32")
    return counters


def scored(count):
    return [Scored(outcome_id=n, scores={}, content="", runtime="t", precision="float32") for n in range(count)]


def test_what_was_decided_is_in_the_file_when_its_chunk_ends(path):
    """Scored, rejected by reason, quarantined, chunks; and whether a chunk is in hand."""
    counters = begin(path)
    with counters.chunk():
        assert read_status(path).state == "scoring"
        counters.decided([*scored(3), Rejected(outcome_id=9, reason="empty", detail="")])
        counters.rejected("s3", 5)
        counters.quarantined()
    status = read_status(path)
    assert (status.scored, status.rejected, status.quarantined, status.chunks) == (3, {"empty": 1, "s3": 5}, 1, 1)
    assert (status.decided, status.state, status.pid, status.name) == (10, "idle", os.getpid(), "m")


def test_a_successor_goes_on_from_the_counts_and_is_not_loaded_yet(path):
    """Counts and seconds never fall; the state of the dead process is not that of the new one."""
    first = begin(path)
    with first.chunk(), first.stopwatch.time(READ):
        first.decided(scored(3))
    spent = read_status(path).seconds[READ]
    second = ScoringCounters(path, MODEL)
    assert (read_status(path).scored, read_status(path).state, read_status(path).restarts) == (3, "loading", 1)
    with second.chunk():
        second.decided(scored(2))
    assert (read_status(path).scored, read_status(path).chunks) == (5, 2)
    assert read_status(path).seconds[READ] >= spent > 0


def test_a_restart_counts_once_whether_supervisor_or_celery_did_it(path):
    """The supervisor's, with a new Celery parent; or Celery's own, which replaces its scoring process by itself."""
    begin(path)
    assert read_status(path).restarts == 0
    record_start(path)
    assert read_status(path).restarts == 1
    begin(path)
    assert read_status(path).restarts == 1
    begin(path)
    assert read_status(path).restarts == 2


def test_another_models_counts_are_not_taken_over(path):
    """Scans that one model scored are not the next one's."""
    counters = begin(path)
    with counters.chunk():
        counters.decided(scored(3))
    assert begin(path, "b" * 64) and read_status(path).scored == 0


def test_a_dead_process_holds_no_model(path):
    """Its file still says ready: a process that is killed cannot change it."""
    begin(path)
    child = subprocess.Popen(["true"])
    child.wait()
    path.write_text(json.dumps({**json.loads(path.read_text()), "pid": child.pid}))
    assert read_status(path).ready
    assert read_status(path).state == "loading"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"scored": "many"}'])
def test_a_damaged_file_is_an_empty_status(path, content):
    """A status is read by health checks and scrapes, which must not fall over a damaged file."""
    path.write_bytes(content)
    assert read_status(path) == DeviceStatus()


def test_a_full_disk_does_not_stop_the_scoring(path, caplog):
    """The folder is gone: it is logged, and the counting goes on."""
    counters = ScoringCounters(path.parent / "gone" / "status", MODEL)
    with counters.chunk():
        counters.decided(scored(3))
    assert "cannot write the status file" in caplog.text


def test_a_stopwatch_sums_the_seconds_of_all_threads_and_of_failures():
    """Eight threads that read at once for a moment read for eight moments; a stage that raises took its time too."""
    watch, gate, moment = Stopwatch(), threading.Barrier(9), 0.05

    def spend():
        with watch.time(READ):
            gate.wait()
            gate.wait()

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.wait()
    time.sleep(moment)
    gate.wait()
    for thread in threads:
        thread.join()
    before = watch.seconds
    assert before[READ] >= 8 * moment
    assert before[DECODE] == 0
    with pytest.raises(ValueError), watch.time(READ):
        raise ValueError
    assert watch.seconds[READ] > before[READ]
