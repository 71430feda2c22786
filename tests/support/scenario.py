"""A run that a fault can hit: scans with a canary patient id, workers, a broker, and the outcomes without a fault."""

import base64
import json
import re
import time
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime

import psutil
import pytest
from PIL import Image, PngImagePlugin
from sqlalchemy import text

from tests.support import recovery_times
from tests.support.event_capture import EventCapture
from tests.support.invariants import RunResults, check_invariants, run_results
from tests.support.world import (
    EMBEDDED,
    SEPARATE,
    World,
    free_port,
    hash_artifact,
    radiograph,
    scoring_process,
    wait_until,
    write_csv,
)
from worker.artifacts.artifact import file_sha256
from worker.artifacts.manifest import MANIFEST_FILE
from worker.messaging.messages import queue_of

#: Two chunks of batches for each of several workers, so that a fault at a random moment hits a run that is under way.
SCANS = 96
#: Images that no decoder accepts, and their bytes.
DAMAGED = {"empty": b"", "not_image": b"<html>no radiograph</html>", "truncated": None}

#: Faults of which `make test` tries one form, and `make test-faults` all.
in_every_suite = pytest.mark.parametrize(
    ("workers", "world"),
    [
        pytest.param(2, EMBEDDED, marks=pytest.mark.quick),
        (1, EMBEDDED),
        (1, SEPARATE),
        (2, SEPARATE),
    ],
    indirect=True,
)


def name_of(number):
    """A name in NIH's form, of a patient for whom every log is searched."""
    return f"{77310000 + number // 3:08d}_{number % 3:03d}.png"


def write_scans(folder, numbers):
    """Write PNGs whose text chunks contain the patient id, too."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        about = PngImagePlugin.PngInfo()
        about.add_text("PatientID", name_of(number)[:8])
        Image.fromarray(radiograph(number)).save(folder / name_of(number), pnginfo=about)


def write_source(folder, scans=SCANS):
    """Write images into a folder named after a patient, three of them damaged, and their labels.

    Returns:
        The CSV.
    """
    images = folder / "patient 77319999" / "images"
    write_scans(images, range(scans))
    for number, content in enumerate(DAMAGED.values(), start=scans):
        whole = (images / name_of(0)).read_bytes()
        (images / name_of(number)).write_bytes(whole[: len(whole) // 2] if content is None else content)
    return write_csv(images.parent / "sample_labels.csv", range(scans + len(DAMAGED)), name_of=name_of)


@dataclass
class Scenario:
    """A world with a source and a model, its workers, and the outcomes that are expected."""

    world: object
    csv: object
    quiet: RunResults
    #: Number of workers in a test.
    workers: int
    rng: object
    #: The arguments of `enqueue` that say where the images are; empty where they lie beside the CSV.
    images: tuple = ()
    running: list = field(default_factory=list)
    _ports: list = field(default_factory=list)
    _events: EventCapture | None = None

    @property
    def broker(self):
        return self.world.broker

    def worker(self, **env):
        """Start one more worker, which serves its metrics; `env` is added to its environment only."""
        port, shared = free_port(), self.world.env
        self.world.env = {**shared, "CXR_METRICS_PORT": str(port), **env}
        process = self.world.worker()
        self.world.env = shared
        self.running.append(process)
        self._ports.append(port)
        if self._events is None:
            self._events = EventCapture(lambda: self.broker)
        return process

    def start(self, **env):
        """Enqueue, start the workers, and wait until some of the work is done.

        In this order, because on a busy machine a producer takes seconds to end after it has sent its messages.

        Args:
            env: added to the first worker's environment.

        Returns:
            The first worker.
        """
        self.enqueue()
        first, *_ = [self.worker(**env), *(self.worker() for _ in range(1, self.workers))]
        self.reach(self.rng.uniform(0.1, 0.5))
        return first

    def enqueue(self, *arguments, **kwargs):
        return self.world.producer("enqueue", "--csv", self.csv, *self.images, *arguments, **kwargs)

    def reach(self, share):
        """Wait until this share of the scans is decided, and check that not all of them are."""
        total = len(self.quiet.outcomes)
        wait_until(lambda: self.decided() >= share * total, 180, f"{share:.2f} of the scans\n{self.world.logs()}")
        assert self.pending() > 0, "the fault came too late"

    def decided(self):
        return self.world.rows("SELECT count(*) FROM outcomes WHERE state <> 'pending'")[0][0]

    def pending(self):
        return self.world.rows("SELECT count(*) FROM outcomes WHERE state = 'pending'")[0][0]

    def held(self):
        """The outcomes of the chunks that workers hold at this moment."""
        return [outcome for value in self.broker.hvals(self.unacked) for outcome in ids_in(json.loads(value)[0])]

    def queued(self):
        """The outcomes of the chunks that wait in the queue."""
        return [outcome for raw in self.broker.lrange(self.queue, 0, -1) for outcome in ids_in(json.loads(raw))]

    @property
    def queue(self):
        """The key of the queue."""
        return queue_of(self.world.ledger, self.model())

    @property
    def unacked(self):
        """The key of the messages that workers hold."""
        return f"unacked.{self.world.ledger}"

    def in_hand_and_next(self):
        """The outcomes of the chunks that workers hold, and of the chunk that will be taken next."""
        held = self.held_by_somebody()
        return held + [outcome for raw in self.broker.lrange(self.queue, -1, -1) for outcome in ids_in(json.loads(raw))]

    def model(self):
        """The hash of the model."""
        [manifest] = self.world.home.glob(f"models/*/{MANIFEST_FILE}")
        return file_sha256(manifest)

    def held_by_somebody(self):
        """The outcomes of the chunks that workers hold, as soon as there are any."""
        found = []
        wait_until(lambda: found.extend(self.held()) or found, 20, "a chunk in somebody's hands")
        return found

    def waits_for(self, outcomes):
        """Whether any of these is pending."""
        ids = ", ".join(map(str, outcomes)) or "0"
        return self.world.rows(f"SELECT count(*) FROM outcomes WHERE state = 'pending' AND id IN ({ids})") != [(0,)]

    def recovers(self, fault, *, since, stated, lost=None):
        """I9: the given outcomes, or any further ones, are decided within the stated seconds after the fault.

        Args:
            fault: its name in the table of recovery times.
            since: `time.monotonic()` at the fault, or at the end of a fault that lasted.
            stated: the longest time that the recovery may take.
            lost: outcomes whose chunks were in hand; None waits until any further outcome is decided.
        """
        before = self.decided()

        def well():
            if lost is not None:
                return not self.waits_for(lost)
            return self.decided() > before or not self.pending()

        # Wait for longer than stated, so that the time of a failure is known.
        wait_until(well, 3 * stated + 60, f"I9: recovery from {fault}\n{self.world.logs()}")
        self._note(fault, time.monotonic() - since, stated)

    def _note(self, fault, seconds, stated):
        recovery_times.record(fault, workers=self.workers, seconds=seconds, stated=stated)
        assert seconds <= stated, f"I9: {fault}: {seconds:.1f} s, stated are {stated}\n{self.world.logs()}"

    def finish(self, seconds=90):
        """Wait until every run has ended."""
        query = "SELECT count(*) FROM runs WHERE finished_at IS NULL"
        wait_until(lambda: self.world.rows(query) == [(0,)], seconds, f"the run's end\n{self.world.logs()}")

    def ends(self, fault, *, since, stated):
        """I9 for a fault that leaves nothing to decide: every run is closed within the stated seconds."""
        self.finish(3 * stated + 60)
        self._note(fault, time.monotonic() - since, stated)

    def check(self, **expectations):
        """Check every invariant."""
        check_invariants(self, **expectations)

    def printed(self):
        """Every text that a person without access to SQL could read, by its place."""
        home = self.world.home
        files = [*home.glob("*.txt"), *home.glob("*.log"), *home.glob("broker/*.log")]
        printed = {path.name: path.read_text(errors="replace") for path in files}
        printed |= {f"metrics of port {port}": text for port in self._ports if (text := _scraped(port))}
        if self._events is not None:
            printed["events"] = "\n".join(self._events.heard)
        client = self.broker
        beats = [client.get(key) or b"" for key in client.scan_iter("nightread.*")]
        return printed | {"beats": b"\n".join(beats).decode()}

    def close(self):
        if self._events is not None:
            self._events.stop()


def ids_in(envelope):
    """The outcome ids in a message."""
    body = json.loads(base64.b64decode(envelope["body"]))
    return [outcome for outcome, _ in body[0][0]["scans"]]


def load_seconds(scenario, worker):
    """Seconds from this worker's start until its model was loaded; recovery is measured against them."""
    return _loaded_at(scenario, worker) - psutil.Process(worker.pid).create_time()


