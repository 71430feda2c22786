"""`worker start`: keeps one pinned Celery worker per device alive, the embedded broker up, and looks for lost work.

supervisor (this) ── celery worker, concurrency 1 ── pool process with the model
                  └─ embedded broker, where none is configured
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from sqlalchemy.exc import DBAPIError

from db.errors import TemporaryError, UserError
from worker.broker import EmbeddedBroker, die_with_parent
from worker.devices import Device
from worker.messages import queue_of
from worker.settings import WorkerSettings
from worker.sweep import Sweeper

MODEL_VARIABLE: Final = "NIGHTREAD_MODEL"
STATUS_VARIABLE: Final = "NIGHTREAD_CHILD_STATUS"
#: Seconds between two looks at the children.
_TICK: Final = 0.2
#: Seconds before a dead worker is started again: doubled at each death, reset by a minute of life.
_FIRST_BACK_OFF: Final = 0.5
_LONGEST_BACK_OFF: Final = 30.0
_STEADY: Final = 60.0
#: Seconds that a stopping worker gets beyond its soft shutdown.
_GRACE: Final = 20.0

logger = logging.getLogger(__name__)


class Supervisor:
    """Runs until it is told to stop."""

    def __init__(
        self, settings: WorkerSettings, model_sha256: str, devices: Sequence[Device], sweeper: Sweeper
    ) -> None:
        self._settings = settings
        self._broker = EmbeddedBroker(settings) if settings.owns_broker else None
        self._sweeper = sweeper
        self._workers = [_PinnedWorker(model_sha256, device, number) for number, device in enumerate(devices)]
        self._stopping = 0
        self._next_sweep = 0.0
        self._swept = False

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT; then let each worker hand its chunk back.

        Raises:
            UserError: a child cannot load the model, or the broker does not start.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            while not self._stopping:
                self._look_after()
                time.sleep(_TICK)
        finally:
            self._shut_down()

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping += 1

    def _look_after(self) -> None:
        if self._broker is not None:
            self._broker.ensure()
        for worker in self._workers:
            worker.keep_alive()
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + self._settings.sweep_interval
            self._sweep()

    def _sweep(self) -> None:
        try:
            self._sweeper.sweep(at_once=not self._swept)
            self._swept = True
        except TemporaryError as error:
            logger.warning("no look for lost work: %s", error)
        except DBAPIError as error:
            logger.warning("no look for lost work: the database does not answer (%s)", type(error.orig).__name__)

    def _shut_down(self) -> None:
        for worker in self._workers:
            worker.ask_to_stop()
        deadline = time.monotonic() + _GRACE
        while any(worker.is_alive for worker in self._workers) and time.monotonic() < deadline and self._stopping < 2:
            time.sleep(_TICK)
        for worker in self._workers:
            worker.kill()
        if self._broker is not None:
            self._broker.stop()


class _PinnedWorker:
    """One celery worker process of concurrency 1, and how often it died."""

    def __init__(self, model_sha256: str, device: Device, number: int) -> None:
        self._model = model_sha256
        self._device = device
        self._name = f"nightread-{os.getpid()}-{number}@%h"
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._not_before = 0.0
        self._back_off = _FIRST_BACK_OFF
        descriptor, path = tempfile.mkstemp(prefix="nightread-child-")
        os.close(descriptor)
        self._status = Path(path)

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def keep_alive(self) -> None:
        """Start the worker if it does not run, not faster than the back-off allows."""
        if self.is_alive:
            if time.monotonic() - self._started > _STEADY:
                self._back_off = _FIRST_BACK_OFF
            return
        if self._process is not None:
            self._bury(self._process.returncode)
        if time.monotonic() >= self._not_before:
            self._start()

    def ask_to_stop(self) -> None:
        if self._process is not None and self.is_alive:
            self._process.terminate()

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._status.unlink(missing_ok=True)

    def _start(self) -> None:
        self._status.write_text("{}")
        self._started = time.monotonic()
        # A session of its own: Ctrl+C in the terminal reaches the supervisor alone, which passes it on once.
        self._process = subprocess.Popen(
            self._command(),
            env={**os.environ, **self._environment()},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent(),
        )
        logger.info("worker for %s started, process %d", self._device.name, self._process.pid)

    def _bury(self, status: int) -> None:
        """Note a death; one in which the child said that it cannot load the model is the end of it."""
        error = json.loads(self._status.read_text() or "{}").get("error")
        if error:
            raise UserError(str(error))
        logger.warning("worker for %s died (%s)", self._device.name, status)
        self._process = None
        self._not_before = time.monotonic() + self._back_off
        self._back_off = min(2 * self._back_off, _LONGEST_BACK_OFF)

    def _environment(self) -> dict[str, str]:
        return {
            **self._device.environment,
            MODEL_VARIABLE: self._model,
            STATUS_VARIABLE: str(self._status),
            # A plain SIGTERM would wait for the task; as SIGQUIT it hands the chunk back.
            "REMAP_SIGTERM": "SIGQUIT",
        }

    def _command(self) -> list[str]:
        options = ("--pool=prefork", "--concurrency=1", "--without-gossip", "--without-mingle", "--loglevel=WARNING")
        queue = queue_of(self._model)
        return [
            sys.executable,
            "-m",
            "celery",
            "-q",
            "-A",
            "worker.tasks",
            "worker",
            "-Q",
            queue,
            "-n",
            self._name,
            *options,
        ]
