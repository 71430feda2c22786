"""SQLite as a ledger: transactions that wait for each other, and a `-wal` file that stays small."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from db.engine.sqlite_file_guard import hold_to_one_file

#: Seconds that a transaction waits for another's locks. On SQLite longer than any transaction of ours: a writer waits
#: for another instead of failing.
PATIENCE: Final = 60.0
#: Seconds between two words about a lock that is waited for.
_WORD: Final = 5.0
#: Bytes that SQLite's `-wal` file keeps once all that it holds is in the database file.
_WAL_KEPT: Final = 64 * 2**20
#: Seconds that writers may have to wait for it to be emptied.
_TRIMMING: Final = 2.0
#: A transaction marked so reads only: SQLite then takes no write lock.
READ_ONLY: Final = "nightread_read_only"

logger = logging.getLogger(__name__)


def make_a_ledger(engine: Engine, patience: float) -> None:
    """Have an engine's connections write ahead, and its transactions wait up to `patience` seconds for the lock."""

    @event.listens_for(engine, "connect")
    def _set_up(dbapi: Any, _record: object) -> None:
        # The driver's own BEGIN is deferred: a read that then writes fails at once if another wrote between.
        dbapi.isolation_level = None
        cursor = dbapi.cursor()
        for pragma in (
            f"busy_timeout = {round(1000 * patience)}",
            "journal_mode = WAL",
            f"journal_size_limit = {_WAL_KEPT}",
            "synchronous = NORMAL",
            "foreign_keys = ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get(READ_ONLY):
            connection.exec_driver_sql("BEGIN DEFERRED")
        else:
            _begin_to_write(connection, patience)

    hold_to_one_file(engine)


def _begin_to_write(connection: Connection, patience: float) -> None:
    """Wait for whoever writes, and say so: it may be another program, which nobody here can see."""
    waited = 0.0
    while True:
        wait = min(_WORD, patience - waited)
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(1000 * wait)}")
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            waited += wait
            if waited >= patience or not _is_locked(error):
                raise
            logger.warning("another program writes to the database; waited %.0f s for it so far", waited)
        else:
            return


def _is_locked(error: OperationalError) -> bool:
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def trim_wal(engine: Engine) -> bool:
    """Begin SQLite's `-wal` file anew where it has outgrown what is kept of it.

    SQLite does so by itself, but only at a moment without any reader, and where readers overlap there is none. This
    keeps new ones off for up to `_TRIMMING` seconds, until those that are there have ended. One that stays for longer
    keeps the file growing, by what is written meanwhile.

    Returns:
        Whether the file is as small as it should be.
    """
    wal = f"{engine.url.database}-wal"
    if engine.dialect.name != "sqlite" or _size(wal) <= _WAL_KEPT:
        return True
    try:
        # Below SQLAlchemy, whose connections begin a transaction first.
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute(f"PRAGMA busy_timeout = {round(1000 * _TRIMMING)}")
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        logger.warning("the database's -wal file cannot be begun anew: %s", error)
    return _size(wal) <= _WAL_KEPT


def _size(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError:
        return 0
