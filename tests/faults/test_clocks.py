"""Clocks that are wrong or are set during a run: no decision compares the times of two clocks."""

import json
import os
import re
import time

import pytest

from producer.nightly.summary import summarise
from producer.report.write import write_report
from tests.support.clocks import Clock, can_be_made
from tests.support.world import kill_tree, wait_until

HOUR_SECONDS = 3600
SEPARATE = pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
#: The visibility timeout, the interval of restoring chunks, and the time for the chunks ahead in the queue.
TAKEOVER_SECONDS = 5 + 2 + 18
#: Adds a new worker's start and everything that waits, because the chunk's halves come last.
REPLACEMENT_SECONDS = TAKEOVER_SECONDS + 35


@pytest.fixture(autouse=True)
def _slow_scoring(scenario):
    # On a busy machine too, enough of the queue must be left when the fault happens.
    scenario.world.env["HASH_SCORER_SECONDS"] = "1.4"


@pytest.fixture
def clock(tmp_path):
    if not can_be_made():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a C compiler is not available")
    return Clock(tmp_path)


def kill_worker(scenario, worker):
    """Kill a worker with all its processes, as if its machine lost power.

    Returns:
        The outcomes of the chunks in hand and of the next one, and `time.monotonic()` at the kill.
    """
    held = scenario.in_hand_and_next()
    kill_tree(worker.pid)
    assert worker.wait(10) is not None
    return held, time.monotonic()


def recovers(scenario, fault, *, since, lost):
    """Check that a peer takes the chunk over, or a new worker if there is no peer."""
    if scenario.workers == 1:
        scenario.worker()
        scenario.recovers(f"{fault}, no peer", since=since, stated=REPLACEMENT_SECONDS, lost=lost)
    else:
        scenario.recovers(fault, since=since, stated=TAKEOVER_SECONDS, lost=lost)


def count_worked_on(scenario):
    """Scans in chunks by the workers' logs, without returned ones; a scan that came twice counts twice."""
    lines = re.findall(r"chunk of (\d+) for .*, (\d+) returned", scenario.world.logs())
    return sum(int(scans) - int(handed_back) for scans, handed_back in lines)


@SEPARATE
@pytest.mark.parametrize("workers", [2], ids=["2 workers"], indirect=True)
@pytest.mark.parametrize("seconds", [120, -HOUR_SECONDS], ids=["two minutes ahead", "an hour behind"])
def test_a_worker_with_a_wrong_clock_takes_no_chunk_from_its_peers(scenario, clock, seconds):
    """The broker's clock decides which chunks are held too long; by the worker's clock all its peers' would be."""
    # No chunk takes that long, even on a busy machine.
    scenario.world.env["CXR_VISIBILITY_TIMEOUT"] = "60"
    clock.set(seconds)
    scenario.start(**clock.env)
    scenario.finish()
    # A worker may log the line after the run's end.
    wait_until(lambda: count_worked_on(scenario) >= len(scenario.quiet.outcomes), 20, "a line for every chunk")
    assert count_worked_on(scenario) == len(scenario.quiet.outcomes), "somebody's chunk was taken from its hands"
    scenario.check()


@SEPARATE
@pytest.mark.parametrize("seconds", [120, -HOUR_SECONDS], ids=["two minutes ahead", "an hour behind"])
def test_a_dead_workers_chunk_comes_back_in_time_even_if_its_clock_was_wrong(scenario, clock, seconds):
    """The error of the clock does not delay it."""
    clock.set(seconds)
    lost, since = kill_worker(scenario, scenario.start(**clock.env))
    recovers(scenario, f"death of a worker whose clock is {seconds:+} s", since=since, lost=lost)
    scenario.finish()
    scenario.check()


@SEPARATE
def test_a_dead_workers_chunk_comes_back_in_time_after_the_brokers_clock_was_set_back(scenario, clock, valkey):
    """A chunk whose delivery now lies in the future counts as delivered just now."""
    valkey.stop()
    valkey.env = clock.env
    valkey.start()
    first = scenario.start()
    before = scenario.broker.time()[0]
    assert scenario.held_by_somebody()
    clock.set(-HOUR_SECONDS)
    assert scenario.broker.time()[0] < before - HOUR_SECONDS / 2
    lost, since = kill_worker(scenario, first)
    recovers(scenario, "broker's clock an hour back, and a death", since=since, lost=lost)
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
def test_a_machine_keeps_scoring_after_its_clock_was_set_back_an_hour(scenario, clock, tmp_path):
    """Broker, workers and producer share the clock, and a worker is killed: no figure of the run is negative."""
    scenario.world.env |= clock.env
    first = scenario.start()
    clock.set(-HOUR_SECONDS)
    lost, since = kill_worker(scenario, first)
    # If the broker died with it, a peer starts the broker again.
    recovers(scenario, "a machine's clock an hour back, and a death", since=since, lost=lost)
    assert scenario.world.start("worker.cli", "health").wait(30) == 0, scenario.world.logs()
    scenario.finish()
    _check_figures(scenario, tmp_path)
    scenario.check()


def _check_figures(scenario, folder):
    status = json.loads(scenario.world.producer("status", "--json").stdout)
    assert status["pending"] == 0
    with scenario.world.engine.begin() as connection:
        summary = summarise(connection, write_report(connection, status["run_id"], folder))
    assert summary.seconds >= 0
    assert summary.scans_per_second is None or summary.scans_per_second > 0
