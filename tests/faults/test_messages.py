"""Messages that are lost, come repeatedly, or come from other programs."""

import json
import time

import pytest

from tests.support.malicious_messages import NAME, chunk, dropped, harmless, message
from tests.support.scenario import descendants, ids_in, in_every_suite
from tests.support.world import wait_until


@pytest.fixture(autouse=True)
def _slow_scoring(scenario):
    # On a busy machine too, enough of the queue must be left when the fault happens.
    scenario.world.env["HASH_SCORER_SECONDS"] = "1.4"


@in_every_suite
def test_a_flushed_broker_loses_nothing(scenario):
    """After FLUSHALL the sweep sends the waiting scans again from SQL."""
    scenario.start()
    waited = scenario.queued()
    scenario.broker.flushall()
    flushed = time.monotonic()
    assert scenario.waits_for(waited), "nothing was lost"
    # Workers finish the chunks in hand (the time budget), see the loss twice, and score all of it.
    scenario.recovers("FLUSHALL", since=flushed, stated=30, lost=waited)
    scenario.finish()
    scenario.check()


@pytest.mark.parametrize("workers", [4], ids=["4 workers"], indirect=True)
def test_a_message_delivered_100_times_changes_nothing(scenario):
    """Four workers score its scans at once, and each scan is written once."""
    scenario.start()
    client = scenario.broker
    queue = scenario.queue
    [again] = client.lrange(queue, 0, 0)
    client.lpush(queue, *[again] * 100)
    sent = time.monotonic()
    assert client.llen(queue) > 90
    scenario.recovers("a message 100 times", since=sent, stated=60, lost=ids_in(json.loads(again)))
    scenario.finish()
    scenario.check()


def count_dropped(scenario):
    """How many messages were dropped for their form, without chunks that name another location than the ledger."""
    lines = [line for line in scenario.world.logs().splitlines() if "message dropped" in line]
    return sum("another location" not in line for line in lines)


def test_hostile_messages_are_dropped_and_the_run_goes_on(scenario, tmp_path):
    """No worker dies, no message comes again or is unpickled, and no log line repeats its content."""
    trap, queue, ids = tmp_path / "unpickled", scenario.queue, (scenario.world.ledger, scenario.model())
    refused, odd = dropped(*ids, trap), harmless(*ids)
    messages = scenario.rng.sample(both := [*refused.values(), *odd.values()], len(both))
    first = scenario.start()
    before, waited, sent = {process.pid for process in descendants(first)}, scenario.queued(), time.monotonic()
    for one in messages:
        # One by one, to the end that workers take from: together they exceed what a client can send in two seconds.
        scenario.broker.rpush(queue, one)
    assert scenario.waits_for(waited), "they came too late"
    scenario.recovers(f"{len(messages)} hostile messages", since=sent, stated=45, lost=waited)
    scenario.finish()
    wait_until(lambda: count_dropped(scenario) >= len(refused), 20, "a line for each")
    assert count_dropped(scenario) == len(refused)
    assert before <= {process.pid for process in descendants(first)}, "a worker died"
    assert not trap.exists()
    scenario.check()


def test_an_older_programs_messages_are_dropped_and_its_work_is_sent_again(scenario):
    """The whole queue has a version that this worker does not read, and SQL holds the work."""
    scenario.start()
    ids, client, queue = (scenario.world.ledger, scenario.model()), scenario.broker, scenario.queue
    waiting = scenario.queued()
    client.delete(queue)
    for outcome in waiting:
        client.lpush(queue, message(chunk(*ids, [[outcome, "somewhere"]], version=0)))
    changed = time.monotonic()
    assert scenario.waits_for(waiting), "nothing was lost"
    scenario.recovers("an older program's messages", since=changed, stated=30, lost=waiting)
    assert "version 0" in scenario.world.logs()
    scenario.finish()
    scenario.check()


def test_foreign_entries_among_held_messages_stop_no_worker(scenario):
    """Lost work is found and sent despite entries that are not JSON, not messages, or held by no worker."""
    scenario.start()
    client, queue = scenario.broker, scenario.queue
    waiting, [ours, *_] = scenario.queued(), client.lrange(queue, 0, 0)
    left = {"a": NAME, "b": "[" * 100_000, "c": "[1, 2, 3]", "d": json.dumps(["{}", "", queue]), "e": "{}"}
    nobodys = {"f": json.dumps([json.loads(ours), queue, queue])}
    index = scenario.unacked.replace("unacked", "unacked_index")
    client.hset(scenario.unacked, mapping=left | nobodys)
    client.zadd(index, dict.fromkeys(left, 1.0))
    client.delete(queue)
    lost = time.monotonic()
    assert scenario.waits_for(waiting), "nothing was lost"
    scenario.recovers("foreign entries among what is held", since=lost, stated=30, lost=waiting)
    scenario.finish()
    assert client.hdel(scenario.unacked, *left, *nobodys) == len(left) + len(nobodys), "what is not ours was touched"
    client.zrem(index, *left)
    scenario.check()


def test_workers_wait_while_a_key_of_another_type_replaces_the_queue(scenario):
    """Another program took the queue's name; workers survive and go on once the key is deleted."""
    worker = scenario.start()
    client, queue = scenario.broker, scenario.queue
    waiting = scenario.queued()
    client.set(queue, "taken")
    assert scenario.waits_for(waiting), "nothing was lost"
    time.sleep(scenario.rng.uniform(2, 8))
    assert worker.poll() is None
    client.delete(queue)
    scenario.recovers("a key of another type", since=time.monotonic(), stated=40, lost=waiting)
    scenario.finish()
    scenario.check()
