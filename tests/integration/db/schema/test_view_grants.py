"""On a real PostgreSQL, an analyst's role can read the views and nothing else."""

import contextlib
import sqlite3
import uuid

import pytest
from alembic import command
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from db.__main__ import main
from db.engine.session import _alembic_config, make_engine, open_database, upgrade
from db.errors import UserError
from db.ledger.reviews import BAD_IMAGE, add_review
from db.schema.tables import Base
from db.schema.view_grants import grant_read
from db.schema.views import VIEWS
from tests.support.ledger import enqueue, score_all


@pytest.fixture
def ledger(new_postgres, tmp_path):
    """The address of a PostgreSQL database with a finished run, and a row in every view."""
    engine = make_engine(new_postgres)
    upgrade(engine)
    run, _ = enqueue(engine, tmp_path)
    score_all(engine, run)
    about = {"finding": None, "threshold": None, "comment": None, "reviewer": "ada"}
    with engine.begin() as connection:
        add_review(connection, run_id=run, scan_id=1, verdict=BAD_IMAGE, **about)
    yield new_postgres
    engine.dispose()


@pytest.fixture
def role(new_postgres):
    """A new role whose name needs quoting. Roles belong to the server, so it is dropped at the end."""
    name = f"Analyst {uuid.uuid4().hex[:8]}"
    engine = create_engine(make_engine(new_postgres).url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE ROLE "{name}" LOGIN'))
        yield name
        connection.execute(text(f'DROP OWNED BY "{name}"'))
        connection.execute(text(f'DROP ROLE "{name}"'))
    engine.dispose()


@pytest.fixture
def as_role(ledger, role):
    """Runs one statement as the role: returns its rows, or raises PostgreSQL's refusal."""
    engine = create_engine(make_engine(ledger).url.set(username=role))

    def run(statement):
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return result.all() if result.returns_rows else None

    yield run
    engine.dispose()


def test_a_granted_role_reads_every_view(ledger, role, as_role):
    """The views show the tables' rows, though the role may read no table."""
    grant_read(ledger, role)
    assert {view: bool(as_role(f"SELECT * FROM {view}")) for view in VIEWS} == dict.fromkeys(VIEWS, True)


def test_a_granted_role_reads_no_table_and_writes_nothing(ledger, role, as_role):
    """It cannot read a table, write to a view, or create anything."""
    grant_read(ledger, role)
    attempts = [f"SELECT 1 FROM {table}" for table in [*Base.metadata.tables, "alembic_version"]]
    attempts += [f"DELETE FROM {name}" for name in (*VIEWS, *Base.metadata.tables)]
    attempts += ["UPDATE results SET score = 0", "CREATE TABLE mine (x int)", "DROP VIEW results"]
    attempts += ["INSERT INTO forgotten (id, forgotten_at, scans, outcomes, labels) VALUES (1, now(), 0, 0, 0)"]
    for attempt in attempts:
        # PostgreSQL refuses to delete from a view with a join before it checks rights.
        with pytest.raises(Exception, match=r"permission denied|must be owner|cannot (delete|update)"):
            as_role(attempt)
    with open_database(ledger).connect() as connection:
        granted = "SELECT table_name, privilege_type FROM information_schema.role_table_grants WHERE grantee = :role"
        found = {tuple(row) for row in connection.execute(text(granted), {"role": role})}
    assert found == {(view, "SELECT") for view in VIEWS}


def test_a_role_that_was_not_granted_reads_nothing(role, as_role):
    """The views are not open to everyone."""
    with pytest.raises(ProgrammingError, match="permission denied"):
        as_role("SELECT * FROM run_progress")


def test_access_survives_a_migration(ledger, role, as_role):
    """Every Alembic command recreates the views; roles that could read them still can."""
    grant_read(ledger, role)
    made = text("SELECT oid FROM pg_class WHERE relname = 'run_progress'")
    engine = make_engine(ledger)
    with engine.connect() as connection:
        before = connection.execute(made).scalar()
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.stamp(config, "head")
        connection.commit()
        assert connection.execute(made).scalar() != before
    engine.dispose()
    assert {view: bool(as_role(f"SELECT * FROM {view}")) for view in VIEWS} == dict.fromkeys(VIEWS, True)


def test_a_role_that_does_not_exist_is_refused(ledger):
    """The command creates no role."""
    with pytest.raises(UserError, match=r"no role 'nobody\\?\"; DROP'"):
        grant_read(ledger, 'nobody"; DROP')
    with open_database(ledger).connect() as connection:
        assert connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname LIKE 'nobody%'")).all() == []


def test_only_the_owner_of_the_views_can_grant_them(ledger, role, as_role):
    """Another user gets an error, though PostgreSQL only warns."""
    grant_read(ledger, role)
    with open_database(ledger).begin() as connection:
        connection.execute(text(f'GRANT SELECT ON alembic_version TO "{role}"'))
        connection.execute(text("CREATE ROLE second_analyst"))
    try:
        with pytest.raises(UserError, match="run this as the views' owner"):
            grant_read(make_engine(ledger).url.set(username=role).render_as_string(), "second_analyst")
    finally:
        with open_database(ledger).begin() as connection:
            connection.execute(text("DROP ROLE second_analyst"))


def test_the_command_on_sqlite_says_how_to_read_only_and_makes_no_file(tmp_path, monkeypatch, capsys):
    """SQLite has no roles; the command exits with 2 and one sentence, whose address is right for any path."""
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "ward?a 100%"))
    assert main(["grant-read", "analyst"]) == 2
    assert f"'file://{tmp_path}/ward%3Fa%20100%25/nightread.sqlite?mode=ro'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_sqlite_file_that_is_opened_read_only_is_read_and_not_written(tmp_path):
    """docs/results.md tells analysts to open SQLite like this; the last writer has ended and removed the WAL."""
    file = tmp_path / "nightread.sqlite"
    engine = open_database(f"sqlite:///{file}")
    enqueue(engine, tmp_path)
    engine.dispose()
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT expected FROM run_progress").fetchall() == [(4,)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM scans")


def test_the_command_grants(ledger, role, as_role, monkeypatch, capsys):
    """`python -m db grant-read ROLE` exits with 0; a second call changes nothing."""
    monkeypatch.setenv("CXR_DATABASE_URL", ledger)
    assert [main(["grant-read", role]) for _ in range(2)] == [0, 0]
    assert as_role("SELECT expected FROM run_progress") == [(4,)]
    assert role in capsys.readouterr().out
