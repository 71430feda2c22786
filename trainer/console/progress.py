"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

#: Seconds between two lines within an epoch, where there is no terminal.
_LOG_EVERY_SECONDS: Final = 30.0
#: The least steps and seconds that a fit's cost is measured on: the first steps find their batches ready, and a GPU may
#: return from a step before it is done.
_MEASURED_STEPS: Final = 3
_MEASURED_SECONDS: Final = 10.0


@contextmanager
def stage(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show the progress of one stage of `total` steps; yields a function that takes the number of steps just done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        started = time.monotonic()
        yield lambda _: None
        print_status(f"{title}: {total} in {time.monotonic() - started:.0f} s")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total)
        yield lambda steps: bar.advance(task, steps)


class FitProgress:
    """A fit's epoch, step, images per second and time left: a bar on a terminal, a line every half minute elsewhere."""

    def __init__(self, *, epochs: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds."""
        self._epochs, self._clock = epochs, clock
        self._epoch_started = self._last_line = clock()
        self._has_told_cost = False
        self._bar: Progress | None = None

    @contextmanager
    def live(self) -> Iterator["FitProgress"]:
        """Show the progress while the block runs."""
        console = Console(stderr=True)
        if not console.is_terminal:
            yield self
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, TextColumn("{task.fields[rate]}"), console=console) as self._bar:
            self._task = self._bar.add_task("fit", total=None, rate="")
            yield self

    def step(self, *, epoch: int, step: int, steps: int, batch_size: int) -> None:
        """Show that a step is done; epoch and step count from 1."""
        now = self._clock()
        if step == 1:
            # The first step includes compilation, so its time predicts nothing.
            self._epoch_started = now
        seconds = max(now - self._epoch_started, 1e-9)
        rate = (step - 1) * batch_size / seconds
        is_measured = step > _MEASURED_STEPS and seconds >= _MEASURED_SECONDS
        if not self._has_told_cost and (is_measured or step == steps > 1):
            self._has_told_cost, self._last_line = True, now
            _print_cost(steps * seconds / (step - 1), self._epochs - epoch + 1)
        if self._bar:
            title, speed = f"epoch {epoch}/{self._epochs}", f"{rate:.0f} images/s"
            self._bar.update(self._task, description=title, completed=step, total=steps, rate=speed)
        elif self._has_told_cost and now - self._last_line >= _LOG_EVERY_SECONDS and step > 1:
            self._last_line = now
            steps_left = (steps - step) + (self._epochs - epoch) * steps
            left = format_duration(steps_left * batch_size / rate)
            print_status(f"epoch {epoch}/{self._epochs} step {step}/{steps}: {rate:.0f} images/s, at most {left} left")


def _print_cost(epoch_seconds: float, epochs: int) -> None:
    how_long = f"{epochs} epochs at most" if epochs > 1 else "1 epoch"
    print_status(
        f"about {format_duration(epoch_seconds * epochs)} for {how_long}, {peak_memory() / 1e9:.1f} GB of memory so far"
    )


def peak_memory() -> int:
    """The most memory, in bytes, that this process has had in use; that of a GPU does not count."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def format_duration(seconds: float) -> str:
    """For people: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def format_figure(figure: float | None) -> str:
    """Three decimals; `undefined` for None."""
    return "undefined" if figure is None else f"{figure:.3f}"


def print_status(line: str) -> None:
    """Print one line to stderr."""
    print(line, file=sys.stderr, flush=True)
