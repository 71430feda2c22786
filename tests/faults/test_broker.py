"""A separate broker that stops, is killed, freezes, drops its connections or has no memory."""

import time

import pytest

from tests.support.proxy import Proxy
from tests.support.scenario import load_seconds
from tests.support.world import wait_until

#: Celery reconnects after 2, 4, 6 ... seconds.
RECONNECT_SECONDS = 15

pytestmark = pytest.mark.parametrize("world", ["postgresql and separate"], indirect=True)
stop_and_kill = pytest.mark.parametrize("end", ["stop", "kill"])


@pytest.fixture(autouse=True)
def _slow_scoring(scenario):
    # On a busy machine too, enough of the queue must be left when the fault happens.
    scenario.world.env["HASH_SCORER_SECONDS"] = "1.4"


def restart(valkey, end):
    """End the server in this way, check that it ended, and start it again.

    Returns:
        `time.monotonic()` when it could answer again.
    """
    before = valkey.process
    getattr(valkey, end)()
    assert before.poll() is not None
    assert not valkey.answers
    valkey.start()
    assert valkey.process.pid != before.pid
    return time.monotonic()


@stop_and_kill
def test_idle_workers_score_again_after_a_broker_restart(scenario, valkey, end):
    """They wait for their broker and score the run that is enqueued afterwards."""
    for _ in range(scenario.workers):
        load_seconds(scenario, scenario.worker())
    restart(valkey, end)
    scenario.enqueue()
    scenario.recovers(f"broker idle, {end}", since=time.monotonic(), stated=RECONNECT_SECONDS + 5)
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_broker_restart_during_a_run_loses_nothing(scenario, valkey, end):
    """Chunks in hand are finished or come back, and waiting chunks are still there or are sent again."""
    scenario.start()
    lost = scenario.in_hand_and_next()
    back = restart(valkey, end)
    scenario.recovers(f"broker busy, {end}", since=back, stated=RECONNECT_SECONDS + 5, lost=lost)
    scenario.finish()
    scenario.check()


@stop_and_kill
def test_three_broker_restarts_in_three_seconds_lose_nothing(scenario, valkey, end):
    """Workers that have just reconnected lose their connection again."""
    scenario.start()
    lost = scenario.in_hand_and_next()
    for _ in range(3):
        began = time.monotonic()
        back = restart(valkey, end)
        time.sleep(max(0.0, began + 1 - time.monotonic()))
    scenario.recovers(f"broker three times, {end}", since=back, stated=RECONNECT_SECONDS + 10, lost=lost)
    scenario.finish()
    scenario.check()


@stop_and_kill
def test_a_producer_that_loses_its_broker_while_sending_reports_it_and_loses_nothing(scenario, valkey, end):
    """The run was committed before, so the producer exits with 0 and the workers send the missing chunks."""
    scenario.world.env |= {"CXR_CHUNK_SIZE": "1", "HASH_SCORER_SECONDS": "0.1"}
    for _ in range(scenario.workers):
        load_seconds(scenario, scenario.worker())
    log = len(scenario.world.processes)
    producer = scenario.world.start("producer.cli", "enqueue", "--csv", str(scenario.csv))
    queue, client, enough = scenario.queue, scenario.broker, scenario.rng.randrange(3, 60)
    while client.llen(queue) < enough:
        assert producer.poll() is None, "it sent everything too soon"
    valkey.freeze()
    # Frozen first, so that the producer is certainly still sending.
    assert producer.poll() is None
    if end == "stop":
        valkey.thaw()
    getattr(valkey, end)()
    assert producer.wait(30) == 0
    said = (scenario.world.home / f"log-{log}.txt").read_text()
    valkey.start()
    back = time.monotonic()
    assert scenario.broker.llen(queue) < scenario.pending(), "all was sent"
    assert "wait for 'worker start'" in said
    scenario.recovers(f"broker mid-enqueue, {end}", since=back, stated=RECONNECT_SECONDS + 5)
    scenario.finish()
    scenario.check()


def test_work_goes_on_soon_after_a_broker_was_frozen_for_90_seconds(scenario, valkey):
    """The broker answers nothing and closes no connection; the workers wait and go on by themselves."""
    scenario.start()
    lost = scenario.held_by_somebody()
    valkey.freeze()
    assert not valkey.answers
    time.sleep(90)
    assert scenario.pending() > 0
    valkey.thaw()
    scenario.recovers("broker frozen 90 s", since=time.monotonic(), stated=40, lost=[*lost, *scenario.queued()])
    scenario.finish()
    scenario.check()


def test_half_open_connections_are_noticed(scenario, valkey):
    """The network swallows everything that is sent without an error, and workers open new connections."""
    proxy = Proxy(valkey.port)
    scenario.world.env["CXR_BROKER_URL"] = f"redis://127.0.0.1:{proxy.port}/0"
    try:
        scenario.start()
        lost = [*scenario.held_by_somebody(), *scenario.queued()]
        assert proxy.swallow() >= scenario.workers
        since = time.monotonic()
        assert scenario.waits_for(lost)
        # One socket_timeout after the other for each of a worker's connections, and then the work.
        scenario.recovers("half-open connections", since=since, stated=75, lost=lost)
        scenario.finish()
        scenario.check()
    finally:
        proxy.close()


def test_workers_wait_for_a_broker_without_memory(scenario, valkey):
    """The broker refuses every write, as with a full disk or memory; workers survive and go on once it has room."""
    worker = scenario.start()
    lost = scenario.in_hand_and_next()
    client = valkey.client
    client.config_set("maxmemory", 1)
    time.sleep(scenario.rng.uniform(3, 10))
    wait_until(lambda: scenario.world.producer("resume", check=False).returncode != 0, 20, "a refused write")
    assert worker.poll() is None
    client.config_set("maxmemory", 0)
    scenario.recovers("broker without room", since=time.monotonic(), stated=40, lost=lost)
    scenario.finish()
    scenario.check()


def test_workers_try_again_while_the_broker_refuses_their_password(scenario, valkey):
    """An operator changes a password on both sides, one after the other: no worker ends, and the log says why."""
    worker = scenario.start()
    lost = scenario.in_hand_and_next()
    operator = valkey.client
    operator.config_set("requirepass", "other")
    # Connections that are open stay so; the operator's own, too.
    operator.client_kill_filter(skipme=True, _type="normal")
    wait_until(lambda: "the broker refuses this program" in scenario.world.logs(), 60, "the reason in the log")
    refused = scenario.world.producer("resume", check=False)
    assert refused.returncode == 2
    assert "Authentication required" in refused.stderr
    assert worker.poll() is None
    operator.config_set("requirepass", "")
    scenario.recovers("broker refuses the password", since=time.monotonic(), stated=40, lost=lost)
    scenario.finish()
    scenario.check()
