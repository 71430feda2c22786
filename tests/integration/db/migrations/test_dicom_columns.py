"""The columns of DICOM headers come to a ledger of revision 0012 while an older program goes on writing to it."""

import threading

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from db.engine.session import _alembic_config, make_engine, upgrade
from db.schema.tables import Base
from tests.support.world import wait_until

pytestmark = pytest.mark.slow

#: What a producer of revision 0012 sends to register a scan, on either database.
OLDER_INSERT = """
INSERT INTO scans (dataset, image_name, location, patient_id, view, sex, age_years, follow_up)
VALUES ('d', :name, '/x', '1', 'PA', 'F', 60.0, 0)
ON CONFLICT (dataset, image_name) DO UPDATE SET view = coalesce(excluded.view, scans.view)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def older(request, tmp_path):
    """A ledger at revision 0012."""
    is_sqlite = request.param == "sqlite"
    address = f"sqlite:///{tmp_path / 'nightread.sqlite'}" if is_sqlite else request.getfixturevalue("new_postgres")
    engine = make_engine(address)
    with engine.begin() as connection, pytest.MonkeyPatch.context() as patch:
        config = _alembic_config()
        config.attributes["connection"] = connection
        # This program's views do not fit the older tables.
        patch.setattr("db.schema.views.create_views", lambda _connection: None)
        command.upgrade(config, "0012")
    yield engine
    engine.dispose()


def test_an_older_program_writes_before_during_and_after_the_upgrade(older):
    """No write fails, none is lost, and what came without a header has none."""
    written, stop = [], threading.Event()

    def write():
        while not stop.is_set():
            with older.begin() as connection:
                connection.execute(text(OLDER_INSERT), {"name": str(len(written))})
            written.append(len(written))

    writer = threading.Thread(target=write)
    writer.start()
    wait_until(lambda: len(written) > 20, what="rows before the upgrade")
    upgrade(older)
    before = len(written)
    wait_until(lambda: len(written) > before + 20, what="rows after the upgrade")
    stop.set()
    writer.join()
    with older.connect() as connection:
        counts = "SELECT count(*), count(sop_instance_uid), count(study_date), count(view) FROM scans"
        assert connection.execute(text(counts)).one() == (len(written), 0, 0, len(written))
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert connection.execute(text("SELECT study_date FROM results_wide")).all() == []
