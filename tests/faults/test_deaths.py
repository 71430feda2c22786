"""Processes that are killed: one that scores, a worker with all of its processes, all workers."""

import time

import psutil
import pytest

from tests.support.scenario import child_load_seconds, descendants, in_every_suite, is_alive, load_seconds
from tests.support.world import kill_tree, scoring_process, wait_until
from worker.messaging.celery_app import make_app, send_chunk
from worker.messaging.messages import Chunk, ChunkScan
from worker.settings import WorkerSettings

#: Seconds: of the scenario's workers; and what a sweep, the halving and the halves' turn in the queue may take.
VISIBILITY = 5
SLACK = 5


def lost_by(scenario):
    """What is in hand, where a peer decides it while the victim loads again; else any decision more is the victim's."""
    return scenario.held_by_somebody() if scenario.workers > 1 else None


@pytest.fixture
def hurried(scenario):
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
def test_a_killed_child_loses_nothing(hurried):
    """SIGKILL of the process that scores, mid-chunk: another one loads the model, the chunk is back at once."""
    worker = hurried.start()
    stated, child, lost = child_load_seconds(hurried, worker) + SLACK, scoring_process(worker), lost_by(hurried)
    child.kill()
    killed = time.monotonic()
    child.wait(5)
    assert hurried.pending() > 0
    hurried.recovers("SIGKILL of the child", since=killed, stated=stated, lost=lost)
    hurried.finish()
    hurried.check()


def test_a_killed_worker_loses_nothing(hurried):
    """SIGKILL of supervisor, parent and child, and of the embedded broker with them: a peer, or a new one, goes on."""
    worker = hurried.start()
    start, lost = load_seconds(hurried, worker), hurried.held_by_somebody()
    killed = kill_all(worker)
    assert hurried.pending() > 0
    stated = VISIBILITY + SLACK
    if hurried.workers == 1:
        hurried.worker()
        stated += start
    hurried.recovers("SIGKILL of a worker, all of it", since=killed, stated=stated, lost=lost)
    hurried.finish()
    hurried.check()


def test_all_workers_killed_lose_nothing(hurried):
    """SIGKILL of everything that works at once, half-way; new workers end the run."""
    worker = hurried.start()
    start, lost = load_seconds(hurried, worker), hurried.held_by_somebody()
    killed = kill_all(*hurried.running)
    assert hurried.pending() > 0
    for _ in range(hurried.workers):
        hurried.worker()
    stated = VISIBILITY + start + SLACK
    hurried.recovers("SIGKILL of all workers", since=killed, stated=stated, lost=lost)
    hurried.finish()
    hurried.check()


@pytest.mark.parametrize("victim", ["child", "worker"])
def test_a_death_between_commit_and_acknowledgement_scores_nothing_twice(scenario, harm, victim):
    """SIGKILL right after a chunk's last batch is committed, of the process that scores or of its parent with it."""
    worker = scenario.start()
    load, start = child_load_seconds(scenario, worker), load_seconds(scenario, worker)
    lost = lost_by(scenario)
    victims = harm(f"kill {victim} before ack")
    died = time.monotonic()
    wait_until(lambda: not psutil.pid_exists(victims), 5, "the death")
    stated = load if victim == "child" else VISIBILITY if scenario.workers > 1 else start
    scenario.recovers(f"SIGKILL of the {victim} between commit and ack", since=died, stated=stated + SLACK, lost=lost)
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("moment", ["last ack", "metrics"])
def test_a_death_between_the_last_commit_and_the_runs_end_leaves_no_open_run(scenario, harm, moment):
    """Nothing is pending, and who would close the run or compute its metrics is dead: the sweep does both."""
    scenario.start()
    harm(f"kill child at the {moment}")
    died = time.monotonic()
    assert scenario.pending() == 0
    # Two looks, of which the first may have begun before.
    scenario.ends("SIGKILL before the run is closed", since=died, stated=SLACK)
    scenario.check()


@pytest.mark.slow
@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_chunk_from_before_a_restored_backup_gives_no_scan_anothers_scores(scenario):
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
