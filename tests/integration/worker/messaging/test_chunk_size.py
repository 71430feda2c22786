"""A chunk lasts for half of the time budget, and every worker gets several chunks."""

import pytest

from tests.support.sample_heartbeat import sample_heartbeat
from worker.messaging.celery_app import make_app
from worker.messaging.chunk_size import chunk_size
from worker.messaging.heartbeats import send_heartbeats, withdraw_heartbeats
from worker.settings import WorkerSettings

MODEL = "a" * 64
LEDGER = "1a2b3c4d5e6f"


def size(valkey_port, pending, *speeds, **settings):
    """The chunk size with one worker of each of these speeds."""
    url = f"redis://127.0.0.1:{valkey_port}/0"
    app = make_app(WorkerSettings(broker_url=url), LEDGER)
    heartbeats = [sample_heartbeat(pid=pid, model_sha12=MODEL[:12], speed=speed) for pid, speed in enumerate(speeds)]
    heartbeats.append(sample_heartbeat(pid=99, model_sha12="another's   ", speed=9999.0))
    send_heartbeats(app, heartbeats)
    try:
        return chunk_size(WorkerSettings(broker_url=url, **settings), app, MODEL, pending)
    finally:
        withdraw_heartbeats(app, heartbeats)


@pytest.mark.parametrize(
    ("pending", "speeds", "expected"),
    [
        (100_000, (68.0,), 512),
        (100_000, (68.0, 20.0, 68.0), 512),
        (100_000, (2000.0,), 4096),
        (100_000, (1.0,), 32),
        (100_000, (0.0,), 512),
        (100_000, (), 512),
        (2000, (68.0,), 512),
        (2000, (68.0,) * 4, 128),
        (2000, (), 128),
        (1, (68.0,), 32),
        (0, (), 32),
    ],
)
def test_the_chunk_size_follows_the_speed_of_the_models_workers(valkey_port, pending, speeds, expected):
    """It is half of 15 s at their speed, at most a quarter of a worker's share, in full batches; 512 by default."""
    assert size(valkey_port, pending, *speeds) == expected


def test_a_configured_chunk_size_is_used(valkey_port):
    """The operator's setting replaces the computed size."""
    assert size(valkey_port, 100_000, 68.0, chunk_size=7) == 7


def test_the_chunk_size_falls_back_to_512_without_a_broker():
    """A dry run needs no broker."""
    settings = WorkerSettings(broker_url="redis://127.0.0.1:1/0")
    assert chunk_size(settings, make_app(settings, LEDGER), MODEL, 100_000) == 512
