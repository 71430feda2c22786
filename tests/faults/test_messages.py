"""Messages that are lost, come often, or are none of ours."""

import json
import time

import pytest

from tests.support.malicious_messages import NAME, chunk, dropped, harmless, message
from tests.support.scenario import descendants, ids_in, in_every_suite
from tests.support.world import wait_until
from worker.messaging.messages import queue_of


@pytest.fixture(autouse=True)
def _slowly(stage):
    # Enough of the queue must be left when a fault comes, on a machine that does much else.
    stage.world.env["HASH_SCORER_SECONDS"] = "1.4"


@in_every_suite
def test_a_flushed_broker_loses_nothing(stage):
    """FLUSHALL while scans wait in the queue: SQL is the ledger, and the sweep sends them again."""
    stage.start()
    waited = stage.queued()
    stage.broker.flushall()
    flushed = time.monotonic()
    assert stage.waits_for(waited), "nothing was lost"
    # What was in hand is worked on first (the time budget), the loss seen twice, and all of it scored.
    stage.recovers("FLUSHALL", since=flushed, stated=30, lost=waited)
    stage.finish()
    stage.check()


@pytest.mark.parametrize("workers", [4], ids=["4 workers"], indirect=True)
def test_a_message_that_comes_100_times_changes_nothing(stage):
    """Its scans are scored by four workers at once, and written once."""
    stage.start()
    model, client = stage.model(), stage.broker
    queue = queue_of(model)
    [again] = client.lrange(queue, 0, 0)
    client.lpush(queue, *[again] * 100)
    sent = time.monotonic()
    assert client.llen(queue) > 90
    stage.recovers("a message 100 times", since=sent, stated=60, lost=ids_in(json.loads(again)))
    stage.finish()
    stage.check()


def dropped_lines(stage):
    """How many messages were dropped for their form; those that name another location than the ledger's are chunks."""
    lines = [line for line in stage.world.logs().splitlines() if "message dropped" in line]
    return sum("another location" not in line for line in lines)


@pytest.mark.parametrize(
    "world", ["sqlite and embedded", pytest.param("postgresql and separate", marks=pytest.mark.slow)], indirect=True
)
def test_hostile_messages_are_dropped_and_the_run_goes_on(stage, tmp_path):
    """No worker dies of one, none comes again, none is unpickled, and no line of a log repeats what it says."""
    trap, queue = tmp_path / "unpickled", queue_of(stage.model())
    refused, odd = dropped(stage.model(), trap), harmless(stage.model())
    messages = stage.rng.sample(both := [*refused.values(), *odd.values()], len(both))
    first = stage.start()
    before, waited, sent = {process.pid for process in descendants(first)}, stage.queued(), time.monotonic()
    for one in messages:
        # To the end that is taken from, one by one: together they are more than a client sends in its two seconds.
        stage.broker.rpush(queue, one)
    assert stage.waits_for(waited), "they came too late"
    stage.recovers(f"{len(messages)} hostile messages", since=sent, stated=45, lost=waited)
    stage.finish()
    wait_until(lambda: dropped_lines(stage) >= len(refused), 20, "a line for each")
    assert dropped_lines(stage) == len(refused)
    assert before <= {process.pid for process in descendants(first)}, "a worker died"
    assert not trap.exists()
    stage.check()


def test_an_older_programs_messages_are_dropped_and_its_work_is_sent_again(stage):
    """The whole queue in a form that this worker does not read: SQL holds the work."""
    stage.start()
    model, client = stage.model(), stage.broker
    waiting = stage.queued()
    client.delete(queue_of(model))
    for outcome in waiting:
        client.lpush(queue_of(model), message(chunk(model, [[outcome, "somewhere"]], version=0)))
    changed = time.monotonic()
    assert stage.waits_for(waiting), "nothing was lost"
    stage.recovers("an older program's messages", since=changed, stated=30, lost=waiting)
    assert "version 0" in stage.world.logs()
    stage.finish()
    stage.check()


def test_what_others_left_among_what_workers_hold_stops_nobody(stage):
    """Not JSON, not a message, or in nobody's hands though it looks so: lost work is found and sent all the same."""
    stage.start()
    client, queue = stage.broker, queue_of(stage.model())
    waiting, [ours, *_] = stage.queued(), client.lrange(queue, 0, 0)
    left = {"a": NAME, "b": "[" * 100_000, "c": "[1, 2, 3]", "d": json.dumps(["{}", "", queue]), "e": "{}"}
    nobodys = {"f": json.dumps([json.loads(ours), queue, queue])}
    client.hset("unacked", mapping=left | nobodys)
    client.zadd("unacked_index", dict.fromkeys(left, 1.0))
    client.delete(queue)
    lost = time.monotonic()
    assert stage.waits_for(waiting), "nothing was lost"
    stage.recovers("foreign entries among what is held", since=lost, stated=30, lost=waiting)
    stage.finish()
    assert client.hdel("unacked", *left, *nobodys) == len(left) + len(nobodys), "what is not ours was touched"
    client.zrem("unacked_index", *left)
    stage.check()


def test_a_key_of_another_type_in_the_queues_place_is_waited_out(stage):
    """Somebody else's program took the name: workers live, say so, and go on when it is gone."""
    worker = stage.start()
    client, queue = stage.broker, queue_of(stage.model())
    waiting = stage.queued()
    client.set(queue, "taken")
    assert stage.waits_for(waiting), "nothing was lost"
    time.sleep(stage.rng.uniform(2, 8))
    assert worker.poll() is None
    client.delete(queue)
    stage.recovers("a key of another type", since=time.monotonic(), stated=40, lost=waiting)
    stage.finish()
    stage.check()
