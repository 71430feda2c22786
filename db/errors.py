"""What can go wrong, and what follows from it.

    NightreadError
    ├── UserError                  the person's mistake: one sentence, exit 2, nothing written
    │   └── DatabaseUnavailable    the database does not answer; a running worker tries again
    ├── WorkStopped                stopped before the end: one sentence, exit 4
    ├── PermanentError             this scan can never be scored: a `rejected` row with its reason
    ├── TemporaryError             not now: the work goes back to the queue and comes again
    └── OutOfDeviceMemory          the device has no memory for one scan: its worker ends and is started again later

Anything else is a bug and stays loud.
"""

from typing import Final

EXIT_DONE: Final = 0
EXIT_USER: Final = 2
EXIT_REJECTS: Final = 3
EXIT_STOPPED: Final = 4


class NightreadError(Exception):
    """The root of every error that the program raises on purpose."""


class UserError(NightreadError):
    """A mistake that the person at the terminal can mend. Its text is the whole message."""


class DatabaseUnavailable(UserError):
    """The database does not answer. A person gets the sentence; a supervisor tries again."""


class WorkStopped(NightreadError):
    """The work was stopped before its end; what was committed stays."""


class PermanentError(NightreadError):
    """A scan that can never be scored as it is.

    Attributes:
        reason: short code, one of `db.ledger.outcomes.REASONS`, for SQL to group by.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class TemporaryError(NightreadError):
    """Something outside failed that may work again soon."""


class OutOfDeviceMemory(NightreadError):
    """The device has no memory for the model and a single scan, which is no scan's fault."""
