"""Killed processes: a scoring process, a worker with all of its processes, all workers."""

import time

import psutil
import pytest

from tests.support.scenario import descendants, in_every_suite, is_alive, load_seconds, scoring_process_load_seconds
from tests.support.world import kill_tree, scoring_process, wait_until
from worker.messaging.celery_app import make_app, send_chunk
from worker.messaging.messages import Chunk, ChunkScan
from worker.settings import WorkerSettings

#: The workers' visibility timeout in seconds, and the seconds for a sweep, the halving and the halves' turn.
VISIBILITY_SECONDS = 5
SLACK_SECONDS = 5


def outcomes_in_hand(scenario):
    """Outcomes in hand if a peer can decide them while the victim loads again; None if any further one will do."""
    return scenario.held_by_somebody() if scenario.workers > 1 else None


@pytest.fixture
def fast_scenario(scenario):
    """The scenario with quick batches, so that the queue ahead does not delay the halves of a returned chunk."""
    scenario.world.env["HASH_SCORER_SECONDS"] = "0.4"
    return scenario


def kill_all(*workers):
    """Kill these workers with all their processes, and return `time.monotonic()` at the kill once none is left."""
    processes = [process for worker in workers for process in descendants(worker)]
    for worker in workers:
        kill_tree(worker.pid)
    killed = time.monotonic()
    wait_until(lambda: not any(map(is_alive, processes)), 5, "their deaths")
    return killed


@in_every_suite
def test_a_killed_scoring_process_loses_nothing(fast_scenario):
    """After a SIGKILL in the middle of a chunk, a new process loads the model and the chunk comes back at once."""
    worker = fast_scenario.start()
    stated, child, lost = (
        scoring_process_load_seconds(fast_scenario, worker) + SLACK_SECONDS,
        scoring_process(worker),
        outcomes_in_hand(fast_scenario),
    )
    child.kill()
    killed = time.monotonic()
    child.wait(5)
    assert fast_scenario.pending() > 0
    fast_scenario.recovers("SIGKILL of the child", since=killed, stated=stated, lost=lost)
    fast_scenario.finish()
    fast_scenario.check()


def test_a_killed_worker_loses_nothing(fast_scenario):
    """A peer or a new worker goes on after SIGKILL of all of a worker's processes and its embedded broker."""
    worker = fast_scenario.start()
    start, lost = load_seconds(fast_scenario, worker), fast_scenario.held_by_somebody()
    killed = kill_all(worker)
    assert fast_scenario.pending() > 0
    stated = VISIBILITY_SECONDS + SLACK_SECONDS
    if fast_scenario.workers == 1:
        fast_scenario.worker()
        stated += start
    fast_scenario.recovers("SIGKILL of a worker, all of it", since=killed, stated=stated, lost=lost)
    fast_scenario.finish()
    fast_scenario.check()


def test_killing_all_workers_loses_nothing(fast_scenario):
    """All workers get SIGKILL in the middle of a run, and new workers finish it."""
    worker = fast_scenario.start()
    start, lost = load_seconds(fast_scenario, worker), fast_scenario.held_by_somebody()
    killed = kill_all(*fast_scenario.running)
    assert fast_scenario.pending() > 0
    for _ in range(fast_scenario.workers):
        fast_scenario.worker()
    stated = VISIBILITY_SECONDS + start + SLACK_SECONDS
    fast_scenario.recovers("SIGKILL of all workers", since=killed, stated=stated, lost=lost)
    fast_scenario.finish()
    fast_scenario.check()


@pytest.mark.parametrize("victim", ["child", "worker"])
def test_a_kill_between_commit_and_acknowledgement_scores_nothing_twice(scenario, harm, victim):
    """The scoring process, or its worker, gets SIGKILL right after the commit of a chunk's last batch."""
    worker = scenario.start()
    load, start = scoring_process_load_seconds(scenario, worker), load_seconds(scenario, worker)
    lost = outcomes_in_hand(scenario)
    victims = harm(f"kill {victim} before ack")
    died = time.monotonic()
    wait_until(lambda: not psutil.pid_exists(victims), 5, "the death")
    stated = load if victim == "child" else VISIBILITY_SECONDS if scenario.workers > 1 else start
    scenario.recovers(
        f"SIGKILL of the {victim} between commit and ack", since=died, stated=stated + SLACK_SECONDS, lost=lost
    )
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("moment", ["last ack", "metrics"])
def test_a_kill_between_the_last_commit_and_the_runs_end_leaves_no_open_run(scenario, harm, moment):
    """The sweep closes the run and computes its metrics after the process that would have done it was killed."""
    scenario.start()
    harm(f"kill child at the {moment}")
    died = time.monotonic()
    assert scenario.pending() == 0
    # Two sweeps, of which the first may have begun before.
    scenario.ends("SIGKILL before the run is closed", since=died, stated=SLACK_SECONDS)
    scenario.check()


@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_chunk_from_before_a_restored_backup_gives_no_scan_the_scores_of_another(scenario):
    """Its outcome ids now belong to other scans: the message is dropped, and workers send the pending scans."""
    scenario.enqueue()
    waiting = scenario.world.rows(
        "SELECT o.id, s.location FROM outcomes o JOIN scans s ON s.id = o.scan_id "
        "WHERE o.state = 'pending' ORDER BY o.id"
    )
    ids, locations = zip(*waiting, strict=True)
    others = [ChunkScan(outcome_id=key, location=where) for key, where in zip(ids, reversed(locations), strict=True)]
    model = scenario.world.rows("SELECT sha256 FROM models")[0][0]
    scenario.broker.flushall()
    ledger = scenario.world.ledger
    app = make_app(WorkerSettings(broker_url=scenario.world.env["CXR_BROKER_URL"]), ledger)
    send_chunk(app, Chunk(ledger=ledger, model=model, scans=tuple(others)))
    scenario.worker()
    scenario.finish()
    assert "another location" in scenario.world.logs()
    scenario.check()
