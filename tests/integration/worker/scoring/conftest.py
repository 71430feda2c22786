"""A scoring process inside the test's own process, its ledger, and the chunks that it sends."""

import json

import pytest
import redis
from sqlalchemy import text

from tests.support.scenario import ids_in
from tests.support.world import World, hash_artifact, write_csv, write_images
from worker.messaging.celery_app import make_app
from worker.messaging.messages import Chunk, ChunkScan
from worker.scoring.process import ScoringProcess
from worker.settings import WorkerSettings
from worker.telemetry.counters import ScoringCounters

SCANS = range(6)


class Work:
    """Six pending scans, and the process that scores them."""

    #: Seconds; longer than the pause before a chunk without any scored scan is handed back.
    budget = 2.5

    def __init__(self, tmp_path, valkey_port):
        home, self._broker = tmp_path / "home", redis.Redis(port=valkey_port)
        self._broker.flushall()
        self.model = hash_artifact(home / "models", batch_size=2).sha256
        write_images(tmp_path / "images", SCANS)
        broker = f"redis://127.0.0.1:{valkey_port}/0"
        self.world = World(home=home, env={"CXR_HOME": str(home), "CXR_BROKER_URL": broker})
        self.world.producer("enqueue", "--csv", write_csv(tmp_path / "sample_labels.csv", SCANS))
        settings = WorkerSettings(
            home=home,
            broker_url=broker,
            runtime="tests.support.hash_scorer:HashScorer",
            time_budget=self.budget,
            read_threads=2,
        )
        self.process = ScoringProcess(
            make_app(settings, self.world.ledger), settings, self.model, ScoringCounters(None, self.model)
        )
        query = "SELECT o.id, s.location FROM outcomes o JOIN scans s ON s.id = o.scan_id ORDER BY o.id"
        self.scans = [ChunkScan(outcome_id=key, location=where) for key, where in self.world.rows(query)]

    def handle(self, scans):
        """Let the scoring process handle a chunk, and return the outcome ids of each chunk that it sent."""
        self._broker.flushall()
        self.process.handle(self.chunk(scans).to_message(), redelivered=False)
        return [ids_in(json.loads(raw)) for raw in self._broker.lrange(self.chunk(()).queue, 0, -1)]

    def chunk(self, scans):
        return Chunk(ledger=self.world.ledger, model=self.model, scans=tuple(scans))

    def execute(self, statement, **values):
        with self.world.engine.begin() as connection:
            connection.execute(text(statement), values)

    @property
    def pending(self):
        return self.world.rows("SELECT count(*) FROM outcomes WHERE state = 'pending'")[0][0]


@pytest.fixture
def work(tmp_path, valkey_port):
    return Work(tmp_path, valkey_port)
