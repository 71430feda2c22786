"""A SQLite ledger of an earlier program keeps everything when its tables are rebuilt."""

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from db.engine.session import _alembic_config, make_engine, upgrade
from db.errors import DatabaseUnavailable
from db.schema.tables import Base

ROWS = """
INSERT INTO label_sets (id, name, sha256, imported_at) VALUES (2, 'nights', 'l', '2026-01-01 00:00:00.000000');
INSERT INTO models (id, sha256, name, manifest, active, registered_at)
    VALUES (3, 'm', 'first', '{"findings": ["Abnormal"]}', 1, '2026-01-01 00:00:00.000000');
INSERT INTO scans (id, dataset, image_name, patient_id, age_years) VALUES (7, 'nights', 'a.png', '13', 60.5);
INSERT INTO labels (label_set_id, scan_id, finding) VALUES (2, 7, 'Mass');
INSERT INTO outcomes (id, scan_id, model_id, revision, state, attempts, seen_as)
    VALUES (11, 7, 3, 1, 'scored', 0, 'stat'), (12, 7, 3, 2, 'pending', 1, NULL);
INSERT INTO scores (outcome_id, abnormal) VALUES (11, 0.1);
INSERT INTO runs (id, identity, source, sha256, dataset, model_id, label_set_id, options, created_at, night)
    VALUES (5, 'i', 'nights.csv', 'c', 'nights', 3, 2, '{}', '2026-01-01 00:00:00.000000', '2026-01-01');
INSERT INTO run_scans (run_id, scan_id, outcome_id, reused) VALUES (5, 7, 11, 0);
CREATE VIEW mine AS SELECT image_name, score, label FROM results WHERE finding = 'Abnormal'
"""
#: Without labels, which `test_label_history.py` has.
TABLES = ("label_sets", "models", "scans", "outcomes", "scores", "runs", "run_scans")


@pytest.fixture
def older(tmp_path):
    """A ledger at revision 0004 with rows in every table, and with a view of the user's own."""
    engine = make_engine(f"sqlite:///{tmp_path / 'nightread.sqlite'}")
    with engine.connect() as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        for statement in ROWS.split(";\n"):
            connection.execute(text(statement))
        connection.commit()
    yield engine
    engine.dispose()


def contents(engine):
    """Every row of every table as a mapping, and the statement of each index."""
    with engine.connect() as connection:
        rows = {t: [dict(r) for r in connection.execute(text(f"SELECT * FROM {t}")).mappings()] for t in TABLES}
        indexes = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
        return rows, connection.execute(text(indexes)).all()


def test_rows_indexes_and_views_stay(older):
    """The rebuilt tables are those that the code describes; no reference dangles, and checks are on again."""
    rows, indexes = contents(older)
    upgrade(older)
    rows_now, indexes_now = contents(older)
    for table in TABLES:
        assert [{**new, **old} for old, new in zip(rows[table], rows_now[table], strict=True)] == rows_now[table]
    assert set(indexes) <= set(indexes_now)
    with older.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert connection.execute(text("SELECT * FROM mine")).all() == [("a.png", 0.1, 1)]
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_ids_go_on_above_the_highest(older):
    """The id of a row that is deleted after the migration is not given again."""
    upgrade(older)
    with older.begin() as connection:
        connection.execute(text("DELETE FROM outcomes WHERE id = 12"))
        again = "INSERT INTO outcomes (scan_id, model_id, revision, state, attempts) VALUES (7, 3, 2, 'pending', 0)"
        assert connection.execute(text(again)).lastrowid == 13


def test_a_failed_migration_leaves_the_ledger_as_it_was(older, monkeypatch):
    """A disk that is full after the rebuild costs nothing: everything is one transaction."""

    def fail(_connection):
        raise OperationalError("CREATE VIEW", {}, Exception("database or disk is full"))

    before = contents(older)
    monkeypatch.setattr("db.schema.views.create_views", fail)
    with pytest.raises(DatabaseUnavailable, match="database or disk is full"):
        upgrade(older)
    assert contents(older) == before
    with older.connect() as connection:
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0004"
