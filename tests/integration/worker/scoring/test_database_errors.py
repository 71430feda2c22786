"""Database errors: a temporary state of the database blames no scan, and no error shows a row's values."""

import traceback

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.engine.database_errors import cause_of, is_transient
from db.engine.session import make_engine, open_database
from tests.support.world import World, hash_artifact, write_csv, write_images
from worker.messaging.celery_app import make_app
from worker.messaging.messages import Chunk, ChunkScan
from worker.scoring.process import ScoringProcess
from worker.settings import WorkerSettings
from worker.telemetry.counters import ScoringCounters

#: Computed, so that a traceback's source lines do not show it.
NAME = f"{77310000}_000.png"


def refusal(engine, statement):
    with pytest.raises(DBAPIError) as caught, engine.begin() as connection:
        connection.execute(text(statement), {"name": NAME})
    return caught.value


STATEMENTS = {
    "INSERT INTO scans (dataset, image_name) VALUES ('d', :name), ('d', :name)": False,
    "INSERT INTO model_scans (model_id, dataset, image_name, subset) VALUES (1, 'd', :name, 'none')": False,
    "INSERT INTO gone (image_name) VALUES (:name)": True,
}


@pytest.mark.parametrize(("statement", "passes"), STATEMENTS.items())
def test_a_refusal_names_no_value(engine, statement, passes):
    """Its text, traceback and log line show no value, and a refused row is not a temporary error."""
    error = refusal(engine, statement)
    said = "".join(traceback.format_exception(error)) + cause_of(error)
    assert NAME not in said
    assert is_transient(error) is passes


@pytest.mark.parametrize(
    ("setting", "cause"),
    [
        ("default_transaction_read_only = on", "ReadOnlySqlTransaction"),
        ("statement_timeout = 1", "QueryCanceled"),
    ],
)
def test_a_temporary_refusal_of_postgresql_is_transient(new_postgres, setting, cause):
    """SQLAlchemy's class does not matter: a read-only server raises an `InternalError`."""
    engine = make_engine(new_postgres)
    with engine.connect() as connection:
        connection.execute(text(f"SET {setting}"))
        connection.commit()
        with pytest.raises(DBAPIError) as caught:
            connection.execute(text("CREATE TABLE t AS SELECT 1 AS x FROM pg_sleep(1)"))
    engine.dispose()
    assert (is_transient(caught.value), cause_of(caught.value)) == (True, cause)


def test_a_file_that_is_not_a_database_is_reported_in_sqlites_words(tmp_path):
    """The class alone, `DatabaseError`, would not tell the operator what to do."""
    file = tmp_path / "nightread.sqlite"
    file.write_bytes(b"no database" * 500)
    with pytest.raises(DBAPIError) as caught, make_engine(f"sqlite:///{file}").connect():
        pass
    assert (is_transient(caught.value), cause_of(caught.value)) == (True, "file is not a database")


def test_an_attempt_is_taken_back_when_the_database_is_available_again(tmp_path, valkey_port):
    """A redelivered lone scan killed no process if the database went away before it was decided."""
    home = tmp_path / "home"
    artifact = hash_artifact(home / "models", batch_size=1)
    write_images(tmp_path / "images", [0])
    broker = f"redis://127.0.0.1:{valkey_port}/0"
    world = World(home=home, env={"CXR_HOME": str(home), "CXR_BROKER_URL": broker})
    world.producer("enqueue", "--csv", write_csv(tmp_path / "sample_labels.csv", [0]))
    settings = WorkerSettings(home=home, broker_url=broker, runtime="tests.support.hash_scorer:HashScorer")
    child = ScoringProcess(
        make_app(settings, world.ledger), settings, artifact.sha256, ScoringCounters(None, artifact.sha256)
    )
    outcome, location = world.rows("SELECT o.id, s.location FROM outcomes o JOIN scans s ON s.id = o.scan_id")[0]
    scans = (ChunkScan(outcome_id=outcome, location=location),)
    message = Chunk(ledger=world.ledger, model=artifact.sha256, scans=scans).to_message()
    file, aside = home / "nightread.sqlite", home / "aside"
    score = child._scorer.score
    child._scorer.score = lambda pixels: (file.rename(aside), score(pixels))[1]
    child.handle(message, redelivered=True)
    aside.rename(file)
    assert world.rows("SELECT state, attempts FROM outcomes") == [("pending", 1)]
    child._scorer.score = score
    child.handle(message, redelivered=False)
    assert world.rows("SELECT state, attempts FROM outcomes") == [("scored", 0)]


def test_a_scoring_process_creates_no_ledger(tmp_path):
    """A SQLite file that was moved away may come back, and an empty file in its place would prevent that."""
    from db.errors import DatabaseUnavailable

    with pytest.raises(DatabaseUnavailable, match="the database file is gone"):
        open_database(f"sqlite:///{tmp_path / 'nightread.sqlite'}", must_exist=True)
    assert list(tmp_path.iterdir()) == []
