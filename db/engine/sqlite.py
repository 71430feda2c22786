"""Configures SQLite: write-ahead logging, transactions that wait for each other, and a `-wal` file of limited size."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from db.engine.sqlite_file_guard import guard_file

#: How long a transaction waits for another's lock by default. Longer than any transaction of ours, so that a writer
#: waits for another instead of failing.
BUSY_TIMEOUT_SECONDS: Final = 60.0
#: Interval of the warnings about a lock that a transaction waits for.
_WARN_EVERY_SECONDS: Final = 5.0
#: Size that SQLite's `-wal` file keeps once the database file holds all of its content.
_WAL_LIMIT_BYTES: Final = 64 * 2**20
#: How long writers may have to wait for a checkpoint that truncates the `-wal` file.
_CHECKPOINT_TIMEOUT_SECONDS: Final = 2.0
#: Execution option of a transaction that only reads: SQLite then takes no write lock.
READ_ONLY: Final = "nightread_read_only"

logger = logging.getLogger(__name__)


def configure_sqlite(engine: Engine, lock_timeout: float) -> None:
    """Make an engine's connections use write-ahead logging, and its transactions wait for SQLite's write lock.

    Args:
        engine: of a SQLite database.
        lock_timeout: seconds that a transaction waits before it fails with an `OperationalError`.
    """

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi: Any, _record: object) -> None:
        # The driver's own BEGIN is deferred: a transaction that reads and then writes fails at once if another
        # transaction wrote in between.
        dbapi.isolation_level = None
        cursor = dbapi.cursor()
        for pragma in (
            f"busy_timeout = {round(1000 * lock_timeout)}",
            "journal_mode = WAL",
            f"journal_size_limit = {_WAL_LIMIT_BYTES}",
            "synchronous = NORMAL",
            "foreign_keys = ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        if connection.get_execution_options().get(READ_ONLY):
            connection.exec_driver_sql("BEGIN DEFERRED")
        else:
            _begin_immediate(connection, lock_timeout)

    guard_file(engine)


def connect_read_only(file: str) -> sqlite3.Connection:
    """Open a SQLite file that exists; no statement of this connection can write.

    Raises:
        sqlite3.OperationalError: there is no such file.
    """
    return sqlite3.connect(f"{Path(file).as_uri()}?mode=ro", uri=True, check_same_thread=False)


def configure_read_only(engine: Engine) -> None:
    """Make the transactions of an engine whose connections are read-only wait, and keep it on the file of its path."""

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi: Any, _record: object) -> None:
        dbapi.isolation_level = None
        dbapi.execute(f"PRAGMA busy_timeout = {round(1000 * BUSY_TIMEOUT_SECONDS)}").close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN DEFERRED")

    guard_file(engine)


def _begin_immediate(connection: Connection, lock_timeout: float) -> None:
    """Wait for the write lock, and log the wait: the lock's holder may be a program that this one cannot see."""
    waited = 0.0
    while True:
        wait = min(_WARN_EVERY_SECONDS, lock_timeout - waited)
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(1000 * wait)}")
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            waited += wait
            if waited >= lock_timeout or not _is_locked(error):
                raise
            message = "another program is writing to the database; waited %.0f s of at most %.0f s"
            logger.warning(message, waited, lock_timeout)
        else:
            return


def _is_locked(error: OperationalError) -> bool:
    # The low byte of an extended error code is the primary one (https://sqlite.org/rescode.html).
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


@contextmanager
def unchecked_foreign_keys(connection: Connection) -> Iterator[None]:
    """Let a migration rebuild a table that others refer to: with checks, SQLite refuses to drop the former table.

    Args:
        connection: of any database; it is in no transaction before and after, as SQLite ignores the setting in one.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    # On the driver's cursor, because SQLAlchemy would begin a transaction first.
    connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        connection.connection.cursor().execute("PRAGMA foreign_keys = ON")


def trim_wal(engine: Engine) -> bool:
    """Truncate SQLite's `-wal` file if it has outgrown its limit.

    SQLite starts the file over by itself, but only at a moment without any reader, and overlapping readers leave no
    such moment. This checkpoint holds new readers back for up to `_CHECKPOINT_TIMEOUT_SECONDS` until the present ones
    have ended. If one of them stays longer, the file grows by whatever is written in the meantime.

    Returns:
        Whether the file is within its limit now.
    """
    wal = f"{engine.url.database}-wal"
    if engine.dialect.name != "sqlite" or _size(wal) <= _WAL_LIMIT_BYTES:
        return True
    try:
        # Not through a SQLAlchemy connection, which would begin a transaction first.
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute(f"PRAGMA busy_timeout = {round(1000 * _CHECKPOINT_TIMEOUT_SECONDS)}")
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        logger.warning("cannot truncate the database's -wal file (%s); it keeps growing until a later attempt", error)
    return _size(wal) <= _WAL_LIMIT_BYTES


def _size(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError:
        return 0
