"""What a person sees while they wait: a bar on a terminal, a line now and then elsewhere; all of it on stderr."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

#: Seconds between two lines of a plain log within an epoch.
_LINE_EVERY: Final = 30.0


@contextmanager
def stage(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show one stage of the work while it runs; gives the function to tell how many steps are done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        started = time.monotonic()
        yield lambda _: None
        say(f"{title}: {total} in {time.monotonic() - started:.0f} s")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total)
        yield lambda steps: bar.advance(task, steps)


class FitProgress:
    """A fit's epoch, step, images a second and time left: a bar on a terminal, a line every half minute elsewhere."""

    def __init__(self, *, epochs: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._epochs, self._clock = epochs, clock
        self._began = self._spoke = clock()
        self._bar: Progress | None = None

    @contextmanager
    def shown(self) -> Iterator["FitProgress"]:
        """Show it while the fit runs."""
        console = Console(stderr=True)
        if not console.is_terminal:
            yield self
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, TextColumn("{task.fields[rate]}"), console=console) as self._bar:
            self._task = self._bar.add_task("fit", total=None, rate="")
            yield self

    def step(self, *, epoch: int, step: int, steps: int, batch_size: int) -> None:
        """A step is done; all counted from 1."""
        now = self._clock()
        if step == 1:
            # The first step compiles: it says nothing of the rest.
            self._began = now
        seconds = max(now - self._began, 1e-9)
        rate = (step - 1) * batch_size / seconds
        if self._bar:
            title, pace = f"epoch {epoch}/{self._epochs}", f"{rate:.0f} images/s"
            self._bar.update(self._task, description=title, completed=step, total=steps, rate=pace)
        elif now - self._spoke >= _LINE_EVERY and step > 1:
            self._spoke = now
            to_go = (steps - step) + (self._epochs - epoch) * steps
            left = in_time(to_go * batch_size / rate)
            say(f"epoch {epoch}/{self._epochs} step {step}/{steps}: {rate:.0f} images/s, at most {left} left")


def in_time(seconds: float) -> str:
    """For people: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def in_words(figure: float | None) -> str:
    """Three decimals, or what it is when it is not a number."""
    return "undefined" if figure is None else f"{figure:.3f}"


def say(line: str) -> None:
    """One line for the person who waits."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def native_stderr_muted() -> Iterator[None]:
    """Import TensorFlow in here: its libraries greet on file descriptor 2, some lines whatever the log level."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
