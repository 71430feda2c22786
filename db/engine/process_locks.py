"""Claims: who works on a lone scan says so by a lock that dies with its process.

A message that comes again has lost its worker, or has only outlasted its visibility timeout. Whether the one who had
it still lives decides whether the scan is to blame; no clock can tell, but a lock can that the system takes back at
every death.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Engine, text

#: Added to every outcome's number: other programs' advisory locks in the same database are not ours.
_CLASS: Final = 0x6E72 << 48
#: A machine that lost its power says nothing. Unless the server asks after it, its claims stay for two hours.
_LOCK: Final = text(
    "SELECT pg_try_advisory_xact_lock(:key), set_config('tcp_keepalives_idle', '10', true), "
    "set_config('tcp_keepalives_interval', '5', true), set_config('tcp_keepalives_count', '3', true)"
)


class ScanLocks:
    """Whose lone scans are in hand, among all workers of one ledger."""

    def __init__(self, engine: Engine) -> None:
        """Make ready to claim.

        SQLite is one host's: there the kernel keeps the locks, in an empty file beside the database. It lets go of all
        of them when the process closes any descriptor of that file, so there is only this one.
        """
        self._engine = engine
        self._file: int | None = None
        if engine.dialect.name == "sqlite":
            self._file = os.open(f"{engine.url.database}.claims", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)

    @contextmanager
    def hold(self, outcome_id: int) -> Iterator[bool]:
        """Hold an outcome for as long as the block lasts, and the process: gives False where another process has it."""
        if self._file is None:
            # The transaction stays open, but holds no snapshot: no vacuum waits for it.
            with self._engine.begin() as connection:
                yield bool(connection.execute(_LOCK, {"key": _CLASS + outcome_id}).scalar_one())
            return
        mine = _lock_byte(self._file, outcome_id)
        try:
            yield mine
        finally:
            if mine:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, outcome_id)


def _lock_byte(file: int, place: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except BlockingIOError:
        return False
    return True
