"""Opens the database: SQLite as one host's ledger, PostgreSQL as a fleet's."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError

from db.engine.database_errors import first_line, hide_values
from db.engine.sqlite import PATIENCE, READ_ONLY, make_a_ledger
from db.errors import DatabaseUnavailable, UserError

_POSTGRESQL: Final = {
    # A database made without an encoding (SQL_ASCII) would give bytes where there is text.
    "client_encoding": "utf8",
    # A cable that was pulled says nothing: without these a connection waits for its answer a quarter of an hour.
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
#: Execution options of a query of many rows. None of its rows outlives its turn: a million of them would be 300 MB.
IN_TURN: Final = {"yield_per": 5_000}
_NO_ADDRESS: Final = "CXR_DATABASE_URL: not a database address (sqlite:///FILE or postgresql://...)"
_MIGRATIONS: Final = Path(__file__).parents[1] / "migrations"


def open_database(url: str, *, patience: float | None = None, must_exist: bool = False) -> Engine:
    """Connect and make sure that the tables are this program's.

    SQLite migrates itself; PostgreSQL is only checked, for a fleet's tables change when its operator says so.

    Args:
        url: SQLAlchemy's form.
        patience: see `make_engine`.
        must_exist: do not make a SQLite file where there is none: somebody has taken it away.

    Raises:
        UserError: not a database address, not reachable, or its tables are older or newer than this program.
    """
    engine = make_engine(url, patience=patience)
    if must_exist and engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).exists():
        raise DatabaseUnavailable(f"{address_of(engine)}: the database file is gone")
    if engine.dialect.name == "sqlite":
        upgrade(engine)
    else:
        _check_revision(engine)
    return engine


def make_engine(url: str, *, patience: float | None = None) -> Engine:
    """An engine whose transactions behave alike on both databases.

    Args:
        url: SQLAlchemy's form.
        patience: seconds that a transaction waits for a lock before it fails with an `OperationalError`. None is for
            people's commands: SQLite's `PATIENCE`, and PostgreSQL's own, which is without end unless its operator
            says otherwise.
    """
    parsed = _parsed(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    try:
        engine = create_engine(
            parsed,
            pool_pre_ping=not is_sqlite,
            connect_args={} if is_sqlite else _POSTGRESQL,
            # Values are names of images, and an error's text goes into logs.
            hide_parameters=True,
        )
    except ArgumentError as error:
        raise UserError(_NO_ADDRESS) from error
    if engine.dialect.name == "sqlite":
        make_a_ledger(engine, PATIENCE if patience is None else patience)
    else:
        _make_postgresql_patient(engine, patience)
        hide_values(engine)
    return engine


@contextmanager
def read_transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads; on SQLite it never waits for a writer."""
    with engine.connect().execution_options(**{READ_ONLY: True}) as connection, connection.begin():
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
    network is in between, each is a transaction.
    """
    if engine.dialect.name != "postgresql":
        yield LedgerSession(read_transaction=partial(read_transaction, engine), write_transaction=engine.begin)
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield LedgerSession(
            read_transaction=lambda: nullcontext(connection), write_transaction=lambda: nullcontext(connection)
        )


def upgrade(engine: Engine) -> None:
    """Bring the tables to this program's revision.

    Raises:
        UserError: the database is not reachable or newer than this program.
    """
    from alembic import command
    from alembic.util.exc import CommandError

    with _one_at_a_time(engine):
        try:
            # Looked at first, for a migration takes SQLite's write lock and a reader need not wait for writers.
            with read_transaction(engine) as connection:
                if _revision(connection) == newest_revision():
                    return
            with engine.connect() as connection:
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.commit()
        except CommandError as error:
            raise UserError(f"{address_of(engine)}: its tables are newer than this program ({error})") from error
        except OperationalError as error:
            raise _unreachable(engine, error) from error
        except DatabaseError as error:
            raise UserError(
                f"{address_of(engine)}: its tables cannot be brought up to date ({first_line(error)})"
            ) from error


def newest_revision() -> str:
    """The revision that this program's tables have."""
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _check_revision(engine: Engine) -> None:
    try:
        with engine.connect() as connection:
            found = _revision(connection)
    except DBAPIError as error:
        raise _unreachable(engine, error) from error
    if found != newest_revision():
        raise UserError(
            f"{address_of(engine)}: its tables are at revision {found or 'none'}, "
            f"this program needs {newest_revision()}; run 'python -m db upgrade'"
        )


def _parsed(url: str) -> URL:
    """The address; what is refused is not repeated, for it may be a password in the wrong place."""
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        raise UserError(_NO_ADDRESS) from None
    if not url.isprintable():
        raise UserError("CXR_DATABASE_URL: holds more than one line")
    if "@" in (parsed.host or ""):
        raise UserError("CXR_DATABASE_URL: an '@' in a password is written %40")
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise UserError(_NO_ADDRESS)
    return parsed


def address_of(engine: Engine) -> str:
    """Where the database is, without what may be a secret: libpq takes a password among the options, too."""
    kept = {key: value for key, value in engine.url.query.items() if key in ("host", "port")}
    return engine.url.set(query=kept).render_as_string(hide_password=True)


def _unreachable(engine: Engine, error: DBAPIError) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"{address_of(engine)}: the database does not answer ({first_line(error)})")


@contextmanager
def _one_at_a_time(engine: Engine) -> Iterator[None]:
    """Two programs that start at once must not both create the tables."""
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if not file or file == ":memory:":
        yield
        return
    try:
        Path(file).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(f"{file}.migrating", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise UserError(f"{file}: the database cannot be created here ({error.strerror})") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_postgresql_patient(engine: Engine, patience: float | None) -> None:
    if patience is None:
        return

    @event.listens_for(engine, "connect")
    def _set_up(dbapi: Any, _record: object) -> None:
        # Not among the options of the connection: an address may have its own, and poolers refuse them.
        dbapi.execute(f"SET lock_timeout = {max(1, round(1000 * patience))}")
        dbapi.commit()
