"""One celery worker process, pinned to one device: started, started again with a growing pause, stopped."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from db.errors import UserError
from worker.messaging.messages import queue_of
from worker.processes import die_with_parent
from worker.settings import LEDGER_VARIABLE, MODEL_VARIABLE, PROCESSES_VARIABLE, STATUS_VARIABLE
from worker.supervision.devices import Device
from worker.supervision.restart_policy import RestartPolicy
from worker.telemetry.device_status import DeviceStatus, read_status, record_start

#: Settings of glibc: freed memory is kept for the next image, not given back. On 16 cores decoders spent half of their
#: time on clearing new pages, one after the other.
KEEP_MEMORY: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**28),
    "MALLOC_TOP_PAD_": str(2**24),
}

logger = logging.getLogger(__name__)


class WorkerProcess:
    """One celery worker process of concurrency 1, and when it may be started again."""

    def __init__(self, ledger: str, model_sha256: str, device: Device, number: int, processes: int) -> None:
        """`processes` is how many of them share this machine's cores."""
        self._ledger = ledger
        self._model = model_sha256
        self._processes = processes
        self._device = device
        self._name = f"nightread-{os.getpid()}-{number}@%h"
        self._process: subprocess.Popen[bytes] | None = None
        self._restart_policy = RestartPolicy()
        self._is_stopping = False
        descriptor, path = tempfile.mkstemp(prefix="nightread-child-")
        os.close(descriptor)
        self._status_file = Path(path)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs; its model may not be loaded yet."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Celery's parent of the process that scores; 0 while there is none."""
        return self._process.pid if self._process is not None and self.is_alive else 0

    @property
    def snapshot(self) -> DeviceStatus:
        """Its status as of now."""
        status = read_status(self._status_file)
        return replace(status, device=self._device.name, model=self._model, parent=self.pid)

    def keep_alive(self) -> None:
        """Start the worker if it does not run and the restart policy allows it.

        Raises:
            UserError: it has ended because it cannot load the model; the next call tries again.
        """
        if self.is_alive:
            return
        if self._process is not None:
            self._reap(self._process.returncode)
        if self._restart_policy.is_over:
            self._try_to_start()

    def ask_to_stop(self) -> None:
        """Let it hand its chunk back and end. A second call does nothing: a second signal would cut that short."""
        if self._process is not None and self.is_alive and not self._is_stopping:
            self._is_stopping = True
            self._process.terminate()

    def kill_stuck(self, stall_seconds: float) -> None:
        """Kill it and its child, to be started again. A process that is stuck in the kernel may end much later.

        Args:
            stall_seconds: how long it has shown no sign of life, for the log.
        """
        sentence = "worker on %s is stuck (no progress for %.0f s with a model to load or work queued); restarting it"
        logger.error(sentence, self._device.name, stall_seconds)
        self._kill_group()

    def kill(self) -> None:
        """Kill it and its child if it has not ended by itself, and wait for its end."""
        self._kill_group()
        if self._process is not None:
            self._process.wait()
        self._status_file.unlink(missing_ok=True)

    def _kill_group(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _try_to_start(self) -> None:
        self._restart_policy.note_start()
        try:
            self._start()
        except OSError as error:
            # No memory, or no space for its status file: other devices' workers go on.
            logger.warning("worker on %s cannot be started (%s); trying again", self._device.name, error.strerror)
            self._restart_policy.note_death()

    def _start(self) -> None:
        record_start(self._status_file)
        self._is_stopping = False
        # A session of its own: Ctrl+C in the terminal reaches the supervisor alone, which passes it on once.
        self._process = subprocess.Popen(
            self._command(),
            env={**KEEP_MEMORY, **os.environ, **self._environment()},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            # When it ends, Celery writes to it what Ctrl+C would do. The log is on stderr.
            stdout=subprocess.DEVNULL,
            preexec_fn=die_with_parent(),
        )
        logger.info("worker on %s started, process %d", self._device.name, self._process.pid)

    def _reap(self, returncode: int) -> None:
        """Record a death.

        Raises:
            UserError: the scoring process has said that it cannot load the model.
        """
        error = read_status(self._status_file).error
        logger.warning("worker on %s died (%s)", self._device.name, error or f"exit code {returncode}")
        self._process = None
        self._restart_policy.note_death()
        if error:
            raise UserError(error)

    def _environment(self) -> dict[str, str]:
        return {
            **self._device.environment,
            LEDGER_VARIABLE: self._ledger,
            MODEL_VARIABLE: self._model,
            STATUS_VARIABLE: str(self._status_file),
            PROCESSES_VARIABLE: str(self._processes),
            # A plain SIGTERM would wait for the task; as SIGQUIT it hands the chunk back.
            "REMAP_SIGTERM": "SIGQUIT",
        }

    def _command(self) -> list[str]:
        queue = queue_of(self._ledger, self._model)
        return [sys.executable, "-m", "worker.celery_worker", queue, self._name]
