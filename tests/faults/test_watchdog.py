"""Workers that are alive without progress, and workers that crash repeatedly."""

import os
import signal
import time

import psutil
import pytest

from tests.support.scenario import descendants, is_alive, load_seconds
from tests.support.world import scoring_process, wait_until

STALL_SECONDS = 12
#: Seconds for two heartbeats, the pause after a crash, the sweep, and all batches of the run.
SLACK_SECONDS = 12


@pytest.fixture
def scenario(scenario):
    scenario.world.env |= {"HASH_SCORER_SECONDS": "0.4", "CXR_STALL_SECONDS": str(STALL_SECONDS)}
    return scenario


def wait_until_killed(scenario, pid):
    """Wait until the supervisor has killed a stuck process, which logs nothing itself, and check its log line."""
    wait_until(
        lambda: not psutil.pid_exists(pid), 3 * STALL_SECONDS, f"the end of process {pid}\n{scenario.world.logs()}"
    )
    assert "is stuck" in scenario.world.logs()


def check_recovery(scenario, fault, since, load):
    """Check that every pending scan is decided, because a suspended parent's scoring process still ends its chunk."""
    waiting = [row[0] for row in scenario.world.rows("SELECT id FROM outcomes WHERE state = 'pending'")]
    assert waiting
    scenario.recovers(fault, since=since, stated=STALL_SECONDS + load + SLACK_SECONDS, lost=waiting)
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("whom", ["child", "parent"])
def test_a_suspended_worker_is_restarted(scenario, whom):
    """After SIGSTOP the scoring process, or the parent that takes its chunks, is alive but makes no progress."""
    worker = scenario.start()
    load, child = load_seconds(scenario, worker), scoring_process(worker)
    victim = child if whom == "child" else child.parent()
    victim.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    wait_until(lambda: victim.status() == psutil.STATUS_STOPPED, 5, "the standstill")
    check_recovery(scenario, f"SIGSTOP of the {whom}", stopped, load)
    if scenario.workers == 1:
        # With a peer, everything may be decided before the stall timeout.
        wait_until_killed(scenario, victim.pid)


def test_a_worker_that_hangs_is_restarted(scenario, harm):
    """Its model never returns from a batch."""
    worker = scenario.start()
    load = load_seconds(scenario, worker)
    pid = harm("hang at score")
    check_recovery(scenario, "hang at score", time.monotonic(), load)
    wait_until_killed(scenario, pid)


def test_a_hanging_read_holds_up_no_other_scan(scenario, harm):
    """Its scan comes again, and other scans do not wait for it."""
    worker = scenario.start()
    load = load_seconds(scenario, worker)
    harm("hang at read")
    check_recovery(scenario, "hang at read", time.monotonic(), load)


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_hanging_load_is_started_again(scenario, harm):
    """The driver does not answer once, and the next load works."""
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
    """After 20 SIGSEGVs with growing pauses the command stops; the run waits and ends once the cause is fixed."""
    scenario.world.env |= {"CXR_RUNTIME": "tests.support.harmful_scorer:HarmfulScorer", "HARM_AT_LOAD": "1"}
    began = time.monotonic()
    done = scenario.world.producer("run", "--csv", scenario.csv, check=False, timeout=280)
    assert done.returncode == 4, done.stderr
    assert "stopped: the worker ended: stopped: on every device 20 scoring processes in a row died" in done.stderr
    # The pauses alone take longer.
    assert time.monotonic() - began > sum(range(1, 9))
    assert scenario.pending() == len(scenario.quiet.outcomes)
    del scenario.world.env["HARM_AT_LOAD"]
    done = scenario.world.producer("run", "--csv", scenario.csv, check=False)
    assert done.returncode == 3, done.stderr
    # The checks ask the broker, so a worker must own it.
    scenario.worker()
    wait_until(lambda: "loaded: " in scenario.world.logs(), 60, "a loaded model")
    scenario.check()


def test_a_worker_that_is_only_slow_is_left_alone(scenario):
    """Each batch takes long but less than the stall timeout, and no process is restarted."""
    scenario.world.env |= {"HASH_SCORER_SECONDS": "3", "CXR_STALL_SECONDS": "15"}
    worker = scenario.start()
    before = descendants(worker)
    scenario.finish(seconds=120)
    assert all(map(is_alive, before))
    assert "is stuck" not in scenario.world.logs()
    os.kill(worker.pid, 0)
    scenario.check()
