"""Ctrl+C ends a command with what stays of its work."""

from collections.abc import Iterator
from contextlib import contextmanager

from db.errors import Stopped


@contextmanager
def stoppable(what_stays: str) -> Iterator[None]:
    """Turn Ctrl+C within into `Stopped`, which says what stays."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Stopped(what_stays) from error
