"""The errors that the program raises on purpose, and what each one causes.

    NightreadError
    ├── UserError                  the user's mistake: prints one sentence, exits with 2, writes nothing
    │   └── DatabaseUnavailable    the database does not answer; a running worker tries again
    ├── WorkStopped                the work stopped before its end: prints one sentence, exits with 4
    ├── PermanentError             the scan can never be scored: becomes a `rejected` row with its reason
    ├── TemporaryError             something outside failed: the work returns to the queue and is tried again
    └── OutOfDeviceMemory          the device cannot hold a single scan: the worker exits and is restarted later

Any other exception is a bug and is not caught.
"""

from typing import Final

EXIT_DONE: Final = 0
EXIT_USER: Final = 2
EXIT_REJECTS: Final = 3
EXIT_STOPPED: Final = 4


class NightreadError(Exception):
    """The root of every error that the program raises on purpose."""


class UserError(NightreadError):
    """A mistake that the user can correct. Its text is the whole message."""


class DatabaseUnavailable(UserError):
    """The database does not answer. A command prints the sentence and ends; a supervisor tries again."""


class WorkStopped(NightreadError):
    """The work was stopped before its end; everything that was committed stays."""


class PermanentError(NightreadError):
    """A scan whose present image can never be scored.

    Attributes:
        reason: short code, one of `db.ledger.outcomes.REASONS`, by which SQL can group.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class TemporaryError(NightreadError):
    """Something outside the program failed and may work again soon."""


class OutOfDeviceMemory(NightreadError):
    """The device's memory cannot hold the model and a single scan; the scan is not at fault."""
