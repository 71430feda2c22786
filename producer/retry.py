"""A loop's clock, and its patience with what fails for a while."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Final

from sqlalchemy.exc import DBAPIError

from db.errors import DatabaseUnavailable, TemporaryError, UserError, WorkStopped

#: Minutes until what failed is tried again: twice as long each time, up to the last.
_AGAIN: Final = (1, 2, 4, 8, 10)
#: What a database that is away makes SQLAlchemy raise.
DATABASE_ERRORS: Final = (DBAPIError, DatabaseUnavailable)
#: What may have passed at the next try.
_PASSING: Final = (*DATABASE_ERRORS, TemporaryError, UserError)

logger = logging.getLogger(__name__)


class Clock:
    """The time, and waiting for it until somebody says stop."""

    def __init__(self) -> None:
        self._stopped = False

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """A signal handler: end whatever goes on, as a Ctrl+C would; SQL rolls back what is half done."""
        self._stopped = True
        raise WorkStopped("told to stop; what was enqueued is scored all the same")

    def now(self) -> datetime:
        """The present, in UTC."""
        return datetime.now(UTC)

    def wait(self, seconds: float) -> None:
        """Sleep.

        Raises:
            WorkStopped: somebody said stop, now or before: a library may have swallowed it.
        """
        if self._stopped:
            raise WorkStopped("told to stop; what was enqueued is scored all the same")
        time.sleep(max(0.0, seconds))


class RetryTimer:
    """When to try again what failed."""

    def __init__(self, clock: Clock, what: str) -> None:
        self._clock = clock
        self._what = what
        self._failures = 0
        self._failed_at = datetime.min.replace(tzinfo=UTC)
        self._pause = timedelta(0)

    @property
    def is_over(self) -> bool:
        """Whether it may be tried now."""
        # A clock that was set back since makes nobody wait.
        return not self._failed_at <= self._clock.now() < self._failed_at + self._pause

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Log what may pass in one sentence, and wait longer each time before `is_over` again."""
        try:
            yield
        except _PASSING as error:
            minutes = _AGAIN[min(self._failures, len(_AGAIN) - 1)]
            self._failures += 1
            self._failed_at, self._pause = self._clock.now(), timedelta(minutes=minutes)
            logger.warning("%s: %s; tried again in %d min", self._what, cause_of(error), minutes)
        else:
            self._failures = 0


def cause_of(error: Exception) -> str:
    """Why, for a log: an error's own sentence may name files, and these may name patients."""
    if isinstance(error, DATABASE_ERRORS):
        return "the database does not answer"
    if isinstance(error, UserError):
        return "its source, model or folder is refused; 'producer enqueue --dry-run' with the same flags says why"
    return "something outside does not answer"
