"""Workers that live and do nothing, and workers that die again and again."""

import os
import signal
import time

import psutil
import pytest

from tests.support.scenario import descendants, is_alive, load_seconds
from tests.support.world import scoring_process, wait_until

STALL = 12
#: Seconds for two beats, the pause after a death, the sweep, and all batches of the run.
SLACK = 12


@pytest.fixture
def stage(stage):
    stage.world.env |= {"HASH_SCORER_SECONDS": "0.4", "CXR_STALL_SECONDS": str(STALL)}
    return stage


def put_down(stage, pid):
    """Wait until the supervisor has ended a process that is stuck, which says nothing of it by itself."""
    wait_until(lambda: not psutil.pid_exists(pid), 3 * STALL, f"the end of process {pid}\n{stage.world.logs()}")
    assert "is stuck" in stage.world.logs()


def all_well(stage, fault, since, load):
    """What waited is decided: all of it, for a stopped parent's child still ends its chunk."""
    waiting = [row[0] for row in stage.world.rows("SELECT id FROM outcomes WHERE state = 'pending'")]
    assert waiting
    stage.recovers(fault, since=since, stated=STALL + load + SLACK, lost=waiting)
    stage.finish()
    stage.check()


@pytest.mark.parametrize("whom", ["child", "parent"])
def test_a_worker_that_stands_still_is_restarted(stage, whom):
    """SIGSTOP of the process that scores, or of the one that takes its chunks: alive, and of no use."""
    worker = stage.start()
    load, child = load_seconds(stage, worker), scoring_process(worker)
    victim = child if whom == "child" else child.parent()
    victim.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    wait_until(lambda: victim.status() == psutil.STATUS_STOPPED, 5, "the standstill")
    all_well(stage, f"SIGSTOP of the {whom}", stopped, load)
    if stage.workers == 1:
        # Else a peer may have decided everything before the patience ended.
        put_down(stage, victim.pid)


def test_a_worker_that_hangs_is_restarted(stage, harm):
    """In its model, which never answers."""
    worker = stage.start()
    load = load_seconds(stage, worker)
    pid = harm("hang at score")
    all_well(stage, "hang at score", time.monotonic(), load)
    put_down(stage, pid)


def test_a_read_that_hangs_stops_nobody(stage, harm):
    """Its scan comes again, and the others do not wait for it."""
    worker = stage.start()
    load = load_seconds(stage, worker)
    harm("hang at read")
    all_well(stage, "hang at read", time.monotonic(), load)


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_load_that_hangs_is_begun_again(stage, harm):
    """A driver that does not answer, once: the next load works."""
    stage.enqueue()
    worker = stage.worker()
    began = time.monotonic()
    pid = harm("hang at load")
    assert is_alive(psutil.Process(pid))
    hung = time.monotonic()
    stage.recovers("hang at load", since=hung, stated=STALL + (hung - began) + SLACK)
    put_down(stage, pid)
    assert worker.poll() is None
    stage.finish()
    stage.check()


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
@pytest.mark.parametrize("workers", [1], indirect=True)
def test_workers_that_only_die_end_in_one_sentence_and_exit_4(stage, harm):
    """SIGSEGV at every load, twenty times, ever more slowly; the run waits, and ends once the cause is mended."""
    stage.world.env |= {"CXR_RUNTIME": "tests.support.harmful_scorer:HarmfulScorer", "HARM_AT_LOAD": "1"}
    began = time.monotonic()
    done = stage.world.producer("run", "--csv", stage.csv, check=False, timeout=280)
    assert done.returncode == 4, done.stderr
    assert "stopped: the worker ended: stopped: on every device 20 scoring processes in a row died" in done.stderr
    # The pauses alone.
    assert time.monotonic() - began > sum(range(1, 9))
    assert stage.pending() == len(stage.quiet.outcomes)
    del stage.world.env["HARM_AT_LOAD"]
    done = stage.world.producer("run", "--csv", stage.csv, check=False)
    assert done.returncode == 3, done.stderr
    # The broker is asked too: somebody must own it.
    stage.worker()
    wait_until(lambda: "loaded: " in stage.world.logs(), 60, "a loaded model")
    stage.check()


def test_a_worker_that_is_only_slow_is_left_alone(stage):
    """Batches that take long, one after the other, each within the patience: nobody is restarted."""
    stage.world.env |= {"HASH_SCORER_SECONDS": "3", "CXR_STALL_SECONDS": "15"}
    worker = stage.start()
    before = descendants(worker)
    stage.finish(seconds=120)
    assert all(map(is_alive, before))
    assert "is stuck" not in stage.world.logs()
    os.kill(worker.pid, 0)
    stage.check()
