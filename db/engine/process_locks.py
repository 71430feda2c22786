"""Locks on single scans: a worker that tries a scan alone holds a lock that ends with its process.

A message is delivered again if its worker died, or if it only outlasted its visibility timeout. The scan is to blame
only in the first case. No clock can tell the two apart, but a lock can: the system releases it whenever a process dies.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Engine, text

#: Added to every outcome id: keeps our advisory locks apart from those of other programs in the same database.
_KEY_OFFSET: Final = 0x6E72 << 48
#: A machine that lost its power closes no connection. Without these keepalives its locks would stay for two hours
#: (Linux's default `tcp_keepalive_time`).
_TRY_LOCK: Final = text(
    "SELECT pg_try_advisory_xact_lock(:key), set_config('tcp_keepalives_idle', '10', true), "
    "set_config('tcp_keepalives_interval', '5', true), set_config('tcp_keepalives_count', '3', true)"
)


class ScanLocks:
    """Locks on the scans that workers of one ledger try alone."""

    def __init__(self, engine: Engine) -> None:
        """Open the lock file, on SQLite.

        SQLite's workers share one host, so the kernel keeps their locks, on an empty file beside the database. The
        kernel releases all of them once the process closes any descriptor of that file, so this is the only one.
        """
        self._engine = engine
        self._file: int | None = None
        if engine.dialect.name == "sqlite":
            self._file = os.open(f"{engine.url.database}.claims", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)

    @contextmanager
    def hold(self, outcome_id: int) -> Iterator[bool]:
        """Hold an outcome's lock until the block or the process ends; yields False if another process holds it."""
        if self._file is None:
            # The transaction stays open without a snapshot, so it delays no vacuum. It ends at once without the lock: a
            # pooler keeps a session of the server for it.
            with self._engine.begin() as connection:
                if connection.execute(_TRY_LOCK, {"key": _KEY_OFFSET + outcome_id}).scalar_one():
                    yield True
                    return
            yield False
            return
        acquired = _try_lock_byte(self._file, outcome_id)
        try:
            yield acquired
        finally:
            if acquired:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, outcome_id)


def _try_lock_byte(file: int, offset: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
    except BlockingIOError:
        return False
    return True
