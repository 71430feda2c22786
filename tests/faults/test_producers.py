"""Producers that run at the same time, are killed half-way, or are interrupted repeatedly."""

import json
import signal
import time
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from sqlalchemy import text

from tests.support.notification_servers import webhook
from tests.support.scenario import name_of, write_scans
from tests.support.world import wait_until, write_csv

RUNS = "SELECT count(*) FROM runs"


def run_together(scenario, *commands):
    """Start producers at the same time, and check that each exits with 0."""
    started = [scenario.world.start("producer.cli", *map(str, command)) for command in commands]
    codes = [process.wait(90) for process in started]
    assert codes == [0] * len(commands), scenario.world.logs()


def test_five_producers_at_once_on_one_csv_open_one_run(scenario):
    """All exit with 0, and no scan is registered or scored twice."""
    [scenario.worker() for _ in range(scenario.workers)]
    enqueue = ("enqueue", "--csv", scenario.csv)
    run_together(scenario, *[enqueue] * 5)
    assert scenario.world.rows(RUNS) == [(1,)]
    assert scenario.world.rows("SELECT count(*), max(revision) FROM outcomes") == [(99, 1)]
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("workers", [2], indirect=True)
def test_producers_at_once_with_different_limits_share_their_scans(scenario):
    """Each opens its own run, and a scan of several runs has one outcome."""
    [scenario.worker() for _ in range(scenario.workers)]
    limited = [("enqueue", "--csv", scenario.csv, "--limit", limit) for limit in (20, 50)]
    run_together(scenario, *limited, ("enqueue", "--csv", scenario.csv))
    assert scenario.world.rows("SELECT count(*), max(revision) FROM outcomes") == [(99, 1)]
    assert scenario.world.rows("SELECT expected FROM run_progress ORDER BY 1") == [(20,), (50,), (99,)]
    scenario.finish()
    scenario.check(run=scenario.world.rows("SELECT run_id FROM run_progress WHERE expected = 99")[0][0])


def seconds_of(command):
    started = time.monotonic()
    command()
    return time.monotonic() - started


def kill_after(scenario, seconds, *command):
    """Kill a producer `seconds` after its start, and return whether it was still running."""
    process = scenario.world.start("producer.cli", *map(str, command))
    time.sleep(seconds)
    was_there = process.poll() is None
    process.kill()
    process.wait(10)
    return was_there


def test_a_producer_that_is_killed_half_way_leaves_all_or_nothing(scenario):
    """It is killed at three random moments up to its last message; then the same command goes on."""
    usual = seconds_of(lambda: scenario.world.producer("enqueue", "--csv", scenario.csv, "--dry-run"))
    [scenario.worker() for _ in range(scenario.workers)]
    killed = 0
    for _ in range(30):
        killed += kill_after(scenario, scenario.rng.uniform(0.2, 1.0) * usual, "enqueue", "--csv", scenario.csv)
        # In one statement, because the server may still be committing for a dead client.
        tables = ", ".join(f"(SELECT count(*) FROM {table})" for table in ("runs", "run_scans", "outcomes"))
        runs, held, outcomes = scenario.world.rows(f"SELECT {tables}")[0]
        # A producer that starts after the first run's end opens another run, in which everything is already decided.
        assert (held, outcomes) == (99 * runs, 99 * min(runs, 1)), "half a run"
        if killed == 3:
            break
    assert killed == 3, "no producer was at work when it was killed"
    scenario.enqueue()
    run_together(scenario, ("resume",), ("resume",))
    scenario.finish()
    scenario.check()


