"""How the workers of all machines are shown to a person."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from producer.monitoring.workers_table import lines_of, table_of
from tests.support.sample_heartbeat import sample_heartbeat

HEARTBEAT = sample_heartbeat(model="[red]", model_sha12="a" * 12, decided=12345, progress_age=1.0, stalled=2.0)


def drawn(heartbeats):
    console = Console(file=StringIO(), force_terminal=True, width=120, color_system=None)
    console.print(table_of(heartbeats))
    return console.file.getvalue()


def test_a_table_has_a_row_per_worker_and_a_name_is_no_markup():
    """Host, device, model, state, rate and count; a model named like markup is printed as it is named."""
    shown = drawn([HEARTBEAT, replace(HEARTBEAT, device="gpu 2", model="", state="loading")])
    rows = [line.split() for line in shown.splitlines()]
    assert rows[0] == ["host", "device", "model", "state", "scans/s", "done"]
    assert rows[1] == ["reading-room", "gpu", "1", "[red]", f"({'a' * 12})", "scoring", "33.2", "12,345"]
    assert rows[2] == ["reading-room", "gpu", "2", "a" * 12, "loading", "33.2", "12,345"]


def test_a_worker_without_progress_is_marked():
    """After a minute: a slow batch may take that long."""
    assert "no progress" not in lines_of([replace(HEARTBEAT, stalled=59.0)])[0]
    assert "scoring, no progress for 90 s" in lines_of([replace(HEARTBEAT, stalled=90.0)])[0]
    assert "no progress for 90 s" in drawn([replace(HEARTBEAT, stalled=90.0)])


@pytest.mark.parametrize("show", [drawn, lambda heartbeats: lines_of(heartbeats)[0]])
def test_no_worker_and_no_answer_are_told_apart(show):
    """No worker runs, or the broker cannot be asked."""
    assert "workers: none" in show([])
    assert "the broker does not answer" in show(None)