def scoring_process_load_seconds(scenario, worker):
    """The same time, from the start of the scoring process."""
    return _loaded_at(scenario, worker) - scoring_process(worker).create_time()


def _loaded_at(scenario, worker):
    log = scenario.world.home / f"log-{scenario.world.processes.index(worker)}.txt"

    def said():
        return re.findall(r"^(\S+ \S+),(\d+) .* loaded: ", log.read_text(), re.MULTILINE)

    wait_until(said, 180, f"a loaded model\n{scenario.world.logs()}")
    second, milliseconds = said()[-1]
    return datetime.fromisoformat(second).timestamp() + int(milliseconds) / 1000


def _scraped(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    except OSError:
        return ""


def descendants(process):
    """A process and all of its descendants, the process itself first."""
    root = psutil.Process(process.pid)
    return [root, *root.children(recursive=True)]


def is_alive(process):
    """Whether a process runs and is not a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run_quietly(folder, csv, *, quarantined=(), **env):
    """Score a source without any fault, and return its outcomes.

    Args:
        folder: for a home of its own.
        csv: the source.
        quarantined: images that are quarantined from the start.
        env: another model and its runtime.
    """
    env = {"CXR_HOME": str(folder / "home"), "CXR_RUNTIME": "tests.support.hash_scorer:HashScorer"} | env
    world = World(home=folder / "home", env=env)
    world.home.mkdir(parents=True)
    if "CXR_MODEL_DIR" not in env:
        hash_artifact(world.home / "models")
    world.producer("enqueue", "--csv", csv)
    mine = "scan_id IN (SELECT id FROM scans WHERE image_name = :name)"
    with world.engine.begin() as connection:
        for name in quarantined:
            quarantine = f"UPDATE outcomes SET state = 'quarantined', reason = 'killed_worker' WHERE {mine}"
            assert connection.execute(text(quarantine), {"name": name}).rowcount == 1
    done = world.producer("run", "--csv", csv, check=False, timeout=280)
    assert done.returncode in (0, 3), done.stderr
    return run_results(world, 1)


def prepare(world, tmp_path, scans=SCANS):
    """Publish the model and write the source of a scenario in a world."""
    hash_artifact(world.home / "models")
    return write_source(tmp_path, scans)
