"""The fleet's metrics of ledger and queue, also while the database or the broker is away."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import text, update

from db.engine.session import make_engine, read_transaction
from db.ledger.backlog import read_backlog
from db.ledger.outcomes import record_outcomes
from db.schema.tables import Run
from producer.monitoring.prometheus import FleetCollector
from tests.support.fake_clock import Clock
from tests.support.ledger import enqueue, ids_of, score_all, scored
from worker.messaging.celery_app import make_app, send_chunk
from worker.messaging.messages import Chunk, ChunkScan
from worker.settings import WorkerSettings

LEDGER = "1a2b3c4d5e6f"


@pytest.fixture
def app(tmp_path, valkey_port):
    redis.Redis(port=valkey_port).flushall()
    return make_app(WorkerSettings(home=tmp_path, broker_url=f"redis://127.0.0.1:{valkey_port}/0"), LEDGER)


@pytest.fixture
def broker_away(tmp_path):
    """A broker that is away."""
    return make_app(WorkerSettings(home=tmp_path, broker_url="redis://127.0.0.1:1/0"), LEDGER)


def values_of(collector):
    return {(s.name, *s.labels.values()): s.value for family in collector.collect() for s in family.samples}


def opened(engine, run_id, hours_ago):
    with engine.begin() as connection:
        moment = datetime.now(UTC) - timedelta(hours=hours_ago)
        connection.execute(update(Run).where(Run.id == run_id).values(created_at=moment))


def test_the_backlog_is_as_old_as_the_oldest_run_that_still_waits(engine, tmp_path):
    """Finished runs do not count, however old; once all is decided nothing waits."""
    enqueue(engine, tmp_path)
    score_all(engine, 1)
    enqueue(engine, tmp_path, rescore=True, sha256="b" * 64)
    with engine.begin() as connection:
        record_outcomes(connection, [scored(outcome_id) for outcome_id in ids_of(engine, 2)[:2]])
    # Waits for two outcomes of its own, and for the two that run 2 waits for.
    enqueue(engine, tmp_path, rescore=True, sha256="c" * 64)
    for run_id, hours in ((1, 50), (2, 9), (3, 2)):
        opened(engine, run_id, hours)
    with read_transaction(engine) as connection:
        backlog = read_backlog(connection)
    assert backlog.pending == {1: 4}
    assert backlog.open_runs == 2
    assert backlog.oldest_seconds[1] == pytest.approx(9 * 3600, abs=60)
    score_all(engine, 2)
    score_all(engine, 3)
    with read_transaction(engine) as connection:
        assert replace(read_backlog(connection), models=()) == replace(
            backlog, models=(), pending={1: 0}, oldest_seconds={}, open_runs=0
        )


def test_metrics_of_ledger_queue_and_workers_exist_without_any_worker(engine, tmp_path, app):
    """Pending scans, queue depth, oldest pending, open runs, the active model; workers by state are 0."""
    enqueue(engine, tmp_path)
    send_chunk(app, Chunk(ledger=LEDGER, model="m" * 64, scans=(ChunkScan(outcome_id=1, location="/x"),)))
    found = values_of(FleetCollector(engine, app))
    assert 0 <= found.pop(("nightread_oldest_pending_seconds", "m")) < 60
    assert found == {
        ("nightread_database_up",): 1,
        ("nightread_broker_up",): 1,
        ("nightread_pending_scans", "m"): 4,
        ("nightread_queue_chunks", "m"): 1,
        ("nightread_open_runs",): 1,
        ("nightread_stopped_runs",): 0,
        ("nightread_active_model_info", "m", "m" * 64): 1,
        ("nightread_workers", "loading"): 0,
        ("nightread_workers", "idle"): 0,
        ("nightread_workers", "scoring"): 0,
    }


def test_a_broker_that_is_away_takes_only_its_own_metrics_with_it(engine, tmp_path, broker_away):
    """Its gauges are absent, not 0, and broker_up is 0; the ledger's gauges are there."""
    enqueue(engine, tmp_path)
    found = values_of(FleetCollector(engine, broker_away))
    assert found["nightread_broker_up",] == 0
    assert found["nightread_pending_scans", "m"] == 4
    assert not [key for key in found if key[0] in {"nightread_queue_chunks", "nightread_workers"}]


def test_a_database_that_is_away_takes_only_its_own_metrics_with_it(app):
    """The broker's gauges are still served, and a scrape never raises."""
    away = make_engine("postgresql://nobody:x@127.0.0.1:1/none")
    found = values_of(FleetCollector(away, app))
    assert (found["nightread_database_up",], found["nightread_broker_up",]) == (0, 1)
    assert not [key for key in found if key[0] in {"nightread_pending_scans", "nightread_open_runs"}]


def test_many_scrapes_ask_once(engine, tmp_path, broker_away):
    """An answer is kept for five seconds, and no longer."""
    clock = Clock()
    collector = FleetCollector(engine, broker_away, clock)
    assert ("nightread_pending_scans", "m") not in values_of(collector)
    enqueue(engine, tmp_path)
    clock.now += 4.9
    assert ("nightread_pending_scans", "m") not in values_of(collector)
    clock.now += 0.2
    assert values_of(collector)["nightread_pending_scans", "m"] == 4


def test_a_scan_that_no_run_waits_for_has_no_age(engine, tmp_path):
    """Its run was cancelled, or closed by hand: the scan is pending, but no run is late."""
    enqueue(engine, tmp_path)
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET finished_at = created_at"))
    with read_transaction(engine) as connection:
        assert read_backlog(connection).oldest_seconds == {}
