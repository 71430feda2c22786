"""A run that is followed shows the workers that score it."""

import threading
from io import StringIO

import pytest
from rich.console import Console

from producer.monitoring.progress import follow
from producer.monitoring.workers_table import WorkerPoller
from tests.support.ledger import enqueue, score_all
from tests.support.sample_heartbeat import sample_heartbeat
from worker.messaging.celery_app import make_app
from worker.messaging.heartbeats import send_heartbeats
from worker.settings import WorkerSettings

HEARTBEAT = sample_heartbeat()
LEDGER = "1a2b3c4d5e6f"


@pytest.fixture
def settings(tmp_path, valkey_port):
    settings = WorkerSettings(home=tmp_path, broker_url=f"redis://127.0.0.1:{valkey_port}/0")
    send_heartbeats(make_app(settings, LEDGER), [HEARTBEAT])
    return settings


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_workers_stand_under_the_bar_of_a_terminal_and_go_with_none(engine, tmp_path, settings):
    """Host, device and rate of each are drawn with the bar, until the run has come to its end."""
    enqueue(engine, tmp_path)
    console = Console(file=StringIO(), force_terminal=True, width=120)
    decider = threading.Timer(1.5, score_all, (engine, 1))
    decider.start()
    now = follow(engine, 1, console, alive=lambda: None, workers=WorkerPoller(settings, LEDGER))
    decider.join()
    assert now.pending == 0
    drawn = console.file.getvalue()
    assert "run 1" in drawn
    assert "reading-room" in drawn
    assert "33.2" in drawn