def test_workers_send_what_a_producer_has_committed_and_not_sent(scenario):
    """The producer is killed between commit and sending, and no other enqueues."""
    # The broker accepts nothing until the producer is dead, which has committed its run by then.
    scenario.world.producer("model", "list")
    [scenario.worker() for _ in range(scenario.workers)]
    wait_until(lambda: scenario.world.logs().count("loaded:") == scenario.workers, 60, "loaded models")
    scenario.broker.config_set("maxmemory", "1")
    process = scenario.world.start("producer.cli", "enqueue", "--csv", str(scenario.csv))
    wait_until(lambda: scenario.world.rows(RUNS) == [(1,)], 60, "a committed run")
    process.kill()
    process.wait(10)
    assert scenario.pending() > 90
    scenario.broker.config_set("maxmemory", "0")
    scenario.recovers("producer killed between commit and sending", since=time.monotonic(), stated=10)
    scenario.finish()
    scenario.check()


def descendants_of(process):
    return psutil.Process(process.pid).children(recursive=True)


def check_afterwards(scenario):
    """Start a worker, which brings the broker's file back, and check that the broker holds no work."""
    scenario.worker()
    wait_until(lambda: "loaded:" in scenario.world.logs(), 60, "a worker and its broker")
    scenario.check()


def all_ended(processes, seconds):
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not alive


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
@pytest.mark.parametrize("workers", [1], indirect=True)
def test_a_killed_run_on_this_machine_takes_its_worker_and_broker_with_it(scenario):
    """The same command then goes on, and no lock, socket or process of the killed run stops it."""
    scenario.world.producer("model", "list")
    run = scenario.world.start("producer.cli", "run", "--csv", str(scenario.csv))
    scenario.reach(scenario.rng.uniform(0.05, 0.5))
    family = descendants_of(run)
    assert len(family) >= 4, "supervisor, celery, its child, the broker"
    run.kill()
    killed = time.monotonic()
    assert all_ended(family, 15), [process for process in family if process.is_running()]
    assert scenario.pending() > 0
    again = scenario.world.start("producer.cli", "run", "--csv", str(scenario.csv))
    scenario.recovers("producer run killed, and started again", since=killed, stated=40)
    assert again.wait(60) == 3
    check_afterwards(scenario)


@pytest.mark.parametrize("world", ["sqlite and embedded"], indirect=True)
@pytest.mark.parametrize("workers", [1], indirect=True)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_ctrl_c_once_or_more_often_ends_a_run_with_4_and_leaves_no_process_behind(scenario, times):
    """It prints one sentence and no traceback, even if Ctrl-C comes repeatedly, and the same command goes on."""
    scenario.world.producer("model", "list")
    run = scenario.world.start("producer.cli", "run", "--csv", str(scenario.csv))
    scenario.reach(scenario.rng.uniform(0.05, 0.4))
    family = descendants_of(run)
    for _ in range(times):
        run.send_signal(signal.SIGINT)
        time.sleep(scenario.rng.uniform(0.1, 0.6))
    assert run.wait(40) == 4, scenario.world.logs()
    assert "Traceback" not in scenario.world.logs()
    assert all_ended(family, 15)
    assert scenario.pending() > 0
    assert scenario.world.producer("run", "--csv", scenario.csv, check=False).returncode == 3
    check_afterwards(scenario)


@pytest.fixture
def hook(scenario):
    """A webhook that receives the summaries of the scenario's nightly producers."""
    with webhook() as server:
        scenario.world.env |= {"CXR_WEBHOOK_URL": server.url, "NO_PROXY": "127.0.0.1"}
        yield server


def summaries(hook):
    return [(told["run_id"], told["scored"], told["pending"]) for told in (json.loads(body) for *_, body in hook.taken)]


@pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
@pytest.mark.parametrize("workers", [1], indirect=True)
def test_two_loops_at_the_same_minute_open_one_run_and_send_one_summary(scenario, hook):
    """Both wait for the same moment and wake within milliseconds of it."""
    scenario.worker()
    at = datetime.now(UTC) + timedelta(seconds=90)
    night = ("nightly", "--at", f"{at:%H:%M}", "--tz", "UTC", "--csv", str(scenario.csv))
    loops = [scenario.world.start("producer.cli", *night) for _ in range(2)]
    wait_until(lambda: hook.taken, 150, f"a summary\n{scenario.world.logs()}")
    # Longer than until the next poll of either.
    time.sleep(11)
    for loop in loops:
        loop.terminate()
    assert [loop.wait(20) for loop in loops] == [0, 0]
    assert (scenario.world.rows(RUNS), summaries(hook)) == ([(1,)], [(1, 96, 0)])
    scenario.check()


def test_nights_killed_and_started_again_give_one_run_and_one_summary(scenario, hook):
    """A night is killed before it opens its run and while it follows it; then two nights finish it at once."""
    scenario.world.producer("model", "list")
    [scenario.worker() for _ in range(scenario.workers)]
    night = ("nightly", "--now", "--csv", str(scenario.csv))
    assert kill_after(scenario, scenario.rng.uniform(0.2, 1.5), *night)
    follower = scenario.world.start("producer.cli", *night)
    scenario.reach(scenario.rng.uniform(0.0, 0.3))
    follower.kill()
    assert scenario.pending() > 0
    both = [scenario.world.start("producer.cli", *night) for _ in range(2)]
    # A night that starts after the end opens a run in which nothing is due, and exits with 0; each run has one summary.
    assert {each.wait(90) for each in both} <= {0, 3}, scenario.world.logs()
    runs = scenario.world.rows(RUNS)[0][0]
    assert sorted(summaries(hook)) == [(run + 1, 96, 0) for run in range(runs)]
    assert scenario.world.rows("SELECT count(*), max(revision) FROM outcomes") == [(99, 1)]
    scenario.check()


@pytest.mark.parametrize("workers", [2], indirect=True)
def test_a_producer_beside_one_that_forgets_and_one_that_prunes(scenario, tmp_path):
    """All three exit with 0, the run is complete, and the forgotten and pruned rows are gone."""
    [scenario.worker() for _ in range(scenario.workers)]
    write_scans(tmp_path / "old" / "images", range(300, 306))
    old = write_csv(tmp_path / "old" / "sample_labels.csv", range(300, 306), name_of=name_of)
    for _ in range(2):
        scenario.world.producer("enqueue", "--csv", old, "--rescore", "--wait")
    with scenario.world.engine.begin() as connection:
        connection.execute(text("UPDATE runs SET created_at = '2026-01-01 00:00:00+00:00'"))
    forget = ("forget", "--patient", name_of(300)[:8], "--yes")
    run_together(scenario, ("enqueue", "--csv", scenario.csv), forget, ("prune", "--older-than", "1"))
    scenario.finish()
    left = (
        "SELECT count(*), min(o.revision) FROM outcomes o JOIN scans s ON s.id = o.scan_id WHERE s.image_name >= :name"
    )
    assert scenario.world.rows("SELECT count(*) FROM runs WHERE id = 1") == [(0,)]
    assert scenario.world.rows(left, name=name_of(300)) == [(3, 2)]
    scenario.check()


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_producers_beside_one_that_cancels(scenario):
    """In any order, every opened run is complete, and the next enqueue scores the cancelled scans."""
    scenario.world.env["HASH_SCORER_SECONDS"] = "1.5"
    [scenario.worker() for _ in range(scenario.workers)]
    scenario.enqueue()
    scenario.reach(scenario.rng.uniform(0.05, 0.2))
    enqueue = ("enqueue", "--csv", scenario.csv)
    run_together(scenario, enqueue, ("cancel", "--run", "1"), enqueue)
    assert scenario.world.rows("SELECT cancelled_at IS NOT NULL, pending FROM run_progress WHERE run_id = 1")[0][0]
    scenario.enqueue()
    scenario.finish()
    assert scenario.world.rows("SELECT count(*) FROM run_progress WHERE expected <> 99") == [(0,)]
    scenario.check()
