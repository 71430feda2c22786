"""Follows a run: a progress bar with rate and time left from SQL, and below it the workers of all machines.

The rate is that of the last minute, as each worker's is.
"""

import signal
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from sqlalchemy import Engine

from db.counted import counted
from db.engine.session import read_transaction
from db.errors import WorkStopped
from db.ledger.runs import Progress as RunProgress
from db.ledger.runs import RunInfo, find_run
from db.ledger.runs import progress as run_progress
from db.rates import SlidingRate
from producer.monitoring.workers_table import WorkerPoller, lines_of, table_of
from producer.retry import DATABASE_ERRORS, cause_of

POLL_SECONDS: Final = 0.5
#: Seconds between two reports where the output is not a terminal.
LOG_EVERY: Final = 10.0


class FollowingStopped(WorkStopped):
    """Ctrl+C was pressed while a run was followed."""


class _Bar(Progress):
    """The bar, and the workers below it."""

    below: RenderableType | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.below is not None:
            yield self.below


class _WorkersView:
    """Shows the workers, below the bar of a terminal or else in lines every `LOG_EVERY` seconds."""

    def __init__(self, bar: _Bar, poller: WorkerPoller) -> None:
        self._bar = bar
        self._poller = poller
        self._log_after = time.monotonic()

    def show(self, run_id: int, now: RunProgress, pace: str) -> None:
        heartbeats = self._poller.heartbeats()
        if self._bar.console.is_terminal:
            self._bar.below = table_of(heartbeats)
        elif time.monotonic() >= self._log_after:
            self._log_after = time.monotonic() + LOG_EVERY
            progress = f"run {run_id}: {now.pending:,} of {counted(now.expected, 'scan')} pending, {pace}"
            for line in (progress, *lines_of(heartbeats)):
                self._bar.console.print(line, markup=False)


def follow(
    engine: Engine, run_id: int, console: Console, *, alive: Callable[[], None], workers: WorkerPoller | None = None
) -> RunProgress:
    """Show a run until no scan of it is pending.

    If the database goes away meanwhile, one line says so and the command waits for it, as the workers do.

    Args:
        engine: the ledger.
        run_id: the run.
        console: where the bar is drawn.
        alive: called at every poll; raises where it is pointless to wait any longer.
        workers: shown with the run; None shows none.

    Raises:
        FollowingStopped: Ctrl+C was pressed.
        WorkStopped: the run was stopped.
    """
    rate = SlidingRate()
    with _new_bar(console) as bar:
        view = _WorkersView(bar, workers) if workers else None
        poller = RunPoller(engine, run_id, bar.console)
        now = poller.poll()
        task = bar.add_task("scoring", total=now.expected, run=run_id, pace="")
        try:
            while True:
                decided = now.expected - now.pending
                pace = _describe_pace(rate.update(time.monotonic(), decided), now.pending)
                bar.update(task, completed=decided, pace=pace)
                if not now.pending:
                    return now
                alive()
                if view:
                    view.show(run_id, now, pace)
                time.sleep(POLL_SECONDS)
                now = poller.poll(now)
        except KeyboardInterrupt:
            # A second Ctrl+C must not cut short what is done on the way out.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise FollowingStopped(how_to_continue(run_id, now)) from None


def _new_bar(console: Console) -> _Bar:
    name, pace = TextColumn("run {task.fields[run]}"), TextColumn("{task.fields[pace]}")
    return _Bar(name, BarColumn(), MofNCompleteColumn(), pace, console=console)


def _describe_pace(rate: float | None, pending: int) -> str:
    if rate is None:
        return "rate not known yet" if pending else "too short for a rate"
    left = f", {timedelta(seconds=round(pending / rate))} left" if pending else ""
    return f"{rate:.1f} scans/s in the last minute{left}"


def how_to_continue(run_id: int, now: RunProgress) -> str:
    """How many scans an interrupted command has left pending, in one sentence."""
    return f"run {run_id} has {counted(now.pending, 'scan')} pending; run the same command again to continue"


def why_stopped(run: RunInfo, now: RunProgress) -> str:
    """Why a run was stopped, how far it is, and how to continue it, in one sentence."""
    return (
        f"run {run.id}: {run.stop_reason}; {now.scored:,} scored, {now.rejected:,} rejected, {now.pending:,} pending; "
        f"correct the cause, then 'producer resume --run {run.id}' or the same enqueue continues the run"
    )


class RunPoller:
    """Asks the ledger for a run's progress."""

    def __init__(self, engine: Engine, run_id: int, console: Console) -> None:
        self._engine = engine
        self._run_id = run_id
        self._console = console
        self._is_away = False

    def poll(self, before: RunProgress | None = None) -> RunProgress:
        """The progress as of now, or `before` where the database does not answer.

        Raises:
            WorkStopped: the run was stopped, because too many of its scans failed.
        """
        try:
            with read_transaction(self._engine) as connection:
                run, now = find_run(connection, self._run_id), run_progress(connection, self._run_id)
        except DATABASE_ERRORS as error:
            if before is None:
                raise
            self._report(is_away=True, sentence=f"{cause_of(error)}; waiting for it")
            return before
        self._report(is_away=False, sentence="the database answers again")
        if run.is_stopped and now.pending:
            raise WorkStopped(why_stopped(run, now))
        return now

    def _report(self, *, is_away: bool, sentence: str) -> None:
        if is_away != self._is_away:
            self._console.print(f"run {self._run_id}: {sentence}", markup=False)
        self._is_away = is_away
