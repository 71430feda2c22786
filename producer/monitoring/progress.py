"""Follows a run: a progress bar with rate and time left from SQL, and under it the workers of all machines."""

import signal
import time
from collections.abc import Callable, Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text
from sqlalchemy import Engine

from db.engine.session import read_transaction
from db.errors import WorkStopped
from db.ledger.runs import Progress as RunProgress
from db.ledger.runs import RunInfo, find_run
from db.ledger.runs import progress as run_progress
from producer.monitoring.workers_table import Fleet, lines_of, table_of
from producer.retry import DATABASE_ERRORS, cause_of

#: Seconds between two looks.
_INTERVAL = 0.5
#: Seconds between two reports where no terminal can be drawn on.
_PLAIN_INTERVAL = 10.0


class _RateColumn(ProgressColumn):
    """Scans a second, as measured since the run was first seen."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} scans/s" if speed else "– scans/s")


class _Bar(Progress):
    """The bar, and what stands under it."""

    below: RenderableType | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.below is not None:
            yield self.below


class _Workers:
    """The workers, under the bar or line by line."""

    def __init__(self, bar: _Bar, fleet: Fleet) -> None:
        self._bar = bar
        self._fleet = fleet
        self._say_after = time.monotonic()

    def show(self, run_id: int, now: RunProgress) -> None:
        beats = self._fleet.beats()
        if self._bar.console.is_terminal:
            self._bar.below = table_of(beats)
        elif time.monotonic() >= self._say_after:
            self._say_after = time.monotonic() + _PLAIN_INTERVAL
            for line in (f"run {run_id}: {now.pending:,} of {now.expected:,} scans pending", *lines_of(beats)):
                self._bar.console.print(line, markup=False)


def follow(
    engine: Engine, run_id: int, console: Console, *, alive: Callable[[], None], fleet: Fleet | None = None
) -> RunProgress:
    """Show a run until nothing of it is pending.

    A database that is away meanwhile is said once and waited for: the workers wait for it, too.

    Args:
        engine: the ledger.
        run_id: the run.
        console: where the bar goes.
        alive: called at every look; raises where waiting on is pointless.
        fleet: whose workers are shown too; None shows none.

    Raises:
        WorkStopped: the run was stopped, or Ctrl+C was pressed.
    """
    columns = (
        TextColumn("run {task.fields[run]}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with _Bar(*columns, console=console) as bar:
        workers = _Workers(bar, fleet) if fleet else None
        looker = RunPoller(engine, run_id, bar.console)
        now = looker.look()
        task = bar.add_task("scoring", total=now.expected, completed=now.expected - now.pending, run=run_id)
        try:
            while now.pending:
                alive()
                if workers:
                    workers.show(run_id, now)
                time.sleep(_INTERVAL)
                now = looker.look(now)
                bar.update(task, completed=now.expected - now.pending)
        except KeyboardInterrupt:
            # Told once is told: a second one must not cut short what is done on the way out.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise WorkStopped(
                f"run {run_id} has {now.pending} scans pending; the same command goes on with them"
            ) from None
    return now


def why_stopped(run: RunInfo, now: RunProgress) -> str:
    """What a person needs to know of a stopped run, as one sentence."""
    return (
        f"run {run.id}: {run.stop_reason}; {now.scored:,} scored, {now.rejected:,} rejected, {now.pending:,} pending; "
        f"once the cause is mended, 'producer resume --run {run.id}' or the same enqueue goes on"
    )


class RunPoller:
    """Asks the ledger how far a run is."""

    def __init__(self, engine: Engine, run_id: int, console: Console) -> None:
        self._engine = engine
        self._run_id = run_id
        self._console = console
        self._is_away = False

    def look(self, before: RunProgress | None = None) -> RunProgress:
        """How far it is now, or what it was before where the database does not say.

        Raises:
            WorkStopped: too much of the run cannot be scored.
        """
        try:
            with read_transaction(self._engine) as connection:
                run, now = find_run(connection, self._run_id), run_progress(connection, self._run_id)
        except DATABASE_ERRORS as error:
            if before is None:
                raise
            self._say(is_away=True, sentence=f"{cause_of(error)}; waiting for it")
            return before
        self._say(is_away=False, sentence="the database answers again")
        if run.is_stopped and now.pending:
            raise WorkStopped(why_stopped(run, now))
        return now

    def _say(self, *, is_away: bool, sentence: str) -> None:
        if is_away != self._is_away:
            self._console.print(f"run {self._run_id}: {sentence}", markup=False)
        self._is_away = is_away
