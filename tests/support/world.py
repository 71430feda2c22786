"""What tests are built on: real servers, small radiographs, artifacts, and workers in processes of their own."""

import contextlib
import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import redis
from sqlalchemy import text

from db.addresses import sqlite_address
from db.engine.session import make_engine, open_database, read_transaction
from db.findings import FINDINGS
from db.ledger.ledger_id import ledger_id
from worker.artifacts.artifact import publish
from worker.artifacts.manifest import MODEL_FILE, SPLIT_FILE, Manifest
from worker.images.preprocessing import Preprocessing
from worker.messaging.embedded_broker import socket_path
from worker.settings import WorkerSettings

#: The two kinds of servers that a world is built on: those of this machine alone, and those that were started before.
EMBEDDED, SEPARATE = "sqlite and embedded", "postgresql and separate"
#: For tests that depend little on the servers: `make test` runs them on one kind, `make test-variants` on the other.
embedded_first = pytest.mark.parametrize(
    "world", [EMBEDDED, pytest.param(SEPARATE, marks=pytest.mark.variant)], indirect=True
)

HEADER = [
    "Image Index",
    "Finding Labels",
    "Follow-up #",
    "Patient ID",
    "Patient Age",
    "Patient Gender",
    "View Position",
    "OriginalImageWidth",
    "OriginalImageHeight",
    "OriginalImagePixelSpacing_x",
    "OriginalImagePixelSpacing_y",
]


def wait_until(condition, seconds=30, what="the condition"):
    """Poll until `condition()` is true, and return the seconds that it took; fail with `what` after `seconds`."""
    started = time.monotonic()
    while time.monotonic() < started + seconds:
        if condition():
            return time.monotonic() - started
        time.sleep(0.2)
    raise AssertionError(f"{what}: not reached in {seconds} s")


def radiograph(number, side=96):
    """uint8 (side, side): smooth shapes and noise, different for every number."""
    rng = np.random.default_rng(number)
    small = rng.integers(30, 220, (8, 8)).astype(np.uint8)
    noise = rng.integers(0, 12, (side, side)).astype(np.uint8)
    return cv2.add(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC), noise)


def image_name(number, scans_per_patient=3):
    return f"{number // scans_per_patient + 1:08d}_{number % scans_per_patient:03d}.png"


def write_images(folder, numbers, side=96):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        cv2.imwrite(str(folder / image_name(number)), radiograph(number, side))


def write_csv(path, numbers, labels=None, name_of=image_name):
    """A labels CSV in NIH's layout; scan n is `Effusion` where n is divisible by 3, else normal."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number in numbers:
            name = name_of(number)
            label = (labels or {}).get(number, "Effusion" if number % 3 == 0 else "No Finding")
            writer.writerow([name, label, name[9:12], name[:8], "060Y", "M", "PA", 96, 96, 0.14, 0.14])
    return path


def hash_artifact(
    model_dir,
    name="hash",
    split=(),
    batch_size=8,
    findings=FINDINGS,
    *,
    model=b"not a model",
    synthetic=False,
    **fields,
):
    """Publish an artifact for `hash_scorer`, whose model file is never opened; `fields` are those of its manifest."""
    staging = Path(tempfile.mkdtemp(prefix="artifact-"))
    (staging / MODEL_FILE).write_bytes(model)
    rows = "".join(f"{image},{patient},{subset}\n" for image, patient, subset in split)
    (staging / SPLIT_FILE).write_text("image_name,patient_id,subset\n" + rows)
    usual = {"dataset": "sample_labels", "preprocessing": Preprocessing(height=32, width=32)}
    usual["about"] = {"synthetic": 1} if synthetic else {}
    manifest = Manifest(name=name, findings=findings, batch_size=batch_size, **(usual | fields))
    return publish(staging, Path(model_dir), manifest)


def dicom_artifact(model_dir, **fields):
    """Publish an artifact for `hash_scorer` that scores DICOM too, as if it was fitted on frontal views alone."""
    rule = Preprocessing(height=32, width=32, rule=2)
    return hash_artifact(model_dir, format_version=2, preprocessing=rule, views=("PA", "AP"), **fields)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class World:
    """A home folder with its database and broker, and the processes that were started in it."""

    home: Path
    env: dict
    processes: list = field(default_factory=list)
    #: Folders that come first on the import path of its processes.
    python_path: tuple = ()

    @property
    def environment(self):
        path = (*self.python_path, Path(__file__).parents[2])
        return {**os.environ, **self.env, "PYTHONPATH": os.pathsep.join(map(str, path))}

    def producer(self, *arguments, check=True, **kwargs):
        """Run a producer command to its end."""
        return self._command("producer.cli", arguments, check=check, **kwargs)

    def trainer(self, *arguments, **kwargs):
        """Run a trainer command to its end; it must succeed."""
        return self._command("trainer.cli", arguments, check=True, **kwargs)

    def start(self, module, *arguments):
        """Start a command and leave it running; its log is a file in the home folder."""
        log = (self.home / f"log-{len(self.processes)}.txt").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=self.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    @property
    def engine(self):
        """An engine with which the test reads the ledger."""
        return make_engine(self._database_url)

    @property
    def ledger(self):
        """The ledger's id; like a command, this makes the tables of a SQLite file."""
        engine = open_database(self._database_url)
        found = ledger_id(engine)
        engine.dispose()
        return found

    @property
    def _database_url(self):
        return self.env.get("CXR_DATABASE_URL") or sqlite_address(self.home / "nightread.sqlite")

    def rows(self, query, **values):
        """All rows of a query."""
        engine = self.engine
        with read_transaction(engine) as connection:
            found = [tuple(row) for row in connection.execute(text(query), values)]
        engine.dispose()
        return found

    @property
    def broker(self):
        """A client of the broker."""
        if url := self.env.get("CXR_BROKER_URL"):
            return redis.Redis.from_url(url)
        return redis.Redis(unix_socket_path=str(socket_path(WorkerSettings(home=self.home))))

    def worker(self):
        return self.start("worker.cli", "start", "--gpus", "none")

    def logs(self):
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.home.glob("log-*.txt")))

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                kill_tree(process.pid)

    def _command(self, module, arguments, *, check, timeout=120):
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            env=self.environment,
            # No command may wait for an answer of the person who runs the tests.
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done


def kill_tree(pid):
    """SIGKILL a process and all its descendants at once, as if the machine were gone."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)


def scoring_process(supervisor):
    """The pool process under a supervisor that holds the model, or None while there is none."""
    for child in psutil.Process(supervisor.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "billiard" in " ".join(child.cmdline()) and "spawn_main" in " ".join(child.cmdline()):
                return child
    return None


def which_or_none(name):
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)
