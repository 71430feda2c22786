"""The look for lost work goes on whatever is wrong with one run's figures."""

import pytest
import redis
from ledger import enqueue
from sqlalchemy.exc import DBAPIError

import worker.sweep
from db.models import find_model
from db.session import reading
from worker.app import make_app
from worker.messages import queue_of
from worker.settings import WorkerSettings
from worker.sweep import Sweeper

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def sweeper_of(engine, tmp_path, valkey_port):
    settings = WorkerSettings(home=tmp_path, broker_url=f"redis://127.0.0.1:{valkey_port}/0")
    return Sweeper(make_app(settings), engine, settings)


def sweep(engine, tmp_path, valkey_port):
    """Look once where a run was opened and never sent: gives how many scans were sent."""
    enqueue(engine, tmp_path)
    with reading(engine) as connection:
        model = find_model(connection, None)
    redis.Redis(port=valkey_port).delete(queue_of(model.sha256))
    return sweeper_of(engine, tmp_path, valkey_port).sweep(model, at_once=True)


def test_a_bug_in_the_figures_is_loud_and_keeps_no_work_back(engine, tmp_path, valkey_port, monkeypatch, caplog):
    """A run that cannot be closed must not keep this machine from all the others."""

    def bug(_engine):
        raise ArithmeticError

    monkeypatch.setattr(worker.sweep, "finish_runs", bug)
    assert sweep(engine, tmp_path, valkey_port) == 4
    assert "no finished run can be closed" in caplog.text
    assert "ArithmeticError" in caplog.text


def test_a_database_that_is_away_is_the_callers_to_say(engine, tmp_path, valkey_port):
    """It is no bug."""
    enqueue(engine, tmp_path)
    file = tmp_path / "nightread.sqlite"
    with reading(engine) as connection:
        model = find_model(connection, None)
    file.rename(tmp_path / "aside")
    with pytest.raises(DBAPIError, match="the database file is gone"):
        sweeper_of(engine, tmp_path, valkey_port).sweep(model)


def test_writers_are_not_made_to_wait_again_and_again_for_a_reader_that_stays(
    engine, tmp_path, valkey_port, monkeypatch
):
    """Each try to cut SQLite's `-wal` file holds up those who write: one that failed is not repeated at each look."""
    tries = []
    monkeypatch.setattr(worker.sweep, "trim_wal", lambda _: bool(tries.append(None)))
    enqueue(engine, tmp_path)
    with reading(engine) as connection:
        model = find_model(connection, None)
    sweeper = sweeper_of(engine, tmp_path, valkey_port)
    for _ in range(3):
        sweeper.sweep(model)
    assert len(tries) == 1
