"""How the workers of all machines are shown to a person."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from producer.monitoring.workers_table import lines_of, table_of
from tests.support.sample_heartbeat import sample_heartbeat

BEAT = sample_heartbeat(model="[red]", model_sha12="a" * 12, decided=12345, progress_age=1.0, stalled=2.0)


def drawn(beats):
    console = Console(file=StringIO(), force_terminal=True, width=120, color_system=None)
    console.print(table_of(beats))
    return console.file.getvalue()


def test_a_table_has_a_row_a_worker_and_names_are_names():
    """Host, device, model, state, rate and count; a model named like markup is printed as it is named."""
    shown = drawn([BEAT, replace(BEAT, device="gpu 2", model="", state="loading")])
    rows = [line.split() for line in shown.splitlines()]
    assert rows[0] == ["host", "device", "model", "state", "scans/s", "done"]
    assert rows[1] == ["reading-room", "gpu", "1", "[red]", f"({'a' * 12})", "scoring", "33.2", "12,345"]
    assert rows[2] == ["reading-room", "gpu", "2", "a" * 12, "loading", "33.2", "12,345"]


def test_a_worker_that_gets_nowhere_is_said_to():
    """After a minute: shorter waits are the ordinary pace of a slow batch."""
    assert "no progress" not in lines_of([replace(BEAT, stalled=59.0)])[0]
    assert "scoring, no progress for 90 s" in lines_of([replace(BEAT, stalled=90.0)])[0]
    assert "no progress for 90 s" in drawn([replace(BEAT, stalled=90.0)])


@pytest.mark.parametrize("show", [drawn, lambda beats: lines_of(beats)[0]])
def test_nobody_and_not_known_are_told_apart(show):
    """No worker, and a broker that cannot be asked for them."""
    assert "workers: none" in show([])
    assert "the broker does not answer" in show(None)
