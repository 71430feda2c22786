"""The reconciler finds lost work even if a run cannot be closed."""

import pytest
import redis
from sqlalchemy.exc import DBAPIError

import worker.messaging.reconciler
from db.engine.session import read_transaction
from db.ledger.ledger_id import ledger_id
from db.ledger.models import find_model
from tests.support.ledger import enqueue
from worker.messaging.celery_app import make_app
from worker.messaging.messages import queue_of
from worker.messaging.reconciler import Reconciler
from worker.settings import WorkerSettings

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def let_turns_pass(valkey_port):
    """Returns a function that ends the present interval between looks, and ends that of earlier tests."""
    broker = redis.Redis(port=valkey_port)

    def forget():
        broker.delete("", *broker.keys("nightread.looked.*"))

    forget()
    return forget


def reconciler_of(engine, tmp_path, valkey_port):
    settings = WorkerSettings(home=tmp_path, broker_url=f"redis://127.0.0.1:{valkey_port}/0")
    return Reconciler(make_app(settings, ledger_id(engine)), engine, settings)


def reconcile(engine, tmp_path, valkey_port):
    """Open a run whose chunks are lost, reconcile once, and return the number of scans sent."""
    enqueue(engine, tmp_path)
    with read_transaction(engine) as connection:
        model = find_model(connection, None)
    redis.Redis(port=valkey_port).delete(queue_of(ledger_id(engine), model.sha256))
    return reconciler_of(engine, tmp_path, valkey_port).reconcile(model, at_once=True)


def test_a_bug_in_closing_runs_is_logged_and_keeps_no_work_back(engine, tmp_path, valkey_port, monkeypatch, caplog):
    """A run that cannot be closed must not hold up the other runs."""

    def bug(_engine):
        raise ArithmeticError

    monkeypatch.setattr(worker.messaging.reconciler, "close_finished_runs", bug)
    assert reconcile(engine, tmp_path, valkey_port) == 4
    assert "cannot close a finished run" in caplog.text
    assert "ArithmeticError" in caplog.text


def test_an_unavailable_database_raises_to_the_caller(engine, tmp_path, valkey_port):
    """The error reaches the caller, because an unavailable database is not a bug."""
    enqueue(engine, tmp_path)
    file = tmp_path / "nightread.sqlite"
    with read_transaction(engine) as connection:
        model = find_model(connection, None)
    file.rename(tmp_path / "aside")
    with pytest.raises(DBAPIError, match="the database file is gone"):
        reconciler_of(engine, tmp_path, valkey_port).reconcile(model)


def test_writers_do_not_wait_at_every_look_for_a_reader_that_stays(engine, tmp_path, valkey_port, monkeypatch):
    """Truncating SQLite's `-wal` file holds up writers, so a failed attempt is not repeated at every look."""
    tries = []
    monkeypatch.setattr(worker.messaging.reconciler, "trim_wal", lambda _: bool(tries.append(None)))
    enqueue(engine, tmp_path)
    with read_transaction(engine) as connection:
        model = find_model(connection, None)
    reconciler = reconciler_of(engine, tmp_path, valkey_port)
    for _ in range(3):
        reconciler.reconcile(model)
    assert len(tries) == 1


@pytest.fixture
def new_reconciler(engine, tmp_path, valkey_port):
    """Returns a function that makes the reconciler of one more supervisor."""
    return lambda: reconciler_of(engine, tmp_path, valkey_port)


@pytest.fixture
def lost_work(engine, tmp_path, valkey_port):
    """A model with four pending scans, while the broker holds no chunk."""
    enqueue(engine, tmp_path)
    with read_transaction(engine) as connection:
        model = find_model(connection, None)
    broker = redis.Redis(port=valkey_port)
    broker.flushall()
    return model


def test_a_fleets_supervisors_take_turns_and_any_two_looks_are_enough(
    new_reconciler, lost_work, let_turns_pass, monkeypatch
):
    """Many supervisors query as often as one, and each continues from the look of the one before."""
    looks = []
    monkeypatch.setattr(worker.messaging.reconciler, "nothing_in_flight", lambda *_: looks.append(None) or True)
    first, second = (new_reconciler() for _ in range(2))
    assert [one.reconcile(lost_work) for one in (first, second, first, second)] == [0, 0, 0, 0]
    assert len(looks) == 1
    let_turns_pass()
    assert [one.reconcile(lost_work) for one in (second, first)] == [4, 0]


def test_work_that_looked_lost_only_once_is_not_sent(new_reconciler, lost_work, let_turns_pass, monkeypatch):
    """A chunk on its way from the queue to a worker is in neither for a moment."""
    states = iter([True, False, True])
    monkeypatch.setattr(worker.messaging.reconciler, "nothing_in_flight", lambda *_: next(states))
    reconciler = new_reconciler()
    for _ in range(3):
        assert reconciler.reconcile(lost_work) == 0
        let_turns_pass()


def test_a_supervisor_that_does_not_reach_the_database_leaves_its_turn_to_others(
    new_reconciler, lost_work, monkeypatch
):
    """Otherwise it might take every turn, and lost work would stay lost."""

    def away(_engine):
        raise DBAPIError("SELECT", {}, OSError())

    with monkeypatch.context() as patch:
        patch.setattr(worker.messaging.reconciler, "close_finished_runs", away)
        with pytest.raises(DBAPIError):
            new_reconciler().reconcile(lost_work)
    looks = []
    monkeypatch.setattr(worker.messaging.reconciler, "close_finished_runs", lambda _: looks.append(None) or [])
    new_reconciler().reconcile(lost_work)
    assert looks
