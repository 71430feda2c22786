"""What the fleet's metrics say of ledger and queue, whoever is away."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import text, update

from db.engine.session import make_engine, read_transaction
from db.ledger.backlog import read_backlog
from db.ledger.outcomes import decide
from db.schema.tables import Run
from producer.monitoring.prometheus import FleetCollector
from tests.support.ledger import decide_all, enqueue, ids_of, scored
from tests.support.sample_heartbeat import sample_heartbeat
from worker.messaging.celery_app import make_app, send_chunk
from worker.messaging.heartbeats import read_beats, send_beats, withdraw_beats
from worker.messaging.messages import Chunk, ChunkScan
from worker.settings import WorkerSettings

BEAT = sample_heartbeat(host="h", device="cpu", state="idle", rate=0.5)


@pytest.fixture
def app(tmp_path, valkey_port):
    redis.Redis(port=valkey_port).flushall()
    return make_app(WorkerSettings(home=tmp_path, broker_url=f"redis://127.0.0.1:{valkey_port}/0"))


@pytest.fixture
def nobody(tmp_path):
    """A broker that is away."""
    return make_app(WorkerSettings(home=tmp_path, broker_url="redis://127.0.0.1:1/0"))


class Clock:
    """A fake clock, for time."""

    now = 0.0

    def __call__(self):
        return self.now


def said(collector):
    return {(s.name, *s.labels.values()): s.value for family in collector.collect() for s in family.samples}


def opened(engine, run_id, hours_ago):
    with engine.begin() as connection:
        moment = datetime.now(UTC) - timedelta(hours=hours_ago)
        connection.execute(update(Run).where(Run.id == run_id).values(created_at=moment))


def test_the_backlog_is_as_old_as_the_oldest_run_that_still_waits(engine, tmp_path):
    """Not as a finished run, however old; nothing is waiting once all is decided."""
    enqueue(engine, tmp_path)
    decide_all(engine, 1)
    enqueue(engine, tmp_path, rescore=True, sha256="b" * 64)
    with engine.begin() as connection:
        decide(connection, [scored(outcome_id) for outcome_id in ids_of(engine, 2)[:2]])
    # Waits for two outcomes of its own, and for the two that run 2 waits for.
    enqueue(engine, tmp_path, rescore=True, sha256="c" * 64)
    for run_id, hours in ((1, 50), (2, 9), (3, 2)):
        opened(engine, run_id, hours)
    with read_transaction(engine) as connection:
        backlog = read_backlog(connection)
    assert backlog.pending == {1: 4}
    assert backlog.open_runs == 2
    assert backlog.oldest_seconds[1] == pytest.approx(9 * 3600, abs=60)
    decide_all(engine, 2)
    decide_all(engine, 3)
    with read_transaction(engine) as connection:
        assert replace(read_backlog(connection), models=()) == replace(
            backlog, models=(), pending={1: 0}, oldest_seconds={}, open_runs=0
        )


def test_metrics_of_ledger_queue_and_workers_exist_without_any_worker(engine, tmp_path, app):
    """Pending scans, queue depth, oldest pending, open runs, the active model; workers by state are 0."""
    enqueue(engine, tmp_path)
    send_chunk(app, Chunk(model="m" * 64, scans=(ChunkScan(outcome_id=1, location="/x"),)))
    found = said(FleetCollector(engine, app))
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


def test_a_broker_that_is_away_takes_only_its_own_metrics_with_it(engine, tmp_path, nobody):
    """Its gauges are absent, not 0, and it is said to be down; the ledger's are there."""
    enqueue(engine, tmp_path)
    found = said(FleetCollector(engine, nobody))
    assert found["nightread_broker_up",] == 0
    assert found["nightread_pending_scans", "m"] == 4
    assert not [key for key in found if key[0] in {"nightread_queue_chunks", "nightread_workers"}]


def test_a_database_that_is_away_takes_only_its_own_metrics_with_it(app):
    """The queue of the models known from before is still told; a scrape never raises."""
    away = make_engine("postgresql://nobody:x@127.0.0.1:1/none")
    found = said(FleetCollector(away, app))
    assert (found["nightread_database_up",], found["nightread_broker_up",]) == (0, 1)
    assert not [key for key in found if key[0] in {"nightread_pending_scans", "nightread_open_runs"}]


def test_many_scrapers_are_one_look(engine, tmp_path, nobody):
    """An answer stands for five seconds, and no longer."""
    clock = Clock()
    collector = FleetCollector(engine, nobody, clock)
    assert ("nightread_pending_scans", "m") not in said(collector)
    enqueue(engine, tmp_path)
    clock.now = 4.9
    assert ("nightread_pending_scans", "m") not in said(collector)
    clock.now = 5.1
    assert said(collector)["nightread_pending_scans", "m"] == 4


def test_a_beat_expires_unless_it_is_sent_again_and_can_be_withdrawn(app, valkey_port):
    """A machine that is gone stops being shown by itself; another version's beat is passed over."""
    client = redis.Redis(port=valkey_port)
    other = replace(BEAT, device="gpu 1")
    send_beats(app, [other, BEAT])
    client.set("nightread.worker.old.1.0", '{"host": "old"}')
    assert read_beats(app) == [BEAT, other]
    assert all(10 < client.ttl(key) <= 15 for key in client.keys("nightread.worker.h.*"))
    withdraw_beats(app, [other, BEAT])
    assert read_beats(app) == []


def test_a_scan_that_no_run_waits_for_has_no_age(engine, tmp_path):
    """Cancelled under it, or closed by hand: it is pending, but nobody's night."""
    enqueue(engine, tmp_path)
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET finished_at = created_at"))
    with read_transaction(engine) as connection:
        assert read_backlog(connection).oldest_seconds == {}
