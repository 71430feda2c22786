"""The clock of a loop, and when it tries again what has failed."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Final

from sqlalchemy.exc import DBAPIError

from db.errors import DatabaseUnavailable, TemporaryError, UserError

#: Minutes before the next try, by the number of failures so far; the last one counts for all further failures.
_RETRY_MINUTES: Final = (1, 2, 4, 8, 10)
#: What SQLAlchemy raises if the database is unavailable.
DATABASE_ERRORS: Final = (DBAPIError, DatabaseUnavailable)
#: Errors that may be gone at the next try.
_RETRIED_ERRORS: Final = (*DATABASE_ERRORS, TemporaryError, UserError)

logger = logging.getLogger(__name__)


class Clock:
    """Tells the time and sleeps, until a signal stops it."""

    def __init__(self) -> None:
        self._stopped = False

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """Handle a signal: end what is going on, as Ctrl+C would. SQL rolls back what is unfinished.

        For no other exception does psycopg cancel the query that it waits for, and the rollback would fail.
        """
        self._stopped = True
        raise KeyboardInterrupt

    def now(self) -> datetime:
        """The current time, in UTC."""
        return datetime.now(UTC)

    def wait(self, seconds: float) -> None:
        """Sleep.

        Raises:
            KeyboardInterrupt: a signal came, now or before, because a library may have swallowed the first exception.
        """
        if self._stopped:
            raise KeyboardInterrupt
        time.sleep(max(0.0, seconds))


class RetryTimer:
    """Says when to try again what failed, later after each failure."""

    def __init__(self, clock: Clock, what: str) -> None:
        """`what` names the work in the log."""
        self._clock = clock
        self._what = what
        self._failures = 0
        self._failed_at = datetime.min.replace(tzinfo=UTC)
        self._pause = timedelta(0)

    @property
    def is_due(self) -> bool:
        """Whether the work may be tried now."""
        # Also if the clock was set back since the failure.
        return not self._failed_at <= self._clock.now() < self._failed_at + self._pause

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Run the work. An error that may pass is logged in one sentence, and the work is due again after a pause."""
        try:
            yield
        except _RETRIED_ERRORS as error:
            minutes = _RETRY_MINUTES[min(self._failures, len(_RETRY_MINUTES) - 1)]
            self._failures += 1
            self._failed_at, self._pause = self._clock.now(), timedelta(minutes=minutes)
            logger.warning("%s: %s; trying again in %d min", self._what, cause_of(error), minutes)
        else:
            self._failures = 0


def cause_of(error: Exception) -> str:
    """The cause in words for a log. An error's own sentence may name files, and these may name patients."""
    if isinstance(error, DATABASE_ERRORS):
        return "the database does not answer"
    if isinstance(error, UserError):
        return "the source, model or folder was refused; 'producer enqueue --dry-run' with the same flags says why"
    return "a service does not answer"
