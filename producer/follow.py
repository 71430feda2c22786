"""Follows a run in SQL: a progress bar with rate and time left."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text
from sqlalchemy import Engine

from db.errors import Stopped
from db.runs import Progress as RunProgress
from db.runs import progress as run_progress
from db.session import reading

#: Seconds between two looks.
_INTERVAL = 0.5


class _RateColumn(ProgressColumn):
    """Scans a second, as measured since the run was first seen."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} scans/s" if speed else "– scans/s")


def follow(engine: Engine, run_id: int, console: Console, *, alive: Callable[[], None]) -> RunProgress:
    """Show a run until nothing of it is pending.

    Args:
        engine: the ledger.
        run_id: the run.
        console: where the bar goes.
        alive: called at every look; raises where waiting on is pointless.
    """
    columns = (
        TextColumn("run {task.fields[run]}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console) as bar:
        now = _look(engine, run_id)
        task = bar.add_task("scoring", total=now.expected, completed=now.expected - now.pending, run=run_id)
        try:
            while now.pending:
                alive()
                time.sleep(_INTERVAL)
                now = _look(engine, run_id)
                bar.update(task, completed=now.expected - now.pending)
        except KeyboardInterrupt:
            raise Stopped(f"run {run_id} has {now.pending} scans pending; the same command goes on with them") from None
    return now


def _look(engine: Engine, run_id: int) -> RunProgress:
    with reading(engine) as connection:
        return run_progress(connection, run_id)
