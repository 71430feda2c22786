"""How the workers of all machines are shown to a person."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from producer.monitoring.workers_table import WorkerPoller, lines_of, table_of
from tests.support.sample_heartbeat import sample_heartbeat
from worker.settings import WorkerSettings

HEARTBEAT = sample_heartbeat(model="[red]", model_sha12="a" * 12, decided=12345, progress_age=1.0, stalled=2.0)


def drawn(heartbeats):
    console = Console(file=StringIO(), force_terminal=True, width=120, color_system=None)
    console.print(table_of(heartbeats))
    return console.file.getvalue()


def test_a_table_has_a_row_per_worker_and_a_name_is_no_markup():
    """Host, pid, device, model, state, rate and count; a model named like markup is printed as it is named."""
    shown = drawn([HEARTBEAT, replace(HEARTBEAT, device="gpu 2", model="", state="loading")])
    rows = [line.split() for line in shown.splitlines()]
    assert " ".join(rows[0]) == "host pid device model state scans/s, last minute done since start"
    assert rows[1] == ["reading-room", "1", "gpu", "1", "[red]", f"({'a' * 12})", "scoring", "33.2", "12,345"]
    assert rows[2] == ["reading-room", "1", "gpu", "2", "a" * 12, "loading", "–", "12,345"]


def test_workers_of_one_host_and_device_are_told_apart_by_their_pid():
    """Two `worker start` on one machine without a GPU."""
    lines = lines_of([replace(HEARTBEAT, device="cpu", pid=pid) for pid in (41, 42)])
    assert [line.partition(":")[0] for line in lines] == [f"worker reading-room cpu (pid {pid})" for pid in (41, 42)]


def test_only_a_scoring_worker_has_a_rate_and_an_unknown_one_is_said_to_be():
    """An idle worker's line has none, whatever a worker of an older version sends."""
    assert "33.2 scans/s in the last minute, 12,345 done since it started" in lines_of([HEARTBEAT])[0]
    assert "scoring, rate not known yet" in lines_of([replace(HEARTBEAT, rate=0.0)])[0]
    assert "idle, 12,345 done" in lines_of([replace(HEARTBEAT, state="idle", rate=14.0)])[0]


def test_without_the_embedded_broker_no_worker_runs(tmp_path):
    """On one machine a worker owns the broker, so that its absence is no fault; another broker is missed."""
    assert WorkerPoller(WorkerSettings(home=tmp_path), "0" * 12).as_json() == []
    away = WorkerSettings(home=tmp_path, broker_url="redis://127.0.0.1:1/0")
    assert WorkerPoller(away, "0" * 12).as_json() is None


def test_a_worker_without_progress_is_marked():
    """After a minute: a slow batch may take that long."""
    assert "no progress" not in lines_of([replace(HEARTBEAT, stalled=59.0)])[0]
    assert "scoring, no progress for 90 s" in lines_of([replace(HEARTBEAT, stalled=90.0)])[0]
    assert "no progress for 90 s" in drawn([replace(HEARTBEAT, stalled=90.0)])


@pytest.mark.parametrize("show", [drawn, lambda heartbeats: lines_of(heartbeats)[0]])
def test_no_worker_and_no_answer_are_told_apart(show):
    """No worker runs, or the broker cannot be asked."""
    assert "workers: none is running" in show([])
    assert "the broker does not answer" in show(None)
