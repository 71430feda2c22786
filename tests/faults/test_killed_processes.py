"""Processes that are killed: one that scores, a worker with all of its processes, all workers."""

import time

import psutil
import pytest

from tests.support.scenario import descendants, in_every_suite, is_alive, load_seconds, scoring_process_load_seconds
from tests.support.world import kill_tree, scoring_process, wait_until
from worker.messaging.celery_app import make_app, send_chunk
from worker.messaging.messages import Chunk, ChunkScan
from worker.settings import WorkerSettings

#: Seconds: of the scenario's workers; and what a sweep, the halving and the halves' turn in the queue may take.
VISIBILITY_SECONDS = 5
SLACK_SECONDS = 5


def outcomes_in_hand(scenario):
    """What is in hand, where a peer decides it while the victim loads again; else any decision more is the victim's."""
    return scenario.held_by_somebody() if scenario.workers > 1 else None


@pytest.fixture
def fast_scenario(scenario):
    """The scenario with batches so quick that what comes back in halves is not measured by the queue before it."""
    scenario.world.env["HASH_SCORER_SECONDS"] = "0.4"
    return scenario


def kill_all(*workers):
    """SIGKILL them with all their processes: gives the moment, once none is left."""
    processes = [process for worker in workers for process in descendants(worker)]
    for worker in workers:
        kill_tree(worker.pid)
    killed = time.monotonic()
    wait_until(lambda: not any(map(is_alive, processes)), 5, "their deaths")
    return killed


@in_every_suite
def test_a_killed_scoring_process_loses_nothing(fast_scenario):
    """SIGKILL of the process that scores, mid-chunk: another one loads the model, the chunk is back at once."""
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
    """SIGKILL of supervisor, parent and child, and of the embedded broker with them: a peer, or a new one, goes on."""
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
    """SIGKILL of everything that works at once, half-way; new workers end the run."""
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
    """SIGKILL right after a chunk's last batch is committed, of the process that scores or of its parent with it."""
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
    """Nothing is pending, and who would close the run or compute its metrics is dead: the sweep does both."""
    scenario.start()
    harm(f"kill child at the {moment}")
    died = time.monotonic()
    assert scenario.pending() == 0
    # Two looks, of which the first may have begun before.
    scenario.ends("SIGKILL before the run is closed", since=died, stated=SLACK_SECONDS)
    scenario.check()


@pytest.mark.slow
@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_chunk_from_before_a_restored_backup_gives_no_scan_the_scores_of_another(scenario):
    """Its outcome ids were given again since: the message is dropped, and SQL sends its own scans."""
    scenario.enqueue()
    waiting = scenario.world.rows(
        "SELECT o.id, s.location FROM outcomes o JOIN scans s ON s.id = o.scan_id "
        "WHERE o.state = 'pending' ORDER BY o.id"
    )
    ids, locations = zip(*waiting, strict=True)
    others = [ChunkScan(outcome_id=key, location=where) for key, where in zip(ids, reversed(locations), strict=True)]
    model = scenario.world.rows("SELECT sha256 FROM models")[0][0]
    scenario.broker.flushall()
    app = make_app(WorkerSettings(broker_url=scenario.world.env["CXR_BROKER_URL"]))
    send_chunk(app, Chunk(model=model, scans=tuple(others)))
    scenario.worker()
    scenario.finish()
    assert "another location" in scenario.world.logs()
    scenario.check()
