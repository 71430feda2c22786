"""Configures PostgreSQL: connections that notice a lost server, binary results, lock timeouts, and poolers.

A pooler in transaction mode (PgBouncer) may run each transaction in another session of the server. Prepared statements
and settings of a session are then lost, or another client's.
"""

from typing import Any, Final

from sqlalchemy import Connection, Engine, event

CONNECT_ARGS: Final = {
    # A database that was created without an encoding (SQL_ASCII) would return bytes instead of text.
    "client_encoding": "utf8",
    # An unplugged cable closes no connection: without these settings, a connection waits a quarter of an hour for its
    # answer (Linux's default `tcp_retries2`). Seconds, except for the last, which is in milliseconds.
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
_POOLED: Final = "pooled"


def configure_postgresql(engine: Engine, lock_timeout: float | None) -> None:
    """Make an engine's results binary, and its connections keep nothing in a session that a pooler may exchange.

    Args:
        engine: of a PostgreSQL database.
        lock_timeout: seconds that a transaction waits for a lock before it fails with an `OperationalError`. None: as
            the server is set.
    """
    # Imported here: it takes a tenth of a second, and SQLite does without it.
    from db.engine.binary_cursors import use_binary_results

    # In milliseconds; 0 would mean no limit.
    milliseconds = None if lock_timeout is None else max(1, round(1000 * lock_timeout))

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi: Any, record: Any) -> None:
        use_binary_results(dbapi)
        record.info[_POOLED] = _has_foreign_session(dbapi)
        if record.info[_POOLED]:
            dbapi.prepare_threshold = None
        elif milliseconds is not None:
            # Not as a connection option: the address may have options of its own.
            dbapi.execute(f"SET lock_timeout = {milliseconds}")
        dbapi.commit()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        if milliseconds is not None and is_pooled(connection):
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds}")


def is_pooled(connection: Connection) -> bool:
    """Whether a pooler lies between this connection and PostgreSQL, so that only a transaction keeps its session."""
    return bool(connection.info[_POOLED])


def _has_foreign_session(dbapi: Any) -> bool:
    """Whether the process that answers is not the one that accepted the connection.

    A pooler gives each client a process id of its own, by which the client cancels a query in whichever session it is.
    """
    (answers,) = dbapi.execute("SELECT pg_backend_pid()").fetchone()
    return bool(answers != dbapi.info.backend_pid)
