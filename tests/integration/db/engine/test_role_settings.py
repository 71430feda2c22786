"""What is read from PostgreSQL does not depend on the settings of the role, the database or the server."""

from datetime import UTC

import pytest
from sqlalchemy import create_engine, text

from db.engine.session import make_engine, open_database, read_transaction, upgrade
from db.ledger.results import stream_results
from db.ledger.runs import find_run
from tests.support.ledger import enqueue, score_all

ODD = {
    "datestyle": "'SQL, DMY'",
    "intervalstyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-5",
    "timezone": "'Asia/Kathmandu'",
    "standard_conforming_strings": "off",
    "search_path": "elsewhere, public",
    "lc_numeric": "'C'",
}


@pytest.fixture
def ledger(new_postgres, request):
    """A ledger, directly or through PgBouncer, whose database sets everything unusually before it has tables."""
    admin = create_engine(make_engine(new_postgres).url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE SCHEMA elsewhere"))
        for name, value in ODD.items():
            connection.execute(text(f"ALTER DATABASE {admin.url.database} SET {name} = {value}"))
    admin.dispose()
    if request.param == "pgbouncer":
        return request.getfixturevalue("pooled_postgres")
    upgrade(make_engine(new_postgres))
    return new_postgres


@pytest.mark.parametrize("ledger", ["directly", "pgbouncer"], indirect=True)
def test_dates_numbers_and_documents_are_read_as_they_were_written(ledger, tmp_path):
    """Moments are in UTC, a score has all its digits, and a JSON document is one."""
    score = 0.12345678901234568
    engine = open_database(ledger)
    run, _ = enqueue(engine, tmp_path)
    score_all(engine, run)
    with engine.begin() as connection:
        connection.execute(text("UPDATE scores SET abnormal = :score"), {"score": score})
        connection.execute(text("UPDATE runs SET created_at = '2026-02-01 23:30:00.123456+00'"))
        connection.execute(text("UPDATE outcomes SET scored_at = '2026-02-01 23:30:00.123456+00'"))
    with read_transaction(engine) as connection:
        assert find_run(connection, run).created_at.isoformat() == "2026-02-01T23:30:00.123456+00:00"
        names, pages = stream_results(connection, run, wide=True, page_rows=2)
        rows = [dict(zip(names, row, strict=True)) for page in pages for row in page]
        assert {row["abnormal"] for row in rows} == {score}
        moments = {row["scored_at"].astimezone(UTC).isoformat() for row in rows}
        assert moments == {"2026-02-01T23:30:00.123456+00:00"}
        assert isinstance(connection.execute(text("SELECT manifest FROM models")).scalar(), dict)
    engine.dispose()
