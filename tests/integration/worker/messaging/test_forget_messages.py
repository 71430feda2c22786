"""The embedded broker's messages can be removed with the traces that they leave in its file."""

import pytest
import redis

from tests.support.world import wait_until
from worker.messaging.embedded_broker import EmbeddedBroker, socket_path
from worker.settings import WorkerSettings

NAME = b"00000104_000.png"


@pytest.fixture
def settings(tmp_path, short_folder, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_folder))
    return WorkerSettings(home=tmp_path / "home")


@pytest.fixture
def broker(settings):
    """A running server that holds a message, and in its file also one that was taken."""
    broker = EmbeddedBroker(settings)
    assert broker.ensure()
    client = redis.Redis(unix_socket_path=str(socket_path(settings)))
    for message in (b"taken", b"waiting"):
        client.lpush("queue", message + NAME)
    client.rpop("queue")
    yield broker
    broker.stop()


def is_in_file(settings):
    return any(NAME in path.read_bytes() for path in (settings.home / "broker").rglob("*") if path.is_file())


def test_a_server_that_runs_forgets_messages_and_rewrites_its_file(settings, broker):
    """It goes on serving; the process that asks does not own it."""
    assert is_in_file(settings)
    EmbeddedBroker(settings).forget_messages()
    wait_until(lambda: not is_in_file(settings))
    assert redis.Redis(unix_socket_path=str(socket_path(settings))).llen("queue") == 0


def test_without_a_server_the_files_are_deleted(settings, broker):
    """One that was set aside as damaged, too; the next server starts with an empty queue."""
    broker.stop()
    (settings.home / "broker" / "appendonlydir.damaged").mkdir()
    (settings.home / "broker" / "appendonlydir.damaged" / "file").write_bytes(NAME)
    EmbeddedBroker(settings).forget_messages()
    assert not is_in_file(settings)
    assert broker.ensure()
    assert redis.Redis(unix_socket_path=str(socket_path(settings))).llen("queue") == 0


def test_where_there_was_no_broker_nothing_is_made(settings):
    """A fleet's machines have none."""
    EmbeddedBroker(settings).forget_messages()
    assert not settings.home.exists()
