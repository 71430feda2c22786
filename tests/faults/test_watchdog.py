"""Workers that live and do nothing, and workers that die again and again."""

import os
import signal
import time

import psutil
import pytest

from tests.support.scenario import descendants, is_alive, load_seconds
from tests.support.world import scoring_process, wait_until

STALL_SECONDS = 12
#: Seconds for two beats, the pause after a death, the sweep, and all batches of the run.
SLACK_SECONDS = 12


@pytest.fixture
def scenario(scenario):
    scenario.world.env |= {"HASH_SCORER_SECONDS": "0.4", "CXR_STALL_SECONDS": str(STALL_SECONDS)}
    return scenario


def wait_until_killed(scenario, pid):
    """Wait until the supervisor has ended a process that is stuck, which says nothing of it by itself."""
    wait_until(
        lambda: not psutil.pid_exists(pid), 3 * STALL_SECONDS, f"the end of process {pid}\n{scenario.world.logs()}"
    )
    assert "is stuck" in scenario.world.logs()


def check_recovery(scenario, fault, since, load):
    """What waited is decided: all of it, for a stopped parent's child still ends its chunk."""
    waiting = [row[0] for row in scenario.world.rows("SELECT id FROM outcomes WHERE state = 'pending'")]
    assert waiting
    scenario.recovers(fault, since=since, stated=STALL_SECONDS + load + SLACK_SECONDS, lost=waiting)
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("whom", ["child", "parent"])
def test_a_suspended_worker_is_restarted(scenario, whom):
    """SIGSTOP of the process that scores, or of the one that takes its chunks: alive, and of no use."""
    worker = scenario.start()
    load, child = load_seconds(scenario, worker), scoring_process(worker)
    victim = child if whom == "child" else child.parent()
    victim.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    wait_until(lambda: victim.status() == psutil.STATUS_STOPPED, 5, "the standstill")
    check_recovery(scenario, f"SIGSTOP of the {whom}", stopped, load)
    if scenario.workers == 1:
        # Else a peer may have decided everything before the patience ended.
        wait_until_killed(scenario, victim.pid)


def test_a_worker_that_hangs_is_restarted(scenario, harm):
    """In its model, which never answers."""
    worker = scenario.start()
    load = load_seconds(scenario, worker)
    pid = harm("hang at score")
    check_recovery(scenario, "hang at score", time.monotonic(), load)
    wait_until_killed(scenario, pid)


def test_a_hanging_read_holds_up_no_other_scan(scenario, harm):
    """Its scan comes again, and the others do not wait for it."""
    worker = scenario.start()
    load = load_seconds(scenario, worker)
    harm("hang at read")
    check_recovery(scenario, "hang at read", time.monotonic(), load)


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_hanging_load_is_started_again(scenario, harm):
    """A driver that does not answer, once: the next load works."""
    scenario.enqueue()
    worker = scenario.worker()
    began = time.monotonic()
    pid = harm("hang at load")
    assert is_alive(psutil.Process(pid))
    hung = time.monotonic()
    scenario.recovers("hang at load", since=hung, stated=STALL_SECONDS + (hung - began) + SLACK_SECONDS)
    wait_until_killed(scenario, pid)
    assert worker.poll() is None
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_worker_that_crashes_at_every_load_ends_with_one_sentence_and_exit_4(scenario, harm):
    """SIGSEGV at every load, twenty times, ever more slowly; the run waits, and ends once the cause is mended."""
    scenario.world.env |= {"CXR_RUNTIME": "tests.support.harmful_scorer:HarmfulScorer", "HARM_AT_LOAD": "1"}
    began = time.monotonic()
    done = scenario.world.producer("run", "--csv", scenario.csv, check=False, timeout=280)
    assert done.returncode == 4, done.stderr
    assert "stopped: the worker ended: stopped: on every device 20 scoring processes in a row died" in done.stderr
    # The pauses alone.
    assert time.monotonic() - began > sum(range(1, 9))
    assert scenario.pending() == len(scenario.quiet.outcomes)
    del scenario.world.env["HARM_AT_LOAD"]
    done = scenario.world.producer("run", "--csv", scenario.csv, check=False)
    assert done.returncode == 3, done.stderr
    # The broker is asked too: somebody must own it.
    scenario.worker()
    wait_until(lambda: "loaded: " in scenario.world.logs(), 60, "a loaded model")
    scenario.check()


def test_a_worker_that_is_only_slow_is_left_alone(scenario):
    """Batches that take long, one after the other, each within the patience: nobody is restarted."""
    scenario.world.env |= {"HASH_SCORER_SECONDS": "3", "CXR_STALL_SECONDS": "15"}
    worker = scenario.start()
    before = descendants(worker)
    scenario.finish(seconds=120)
    assert all(map(is_alive, before))
    assert "is stuck" not in scenario.world.logs()
    os.kill(worker.pid, 0)
    scenario.check()
