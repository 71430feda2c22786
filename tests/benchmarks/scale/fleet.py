"""Starts a fleet of a new broker, a new database and workers, and measures how it scores a run."""

import contextlib
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

import psycopg
import redis

from tests.benchmarks.scale.postgres_of_scale import DurablePostgres, new_database
from tests.benchmarks.scale.resource_usage import (
    WorkerProcesses,
    broker_use,
    calls,
    command_use,
    cpu_of_tree,
    database_use,
    sizes,
)
from tests.benchmarks.scale.sleeping_scorer import read_counts
from tests.benchmarks.scale.tiny_scans import write_tiny_scans
from tests.support.valkey import Valkey
from tests.support.world import World, hash_artifact, wait_until
from worker.messaging.celery_app import make_app
from worker.messaging.heartbeats import read_heartbeats
from worker.messaging.messages import queue_of
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[3]
#: The manifest's default.
BATCH = 32
#: Fixed, so that figures can be compared; by default the size follows the speed of the workers.
CHUNK = 128
#: Seconds without work: two sweeps and five heartbeats of each worker. A session reports its use within 10 s.
IDLE_SECONDS = 11.0
#: A run that takes more seconds has failed.
MAX_RUN_SECONDS = 3600
#: Scans per chunk of the warm-up, and chunks per worker.
_WARM_UP = (2, 16)


