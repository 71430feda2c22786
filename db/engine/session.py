"""Opens the database: SQLite for one host, PostgreSQL for many."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError

from db.engine.database_errors import first_line, hide_values
from db.engine.postgresql import CONNECT_ARGS, configure_postgresql, is_pooled
from db.engine.sqlite import (
    BUSY_TIMEOUT_SECONDS,
    READ_ONLY,
    configure_read_only,
    configure_sqlite,
    connect_read_only,
    unchecked_foreign_keys,
)
from db.errors import DatabaseUnavailable, UserError

#: Execution options of a query that returns many rows: only these few are in memory. A million would take 300 MB.
STREAMING: Final = {"yield_per": 5_000}
_INVALID_URL: Final = "CXR_DATABASE_URL: not a database address (sqlite:////FOLDER/FILE or postgresql://...)"
_MIGRATIONS: Final = Path(__file__).parents[1] / "migrations"


def open_database(url: str, *, lock_timeout: float | None = None, must_exist: bool = False) -> Engine:
    """Connect and make sure that the tables have this program's revision.

    SQLite is migrated. PostgreSQL is only checked: its operator decides when the tables of a fleet change.

    Args:
        url: in SQLAlchemy's form.
        lock_timeout: in seconds, see `make_engine`.
        must_exist: refuse a missing SQLite file instead of creating it: somebody has removed it.

    Raises:
        UserError: the address is invalid, the database is not reachable, or its tables are older or newer than this
            program.
    """
    engine = make_engine(url, lock_timeout=lock_timeout)
    if must_exist and engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).exists():
        raise DatabaseUnavailable(f"{address_of(engine)}: the database file is gone")
    if engine.dialect.name == "sqlite":
        upgrade(engine)
    else:
        _check_revision(engine)
    return engine


def open_to_read(url: str) -> Engine:
    """Connect to a database in order to read it alone: no file or table is made, migrated or changed.

    On SQLite no statement can write; on PostgreSQL none of a `read_transaction` can. The revision of the tables is not
    asked for, because a role that may read the views cannot see it.

    Raises:
        UserError: the address is invalid.
        DatabaseUnavailable: there is no such SQLite file.
    """
    parsed = _parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        return make_engine(url)
    file = str(parsed.database)
    if not Path(file).is_file():
        raise DatabaseUnavailable(
            f"{file}: there is no ledger; CXR_HOME or CXR_DATABASE_URL names it, and 'producer run' makes a new one"
        )
    engine = create_engine(parsed, creator=partial(connect_read_only, file), hide_parameters=True)
    configure_read_only(engine)
    return engine


def make_engine(url: str, *, lock_timeout: float | None = None) -> Engine:
    """Create an engine whose transactions behave alike on both databases.

    Args:
        url: in SQLAlchemy's form.
        lock_timeout: seconds that a transaction waits for a lock before it fails with an `OperationalError`. None is
            for commands that a person runs: `BUSY_TIMEOUT_SECONDS` on SQLite, the server's own setting on PostgreSQL
            (by default no limit).

    Raises:
        UserError: the address is invalid.
    """
    parsed = _parse_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    try:
        engine = create_engine(
            parsed,
            pool_pre_ping=not is_sqlite,
            connect_args={} if is_sqlite else CONNECT_ARGS,
            # Parameters hold image names, and an error's text goes into logs.
            hide_parameters=True,
        )
    except ArgumentError as error:
        raise UserError(_INVALID_URL) from error
    if engine.dialect.name == "sqlite":
        configure_sqlite(engine, BUSY_TIMEOUT_SECONDS if lock_timeout is None else lock_timeout)
    else:
        configure_postgresql(engine, lock_timeout)
        hide_values(engine)
    return engine


@contextmanager
def read_transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads, and sees one moment of the database; on SQLite it never waits for a writer."""
    options: dict[str, Any] = {READ_ONLY: True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


@dataclass(frozen=True, kw_only=True)
class LedgerSession:
    """A worker's transactions on the ledger, one after the other."""

    read_transaction: Callable[[], AbstractContextManager[Connection]]
    write_transaction: Callable[[], AbstractContextManager[Connection]]


@contextmanager
def ledger_session(engine: Engine) -> Iterator[LedgerSession]:
    """Transactions for one chunk of a worker.

    On PostgreSQL they share one connection in autocommit, so that a statement costs one round trip. On SQLite, where no
    network is in between, and through a pooler, which forgets the lock timeout between two statements, each is a
    transaction.
    """
    if engine.dialect.name != "postgresql":
        yield LedgerSession(read_transaction=partial(read_transaction, engine), write_transaction=engine.begin)
        return
    with engine.connect() as connection:
        if not is_pooled(connection):
            connection.execution_options(isolation_level="AUTOCOMMIT")
        begin = partial(_transaction, connection)
        yield LedgerSession(read_transaction=begin, write_transaction=begin)


@contextmanager
def _transaction(connection: Connection) -> Iterator[Connection]:
    with connection.begin() if is_pooled(connection) else nullcontext():
        yield connection


def upgrade(engine: Engine) -> None:
    """Migrate the tables to this program's revision.

    Raises:
        UserError: the database is not reachable or newer than this program.
    """
    with _migration_lock(engine):
        try:
            # Checked first: a migration takes SQLite's write lock, but a reader does not wait for writers.
            with read_transaction(engine) as connection:
                if _current_revision(connection) == head_revision():
                    return
            _migrate(engine)
        except OperationalError as error:
            raise _unreachable(engine, error) from error
        except DatabaseError as error:
            raise UserError(f"{address_of(engine)}: its tables cannot be migrated ({first_line(error)})") from error


def head_revision() -> str:
    """The newest revision that this program knows: Alembic's `head`, whose file has the highest number.

    Every command asks for it, and importing Alembic would take it a third of a second.
    """
    return max(path.stem.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def _alembic_config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _migrate(engine: Engine) -> None:
    from alembic import command
    from alembic.util.exc import CommandError

    config = _alembic_config()
    # Begun here, or Alembic would commit each migration on SQLite, and a failure would leave no views.
    with engine.connect() as connection, unchecked_foreign_keys(connection), connection.begin():
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise UserError(f"{address_of(engine)}: its tables are newer than this program ({error})") from error


def _current_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _check_revision(engine: Engine) -> None:
    try:
        with engine.connect() as connection:
            found = _current_revision(connection)
    except DBAPIError as error:
        raise _unreachable(engine, error) from error
    if found != head_revision():
        raise UserError(
            f"{address_of(engine)}: its tables are at revision {found or 'none'}, "
            f"this program needs {head_revision()}; run 'python -m db upgrade'"
        )


def _parse_url(url: str) -> URL:
    """Parse and check an address. The errors do not repeat it, as it may hold a password in the wrong place."""
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        raise UserError(_INVALID_URL) from None
    if not url.isprintable():
        raise UserError("CXR_DATABASE_URL: holds a line break or another control character; remove it")
    if "@" in (parsed.host or ""):
        raise UserError("CXR_DATABASE_URL: an '@' in a password must be written as %40")
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise UserError(_INVALID_URL)
    return parsed


def address_of(engine: Engine) -> str:
    """The database's address without secrets: libpq accepts a password among the query options, too."""
    kept = {key: value for key, value in engine.url.query.items() if key in ("host", "port")}
    return engine.url.set(query=kept).render_as_string(hide_password=True)


def _unreachable(engine: Engine, error: DBAPIError) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"{address_of(engine)}: the database does not answer ({first_line(error)})")


def _make_private_file(file: str) -> None:
    """Make SQLite's file if it is missing, because SQLite would let others read it. `-wal` and `-shm` get its mode."""
    # A file that exists is not opened: closing it would release the locks that SQLite holds on it in this process
    # (https://sqlite.org/howtocorrupt.html, section 2.2).
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


@contextmanager
def _migration_lock(engine: Engine) -> Iterator[None]:
    """Keep two programs that start at the same time from both creating the tables of a SQLite file."""
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if not file or file == ":memory:":
        yield
        return
    try:
        Path(file).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private_file(file)
        descriptor = os.open(f"{file}.migrating", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        cause = f"the database cannot be created here ({error.strerror})"
        raise UserError(f"{file}: {cause}; CXR_HOME or CXR_DATABASE_URL names the folder") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
