"""Heartbeats in a real broker show the live workers, and versions understand each other."""

import json
from dataclasses import asdict, replace

import pytest
import redis

from tests.support.sample_heartbeat import sample_heartbeat
from worker.messaging.celery_app import make_app
from worker.messaging.heartbeats import read_heartbeats, send_heartbeats, withdraw_heartbeats
from worker.settings import WorkerSettings

HEARTBEAT = sample_heartbeat(host="h", device="cpu", state="idle", rate=0.5)
LEDGER = "1a2b3c4d5e6f"
KEY = f"nightread.worker.{LEDGER}.h.1.0"
#: The heartbeat that a worker of an older version sends.
OLD_FORM = (
    '{"host":"h","pid":1,"device":"cpu","model":"m","model_sha12":"mmmmmmmmmmmm","state":"idle","decided":5,"rate":0.5,'
    '"speed":0.0,"restarts":0,"progress_age":null,"stalled":0.0}'
)


@pytest.fixture
def client(valkey_port):
    client = redis.Redis(port=valkey_port)
    client.flushall()
    return client


@pytest.fixture
def app(tmp_path, client, valkey_port):
    return make_app(WorkerSettings(home=tmp_path, broker_url=f"redis://127.0.0.1:{valkey_port}/0"), LEDGER)


def test_a_heartbeat_expires_unless_it_is_sent_again_and_can_be_withdrawn(app, client):
    """A lost machine is soon no longer shown, and an invalid heartbeat is skipped."""
    other = replace(HEARTBEAT, device="gpu 1")
    send_heartbeats(app, [other, HEARTBEAT])
    client.set(f"nightread.worker.{LEDGER}.old.1.0", '{"host": "old"}')
    assert read_heartbeats(app) == [HEARTBEAT, other]
    assert all(10 < client.ttl(key) <= 15 for key in client.keys(f"nightread.worker.{LEDGER}.h.*"))
    withdraw_heartbeats(app, [other, HEARTBEAT])
    assert read_heartbeats(app) == []


def test_versions_understand_each_other(app, client):
    """A heartbeat is byte for byte that of the older version, and a later version may add keys."""
    send_heartbeats(app, [HEARTBEAT])
    assert client.get(KEY).decode() == OLD_FORM
    for sent in (OLD_FORM, json.dumps(asdict(HEARTBEAT) | {"later": [1]})):
        client.set(KEY, sent)
        assert read_heartbeats(app) == [HEARTBEAT]