class Fleet:
    """A context manager that starts servers and workers, warm and without work."""

    def __init__(self, workers, cost_ms, *, chunk=CHUNK, settings=(), relay=None):
        """`settings` are settings of the fleet's database; workers connect to it through `relay(port)`, if given."""
        self.workers, self.cost_ms, self.chunk = workers, cost_ms, chunk
        self._stack = contextlib.ExitStack()
        self._settings, self._relay = settings, relay

    def __enter__(self):
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="nightread-scale-")))
        self.counts = self.folder / "counts"
        self.counts.mkdir()
        self.valkey, self.postgres = Valkey(), DurablePostgres()
        self._stack.callback(self.valkey.close)
        self._stack.callback(self.postgres.close)
        self.url = new_database(self.postgres)
        for setting in self._settings:
            self.postgres.ask(f"ALTER DATABASE nightread SET {setting}")
        if self._relay is not None:
            self.relay = self._stack.enter_context(self._relay(self.postgres.port))
            self.url = self.postgres.url("nightread", self.relay.port)
        artifact = hash_artifact(self.folder / "home" / "models", batch_size=BATCH)
        self.world = World(home=self.folder / "home", env=self._env())
        self.queue = queue_of(self.world.ledger, artifact.sha256)
        self._stack.callback(self.world.stop)
        self._app = make_app(
            WorkerSettings(home=self.world.home, broker_url=self.world.env["CXR_BROKER_URL"]), self.world.ledger
        )
        try:
            self._warm_up([self.world.worker() for _ in range(self.workers)])
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_):
        self._stack.close()

    def idle(self):
        """Costs per worker and second while the fleet waits for work."""
        before, started = self._snapshot(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        seconds = (time.monotonic() - started) * self.workers
        after = self._snapshot()
        use = {name: (after["worker cpu"][name] - before["worker cpu"][name]) / seconds for name in after["worker cpu"]}
        return {
            "broker commands": (calls(after["broker"]) - calls(before["broker"])) / seconds,
            "broker CPU": (after["broker cpu"] - before["broker cpu"]) / seconds,
            "transactions": (after["database"]["transactions"] - before["database"]["transactions"]) / seconds,
            "PostgreSQL CPU": (after["database cpu"] - before["database cpu"]) / seconds,
            "CPU": use,
            "connections": self._connections() / self.workers,
            "broker connections": self.client.info("clients")["connected_clients"] / self.workers,
        }

    def score(self, scans):
        """Enqueue a run, follow it to its end, and return its figures."""
        csv = write_tiny_scans(self.folder / "scans", scans)
        self.client.config_resetstat()
        before = self._snapshot()
        producer, observed = self._enqueue_and_follow(csv)
        after = self._snapshot()
        peaks = [one.peaks for one in self.processes]
        broker_peak = self.client.info("memory")["used_memory_peak"] / 2**20
        sizes_now = sizes(self.postgres, "nightread")
        # Sessions report their use as they end.
        self.world.stop()
        time.sleep(1)
        after["database"] = database_use(self.postgres, "nightread")
        # Subtract this program's own transactions.
        after["database"]["transactions"] -= observed.pop("polls")
        return {
            "producer": producer,
            **observed,
            **self._throughput(scans),
            "use": _difference(before, after),
            "peak MiB": {name: max(one[name] for one in peaks) for name in peaks[0]},
            # The process with the largest peak has also closed the run.
            "least peak MiB": {name: min(one[name] for one in peaks) for name in peaks[0]},
            "broker peak MiB": broker_peak,
            "bytes": sizes_now,
        }

    def aggregator(self):
        """Figures of the aggregator alone, which closes a run, and of `producer report`."""
        report = ["-m", "producer.cli", "report", "--json", "--out", self.folder / "report"]
        alone = [Path(__file__).parent / "aggregate_alone.py", self.url]
        return {
            "aggregate": command_use({"PYTHONPATH": str(ROOT)}, *alone),
            "report": command_use(self.world.env, *report),
        }

    def _env(self):
        return {
            "CXR_HOME": str(self.folder / "home"),
            "CXR_DATABASE_URL": self.url,
            "CXR_BROKER_URL": f"redis://127.0.0.1:{self.valkey.port}/0",
            "CXR_CHUNK_SIZE": str(self.chunk),
            "CXR_RUNTIME": "tests.benchmarks.scale.sleeping_scorer:SleepingScorer",
            "SLEEPING_SCORER_MS": str(self.cost_ms),
            "SLEEPING_SCORER_COUNTS": str(self.counts),
        }

    def _warm_up(self, supervisors):
        """Wait until every worker has loaded its model and scored some scans."""
        self.client = redis.Redis(port=self.valkey.port)
        self._database = psycopg.connect(self.postgres.url("nightread"), autocommit=True)
        self._stack.callback(self._database.close)
        wait_until(
            lambda: self._heartbeats_with(lambda heartbeat: heartbeat.model),
            60 + 15 * self.workers,
            "every worker's model",
        )
        chunk, chunks = _WARM_UP
        csv = write_tiny_scans(self.folder / "warm", chunk * chunks * self.workers)
        env, self.world.env = self.world.env, self.world.env | {"CXR_CHUNK_SIZE": str(chunk)}
        self.world.producer("enqueue", "--csv", csv)
        self.world.env = env
        wait_until(
            lambda: self._heartbeats_with(lambda heartbeat: heartbeat.decided and heartbeat.state == "idle"),
            60,
            "a warm fleet",
        )
        self.processes = [WorkerProcesses(one) for one in supervisors]
        # Until sessions have reported what the warm-up used.
        time.sleep(IDLE_SECONDS)

    def _heartbeats_with(self, condition):
        return sum(1 for heartbeat in read_heartbeats(self._app) if condition(heartbeat)) == self.workers

    def _snapshot(self):
        cpu = [one.cpu for one in self.processes]
        return {
            "worker cpu": {name: sum(one[name] for one in cpu) for name in cpu[0]},
            "broker": broker_use(self.client),
            "broker cpu": cpu_of_tree(self.valkey.process.pid),
            "database": database_use(self.postgres, "nightread"),
            "database cpu": cpu_of_tree(self.postgres.process.pid),
            "counts": read_counts(self.counts),
        }

    def _connections(self):
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'nightread' AND pid <> pg_backend_pid()"
        return self._database.execute(query).fetchone()[0]

    def _enqueue_and_follow(self, csv):
        """The producer's figures, and the longest queue and busy cores while only workers run."""
        run = self._database.execute("SELECT max(id) + 1 FROM runs").fetchone()[0]
        with self._polling_the_queue() as lengths:
            producer = command_use(self.world.env, "-m", "producer.cli", "enqueue", "--csv", csv)
        before, started, polls = _all_cpu(self._snapshot()), time.monotonic(), 1
        query = "SELECT finished_at IS NOT NULL FROM runs WHERE id = %s"
        while not self._database.execute(query, [run]).fetchone()[0]:
            if time.monotonic() > started + MAX_RUN_SECONDS:
                raise SystemExit(f"the run has not ended\n{self.world.logs()[-5000:]}")
            time.sleep(0.2)
            polls += 1
        seconds = time.monotonic() - started
        busy = (_all_cpu(self._snapshot()) - before) / seconds
        # Shorter runs give no reliable figure.
        observed = {"longest queue": max(lengths), "cores busy": busy if seconds > 2 else None, "polls": polls}
        return producer, observed

    @contextlib.contextmanager
    def _polling_the_queue(self):
        """Yields a list that collects the queue's lengths while the block runs."""
        lengths, done = [0], threading.Event()

        def poll():
            while not done.wait(0.05):
                lengths.append(self.client.llen(self.queue))

        thread = threading.Thread(target=poll)
        thread.start()
        try:
            yield lengths
        finally:
            done.set()
            thread.join()

    def _throughput(self, scans):
        """Scans per second from the start of the first batch to the last score, and the seconds to close the run."""
        first, last, done, closed = self._database.execute(
            "SELECT min(o.scored_at), max(o.scored_at), count(*), max(r.finished_at) FROM runs r "
            "JOIN run_scans s ON s.run_id = r.id JOIN outcomes o ON o.id = s.outcome_id "
            "WHERE r.id = (SELECT max(id) FROM runs) AND o.state = 'scored'"
        ).fetchone()
        if done != scans:
            raise SystemExit(f"{done} of {scans} scans were scored")
        rate = scans / (_seconds(first, last) + min(BATCH, scans) * self.cost_ms / 1000)
        ideal = self.workers * 1000 / self.cost_ms if self.cost_ms else None
        overhead = scans * (self.workers / rate - self.cost_ms / 1000)
        return {
            "scans/s": rate,
            # A worker's time per chunk beside scoring, including the wait for the next chunk.
            "overhead of a chunk, ms": 1000 * overhead / -(-scans // self.chunk),
            "of the ideal": rate / ideal if ideal else None,
            "seconds to close": _seconds(last, closed),
        }


def _seconds(one, other):
    moments = (datetime.fromisoformat(m) if isinstance(m, str) else m for m in (one, other))
    first, second = moments
    return (second - first).total_seconds()


def _all_cpu(snapshot):
    return sum(snapshot["worker cpu"].values()) + snapshot["broker cpu"] + snapshot["database cpu"]


def _difference(before, after):
    """The use between two snapshots."""
    if isinstance(after, dict):
        return {
            name: _difference(before.get(name, 0 if not isinstance(value, dict) else {}), value)
            for name, value in after.items()
        }
    return after - before
