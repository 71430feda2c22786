"""What a person sees while they wait: a bar on a terminal, a line now and then elsewhere; all of it on stderr."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


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
