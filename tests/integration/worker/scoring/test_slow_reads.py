"""Images that hang or come slowly: who else waits for them."""

import threading
import time

import pytest

import worker.scoring.process
from tests.support.scenario import ids_in
from tests.support.world import World, hash_artifact, write_csv, write_images
from worker.messaging.celery_app import make_app
from worker.messaging.messages import Chunk, ChunkScan, queue_of
from worker.scoring.process import _ALONE, ScoringProcess
from worker.settings import WorkerSettings
from worker.telemetry.counters import Tally

#: Seconds; more than the back-off of what got nowhere at once.
BUDGET = 2.5
SCANS = range(6)


class Work:
    """A child, its ledger, and the chunks that it sends."""

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
            time_budget=BUDGET,
            read_threads=2,
        )
        self.child = ScoringProcess(make_app(settings), settings, self.model, Tally(None, self.model))
        query = "SELECT o.id, s.location FROM outcomes o JOIN scans s ON s.id = o.scan_id ORDER BY o.id"
        self.scans = [ChunkScan(outcome_id=key, location=where) for key, where in self.world.rows(query)]

    def handle(self, scans):
        """Give the child a chunk, and give what it sent because of it, by outcome."""
        self._broker.flushall()
        self.child.handle(Chunk(model=self.model, scans=tuple(scans)).to_message(), redelivered=False)
        return [ids_in(json.loads(raw)) for raw in self._broker.lrange(queue_of(self.model), 0, -1)]

    @property
    def pending(self):
        return self.world.rows("SELECT count(*) FROM outcomes WHERE state = 'pending'")[0][0]


@pytest.fixture
def work(tmp_path, valkey_port):
    return Work(tmp_path, valkey_port)


@pytest.fixture
def read(monkeypatch):
    """Puts something before each read."""
    real = worker.scoring.process.read_image

    def read(before):
        def slow(location, **how):
            before(location)
            return real(location, **how)

        monkeypatch.setattr(worker.scoring.process, "read_image", slow)

    return read


def test_images_that_hang_hold_up_no_other_chunk(work, read):
    """A share that is gone never answers: the threads that wait for it are not those of the next chunk."""
    gone = threading.Event()
    hanging = {work.scans[at].location for at in (0, 1)}
    read(lambda location: location not in hanging or gone.wait())
    assert len(work.handle(work.scans[:2])) == 2
    assert work.handle(work.scans[2:]) == []
    assert work.pending == 2
    gone.set()


def test_images_that_are_slow_side_by_side_come_again_in_halves_and_at_last_alone(work, read):
    """None of them is done within a delivery's time; alone each gets several times as long."""
    read(lambda _: time.sleep(1.5 * work.budget))
    assert LONE_SCAN_BUDGETS > 1.5
    chunks = work.handle(work.scans[:2])
    assert chunks == [[scan.outcome_id] for scan in reversed(work.scans[:2])]
    for scan in work.scans[:2]:
        assert work.handle([scan]) == []
    assert work.pending == 6 - 2
