"""Everything works through PgBouncer in transaction mode, which may run each transaction in another session."""

import json
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from db.engine.session import ledger_session, make_engine
from tests.support.ledger import enqueue
from tests.support.world import World, hash_artifact, wait_until, write_csv, write_images

#: In seconds, and as PostgreSQL shows it.
LOCK_TIMEOUT, SHOWN = 0.3, "300ms"


@pytest.fixture
def pooled(pooled_postgres):
    engine = make_engine(pooled_postgres, lock_timeout=LOCK_TIMEOUT)
    yield engine
    engine.dispose()


@pytest.mark.slow
def test_a_run_is_enqueued_scored_by_two_workers_and_reported(tmp_path, pooled_postgres):
    """More clients than sessions; nothing is handed back for an error of the database."""
    home = tmp_path / "home"
    home.mkdir()
    hash_artifact(home / "models")
    write_images(tmp_path / "images", range(24))
    runtime = "tests.support.hash_scorer:HashScorer"
    env = {"CXR_HOME": str(home), "CXR_RUNTIME": runtime, "CXR_CHUNK_SIZE": "2", "CXR_SWEEP_INTERVAL": "1"}
    world = World(home=home, env={**env, "CXR_DATABASE_URL": pooled_postgres})
    try:
        world.producer("enqueue", "--csv", write_csv(tmp_path / "sample_labels.csv", range(25)))
        for _ in range(2):
            world.worker()
        wait_until(lambda: world.rows("SELECT pending FROM run_progress") == [(0,)], 90, "the end\n" + world.logs())
        assert json.loads(world.producer("status", "--json").stdout)["scored"] == 24
        world.producer("report", "--run", "1")
    finally:
        world.stop()
    assert not any(word in world.logs() for word in ("database unavailable", "Traceback", "prepared"))


@pytest.mark.parametrize("lock", ["SELECT 1 FROM runs FOR UPDATE", "LOCK TABLE runs"], ids=["row", "table"])
def test_a_transaction_of_a_worker_does_not_wait_for_a_lock_for_ever(new_postgres, pooled, tmp_path, lock):
    """The timeout is part of each transaction, reading ones too, whichever session runs it."""
    enqueue(pooled, tmp_path)
    with psycopg.connect(new_postgres) as other, ledger_session(pooled) as ledger:
        other.execute(lock)
        for _ in range(2):
            with pytest.raises(OperationalError, match="lock timeout"), ledger.write_transaction() as connection:
                connection.execute(text("UPDATE runs SET source = source"))
        if "TABLE" in lock:
            with pytest.raises(OperationalError, match="lock timeout"), ledger.read_transaction() as connection:
                connection.execute(text("SELECT * FROM runs"))


def test_no_setting_stays_in_a_session_of_the_pooler(pooled_postgres, pooled):
    """The next client of that session would have it."""
    show = text("SELECT current_setting('lock_timeout')")
    for _ in range(8):
        with pooled.begin() as connection:
            assert connection.execute(show).scalar() == SHOWN
    engine = make_engine(pooled_postgres)
    with ThreadPoolExecutor(3) as threads, engine.connect() as one, engine.connect() as two, engine.connect() as three:
        assert list(threads.map(lambda connection: connection.execute(show).scalar(), (one, two, three))) == ["0"] * 3
    engine.dispose()


def test_no_statement_is_prepared(pooled):
    """Another session does not know it."""
    for _ in range(20):
        with pooled.begin() as connection:
            connection.execute(text("SELECT count(*) FROM runs"))
            assert connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar() == 0
